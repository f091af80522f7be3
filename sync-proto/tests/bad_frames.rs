//! Bytes that are no frame, as a table: what is wrong with them, and the sentence that the connection ends with.
//!
//! `docs/bad-input.md` shows the same rows to people; `rows_are_in_the_page` holds it to them.

use journal::Scope;
use minicbor::Encoder;
use minicbor::bytes::ByteVec;
use sync_proto::batch::{RUN_COMMITS_MAX, RUN_SCOPES_MAX, SEAL_HEADS_MAX};
use sync_proto::frame::{
    Ack, Ask, BODY_BYTES_MAX, CURSORS_MAX, Cursor, FRAME_BYTES_MAX, Frame, Goodbye, Hello, MESSAGE_BYTES_MAX, RECEIPT_BYTES_MAX,
    RUNS_MAX, Reason, ScopeName, Verdict, Welcome, frame_length,
};

/// A frame of commits as it is on the wire, to be spoilt.
#[derive(Clone)]
struct Wire {
    runs: Vec<RunWire>,
}

#[derive(Clone)]
struct RunWire {
    device: Vec<u8>,
    incarnation: Vec<u8>,
    scopes: Vec<(String, u64, Vec<u8>)>,
    commits: Vec<(Vec<EntryWire>, Option<SealWire>)>,
}

/// The place of its scope among the run's, and its bytes.
type EntryWire = (u32, Vec<u8>);

#[derive(Clone)]
struct SealWire {
    signature: Vec<u8>,
    foreign: Vec<(String, u64, Vec<u8>)>,
}

impl Wire {
    fn good() -> Self {
        let seal = SealWire { signature: vec![5; 64], foreign: vec![] };
        let run = RunWire {
            device: vec![1; 16],
            incarnation: vec![2; 16],
            scopes: vec![("store/a".to_owned(), 7, vec![3; 32])],
            commits: vec![(vec![(0, vec![4; 100])], None), (vec![(0, vec![4; 100])], Some(seal))],
        };
        Self { runs: vec![run] }
    }

    fn run(&mut self) -> &mut RunWire {
        &mut self.runs[0]
    }

    fn seal(&mut self) -> &mut SealWire {
        self.run().commits[1].1.as_mut().expect("the last commit is sealed")
    }

    /// The one run of it alone.
    fn one_run(&self) -> Vec<u8> {
        // After a map of one pair, its key, and a list of one.
        self.body()[3..].to_vec()
    }

    /// The CBOR of the body.
    fn body(&self) -> Vec<u8> {
        let heads = |scopes: &[(String, u64, Vec<u8>)]| -> Vec<(String, u64, ByteVec)> {
            scopes.iter().map(|(scope, seq, hash)| (scope.clone(), *seq, hash.clone().into())).collect()
        };
        let mut out = Vec::new();
        let mut e = Encoder::new(&mut out);
        let written = (|| {
            e.map(1)?.u8(0)?.array(self.runs.len() as u64)?;
            for run in &self.runs {
                e.array(4)?.bytes(&run.device)?.bytes(&run.incarnation)?.encode(heads(&run.scopes))?;
                e.array(run.commits.len() as u64)?;
                for (entries, seal) in &run.commits {
                    e.array(2)?.array(entries.len() as u64)?;
                    for (scope, bytes) in entries {
                        e.array(2)?.u32(*scope)?.bytes(bytes)?;
                    }
                    match seal {
                        Some(seal) => e.array(2)?.bytes(&seal.signature)?.encode(heads(&seal.foreign))?.ok()?,
                        None => e.null()?.ok()?,
                    }
                }
            }
            Ok::<_, minicbor::encode::Error<core::convert::Infallible>>(())
        })();
        written.expect("writing to a Vec cannot fail");
        out
    }
}

const WRONG_LENGTH: &str = "a run of commits with an id, hash or signature of the wrong length";
const NO_CBOR: &str = "a frame that does not decode";

/// What is wrong with a run of commits, how it is spoilt, the sentence.
type Run = (&'static str, fn(&mut Wire), &'static str);

