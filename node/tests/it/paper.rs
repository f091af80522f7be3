//! Receipts and the drawer, with a printer that does what the test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hardware::{AckKind, Fault, KickOutcome, Outcome, Profile, ReceiptPrinter, RenderedJob, Status};
use node::api::{ApiErrorCode as Code, Command, DrawerState, Event, PrintState, TillView};
use node::handle::Node;
use node::print_queue;
use node::till::Till;
use tokio::sync::watch;

use crate::shop::*;

/// What the printer will do and what it did.
#[derive(Default)]
struct Script {
    outcomes: VecDeque<Outcome>,
    statuses: VecDeque<Status>,
    kicks: VecDeque<KickOutcome>,
    printed: Vec<[u8; 16]>,
    kicked: usize,
    expiries: Vec<Duration>,
}

#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

impl Scripted {
    fn with<T>(&self, f: impl FnOnce(&mut Script) -> T) -> T {
        f(&mut self.0.lock().expect("no test panicked with it"))
    }
}

impl ReceiptPrinter for Scripted {
    fn profile(&self) -> &'static Profile {
        hardware::profile::find("epson-80").expect("a profile")
    }

    async fn status(&mut self) -> Status {
        self.with(|s| s.statuses.pop_front().unwrap_or(Status::Online))
    }

    async fn deliver(&mut self, job: &RenderedJob) -> Outcome {
        self.with(|s| {
            let outcome = s.outcomes.pop_front().unwrap_or(Outcome::Confirmed(AckKind::ProcessId));
            if !matches!(outcome, Outcome::NotSent { .. }) {
                s.printed.push(*job.job.as_bytes());
            }
            outcome
        })
    }

    async fn kick_drawer(&mut self, expires: Duration) -> KickOutcome {
        self.with(|s| {
            s.kicked += 1;
            s.expiries.push(expires);
            s.kicks.pop_front().unwrap_or(KickOutcome::Sent)
        })
    }
}

fn shop() -> (Shop, Till) {
    let (mut shop, till) = Shop::stocked();
    drop(till);
    shop.options.printing = true;
    let mut till = shop.reopen();
    till.sign_in(LEAD);
    till.open();
    (shop, till)
}

/// Runs the worker beside the till until `until` holds of what the screen shows.
async fn print(till: Till, printer: &Scripted, until: impl Fn(&TillView) -> bool) -> (Node, TillView) {
    let node = Node::inline(till);
    let (stop, stopping) = watch::channel(false);
    let mut events = node.events();
    let worker = tokio::spawn(print_queue::run(node.clone(), printer.clone(), stopping));
    let view = loop {
        let view = node.with(|till| till.view().expect("a view")).await.expect("a till");
        if until(&view) {
            break view;
        }
        let told = tokio::time::timeout(Duration::from_secs(60), events.recv()).await;
        told.expect("the worker does something").expect("events");
    };
    stop.send_replace(true);
    worker.await.expect("the worker ends");
    (node, view)
}

fn state(view: &TillView) -> Option<PrintState> {
    view.last_order.as_ref().and_then(|o| o.print)
}

fn states(till: &Till) -> Vec<(String, String)> {
    let db = till.db().expect("the database");
    let mut select = db.prepare("SELECT state, coalesce(problem, '') FROM print_job ORDER BY n").expect("jobs");
    let rows = select.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).expect("jobs");
    rows.collect::<Result<_, _>>().expect("jobs")
}

