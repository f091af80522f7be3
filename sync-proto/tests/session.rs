//! Two ends of a connection, joined by nothing but frames.

use std::collections::BTreeMap;

use journal::{Body, Hlc, NewEntry, Origin, OriginChain, ReceivedCommit, Seal, SigningKey, View};
use sync_proto::batch::Run;
use sync_proto::frame::{
    Ack, Ask, Checkpoint, Commits, DocumentPlace, Documents, Frame, FrameError, Goodbye, Hello, Offered, PING, Reason,
    SavedDocument, ScopeName, Taken, Told, Verdict, Wanted, Welcome, frame_length,
};
use sync_proto::scopes;
use sync_proto::session::{DeviceEvent, DevicePosition, DeviceSession, KnownPosition, ServerEvent, ServerSession, SessionError};

const ORIGIN: Origin = Origin { device: [1; 16], incarnation: [2; 16] };
const REGION: [u8; 16] = [9; 16];

/// A device's log of so many one-record commits.
fn log(commits: u64) -> (OriginChain, Vec<ReceivedCommit>) {
    let key = SigningKey::from_bytes(&[7; 32]);
    let mut chain = OriginChain::new(ORIGIN);
    let commits = (0..commits)
        .map(|n| {
            let body = Body::Record { kind: 1, version: 1, bytes: vec![0xa0] };
            let sealed = chain.append(&key, Hlc::new(n, 0), None, vec![NewEntry { scope: scopes::catalogue(), body }]);
            let entries = sealed.entries.into_iter().map(|e| (e.scope, e.bytes)).collect();
            ReceivedCommit { entries, seal: Some(Seal { signature: sealed.signature, foreign: vec![] }) }
        })
        .collect();
    (chain, commits)
}

fn run_of(commits: &[ReceivedCommit], after: u64) -> Run {
    let mut before = OriginChain::new(ORIGIN);
    let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
    if after > 0 {
        before.verify(&key, View::Whole, commits[..after as usize].to_vec()).expect("verifies");
    }
    let heads = BTreeMap::from([(scopes::catalogue(), before.head(&scopes::catalogue()))]);
    Run { origin: ORIGIN, before: heads, commits: commits[after as usize..].to_vec() }
}

fn position(chain: &OriginChain) -> DevicePosition {
    DevicePosition {
        incarnation: ORIGIN.incarnation,
        commit: chain.commit,
        digest: chain.digest(),
        region: None,
        cursors: vec![],
        boot: 1,
        unix_ms: Some(1_700_000_000_123),
        mark: None,
        documents_after: None,
    }
}

/// Carries a frame over the wire.
fn over_the_wire(frame: Frame) -> Frame {
    let bytes = frame.encode().expect("fits");
    let length = frame_length(bytes[..4].try_into().expect("four bytes")).expect("a length");
    assert_eq!(length, bytes.len() - 4);
    let read = Frame::decode(&bytes[4..]).expect("decodes").expect("a known frame");
    assert_eq!(read, frame);
    read
}

fn carry(device: &mut DeviceSession, server: &mut ServerSession) -> usize {
    let mut carried = 0;
    while let Some(frame) = device.poll_frame() {
        server.handle_frame(over_the_wire(frame)).expect("the server takes it");
        carried += 1;
    }
    while let Some(frame) = server.poll_frame() {
        device.handle_frame(over_the_wire(frame)).expect("the device takes it");
        carried += 1;
    }
    carried
}

fn greeted(chain: &OriginChain, known: KnownPosition) -> (DeviceSession, ServerSession, Verdict) {
    let mut device = DeviceSession::new(position(chain));
    let mut server = ServerSession::new();
    server.handle_frame(over_the_wire(device.poll_frame().expect("a greeting"))).expect("taken");
    assert!(matches!(server.poll_event(), Some(ServerEvent::Greeted(_))));
    let verdict = server.welcome(REGION, known, 0);
    (device, server, verdict)
}

