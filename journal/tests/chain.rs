//! The chain holds what it promises: whatever is altered, left out, put in or cut off is found.

use std::collections::BTreeSet;

use expect_test::expect;
use journal::{
    Body, ChainError, Entry, Hlc, NewEntry, Origin, OriginChain, ReceivedCommit, Scope, Seal, SealedCommit, SigningKey, View,
};
use proptest::prelude::*;

const ORIGIN: Origin = Origin { device: [1; 16], incarnation: [2; 16] };

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn scope(name: &str) -> Scope {
    Scope::new(name).expect("a scope name")
}

fn record(n: u8) -> Body {
    Body::Record { kind: 1, version: 1, bytes: vec![0xa1, 0x00, n % 24] }
}

/// Writes commits, each a list of scope names, and gives them as they travel.
fn written(commits: &[&[&str]]) -> (OriginChain, Vec<ReceivedCommit>) {
    let mut chain = OriginChain::new(ORIGIN);
    let mut run = Vec::new();
    for (n, scopes) in commits.iter().enumerate() {
        let new = scopes.iter().map(|s| NewEntry { scope: scope(s), body: record(n as u8) }).collect();
        let sealed = chain.append(&key(), Hlc::new(1_000 + n as u64, 0), None, new);
        run.push(received(&sealed));
    }
    (chain, run)
}

fn received(sealed: &SealedCommit) -> ReceivedCommit {
    ReceivedCommit {
        entries: sealed.entries.iter().map(|e| (e.scope.clone(), e.bytes.clone())).collect(),
        seal: Some(Seal { signature: sealed.signature, foreign: Vec::new() }),
    }
}

fn verify(run: Vec<ReceivedCommit>) -> Result<OriginChain, ChainError> {
    let mut chain = OriginChain::new(ORIGIN);
    chain.verify(&key().verifying_key(), View::Whole, run)?;
    Ok(chain)
}

#[test]
fn a_receiver_stands_where_the_writer_stands() {
    let (writer, run) = written(&[&["a"], &["a", "b"], &["b"]]);
    assert_eq!(verify(run.clone()).expect("verifies"), writer);
    let mut unsealed = run;
    unsealed[0].seal = None;
    unsealed[1].seal = None;
    assert_eq!(verify(unsealed).expect("the last seal carries the others"), writer);
}

#[test]
fn tampering_is_found() {
    let (_, run) = written(&[&["a"], &["a", "b"], &["a"]]);
    let check = |what: &str, change: &dyn Fn(&mut Vec<ReceivedCommit>), expected: expect_test::Expect| {
        let mut changed = run.clone();
        change(&mut changed);
        let error = verify(changed).expect_err(what).to_string();
        expected.assert_eq(&error);
    };
    check(
        "another amount",
        &|r| *r[1].entries[0].1.last_mut().expect("a byte") ^= 1,
        expect!["the seal of commit 2 does not hold"],
    );
    check("left out", &|r| drop(r.remove(1)), expect!["commit 3 where 2 was due"]);
    check("a part left out", &|r| drop(r[1].entries.pop()), expect!["the parts of commit 2 do not fit together"]);
    check("parts swapped", &|r| r[1].entries.swap(0, 1), expect!["the parts of commit 2 do not fit together"]);
    check("commits swapped", &|r| r.swap(0, 1), expect!["commit 2 where 1 was due"]);
    check("moved to another scope", &|r| r[2].entries[0].0 = scope("b"), expect!["the seal of commit 3 does not hold"]);
    check("cut off before the seal", &|r| r[2].seal = None, expect!["commit 3 has no seal"]);
    check("nothing in it", &|r| r[0].entries.clear(), expect!["the parts of commit 1 do not fit together"]);
    check("garbage", &|r| r[0].entries[0].1 = vec![0xff], expect!["part 0 of the commit is no entry"]);
    check(
        "another's signature",
        &|r| {
            let other = SigningKey::from_bytes(&[8; 32]);
            let seal = r[2].seal.as_mut().expect("a seal");
            seal.signature = journal::seal::sign(&other, ORIGIN, 3, &verify(run.clone()).expect("verifies").heads);
        },
        expect!["the seal of commit 3 does not hold"],
    );
}

#[test]
fn nothing_is_taken_of_a_run_that_does_not_verify() {
    let (_, mut run) = written(&[&["a"], &["a"]]);
    run[1].entries[0].1 = vec![0];
    let mut chain = OriginChain::new(ORIGIN);
    let before = chain.clone();
    assert!(chain.verify(&key().verifying_key(), View::Whole, run).is_err());
    assert_eq!(chain, before);
}

