//! Changes taken apart and put together again, for the tests of the gate.
#![allow(dead_code, reason = "each test uses what it needs")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::{Automerge, Change, ExpandedChange, ReadDoc};
use domain::money::Quantity;
use sha2::{Digest, Sha256};
use sync_proto::documents::Document;

use crate::orders::{Sent, Till, addition_id, line, line_id, parked, sale_id};

/// What a change is made of, as in automerge 0.12.0's `storage/change.rs`.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) deps: Vec<[u8; 32]>,
    pub(crate) actor: Vec<u8>,
    pub(crate) seq: u64,
    pub(crate) start_op: u64,
    pub(crate) time: u64,
    pub(crate) message: Vec<u8>,
    pub(crate) others: Vec<Vec<u8>>,
    /// The number of each column and what it holds.
    pub(crate) columns: Vec<(u64, Vec<u8>)>,
    pub(crate) extra: Vec<u8>,
}

impl Parts {
    /// The parts of a change whose form is honest.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.get(9..)?;
        let at = &mut rest;
        number(at)?;
        let deps = (0..number(at)?).map(|_| take(at, 32)?.try_into().ok()).collect::<Option<_>>()?;
        let actor = prefixed(at)?;
        let (seq, start_op, time) = (number(at)?, number(at)?, number(at)?);
        let message = prefixed(at)?;
        let others = (0..number(at)?).map(|_| prefixed(at)).collect::<Option<_>>()?;
        let heads: Vec<(u64, u64)> = (0..number(at)?).map(|_| Some((number(at)?, number(at)?))).collect::<Option<_>>()?;
        let column = |(number, length)| Some((number, take(at, usize::try_from(length).ok()?)?.to_vec()));
        let columns = heads.into_iter().map(column).collect::<Option<_>>()?;
        Some(Self { deps, actor, seq, start_op, time, message, others, columns, extra: rest.to_vec() })
    }

    /// A change of them, with a length and a checksum that hold.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut data = Vec::new();
        put(&mut data, self.deps.len() as u64);
        self.deps.iter().for_each(|dep| data.extend(dep));
        put_bytes(&mut data, &self.actor);
        [self.seq, self.start_op, self.time].into_iter().for_each(|n| put(&mut data, n));
        put_bytes(&mut data, &self.message);
        put(&mut data, self.others.len() as u64);
        self.others.iter().for_each(|actor| put_bytes(&mut data, actor));
        put(&mut data, self.columns.len() as u64);
        for (number, column) in &self.columns {
            put(&mut data, *number);
            put(&mut data, column.len() as u64);
        }
        self.columns.iter().for_each(|(_, column)| data.extend(column));
        data.extend(&self.extra);
        chunk(1, &data)
    }
}

/// A chunk of a type, with a length and a checksum that hold.
pub(crate) fn chunk(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut summed = vec![kind];
    put(&mut summed, data.len() as u64);
    summed.extend(data);
    let checksum = Sha256::digest(&summed);
    [&[0x85, 0x6f, 0x4a, 0x83], &checksum[..4], &summed].concat()
}

fn take<'a>(at: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, rest) = at.split_at_checked(bytes)?;
    *at = rest;
    Some(taken)
}

fn prefixed(at: &mut &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(number(at)?).ok()?;
    Some(take(at, length)?.to_vec())
}

fn number(at: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let byte = take(at, 1)?[0];
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
}

pub(crate) fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n.to_le_bytes()[0] | 0x80);
        n >>= 7;
    }
    out.push(n.to_le_bytes()[0]);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend(bytes);
}

pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

/// A change as what it says.
pub(crate) fn expanded(bytes: &[u8]) -> ExpandedChange {
    Change::from_bytes(bytes.to_vec()).expect("a change").decode()
}

/// The changes of a document, each after what it builds on.
pub(crate) fn of(document: &Document) -> Vec<Vec<u8>> {
    let doc = Automerge::load(&document.save()).expect("loads");
    doc.get_changes(&[]).iter().map(|change| change.raw_bytes().to_vec()).collect()
}