fn known(regional: u64) -> KnownPosition {
    KnownPosition { regional, central: 0, agrees: None }
}

#[test]
fn a_backlog_goes_up_and_is_acknowledged_twice() {
    let (chain, commits) = log(5);
    let (mut device, mut server, verdict) = greeted(&chain, known(2));
    assert_eq!((verdict, device.wants_after()), (Verdict::Ok, None));
    carry(&mut device, &mut server);
    assert!(matches!(device.poll_event(), Some(DeviceEvent::Welcomed { welcome }) if welcome.regional == 2));
    assert_eq!(device.wants_after(), Some(2));
    device.send(run_of(&commits, 2), 5);
    assert_eq!(device.wants_after(), None);
    carry(&mut device, &mut server);
    assert_eq!(server.poll_event(), Some(ServerEvent::Received(run_of(&commits, 2))));
    server.stored(Ack { regional: 5, central: 0 });
    server.stored(Ack { regional: 5, central: 4 });
    server.stored(Ack { regional: 3, central: 4 });
    assert_eq!(carry(&mut device, &mut server), 2, "what is no news is not said again");
    assert_eq!(device.poll_event(), Some(DeviceEvent::Acked(Ack { regional: 5, central: 0 })));
    assert_eq!(device.poll_event(), Some(DeviceEvent::Acked(Ack { regional: 5, central: 4 })));
}

#[test]
fn a_reconnect_with_nothing_new_is_one_small_round_trip() {
    let (chain, _) = log(3);
    let known = KnownPosition { regional: 3, central: 3, agrees: Some(true) };
    let mut device = DeviceSession::new(position(&chain));
    let mut server = ServerSession::new();
    let hello = device.poll_frame().expect("a greeting");
    let mut bytes = hello.encode().expect("fits").len();
    server.handle_frame(hello).expect("taken");
    server.welcome(REGION, known, 0);
    let welcome = server.poll_frame().expect("an answer");
    bytes += welcome.encode().expect("fits").len();
    device.handle_frame(welcome).expect("taken");
    assert!(device.poll_frame().is_none() && server.poll_frame().is_none() && device.wants_after().is_none());
    assert!(bytes <= 1024, "{bytes} bytes");
}

#[test]
fn a_restored_or_forked_replica_is_told() {
    let (chain, _) = log(3);
    assert_eq!(greeted(&chain, known(4)).2, Verdict::RolledBack);
    let other = KnownPosition { regional: 3, central: 0, agrees: Some(false) };
    assert_eq!(greeted(&chain, other).2, Verdict::Forked);
}

/// A neighbour brought it before this device did.
#[test]
fn what_is_acknowledged_before_it_was_sent_need_not_be_sent() {
    let (chain, _) = log(3);
    let (mut device, mut server, _) = greeted(&chain, known(1));
    carry(&mut device, &mut server);
    assert_eq!(device.wants_after(), Some(1));
    device.handle_frame(Frame::Ack(Ack { regional: 3, central: 2 })).expect("taken");
    assert_eq!(device.wants_after(), None);
}

#[test]
fn frames_out_of_turn_end_the_connection() {
    let (chain, commits) = log(1);
    let upload = || Frame::Commits(Commits::of(run_of(&commits, 0)));
    assert_eq!(ServerSession::new().handle_frame(upload()), Err(SessionError::OutOfTurn("a run of commits")));
    let mut device = DeviceSession::new(position(&chain));
    assert_eq!(device.handle_frame(Frame::Ack(Ack::default())), Err(SessionError::OutOfTurn("an acknowledgement")));
    let (mut device, mut server, _) = greeted(&chain, known(0));
    carry(&mut device, &mut server);
    let too_far = Frame::Ack(Ack { regional: 2, central: 0 });
    assert_eq!(device.handle_frame(too_far), Err(SessionError::AckBeyondSent { acked: 2, sent: 0 }));
    let goodbye = Goodbye { reason: Reason::Refused, message: "no".into(), retry_after_ms: None };
    assert_eq!(device.handle_frame(Frame::Goodbye(goodbye.clone())), Err(SessionError::Goodbye(goodbye)));
}