#[test]
fn whoever_follows_one_scope_still_checks_the_seal() {
    let (writer, run) = written(&[&["a"], &["b"], &["a", "b"], &["a"]]);
    let followed = BTreeSet::from([scope("a")]);
    let partial: Vec<_> = run
        .into_iter()
        .filter_map(|mut commit| {
            commit.entries.retain(|(s, _)| followed.contains(s));
            (!commit.entries.is_empty()).then_some(commit)
        })
        .collect();
    let verify = |foreign: Vec<(Scope, journal::Head)>| {
        let mut run = partial.clone();
        let last = run.len() - 1;
        run[0].seal = None;
        run[1].seal = None;
        run[last].seal.as_mut().expect("a seal").foreign = foreign;
        let mut chain = OriginChain::new(ORIGIN);
        chain.verify(&key().verifying_key(), View::Partial(&followed), run).map(|_| chain)
    };
    let head = |s: &str| (scope(s), writer.heads[&scope(s)]);
    assert_eq!(verify(vec![head("b")]).expect("verifies"), writer);
    assert!(matches!(verify(vec![]), Err(ChainError::Seal(4))), "a tail cut off in the other scope is seen");
    assert!(matches!(verify(vec![head("b"), head("a")]), Err(ChainError::Foreign(4))));
}

#[test]
fn a_chain_binds_origin_and_scope() {
    let other = Origin { incarnation: [3; 16], ..ORIGIN };
    assert_ne!(journal::chain::genesis(ORIGIN, &scope("a")), journal::chain::genesis(other, &scope("a")));
    assert_ne!(journal::chain::genesis(ORIGIN, &scope("a")), journal::chain::genesis(ORIGIN, &scope("b")));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The format that shipped. A failure here means that logs which are out there can no longer be read.
#[test]
fn golden_entry_hash_and_seal() {
    let mut chain = OriginChain::new(ORIGIN);
    let change = Body::Change { document: [9; 16], kind: 1, bytes: vec![1, 2, 3] };
    let new = vec![NewEntry { scope: scope("store/1"), body: record(5) }, NewEntry { scope: scope("catalog"), body: change }];
    let sealed = chain.append(&key(), Hlc::new(1_700_000_000_000, 1), Some([4; 16]), new);
    let seen: Vec<String> =
        sealed.entries.iter().map(|e| format!("{}\n{}", hex(&e.bytes), hex(&e.hash))).chain([hex(&sealed.signature)]).collect();
    expect![[r#"
        a60001011b018bcfe568000001030204500404040404040404040404040404040405010743a10005
        f4a551cc50b9c57b0ef62a5145406863125f4c472cbd718a8bea96e5d93c350a
        a80001011b018bcfe5680000010201030204500404040404040404040404040404040405010743010203085009090909090909090909090909090909
        e23d3f457fd9a3e36f30765d0652f61c629f2a917abc9f875be6197a72faf908
        b097b34977d6c719bc6e4ef975b72f106830284845d86b38fae92716a1cf89606080e782d0dd2b6a72eb91937df773262a208eccea6725eea45fbe5de8365006
    "#]].assert_eq(&(seen.join("\n") + "\n"));
    for chained in &sealed.entries {
        assert_eq!(Entry::decode(&chained.bytes).expect("decodes"), chained.entry);
    }
}

#[test]
fn what_a_newer_program_adds_is_passed_over() {
    let plain = Entry { commit: 1, part: 0, parts: 1, at: Hlc(5), staff: None, body: record(1) };
    let mut bytes = plain.encode();
    bytes[0] += 1; // one more pair in the map
    bytes.extend([0x18, 0x63, 0x61, b'x']); // 99: "x"
    assert_eq!(Entry::decode(&bytes).expect("decodes"), plain);
}

#[test]
fn a_cut_off_or_lengthened_entry_is_refused() {
    let bytes = Entry { commit: 3, part: 1, parts: 2, at: Hlc(9), staff: Some([1; 16]), body: record(2) }.encode();
    for end in 0..bytes.len() {
        assert!(Entry::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    assert!(Entry::decode(&[&bytes[..], &[0]].concat()).is_err());
    assert!(Entry::decode(&vec![0; journal::entry::ENTRY_BYTES_MAX + 1]).is_err());
}

proptest! {
    #[test]
    fn any_entry_round_trips(
        commit in 1u64..,
        part in 0u32..4,
        more in 1u32..4,
        at in any::<u64>(),
        staff in proptest::option::of(any::<[u8; 16]>()),
        document in proptest::option::of(any::<[u8; 16]>()),
        kind in any::<u16>(),
        version in any::<u16>(),
    ) {
        let body = match document {
            Some(document) => Body::Change { document, kind, bytes: vec![1, 2] },
            None => Body::Record { kind, version, bytes: vec![0xa0] },
        };
        let entry = Entry { commit, part, parts: part + more, at: Hlc(at), staff, body };
        let bytes = entry.encode();
        prop_assert!(journal::cbor::check_canonical(&bytes).is_ok());
        prop_assert_eq!(Entry::decode(&bytes).expect("decodes"), entry);
    }

    #[test]
    fn mutants_never_panic_and_never_pass_as_the_original(at in 0usize..60, flip in 1u8..) {
        let (_, mut run) = written(&[&["a", "b"]]);
        let bytes = &mut run[0].entries[0].1;
        let at = at % bytes.len();
        bytes[at] ^= flip;
        prop_assert!(verify(run).is_err());
    }
}
