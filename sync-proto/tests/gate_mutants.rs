//! Mutants of honest changes against the gate, with lengths and checksums that hold, so that they get as far as they can.
//!
//! `EVERTILL_MUTANTS` says how many (100,000), `EVERTILL_SEED` which; the same seed makes the same mutants.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::legacy::{Key, ObjectId, OpId, OpType};
use automerge::{ActorId, Change, ObjType, ScalarValue};
use changes::{Case, Fate, Parts, cases, counted, expanded, quiet, survives};
use domain::document::DocumentKind;
use orders::{ID, Sent, Till, writer};
use sync_proto::documents::gate::{Refusal, admit, preflight};
use sync_proto::documents::{ChangeHash, Document};

mod changes;
mod orders;

/// Marsaglia's xorshift64*.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `n`, which is above zero.
    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 16) as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A number that is near, at an edge, or anything.
    fn number(&mut self, near: u64) -> u64 {
        match self.below(6) {
            0 => near.wrapping_add(1),
            1 => near.saturating_sub(1),
            2 => self.below(8) as u64,
            3 => 1 << self.below(64),
            4 => u64::MAX >> self.below(64),
            _ => self.next(),
        }
    }
}

/// What mutants are made of besides the change itself.
struct Stuff {
    hashes: Vec<ChangeHash>,
    actors: Vec<Vec<u8>>,
    keys: Vec<String>,
    values: Vec<ScalarValue>,
    columns: Vec<(u64, Vec<u8>)>,
}

impl Stuff {
    fn of(cases: &[Case]) -> Self {
        let before = cases.iter().flat_map(|case| changes::of(&case.before.document));
        let all: Vec<Vec<u8>> = before.chain(cases.iter().map(|case| case.sent.bytes.clone())).collect();
        let mut stuff =
            Self { hashes: vec![[7; 32]], actors: vec![vec![0x99; 16]], keys: vec![], values: vec![], columns: vec![] };
        for bytes in &all {
            let change = expanded(bytes);
            stuff.hashes.extend(change.hash.map(|hash| hash.0));
            stuff.actors.push(change.actor_id.to_bytes().to_vec());
            for op in change.operations {
                if let (Key::Map(key), OpType::Put(value)) = (op.key, op.action) {
                    stuff.keys.push(key.to_string());
                    stuff.values.push(value);
                }
            }
            stuff.columns.extend(Parts::of(bytes).expect("honest").columns);
        }
        stuff.keys.extend(["price", "", "line/", "opened/x"].map(str::to_owned));
        stuff.values.extend([ScalarValue::Null, ScalarValue::Int(1), ScalarValue::counter(1), ScalarValue::Str("x".into())]);
        // Columns that our changes do not have: objects, places in lists, marks, and one that nobody has.
        for number in [0x01, 0x02, 0x11, 0x13, 0x94, 0xa5, 0x123] {
            stuff.columns.extend([vec![0x7f, 1], vec![2, 0], vec![0, 1]].map(|column| (number, column)));
        }
        stuff
    }

    fn op_id(&self, chance: &mut Chance) -> OpId {
        let counter = if chance.one_in(8) { chance.number(4) >> 1 } else { chance.below(70) as u64 };
        OpId::new(counter, &ActorId::from(chance.of(&self.actors).as_slice()))
    }
}

fn mutant(case: &Case, stuff: &Stuff, chance: &mut Chance) -> Vec<u8> {
    let mut bytes = case.sent.bytes.clone();
    for _ in 0..=chance.below(3) {
        bytes = match chance.below(3) {
            0 => said_otherwise(&bytes, stuff, chance),
            _ => put_together_otherwise(&bytes, stuff, chance),
        }
        .unwrap_or(bytes);
    }
    // Some with bytes that no structure knows of.
    if chance.one_in(10) {
        let at = 9 + chance.below(bytes.len() - 9);
        bytes[at] ^= 1 << chance.below(8);
        let kind = if chance.one_in(20) { chance.below(5) as u8 } else { bytes[8] };
        let length = if bytes[9] & 0x80 == 0 { 10 } else { 11 };
        bytes = changes::chunk(kind, &bytes[length.min(bytes.len())..]);
    }
    bytes
}

