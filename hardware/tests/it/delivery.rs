//! What is known after sending a job, checked against what the paper log says really happened.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hardware::printer::{AckKind, NetworkPrinter, Outcome, Printer, ReceiptPrinter, Status, Timeouts};
use hardware::ticket::{CutKind, Item, Ticket};
use hardware::transport::MemoryTransport;
use hardware::vprinter::{AckFault, Config, Device, Faults, LogEntry, PaperSensor, PaperWidth, VirtualPrinter};
use hardware::{ErrorKind, Fault, JobId, KickOutcome, RenderedJob, encoder, profile};

/// Long enough never to pass where an answer comes, short where silence is the point.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    status: Duration::from_secs(10),
    write: Duration::from_secs(10),
    ack: Duration::from_secs(10),
    close: Duration::from_secs(10),
};
/// For a printer that will not confirm.
const SHORT_ACK: Timeouts = Timeouts { ack: Duration::from_millis(200), ..TIMEOUTS };
/// For a printer that will not answer at all.
const SHORT_STATUS: Timeouts = Timeouts { status: Duration::from_millis(200), ..TIMEOUTS };

fn ticket() -> Ticket {
    let mut items: Vec<Item> = (1..=20).map(|n| Item::pair(format!("Item {n}"), format!("{n}.00"))).collect();
    items.push(Item::Cut { cut: CutKind::Partial });
    Ticket::new(items)
}

fn job(number: u8, profile_id: &str) -> RenderedJob {
    encoder::encode(&ticket(), profile::find(profile_id).unwrap(), JobId::from_bytes([number; 16])).unwrap()
}

async fn start() -> VirtualPrinter {
    VirtualPrinter::start(Config::default()).await.unwrap()
}

fn printer(twin: &VirtualPrinter, profile_id: &str, timeouts: Timeouts) -> NetworkPrinter {
    NetworkPrinter::new(twin.address().to_string(), profile::find(profile_id).unwrap(), timeouts)
}

/// The process ids on each piece of paper that came out.
fn papers(twin: &VirtualPrinter) -> Vec<Vec<String>> {
    twin.log()
        .into_iter()
        .filter_map(|entry| match entry {
            LogEntry::Receipt { jobs, .. } => Some(jobs),
            LogEntry::Pulse { .. } => None,
        })
        .collect()
}

async fn until(twin: &VirtualPrinter, seen: impl FnMut(&VirtualPrinter) -> bool) {
    tokio::time::timeout(Duration::from_secs(10), twin.wait_until(seen)).await.expect("the twin gets there");
}

#[tokio::test]
async fn a_printed_job_is_confirmed_by_its_own_id() {
    let twin = start().await;
    let mut printer = printer(&twin, "epson-80", TIMEOUTS);
    assert_eq!(printer.status().await, Status::Online);
    for number in [1, 2] {
        assert_eq!(printer.deliver(&job(number, "epson-80")).await, Outcome::Confirmed(AckKind::ProcessId));
    }
    until(&twin, |twin| twin.receipts().len() == 2).await;
    let ids = [1, 2].map(|number| vec![job(number, "epson-80").process_id.unwrap().to_string()]);
    assert_eq!(papers(&twin), ids);
}

#[tokio::test]
async fn a_host_name_will_do() {
    let twin = start().await;
    let address = format!("localhost:{}", twin.address().port());
    let mut printer = NetworkPrinter::new(address, profile::find("epson-80").unwrap(), TIMEOUTS);
    assert_eq!(printer.deliver(&job(1, "epson-80")).await, Outcome::Confirmed(AckKind::ProcessId));
}

#[tokio::test]
async fn without_paper_nothing_is_sent_and_later_it_prints_once() {
    let twin = start().await;
    let mut printer = printer(&twin, "epson-80", TIMEOUTS);
    twin.set_faults(Faults { paper: PaperSensor::Out, ..Faults::default() });
    assert_eq!(printer.status().await, Status::PaperOut);
    assert_eq!(printer.deliver(&job(1, "epson-80")).await, Outcome::NotSent { cause: Fault::PaperOut });
    assert_eq!(printer.kick_drawer(Duration::from_secs(5)).await, KickOutcome::NotSent { cause: Fault::PaperOut });
    // Anything sent would come out now, with the new roll.
    twin.set_faults(Faults::default());
    assert_eq!(papers(&twin), Vec::<Vec<String>>::new());
    assert_eq!(twin.pulses(), 0);
    assert_eq!(printer.deliver(&job(1, "epson-80")).await, Outcome::Confirmed(AckKind::ProcessId));
    until(&twin, |twin| twin.receipts().len() == 1).await;
}