/// How the first versions read a goodbye.
#[derive(minicbor::Decode)]
struct OldGoodbye {
    #[n(1)]
    message: String,
}

#[test]
fn a_program_that_knows_no_time_to_come_back_reads_the_goodbye_all_the_same() {
    let mut server = ServerSession::new();
    server.goodbye(Reason::Busy, "full", Some(12_000));
    let bytes = server.poll_frame().expect("a goodbye").encode().expect("fits");
    let old: OldGoodbye = minicbor::decode(&bytes[6..]).expect("reads");
    assert_eq!(old.message, "full");
    // And what such a program says is read here.
    let theirs = Frame::decode(&[4, 0, 0x82, 6, 0x64, b'f', b'u', b'l', b'l']).expect("decodes");
    assert_eq!(theirs, Some(Frame::Goodbye(Goodbye { reason: Reason::Busy, message: "full".into(), retry_after_ms: None })));
}

#[test]
fn commits_say_of_which_scopes_they_are_only_to_a_device_that_takes_that() {
    let (chain, commits) = log(1);
    let (mut device, mut server, _) = greeted(&chain, known(1));
    carry(&mut device, &mut server);
    assert!(server.takes_lanes());
    server.send_of(vec![ScopeName(scopes::catalogue())], vec![run_of(&commits, 0)], 9, None);
    carry(&mut device, &mut server);
    let event = std::iter::from_fn(|| device.poll_event()).last();
    let Some(DeviceEvent::Received { up_to: 9, scopes: Some(of), .. }) = event else { panic!("{event:?}") };
    assert_eq!(of, [scopes::catalogue()]);

    let Some(Frame::Hello(mut hello)) = DeviceSession::new(position(&chain)).poll_frame() else { panic!("a greeting") };
    hello.version_max = 2;
    let mut server = ServerSession::new();
    server.handle_frame(Frame::Hello(hello)).expect("taken");
    assert!(!server.takes_lanes());
}

#[test]
fn a_ping_is_a_frame_that_everybody_skips() {
    assert_eq!(frame_length([PING[0], PING[1], PING[2], PING[3]]).expect("a length"), PING.len() - 4);
    assert!(matches!(Frame::decode(&PING[4..]), Ok(None)));
}

#[test]
fn documents_go_only_to_a_device_that_asked_for_them() {
    let (chain, _) = log(1);
    let greet = |documents_after| {
        let mut device = DeviceSession::new(DevicePosition { documents_after, ..position(&chain) });
        let mut server = ServerSession::new();
        carry(&mut device, &mut server);
        let Some(ServerEvent::Greeted(hello)) = server.poll_event() else { panic!("a greeting") };
        server.welcome(REGION, known(1), 1);
        carry(&mut device, &mut server);
        (device, hello.documents_after)
    };
    let place = DocumentPlace { kind: 1, id: [4; 16] };
    let sent = Documents { documents: vec![SavedDocument { kind: 1, id: [5; 16], saved: vec![1, 2, 3] }], until: Some(7) };
    let (mut asked, after) = greet(Some(place));
    assert_eq!(after, Some(place));
    asked.handle_frame(over_the_wire(Frame::Documents(sent.clone()))).expect("it asked");
    assert_eq!(std::iter::from_fn(|| asked.poll_event()).last(), Some(DeviceEvent::Documents(sent.clone())));
    let (mut silent, after) = greet(None);
    assert_eq!(after, None);
    assert_eq!(silent.handle_frame(Frame::Documents(sent)), Err(SessionError::OutOfTurn("documents")));
}