/// The same change saying something else, in the form that Automerge itself gives it.
fn said_otherwise(bytes: &[u8], stuff: &Stuff, chance: &mut Chance) -> Option<Vec<u8>> {
    catch_unwind(AssertUnwindSafe(|| {
        let mut change = Change::from_bytes(bytes.to_vec()).ok()?.decode();
        if change.operations.is_empty() {
            return None;
        }
        let copy = chance.of(&change.operations).clone();
        let at = chance.below(change.operations.len());
        let op = &mut change.operations[at];
        match chance.below(16) {
            0 => op.key = Key::Map(chance.of(&stuff.keys).as_str().into()),
            1 => op.action = OpType::Put(chance.of(&stuff.values).clone()),
            2 => op.action = OpType::Delete,
            3 => op.action = OpType::Increment(1),
            4 => op.action = OpType::Make(*chance.of(&[ObjType::Map, ObjType::List, ObjType::Text, ObjType::Table])),
            5 => op.obj = ObjectId::Id(stuff.op_id(chance)),
            6 => op.key = Key::Seq(stuff.op_id(chance).into()),
            7 => op.pred = vec![stuff.op_id(chance)].into(),
            8 => op.pred = op.pred.iter().cloned().chain([stuff.op_id(chance)]).collect::<Vec<_>>().into(),
            9 => op.pred = vec![].into(),
            10 => op.insert = !op.insert,
            11 => change.operations.push(copy),
            12 => {
                change.start_op = std::num::NonZeroU64::new(chance.number(change.start_op.get()).clamp(1, u64::from(u32::MAX)))?
            }
            13 => change.seq = chance.number(change.seq),
            14 => change.deps.push(automerge::ChangeHash(*chance.of(&stuff.hashes))),
            _ => {
                let OpType::Put(ScalarValue::Bytes(value)) = &mut op.action else { return None };
                let at = chance.below(value.len().max(1));
                *value.get_mut(at)? ^= 1 << chance.below(8);
            }
        }
        Some(Change::from(change).raw_bytes().to_vec())
    }))
    .ok()
    .flatten()
}