/// What a mutant is tried on.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// Who has everything that the change builds on.
    pub(crate) before: Till,
    /// An honest change.
    pub(crate) sent: Sent,
    /// Another honest change, which did not see it.
    pub(crate) other: Sent,
}

/// Honest changes of all kinds to an order that three tills write, with several heads and without.
pub(crate) fn cases() -> Vec<Case> {
    let (mut ada, first) = parked(&[2, 1]);
    let (mut bob, mut cid) = (ada.beside(2), ada.beside(3));
    let label = |till: &mut Till, text: &str| {
        till.write(|d, at, author, actor| Ok(d.relabel(text, "", at, author, actor)?.expect("a change"))).expect("relabels")
    };
    let line =
        |till: &mut Till, n| till.write(|d, at, author, actor| d.add_lines(&[line(n, 1)], at, author, actor)).expect("adds");
    let heard = [label(&mut ada, "Window"), line(&mut bob, 10), line(&mut cid, 11), label(&mut cid, "Bar")];
    let mut before = Till::new(9);
    before.receive_all(std::slice::from_ref(&first));
    before.receive_all(&heard);
    let beside = |who| Till { clock: 200, ..before.beside(who) };
    let other = beside(3).write(|d, at, author, actor| d.void_line(line_id(10), at, author, actor)).expect("voids");
    let covered = before.order().left();
    let sent = [
        line(&mut beside(2), 12),
        label(&mut beside(2), "Terrace"),
        beside(1).write(|d, at, author, actor| d.cancel(at, author, actor)).expect("cancels"),
        beside(2).write(|d, at, author, actor| d.mark_paid(sale_id(50), &covered, at, author, actor)).expect("notes"),
        beside(1)
            .write(|d, at, author, actor| d.add_quantity(line_id(1), addition_id(1), Quantity(1_000), at, author, actor))
            .expect("adds"),
        beside(4).write(|d, at, author, actor| d.add_lines(&many(), at, author, actor)).expect("adds"),
        // On what only its writer had seen.
        line(&mut bob, 13),
        label(&mut cid, "Garden"),
    ];
    let parking = Case { before: Till::new(9), sent: first, other: parked_elsewhere() };
    let cases = sent.into_iter().map(|sent| Case { before: before.clone(), sent, other: other.clone() });
    std::iter::once(parking).chain(cases).collect()
}

fn many() -> Vec<domain::open_order::OpenOrderLine> {
    (20..28).map(|n| line(n, 1)).collect()
}

fn parked_elsewhere() -> Sent {
    let mut till = Till::new(4);
    till.write(|d, at, author, actor| d.park(&crate::orders::order(&[5]), at, author, actor)).expect("parks")
}

/// Whether Automerge takes a change without the gate, and the document can be saved and loaded with it.
pub(crate) fn survives(before: &Document, bytes: &[u8]) -> Fate {
    let tried = catch_unwind(AssertUnwindSafe(|| {
        let mut doc = Automerge::load(&before.save()).expect("loads");
        let Ok(change) = Change::from_bytes(bytes.to_vec()) else { return Fate::Refused };
        if doc.apply_changes([change]).is_err() {
            return Fate::Refused;
        }
        if !doc.get_missing_deps(&[]).is_empty() {
            return Fate::Queued;
        }
        match Automerge::load(&doc.save()) {
            Ok(loaded) if loaded.get_heads() == doc.get_heads() => Fate::Taken,
            _ => Fate::Poisoned,
        }
    }));
    tried.unwrap_or(Fate::Panicked)
}

/// What became of a change without the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Refused,
    Queued,
    Taken,
    Panicked,
    Poisoned,
}

/// Keeps what Automerge says when it panics, which is expected here, out of the output.
pub(crate) fn quiet() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let file = info.location().map_or("", |location| location.file());
        if !file.contains("automerge-0.") && !file.contains("hexane-") {
            loud(info);
        }
    }));
}