#[tokio::test]
async fn not_ready_has_names() {
    let twin = start().await;
    let mut printer = printer(&twin, "epson-80", TIMEOUTS);
    let mut deliver = async |faults: Faults| {
        twin.set_faults(faults);
        printer.deliver(&job(1, "epson-80")).await
    };
    let healthy = Faults::default();
    assert_eq!(deliver(Faults { cover_open: true, ..healthy }).await, Outcome::NotSent { cause: Fault::CoverOpen });
    let Outcome::NotSent { cause } = deliver(Faults { cutter_error: true, ..healthy }).await else { panic!("not sent") };
    assert_eq!(cause.kind(), ErrorKind::DeviceError);
    let near_end = deliver(Faults { paper: PaperSensor::NearEnd, ..healthy }).await;
    assert_eq!(near_end, Outcome::Confirmed(AckKind::ProcessId), "there is still paper");
}

#[tokio::test]
async fn nobody_at_the_address() {
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut printer = NetworkPrinter::new(unused.to_string(), profile::find("epson-80").unwrap(), TIMEOUTS);
    let Outcome::NotSent { cause } = printer.deliver(&job(1, "epson-80")).await else { panic!("not sent") };
    assert_eq!(cause.kind(), ErrorKind::Unreachable);
    assert!(matches!(printer.status().await, Status::Unreachable(_)));
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_job_leaves_it_uncertain() {
    let twin = start().await;
    twin.set_faults(Faults { drop_after_bytes: Some(12 + 200), ..Faults::default() });
    let job = job(1, "epson-80");
    let Outcome::Uncertain { accepted, cause } = printer(&twin, "epson-80", TIMEOUTS).deliver(&job).await else {
        panic!("uncertain")
    };
    assert!(accepted > 0 && accepted <= job.bytes.len(), "{accepted}");
    assert_eq!(cause.kind(), ErrorKind::Disconnected);
    assert_eq!(papers(&twin), Vec::<Vec<String>>::new());
}

#[tokio::test]
async fn the_accepted_count_is_exact() {
    let device = Mutex::new(Device::new(PaperWidth::Mm80));
    let transport = MemoryTransport::answering(move |bytes| {
        let mut device = device.lock().unwrap();
        device.receive(bytes);
        device.take_answers()
    });
    let questions = 4 * 3;
    let mut printer = Printer::over(transport.breaking_after(questions + 77), profile::find("epson-80").unwrap(), TIMEOUTS);
    let job = job(1, "epson-80");
    let outcome = printer.deliver(&job).await;
    assert!(matches!(outcome, Outcome::Uncertain { accepted: 77, .. }), "{outcome:?}");
    assert_eq!(printer.transport().written()[questions..], job.bytes[..77]);
}

#[tokio::test]
async fn a_break_before_the_first_byte_is_not_sent() {
    let answers = MemoryTransport::answering(|_| vec![0x12]).breaking_after(12);
    let mut printer = Printer::over(answers, profile::find("epson-80").unwrap(), TIMEOUTS);
    assert!(matches!(printer.deliver(&job(1, "epson-80")).await, Outcome::NotSent { .. }));
    let refusing = MemoryTransport::mute().refusing();
    let mut printer = Printer::over(refusing, profile::find("epson-80").unwrap(), TIMEOUTS);
    let Outcome::NotSent { cause } = printer.deliver(&job(1, "epson-80")).await else { panic!("not sent") };
    assert_eq!(cause.kind(), ErrorKind::Unreachable);
}

#[tokio::test]
async fn printed_but_not_answered_is_uncertain() {
    let twin = start().await;
    for (faults, kind) in [
        (Faults { ack: AckFault::Silent, ..Faults::default() }, ErrorKind::NoAnswer),
        (Faults { ack: AckFault::HangUp, ..Faults::default() }, ErrorKind::Disconnected),
    ] {
        twin.set_faults(faults);
        let job = job(1, "epson-80");
        let Outcome::Uncertain { accepted, cause } = printer(&twin, "epson-80", SHORT_ACK).deliver(&job).await else {
            panic!("uncertain")
        };
        assert_eq!((accepted, cause.kind()), (job.bytes.len(), kind));
    }
    until(&twin, |twin| twin.receipts().len() == 2).await;
}

#[tokio::test]
async fn paper_that_runs_out_on_the_way_is_named_and_the_rest_follows() {
    let twin = start().await;
    twin.set_faults(Faults { paper_out_after_lines: Some(5), ..Faults::default() });
    let job = job(1, "epson-80");
    let outcome = printer(&twin, "epson-80", SHORT_ACK).deliver(&job).await;
    assert_eq!(outcome, Outcome::Uncertain { accepted: job.bytes.len(), cause: Fault::PaperOut });
    assert!(papers(&twin).is_empty());
    twin.set_faults(Faults::default());
    let id = job.process_id.unwrap().to_string();
    assert_eq!(papers(&twin), [[id]], "the printer kept the rest, so sending again would have doubled it");
}

#[tokio::test]
async fn a_mute_printer_depends_on_what_its_profile_promises() {
    let twin = start().await;
    twin.set_faults(Faults { mute: true, ..Faults::default() });
    let mut strict = printer(&twin, "epson-80", SHORT_STATUS);
    assert_eq!(strict.status().await, Status::Mute);
    let Outcome::NotSent { cause } = strict.deliver(&job(1, "epson-80")).await else { panic!("not sent") };
    assert_eq!(cause.kind(), ErrorKind::NoAnswer);

    let mut tolerant = printer(&twin, "generic-58", SHORT_STATUS);
    assert_eq!(tolerant.deliver(&job(2, "generic-58")).await, Outcome::SentUnconfirmed);
    until(&twin, |twin| twin.receipts().len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn silence_costs_the_deadlines_and_no_more() {
    let started = tokio::time::Instant::now();
    let mut printer = Printer::over(MemoryTransport::mute(), profile::find("epson-80").unwrap(), Timeouts::default());
    assert!(matches!(printer.deliver(&job(1, "epson-80")).await, Outcome::NotSent { .. }));
    assert_eq!(started.elapsed().as_secs(), Timeouts::default().status.as_secs());
    assert_eq!(printer.transport().written(), [0x10, 0x04, 1], "nothing but the question");
}

#[tokio::test]
async fn a_stale_answer_confirms_nothing() {
    let other = JobId::from_bytes([9; 16]).process_id();
    let sent = Arc::new(Mutex::new(0));
    let transport = MemoryTransport::answering(move |bytes| {
        *sent.lock().unwrap() += 1;
        if bytes.starts_with(&[0x10, 0x04]) { vec![0x12] } else { [&[0x37, 0x22], other.as_bytes().as_slice(), &[0]].concat() }
    });
    let mut printer = Printer::over(transport, profile::find("epson-80").unwrap(), SHORT_ACK);
    assert!(matches!(printer.deliver(&job(1, "epson-80")).await, Outcome::Uncertain { .. }));
}

#[tokio::test]
async fn one_kick_is_one_pulse() {
    let twin = start().await;
    let mut printer = printer(&twin, "epson-80", TIMEOUTS);
    assert_eq!(printer.kick_drawer(Duration::from_secs(5)).await, KickOutcome::Sent);
    until(&twin, |twin| twin.pulses() == 1).await;
    assert_eq!(printer.deliver(&job(1, "epson-80")).await, Outcome::Confirmed(AckKind::ProcessId));
    let pulses: Vec<(u8, u16)> = twin
        .log()
        .iter()
        .filter_map(|entry| match entry {
            LogEntry::Pulse { pin, on_ms, .. } => Some((*pin, *on_ms)),
            LogEntry::Receipt { .. } => None,
        })
        .collect();
    assert_eq!(pulses, [(2, 100)]);
}

#[tokio::test(start_paused = true)]
async fn a_kick_that_took_too_long_is_not_sent() {
    // The mute printer uses up the whole time allowed for opening the drawer.
    let mut printer = Printer::over(MemoryTransport::mute(), profile::find("generic-58").unwrap(), Timeouts::default());
    let KickOutcome::NotSent { cause } = printer.kick_drawer(Duration::from_millis(500)).await else { panic!("expired") };
    assert_eq!(cause.kind(), ErrorKind::TimedOut);
    assert_eq!(printer.transport().written(), [0x10, 0x04, 1]);
}

#[tokio::test]
async fn a_kick_that_breaks_is_never_called_sent() {
    let answers = MemoryTransport::answering(|_| vec![0x12]).breaking_after(12 + 3);
    let mut printer = Printer::over(answers, profile::find("epson-80").unwrap(), TIMEOUTS);
    let outcome = printer.kick_drawer(Duration::from_secs(5)).await;
    assert!(matches!(outcome, KickOutcome::Uncertain { accepted: 3, .. }), "{outcome:?}");
}