/// The parts of the change in another arrangement, or some of them changed.
fn put_together_otherwise(bytes: &[u8], stuff: &Stuff, chance: &mut Chance) -> Option<Vec<u8>> {
    let mut parts = Parts::of(bytes)?;
    if parts.columns.is_empty() {
        return None;
    }
    match chance.below(24) {
        0 => parts.seq = chance.number(parts.seq),
        1 => parts.start_op = chance.number(parts.start_op),
        2 => parts.deps.push(*chance.of(&stuff.hashes)),
        3 => parts.deps.clear(),
        4 => parts.deps.truncate(1),
        5 => parts.actor = chance.of(&stuff.actors).clone(),
        6 => parts.others.push(chance.of(&stuff.actors).clone()),
        7 => drop(parts.others.pop()),
        8 => parts.others.reverse(),
        9 if chance.one_in(8) => parts.time = chance.number(0),
        10 if chance.one_in(8) => parts.message = b"m".to_vec(),
        11 if chance.one_in(8) => parts.extra = vec![1, 2],
        12 => drop(parts.columns.remove(chance.below(parts.columns.len()))),
        13 => {
            let column = chance.of(&stuff.columns).clone();
            let at = parts.columns.partition_point(|(number, _)| *number < column.0);
            parts.columns.insert(at, column);
        }
        14 => {
            // Another change's column in place of its own.
            let at = chance.below(parts.columns.len());
            let number = parts.columns[at].0;
            let same: Vec<_> = stuff.columns.iter().filter(|column| column.0 == number).collect();
            parts.columns[at].1.clone_from(&chance.of(&same).1);
        }
        _ => {
            let at = chance.below(parts.columns.len());
            let column = &mut parts.columns[at].1;
            if column.is_empty() {
                return None;
            }
            let at = chance.below(column.len());
            match chance.below(6) {
                0 => column[at] ^= 1 << chance.below(8),
                1 => column[at] = *chance.of(&[0, 1, 2, 0x3f, 0x40, 0x7e, 0x7f, 0x80, 0xff]),
                2 => column.insert(at, *chance.of(&[0, 1, 0x7f, 0x80])),
                3 => drop(column.remove(at)),
                4 => column[at] = column[at].wrapping_add(1),
                _ => {
                    let again = column[at..].to_vec();
                    column.extend(again);
                }
            }
        }
    }
    Some(parts.bytes())
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

fn mutants(mut each: impl FnMut(&Case, &[u8])) {
    quiet();
    let (count, seed) = (setting("EVERTILL_MUTANTS", 100_000), setting("EVERTILL_SEED", 1));
    let cases = cases();
    let stuff = Stuff::of(&cases);
    let mut chance = Chance(seed.max(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for n in 0..count {
        let case = chance.of(&cases);
        let bytes = mutant(case, &stuff, &mut chance);
        let tried = catch_unwind(AssertUnwindSafe(|| each(case, &bytes)));
        let hex = || bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert!(tried.is_ok(), "mutant {n} of seed {seed}: {}", hex());
    }
}

#[test]
fn no_mutant_gets_through_and_does_harm() {
    let mut codes = BTreeMap::<&str, usize>::new();
    mutants(|case, bytes| {
        let actors = BTreeSet::from([case.sent.actor]);
        let code = match admit(Some(&case.before.document), DocumentKind::OpenOrder, ID, bytes, &writer(&case.sent, &actors)) {
            Err(refusal) => refusal.code(),
            Ok(_) if bytes == case.sent.bytes => "as it was",
            Ok(admitted) => {
                no_harm(case, bytes, &admitted.document);
                "admitted"
            }
        };
        *codes.entry(code).or_default() += 1;
    });
    println!("{codes:#?}");
    assert!(codes.contains_key("admitted") && codes.len() > 20, "the mutants reach every rule");
}

/// What was admitted saves, loads, reads, and merges: with another change that comes before or after it there are the same heads.
fn no_harm(case: &Case, bytes: &[u8], admitted: &Document) {
    let loaded = Document::load(DocumentKind::OpenOrder, ID, &admitted.save()).expect("loads");
    assert_eq!(loaded.heads(), admitted.heads());
    assert_eq!(loaded.open_order().expect("reads"), admitted.open_order().expect("reads"));
    let mutant = Sent { bytes: bytes.to_vec(), ..case.sent.clone() };
    let mut after = Till { document: loaded, ..case.before.clone() };
    let others = after.receive(&case.other);
    let mut before = case.before.clone();
    before.receive(&case.other).expect("an honest change");
    // The same actor's next change cannot be beside the mutant.
    if case.other.actor == case.sent.actor {
        return;
    }
    others.expect("an honest change is admitted after it");
    before.receive(&mutant).expect("it is admitted after an honest change");
    assert_eq!(before.document.heads(), after.document.heads());
    assert_eq!(before.order(), after.order());
    assert_eq!(before.document.history(), after.document.history());
}

/// What the gate keeps from Automerge: of each rule of the gate the shortest mutant that it stops and that would have broken
/// something. Run it to find more for `changes::CRASHERS`.
#[test]
#[ignore = "looks for what breaks Automerge without the gate"]
fn what_mutants_do_without_the_gate() {
    let mut fates = Vec::new();
    let mut shortest = BTreeMap::<(Fate, &str), (usize, Vec<u8>)>::new();
    let cases = cases();
    mutants(|case, bytes| {
        // A bomb would take the machine with it.
        if matches!(preflight(bytes), Err(Refusal::TooMany { .. } | Refusal::ChunkType(_) | Refusal::Deflated)) {
            return;
        }
        let fate = survives(&case.before.document, bytes);
        fates.push(fate);
        if fate < Fate::Panicked {
            return;
        }
        let actors = BTreeSet::from([case.sent.actor]);
        let admitted = admit(Some(&case.before.document), DocumentKind::OpenOrder, ID, bytes, &writer(&case.sent, &actors));
        let code = admitted.expect_err("refused").code();
        let at = cases.iter().position(|other| other.sent.bytes == case.sent.bytes).expect("one of the cases");
        if shortest.get(&(fate, code)).is_none_or(|(_, found)| found.len() > bytes.len()) {
            shortest.insert((fate, code), (at, bytes.to_vec()));
        }
    });
    println!("{:#?}", counted(fates));
    for ((fate, code), (at, bytes)) in shortest {
        let hex = bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        println!("    ({at}, Fate::{fate:?}, \"{code}\", \"{hex}\"),");
    }
}