#[tokio::test(start_paused = true)]
async fn a_sale_is_queued_with_it_and_printed_beside_it() {
    let (_shop, mut till) = shop();
    till.scan("22423", 1);
    let view = till.pay();
    let queued = &view.print_jobs[0];
    assert_eq!((queued.title.as_str(), queued.state), ("S01-T03a-000001", PrintState::Queued));
    assert_eq!((state(&view), view.last_order.as_ref().and_then(|o| o.drawer)), (Some(PrintState::Queued), None));
    let printer = Scripted::default();
    let (_, view) = print(till, &printer, |v| state(v) == Some(PrintState::Confirmed)).await;
    assert!(view.print_jobs.is_empty());
    assert_eq!(view.last_order.and_then(|o| o.drawer), Some(DrawerState::Kicked));
    assert_eq!(printer.with(|s| (s.printed.len(), s.kicked)), (1, 1));
    assert!(printer.with(|s| s.expiries[0] <= Duration::from_secs(5)));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_waits_for_the_printer_and_is_printed_once() {
    let (_shop, mut till) = shop();
    till.scan("22423", 1);
    till.pay();
    till.scan("22423", 2);
    till.pay();
    let printer = Scripted::default();
    printer.with(|s| {
        s.outcomes.push_back(Outcome::NotSent { cause: Fault::PaperOut });
        s.statuses.extend([Status::PaperOut, Status::CoverOpen, Status::PaperOut]);
    });
    let (node, _) = print(till, &printer, |v| v.print_jobs.is_empty()).await;
    assert_eq!(printer.with(|s| s.printed.len()), 2);
    let (attempts, states) = node
        .with(|till| {
            let db = till.db().expect("the database");
            let attempts: i64 = db.query_row("SELECT count(*) FROM print_attempt", [], |r| r.get(0)).expect("a count");
            (attempts, states(till))
        })
        .await
        .expect("a till");
    assert_eq!(attempts, 3, "nothing was attempted while the printer said that it cannot");
    assert!(states.iter().all(|(state, problem)| state == "confirmed" && problem.is_empty()), "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn why_nothing_prints_is_shown() {
    let (_shop, mut till) = shop();
    till.scan("22423", 1);
    till.pay();
    let printer = Scripted::default();
    printer.with(|s| {
        s.outcomes.push_back(Outcome::NotSent { cause: Fault::PaperOut });
        s.statuses.extend(std::iter::repeat_n(Status::CoverOpen, 99));
    });
    let cover =
        |v: &TillView| v.print_jobs.iter().any(|j| j.problem.as_deref() == Some("the cover of the printer is open: close it"));
    let (_, view) = print(till, &printer, cover).await;
    assert_eq!(view.print_jobs[0].state, PrintState::Queued);
}

#[tokio::test(start_paused = true)]
async fn what_is_uncertain_is_asked_and_another_print_says_copy() {
    let (_shop, mut till) = shop();
    for _ in 0..2 {
        till.scan("22423", 1);
        till.pay();
    }
    let printer = Scripted::default();
    let uncertain = || Outcome::Uncertain { accepted: 900, cause: Fault::Offline };
    printer.with(|s| s.outcomes.extend([uncertain(), uncertain()]));
    let both = |v: &TillView| v.print_jobs.iter().filter(|j| j.state == PrintState::Uncertain).count() == 2;
    let (node, view) = print(till, &printer, both).await;
    assert_eq!(printer.with(|s| s.printed.len()), 2, "an uncertain receipt holds up nobody and is not sent again by itself");
    let [first, second] = [view.print_jobs[0].id, view.print_jobs[1].id];
    let view = node.command(Command::ResolvePrint { job: first, came_out: true }).await.expect("an answer");
    assert_eq!(view.print_jobs.len(), 1);
    let again = node.command(Command::ResolvePrint { job: first, came_out: false }).await.expect_err("answered before");
    assert_eq!(again.code, Code::NoSuchPrintJob);
    let view = node.command(Command::ResolvePrint { job: second, came_out: false }).await.expect("an answer");
    assert_eq!((view.print_jobs.len(), view.print_jobs[0].title.as_str()), (1, "S01-T03a-000002 COPY 1"));
    let (states, document) = node
        .with(|till| {
            let db = till.db().expect("the database");
            let document: String =
                db.query_row("SELECT document FROM print_job ORDER BY n DESC LIMIT 1", [], |r| r.get(0)).expect("a document");
            (states(till), document)
        })
        .await
        .expect("a till");
    let words: Vec<_> = states.iter().map(|(state, _)| state.as_str()).collect();
    assert_eq!(words, ["accepted", "reprinted", "queued"]);
    let ticket = serde_json::from_str(&document).expect("a ticket");
    let text = hardware::encoder::plain_text(&ticket, 48).expect("text");
    assert!(text.matches("COPY 1").count() == 2 && text.contains("S01-T03a-000002"), "{text}");
}

#[test]
fn what_was_being_sent_when_the_till_stopped_is_uncertain() {
    let (shop, mut till) = shop();
    till.scan("22423", 1);
    till.pay();
    let work = till.next_print().expect("the queue").expect("a receipt");
    till.begin_print(work.n, "epson-80", [0; 32]).expect("an attempt");
    drop(till);
    let mut till = shop.reopen();
    let job = till.view().expect("a view").print_jobs.remove(0);
    assert_eq!((job.state, job.problem.is_some()), (PrintState::Uncertain, true));
    assert_eq!(till.next_print().expect("the queue"), None, "it is not sent again by itself");
    till.sign_in(LEAD);
    let view = till.must(Command::ResolvePrint { job: job.id, came_out: false });
    assert_eq!(view.print_jobs[0].state, PrintState::Queued);
    till.tidy().expect("tidied");
    drop(till);
    assert_eq!(shop.reopen().view().expect("a view").print_jobs, view.print_jobs);
}

/// Nothing was written between the backup and its return, but a receipt has come out: it does not come out as an original again.
#[test]
fn a_receipt_that_came_out_after_the_backup_is_asked_about() {
    let (shop, mut till) = shop();
    till.scan("22423", 1);
    till.pay();
    drop(till);
    let kept = std::fs::read(shop.folder("replica/replica.db")).expect("read");
    let mut till = shop.reopen();
    let before = till.own_chain().commit;
    let work = till.next_print().expect("the queue").expect("a receipt");
    let attempt = till.begin_print(work.n, "epson-80", [0; 32]).expect("an attempt");
    till.end_print(work.n, attempt, &node::till::PrintOutcome::Confirmed).expect("noted");
    assert_eq!(till.own_chain().commit, before, "printing writes no entry");
    drop(till);
    std::fs::write(shop.folder("replica/replica.db"), kept).expect("written");
    let till = shop.reopen();
    assert_eq!(till.next_print().expect("the queue"), None, "it is not sent again by itself");
    assert_eq!(till.view().expect("a view").print_jobs[0].state, PrintState::Uncertain);
    drop(till);
    // It is asked once: what is sold from now on waits for the printer as ever, over the next start too.
    let mut till = shop.reopen();
    till.sign_in(LEAD);
    till.scan("22423", 1);
    till.pay();
    drop(till);
    assert!(shop.reopen().next_print().expect("the queue").is_some());
}

/// A printer that is off for days: the screen lists a few, and what comes back from the disk is what was in memory.
#[test]
fn many_receipts_that_wait_are_listed_in_part_and_counted() {
    let (shop, mut till) = shop();
    let most = node::api::PRINT_JOBS_SHOWN_MAX;
    for _ in 0..most + 2 {
        till.scan("22423", 1);
        till.pay();
    }
    // One in the middle came out, or did not: it leaves the list.
    let work = till.next_print().expect("the queue").expect("a receipt");
    let attempt = till.begin_print(work.n, "epson-80", [0; 32]).expect("an attempt");
    till.end_print(work.n, attempt, &node::till::PrintOutcome::Confirmed).expect("noted");
    let view = till.view().expect("a view");
    assert_eq!((view.print_jobs.len(), view.print_jobs_more), (most, 1));
    till.tidy().expect("tidied");
    drop(till);
    let again = shop.reopen().view().expect("a view");
    assert_eq!((again.print_jobs, again.print_jobs_more), (view.print_jobs, 1));
}

#[test]
fn a_reprint_is_a_numbered_copy_of_the_same_receipt() {
    let (_shop, mut till) = shop();
    till.scan("22423", 1);
    let order = till.pay().last_order.expect("a sale").order;
    for copy in 1..3 {
        let view = till.must(Command::Reprint { order });
        assert_eq!(view.print_jobs.last().map(|j| j.title.clone()), Some(format!("S01-T03a-000001 COPY {copy}")));
    }
    let unknown = domain::ids::OrderId::new(1, [1; 10]);
    assert_eq!(till.refused(Command::Reprint { order: unknown }), Code::NoSuchOrder);
}

#[tokio::test(start_paused = true)]
async fn a_drawer_is_kicked_at_most_once_and_never_late() {
    let (shop, mut till) = shop();
    till.must(Command::OpenDrawer { reason: "change".to_owned() });
    shop.env.pass_ms(5_000);
    till.scan("22423", 1);
    till.pay();
    let printer = Scripted::default();
    printer.with(|s| s.kicks.push_back(KickOutcome::NotSent { cause: Fault::PaperOut }));
    let (node, view) = print(till, &printer, |v| v.print_jobs.is_empty()).await;
    assert_eq!(printer.with(|s| s.kicked), 1, "the old one had expired, and the new one is not tried again");
    assert_eq!(view.last_order.and_then(|o| o.drawer), Some(DrawerState::OpenByKey));
    let kicks = node.with(|till| till.take_kicks().expect("the kicks")).await.expect("a till");
    assert_eq!(kicks, []);
}

#[test]
fn a_kick_that_was_asked_before_a_restart_is_not_sent_after_it() {
    let (shop, mut till) = shop();
    till.scan("22423", 1);
    till.pay();
    drop(till);
    let mut till = shop.reopen();
    assert_eq!(till.take_kicks().expect("the kicks"), []);
}

#[test]
fn without_a_printer_nothing_is_queued() {
    let (_shop, mut till) = Shop::stocked();
    till.sign_in(LEAD);
    till.open();
    till.scan("22423", 1);
    let view = till.pay();
    let order = view.last_order.as_ref().expect("a sale").order;
    assert_eq!((state(&view), view.print_jobs.len(), till.paper_version()), (None, 0, 0));
    assert_eq!(till.refused(Command::Reprint { order }), Code::BadRequest);
}

#[tokio::test]
async fn a_till_on_its_own_thread_answers_and_announces() {
    let (_shop, till) = shop();
    let (node, thread) = Node::start(till).expect("a thread");
    let (mut events, mut grew) = (node.events(), node.log_grew());
    let before = *grew.borrow_and_update();
    node.command(scan("22423", 1)).await.expect("a line");
    assert_eq!(events.recv().await, Ok(Event::TillChanged {}));
    let view = node.with(|till| till.view().expect("a view")).await.expect("a till");
    let settle = Command::SettleCash { order: view.cart.order, tendered_minor: view.cart.total_minor };
    node.command(settle).await.expect("a sale");
    grew.changed().await.expect("a commit");
    assert_eq!(*grew.borrow(), before + 1);
    drop(node);
    thread.join().expect("it ends with the last handle");
}