#[rustfmt::skip]
const RUNS: &[Run] = &[
    ("A device id of 15 bytes", |w| w.run().device.truncate(15), WRONG_LENGTH),
    ("An incarnation of no bytes", |w| w.run().incarnation.clear(), WRONG_LENGTH),
    ("A hash of 31 bytes", |w| w.run().scopes[0].2.truncate(31), WRONG_LENGTH),
    ("A hash of 33 bytes", |w| w.run().scopes[0].2.push(0), WRONG_LENGTH),
    ("A seal of 63 bytes", |w| w.seal().signature.truncate(63), WRONG_LENGTH),
    ("A seal of no bytes", |w| w.seal().signature.clear(), WRONG_LENGTH),
    ("A scope that is no name", |w| w.run().scopes[0].0 = "../Store".to_owned(), "a run of commits with a scope that is no name"),
    ("A scope of 65 letters", |w| w.run().scopes[0].0 = "s".repeat(65), "a run of commits with a scope that is no name"),
    ("A scope named twice", |w| { let s = w.run().scopes[0].clone(); w.run().scopes.push(s); }, "a run of commits with a scope named twice"),
    ("More than 64 scopes", |w| w.run().scopes = scopes(RUN_SCOPES_MAX + 1), "a run of commits with too many scopes"),
    ("An entry of a scope that the run does not name", |w| w.run().commits[0].0[0].0 = 1, "a run of commits with an entry of a scope it does not name"),
    ("A run of no commits", |w| w.run().commits.clear(), "a run of commits with no commits, or too many"),
    ("A run of 4,097 commits", |w| w.run().commits = vec![(vec![(0, vec![0])], None); RUN_COMMITS_MAX + 1], "a run of commits with no commits, or too many"),
    ("A commit of more parts than a commit has", |w| w.run().commits[0].0 = vec![(0, vec![0]); journal::entry::PARTS_MAX as usize + 1], "a run of commits with too many entries in a commit"),
    ("A seal over more than 4,096 other scopes", |w| w.seal().foreign = scopes(SEAL_HEADS_MAX + 1), "a run of commits with too many scopes in a seal"),
    ("More than 256 runs in a frame", |w| w.runs = vec![w.runs[0].clone(); RUNS_MAX + 1], "a frame with too many runs"),
];

fn scopes(many: usize) -> Vec<(String, u64, Vec<u8>)> {
    (0..many).map(|n| (format!("store/{n}"), 1, vec![3; 32])).collect()
}

/// What is wrong with a frame, what follows its length, the sentence.
type Bad = (&'static str, fn() -> Vec<u8>, &'static str);