#[test]
fn questions_go_only_to_a_server_that_answers_them() {
    let (chain, commits) = log(3);
    let greet = |versions| {
        let mut device = DeviceSession::new(position(&chain));
        let mut server = ServerSession::speaking(versions);
        carry(&mut device, &mut server);
        let Some(ServerEvent::Greeted(_)) = server.poll_event() else { panic!("a greeting") };
        server.welcome(REGION, known(3), 1);
        carry(&mut device, &mut server);
        (device, server)
    };
    let (older, mut older_server) = greet((1, 3));
    assert!(!older.takes_questions());
    let ask = Ask { number: 7, receipt: "S01-T03b-000123".to_owned() };
    let out_of_turn = Err(SessionError::OutOfTurn("a question, or an answer"));
    assert_eq!(older_server.handle_frame(Frame::Ask(ask.clone())), out_of_turn);

    let (mut device, mut server) = greet((1, 4));
    assert!(device.takes_questions());
    let told = Told { number: 7, runs: vec![run_of(&commits, 1)] };
    assert_eq!(device.handle_frame(Frame::Told(told.clone())), out_of_turn, "nothing was asked");
    device.ask(ask.clone());
    carry(&mut device, &mut server);
    assert_eq!(server.poll_event(), Some(ServerEvent::Asked(ask)));
    server.tell(told.clone());
    carry(&mut device, &mut server);
    assert_eq!(std::iter::from_fn(|| device.poll_event()).last(), Some(DeviceEvent::Told(told.clone())));
    assert_eq!(device.handle_frame(Frame::Told(told)), out_of_turn, "it was answered");
}

#[test]
fn a_newer_device_is_answered_in_the_common_version_and_a_foreign_one_is_not() {
    let (chain, _) = log(0);
    let hello = |min, max| {
        let Some(Frame::Hello(mut hello)) = DeviceSession::new(position(&chain)).poll_frame() else { panic!("a greeting") };
        (hello.version_min, hello.version_max) = (min, max);
        ServerSession::new().handle_frame(Frame::Hello(hello))
    };
    assert_eq!(hello(1, 1), Ok(()), "one version behind");
    assert_eq!(hello(2, 5), Ok(()), "one version ahead");
    assert_eq!(hello(5, 6), Err(SessionError::Version { theirs_min: 5, theirs_max: 6 }));
    assert_eq!(hello(0, 0), Err(SessionError::Version { theirs_min: 0, theirs_max: 0 }));
}

#[test]
fn a_frame_cut_off_or_damaged_anywhere_is_refused() {
    let (_, commits) = log(40);
    let frame = Frame::Commits(Commits { runs: vec![run_of(&commits, 0)], up_to: Some(7), mark: None, scopes: None });
    let bytes = frame.encode().expect("fits");
    assert_eq!(bytes[5], 1, "it is compressed");
    for end in 4..bytes.len() {
        assert!(Frame::decode(&bytes[4..end]).is_err(), "cut at {end}");
    }
    let check = |kind: u8, flags: u8| Frame::decode(&[kind, flags, 0xa0]);
    assert!(matches!(check(100, 0), Err(FrameError::Type(100))));
    assert!(matches!(check(0x89, 0), Ok(None)), "a newer frame that may be skipped");
    assert!(matches!(check(0, 2), Err(FrameError::Flags(2))));
    assert!(matches!(check(0, 1), Err(FrameError::Zstd)));
    assert!(frame_length([0, 0, 0, 1]).is_err() && frame_length([0xff; 4]).is_err());
}

#[test]
fn a_compressed_bomb_is_refused_before_it_unfolds() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).expect("compresses");
    let frame = [&[2, 1][..], &bomb].concat();
    assert!(frame.len() < 100_000);
    assert!(matches!(Frame::decode(&frame), Err(FrameError::Zstd)));
}