pub(crate) fn counted<K: Ord>(all: impl IntoIterator<Item = K>) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    all.into_iter().for_each(|one| *counts.entry(one).or_default() += 1);
    counts
}

/// Changes to [`cases`] by their place, what Automerge 0.12.0 makes of them without the gate, and for what the gate refuses them. The
/// checksum of each holds.
#[rustfmt::skip]
pub(crate) const CRASHERS: [(usize, Fate, &str, &str); 14] = [
    (3, Fate::Panicked, "start_op", "856f4a830c61f5c50134001081818181818181818181818181818181040700000005150b34014202560270027f0963616e63656c6c6564017f017f017f00"),
    (8, Fate::Panicked, "sequence", "856f4a839dc458750150019d580096d2be75845976f015b0a41a1121459a6c88f51ef1ec7b81901bc58f321083838383838383838383838383838383050700000005150734014202560270027f056c6162656c017f037f007f00"),
    (3, Fate::Panicked, "own_past", "856f4a83283b2f2d014f001081818181818181818181818181818181030100000006150b340142025603571870027f0963616e63656c6c6564017f017f870383f61a00c9000050010101010101010101010101010101017f00"),
    (8, Fate::Panicked, "predecessors", "856f4a83e8d9d89a0179019d580096d2be75845976f015b0a41a1121459a6c88f51ef1ec7b81901bc58f3210838383838383838383838383838383830307000000081507340142025603571e7002710273027f056c6162656c017f017fe703836647617264656e1a0068000050030303030303030303030303030303037f017f007f07"),
    (8, Fate::Panicked, "operation", "856f4a83c5808ce40158019d580096d2be75845976f015b0a41a1121459a6c88f51ef1ec7b81901bc58f32108383838383838383838383838383838303070000000715073401420256027002710273027f056c6162656d017f047f007f017f007f06"),
    (8, Fate::Panicked, "actor", "856f4a83e70ec740013800109999999999999999999999999999999903070000000715073401420256027002710273027f056c6162656c017f037f007f017f007f06"),
    (3, Fate::Panicked, "not_canonical", "856f4a839a28532e014f001082828282828282828282828282828282030700000006150b340142025603571870027f0963616e63656c6c6564017f017f870283f61a00c9000050010101010101010101010101010101017f00"),
    (7, Fate::Poisoned, "start_op", "856f4a83eca8ddf2012c001082828282828282828282828282828282020600000005150334014202560270027f0125017f037f007f00"),
    (1, Fate::Poisoned, "own_past", "856f4a83a6f383780150001082828282828282828282828282828282020100000005152734014202560270027f256c696e652f3063306330633063306330633063306330633063306330633063306330633063017f037f007f00"),
    (0, Fate::Poisoned, "predecessors", "856f4a837527dfeb01660010818181818181818181818181818181810101000000081508340142025603572a7002710273027f066f70656e6564017f017fa70583825001010101010101010101010101010101001a0065000050010101010101010101010101010101017f017f007f02"),
    (3, Fate::Poisoned, "actor", "856f4a830d6443b6014f001083838383838383838383838383838383030700000006150b340142025603571870027f0963616e63656c6c6564017f017f870383f61a00c9000050010101010101010101010101010101017f00"),
    (3, Fate::Poisoned, "not_canonical", "856f4a83723b12b30137001081818181818181818181818181818181030700000006150b340142025602570170027f0963616e63656c6c6564117f057f14027f00"),
    (1, Fate::Poisoned, "column", "856f4a83e4ac4a89014000108282828282828282828282828282828202070000011083838383838383838383838383838383061102130234014202560270027f017f01017f037f007f00"),
    (0, Fate::Poisoned, "operation", "856f4a836c7fd0e80131001081818181818181818181818181818181010100000005150834014202560270027f066f70656e6564017f037f007f00"),
];