#[rustfmt::skip]
const FRAMES: &[Bad] = &[
    ("An empty frame", Vec::new, "a frame of 0 bytes, not 2 to 1048576"),
    ("A frame of one byte", || vec![2], "a frame of 1 bytes, not 2 to 1048576"),
    ("A frame of more than 1 MiB", || vec![0; FRAME_BYTES_MAX + 1], "a frame of 1048577 bytes, not 2 to 1048576"),
    ("A type of frame that nobody knows", || vec![100, 0, 0xa0], "a frame of unknown type 100"),
    ("Flags that nobody knows", || vec![2, 2, 0xa0], "a frame with unknown flags 0x02"),
    ("A compressed frame that is not compressed", || frame(2, 1, &[0xa0]), "a frame that does not decompress within 4194304 bytes"),
    ("A bomb: 64 MiB in a few kilobytes", || frame(2, 1, &bomb()), "a frame that does not decompress within 4194304 bytes"),
    ("Text that is no CBOR", || frame(3, 0, b"GET / HTTP/1.1\r\n"), NO_CBOR),
    ("Bytes after the end", || frame(3, 0, &[0x82, 1, 1, 0]), "a frame with bytes after its end"),
    ("An acknowledgement of less than nothing", || frame(3, 0, &[0x82, 0x20, 0]), NO_CBOR),
    ("A number that is none", || frame(3, 0, &[0x82, 0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0, 0]), NO_CBOR),
    ("A number of 65 bits", || frame(3, 0, &[0x82, 0xc2, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]), NO_CBOR),
    ("A field too few", || frame(3, 0, &[0x81, 1]), NO_CBOR),
    ("A list that claims a thousand million members", || frame(2, 0, &[0xa1, 0, 0x9a, 0x3b, 0x9a, 0xca, 0]), NO_CBOR),
    ("Bytes that claim four thousand million", || frame(2, 0, &[0xa1, 0, 0x81, 0x84, 0x5a, 0xff, 0xff, 0xff, 0xff]), NO_CBOR),
    ("A sentence that is no text", || frame(4, 0, &[0x82, 0, 0x62, 0xff, 0xfe]), NO_CBOR),
    ("A sentence of 501 letters", || encoded(&Frame::Goodbye(Goodbye { reason: Reason::Busy, message: "x".repeat(MESSAGE_BYTES_MAX + 1), retry_after_ms: None })), "a frame with too long a message"),
    ("A greeting with 65 cursors", || encoded(&hello(CURSORS_MAX + 1)), "a frame with too many cursors"),
    ("A question for a receipt of 65 letters", || encoded(&Frame::Ask(Ask { number: 1, receipt: "x".repeat(RECEIPT_BYTES_MAX + 1) })), "a frame with too long a receipt number"),
    ("A question for a receipt that is no text", || frame(9, 0, &[0xa2, 0, 1, 1, 0x62, 0xff, 0xfe]), NO_CBOR),
    ("An answer of more than 256 runs", || frame(10, 0, &[&[0xa2, 0, 1, 1, 0x99, 0x01, 0x01][..], &Wire::good().one_run().repeat(RUNS_MAX + 1)].concat()), "a frame with too many runs"),
    ("An answer that claims a thousand million runs", || frame(10, 0, &[0xa2, 0, 1, 1, 0x9a, 0x3b, 0x9a, 0xca, 0]), NO_CBOR),
    ("A reason that nobody knows", || frame(4, 0, &[0x82, 0x18, 0x63, 0x60]), NO_CBOR),
];

fn frame(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, flags][..], body].concat()
}

fn bomb() -> Vec<u8> {
    zstd::bulk::compress(&vec![0; 64 << 20], 1).expect("compresses")
}

fn encoded(frame: &Frame) -> Vec<u8> {
    frame.encode().expect("fits")[4..].to_vec()
}

fn hello(cursors: usize) -> Frame {
    let scope = Scope::new("directory").expect("a scope");
    let cursor = Cursor { scope: ScopeName(scope), region_seq: 300 };
    Frame::Hello(Hello {
        version_min: 1,
        version_max: 1,
        incarnation: [1; 16],
        commit: 70_000,
        digest: [2; 32],
        region: Some([3; 16]),
        cursors: vec![cursor; cursors],
        boot: u64::MAX,
        unix_ms: Some(1_790_000_000_000),
        mark: None,
        documents_after: None,
    })
}

/// One frame of every type, and one that is compressed.
fn of_every_type() -> Vec<Vec<u8>> {
    let welcome =
        Welcome { version: 1, region: [1; 16], regional: 9, central: 8, verdict: Verdict::Ok, unix_ms: 1_790_000_000_000 };
    let goodbye = Goodbye { reason: Reason::Refused, message: "ein Satz – mit allem".to_owned(), retry_after_ms: Some(70_000) };
    let small = frame(2, 0, &Wire::good().body());
    let large = zstd::bulk::compress(&Wire::good().body(), 1).expect("compresses");
    vec![
        encoded(&hello(3)),
        encoded(&Frame::Welcome(welcome)),
        small,
        frame(2, 1, &large),
        encoded(&Frame::Ack(Ack { regional: 70_000, central: 300 })),
        encoded(&Frame::Goodbye(goodbye)),
        encoded(&Frame::Ask(Ask { number: 70_000, receipt: "S01-T03b-000123".to_owned() })),
        frame(10, 0, &[&[0xa2, 0, 1, 1, 0x81][..], &Wire::good().one_run()].concat()),
    ]
}