/// A greeting as it was before devices told their clock, and as it is since.
#[test]
fn greetings_of_old_and_new_programs_read_each_other() {
    let (chain, _) = log(0);
    let Some(Frame::Hello(new)) = DeviceSession::new(position(&chain)).poll_frame() else { panic!("a greeting") };
    let old = Hello { unix_ms: None, ..new.clone() };
    let bytes = |hello: &Hello| Frame::Hello(hello.clone()).encode().expect("fits");
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let common = "00010104025002020202020202020202020202020202030004";
    let (new_bytes, old_bytes) = (hex(&bytes(&new)), hex(&bytes(&old)));
    // length, type, flags, then a map of eight pairs and of seven: no region, and in the older one no clock.
    assert_eq!(&new_bytes[8..14], "0000a8", "{new_bytes}");
    assert_eq!(&old_bytes[8..14], "0000a7", "{old_bytes}");
    assert!(new_bytes[14..].starts_with(common) && new_bytes.ends_with("06800701081b0000018bcfe5687b"), "{new_bytes}");
    assert_eq!(old_bytes[14..], new_bytes[14..new_bytes.len() - 20], "nothing else changed");
    let read = |bytes: &[u8]| Frame::decode(&bytes[4..]).expect("decodes").expect("known");
    assert_eq!(read(&bytes(&old)), Frame::Hello(old.clone()));
    // A field of tomorrow is passed over, as today's is by a program of yesterday.
    let mut later = bytes(&old);
    later[6] = 0xa8;
    later.extend_from_slice(&[0x18, 0x63, 0x01]);
    assert_eq!(read(&later), Frame::Hello(old));
}

/// A server of before offers is not sent any, and all else goes as it did.
#[test]
fn a_server_that_is_one_version_behind_is_offered_nothing() {
    let (chain, commits) = log(3);
    let mut device = DeviceSession::new(position(&chain));
    device.poll_frame().expect("a greeting");
    let welcome = |version| Welcome { version, region: REGION, regional: 1, central: 0, verdict: Verdict::Ok, unix_ms: 0 };
    device.handle_frame(over_the_wire(Frame::Welcome(welcome(1)))).expect("taken");
    assert!(!device.takes_offers());
    assert_eq!(device.wants_after(), Some(1));
    device.send(run_of(&commits, 1), 3);
    device.handle_frame(over_the_wire(Frame::Ack(Ack { regional: 3, central: 0 }))).expect("taken");
    let taken = Frame::Taken(Taken { commit: Some(1) });
    assert_eq!(device.handle_frame(over_the_wire(taken)), Err(SessionError::OutOfTurn("an answer to an offer")));

    let mut device = DeviceSession::new(position(&chain));
    device.handle_frame(over_the_wire(Frame::Welcome(welcome(2)))).expect("taken");
    assert!(device.takes_offers());
    let checkpoints = vec![Checkpoint { commit: 3, digest: chain.digest() }];
    device.offer(vec![Offered { device: [4; 16], incarnation: [5; 16], checkpoints }]);
    device.handle_frame(over_the_wire(Frame::Wanted(Wanted { lines: vec![(0, 1)], ..Wanted::default() }))).expect("taken");
    let asked = std::iter::from_fn(|| device.poll_event()).find(|event| matches!(event, DeviceEvent::Wanted(_)));
    assert_eq!(asked, Some(DeviceEvent::Wanted(Wanted { lines: vec![(0, 1)], ..Wanted::default() })));
    device.bring(run_of(&commits, 1));
    let sent: Vec<_> = std::iter::from_fn(|| device.poll_frame()).map(over_the_wire).collect();
    assert!(matches!(sent[..], [Frame::Hello(_), Frame::Offer(_), Frame::Commits(_)]), "{sent:?}");
}

/// The checkpoints of an earlier incarnation: its end, and from there ever further back.
#[test]
fn checkpoints_go_back_in_steps_that_double() {
    let of = |last| sync_proto::session::checkpoints(last).collect::<Vec<_>>();
    assert_eq!(of(0), []);
    assert_eq!(of(1), [1]);
    assert_eq!(of(10), [10, 9, 8, 6, 2]);
    assert!(of(u64::MAX).len() <= sync_proto::frame::CHECKPOINTS_MAX);
}