fn refusal(after_length: &[u8]) -> String {
    match Frame::decode(after_length) {
        Ok(frame) => panic!("taken as {frame:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_no_frame_is_refused_with_its_sentence() {
    for (wrong, bytes, sentence) in FRAMES {
        assert_eq!(refusal(&bytes()), *sentence, "{wrong}");
    }
}

#[test]
fn what_is_no_run_is_refused_whole_with_its_sentence() {
    assert!(Frame::decode(&frame(2, 0, &Wire::good().body())).expect("good").is_some());
    for (wrong, spoil, sentence) in RUNS {
        let mut wire = Wire::good();
        spoil(&mut wire);
        assert_eq!(refusal(&frame(2, 0, &wire.body())), *sentence, "{wrong}");
        let compressed = zstd::bulk::compress(&wire.body(), 1).expect("compresses");
        assert_eq!(refusal(&frame(2, 1, &compressed)), *sentence, "{wrong}, compressed");
    }
}

#[test]
fn a_frame_truncated_at_every_byte_is_refused() {
    for whole in of_every_type() {
        Frame::decode(&whole).expect("whole").expect("known");
        for end in 0..whole.len() {
            let told = refusal(&whole[..end]);
            let expected = match (end, whole[1]) {
                (0 | 1, _) => format!("a frame of {end} bytes, not 2 to {FRAME_BYTES_MAX}"),
                // A body of no bytes is the same either way.
                (2, _) | (_, 0) => NO_CBOR.to_owned(),
                _ => format!("a frame that does not decompress within {BODY_BYTES_MAX} bytes"),
            };
            assert_eq!(told, expected, "type {}, cut at {end}", whole[0]);
        }
    }
}

/// Whatever one byte is changed to, the answer is a frame or a sentence, never a crash; and what is taken is well formed.
#[test]
fn a_frame_with_any_byte_changed_is_a_frame_or_refused() {
    for whole in of_every_type() {
        for at in 0..whole.len() {
            for change in [0x01, 0x20, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                if let Ok(Some(frame)) = Frame::decode(&bytes) {
                    let again = frame.encode().expect("what was read can be written");
                    assert_eq!(Frame::decode(&again[4..]).expect("and read again"), Some(frame));
                }
            }
        }
    }
}

#[test]
fn a_length_is_checked_before_anything_is_read() {
    for (length, taken) in
        [(0, false), (1, false), (2, true), (FRAME_BYTES_MAX, true), (FRAME_BYTES_MAX + 1, false), (u32::MAX as usize, false)]
    {
        let told = frame_length((length as u32).to_be_bytes());
        match told {
            Ok(read) => assert!(taken && read == length),
            Err(error) => assert_eq!(error.to_string(), format!("a frame of {length} bytes, not 2 to {FRAME_BYTES_MAX}")),
        }
    }
}

/// What a newer program adds is skipped, however deep it is nested.
#[test]
fn what_is_new_is_skipped_and_cannot_be_too_deep() {
    assert!(matches!(Frame::decode(&frame(0x89, 0, b"anything")), Ok(None)), "a newer frame that may be skipped");
    let deep = [vec![0x83, 1, 1], vec![0x81; 100_000], vec![0xf6]].concat();
    assert_eq!(Frame::decode(&frame(3, 0, &deep)).expect("skipped"), Some(Frame::Ack(Ack { regional: 1, central: 1 })));
}

#[test]
fn rows_are_in_the_page() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/bad-input.md")).expect("the page");
    let rows = FRAMES.iter().map(|(wrong, _, sentence)| (wrong, sentence));
    for (wrong, sentence) in rows.chain(RUNS.iter().map(|(wrong, _, sentence)| (wrong, sentence))) {
        let line = format!("| {wrong} | `protocol` | {sentence} |");
        assert!(page.contains(&line), "docs/bad-input.md has no line that begins: {line}");
    }
}
