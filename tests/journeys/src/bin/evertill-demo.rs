//! `evertill-demo`: a shop on one machine, to look at and to play with. `make demo` builds it and runs it.
//!
//! Everything lives in one folder, `data/demo` unless `EVERTILL_DEMO_DATA` names another, and stays there for the next time.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use domain::record::LINES_MAX;
use journeys::cashier::PATIENCE;
use journeys::stack::binaries::Binaries;
use journeys::stack::central::CentralChoice;
use journeys::stack::client::TillClient;
use journeys::stack::ports::Ports;
use journeys::stack::{MANAGER, Plan, Program, STAFF, Stack, interrupt, sample_catalogue, until};
use node::api::{AdjustLine, Command};

/// A whole Evertill on this machine: PostgreSQL, a sync server, two tills and their printers.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The folder that everything lives in.
    #[arg(long, env = "EVERTILL_DEMO_DATA", default_value = "data/demo")]
    data: PathBuf,
    /// How many tills.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=9))]
    tills: u8,
    /// Take any free ports instead of the ones that people can remember.
    #[arg(long)]
    free_ports: bool,
    /// The products to load the first time: code,name,price,tax_rate_bp.
    #[arg(long)]
    catalogue: Option<PathBuf>,
}

const LOOK: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    match demo(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Ctrl-C may also reach a step that then fails by itself.
        Err(_) if interrupt::happened() => {
            say("\nStopped.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("\nevertill-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(arguments: Arguments) -> Result<()> {
    interrupt::listen()?;
    let began = Instant::now();
    let catalogue = arguments.catalogue.unwrap_or_else(sample_catalogue);
    let plan = Plan {
        folder: Some(arguments.data),
        central: CentralChoice::Environment,
        ports: if arguments.free_ports { Ports::Free } else { Ports::Friendly },
        tills: arguments.tills.into(),
        printers: true,
        links: false,
        neighbours: true,
        catalogue: Some(catalogue.clone()),
        binaries: Binaries::find()?,
    };
    let mut stack = plan.start(&mut |step| say(&format!("  {step}")))?;
    if let Some(till) = stack.tills.first() {
        fill_shelves(till.client(), &catalogue)?;
    }
    print_addresses(&stack, began.elapsed());

    watch(&mut stack);
    say("\nStopping everything that was started ...");
    drop(stack);
    say("Stopped.");
    Ok(())
}

/// The first time, the manager books some of every product into stock at a till, in a short shift without cash.
fn fill_shelves(till: &TillClient, catalogue: &Path) -> Result<()> {
    let view = till.view()?;
    if view.shift.is_some() || view.last_closed_shift.is_some() {
        return Ok(());
    }
    say("  Filling the shelves");
    let codes = csv::Reader::from_path(catalogue)?
        .records()
        .map(|row| Ok(row?.get(0).unwrap_or_default().to_owned()))
        .collect::<Result<Vec<_>>>()?;
    let (name, _, pin) = STAFF[STAFF.len() - 1];
    until("the store's staff", PATIENCE, || Ok(till.sign_in(name, pin).ok()))?;
    if let Some(last) = codes.last() {
        until("the catalogue", PATIENCE, || Ok(till.search(last, 5)?.into_iter().find(|product| product.code == *last)))?;
    }
    till.command(&Command::OpenShift { float_minor: 0, business_day: None })?;
    for (codes, shelf) in codes.chunks(LINES_MAX).zip(1..) {
        let lines = codes.iter().zip(0i64..).map(|(code, n)| {
            let quantity_milli = 1_000 * (6 + n * 7 % 43);
            AdjustLine { code: code.clone(), quantity_milli, unit_price: 0 }
        });
        let reason = format!("opening stock {shelf}");
        till.command(&Command::AdjustStock { lines: lines.collect(), reason, reference: None })?;
    }
    till.command(&Command::CloseShift { counted_minor: 0 })?;
    till.command(&Command::SignOut {})?;
    Ok(())
}

/// Says which program ended, and starts and stops them as the keyboard says, until Ctrl-C.
fn watch(stack: &mut Stack) {
    let typed = keyboard();
    let mut stopped: Vec<Program> = Vec::new();
    while !interrupt::happened() {
        for (program, sentence) in stack.take_ended() {
            say(&format!("\n{sentence}\nThe rest goes on. Enter starts it again."));
            stopped.push(program);
        }
        match typed.recv_timeout(LOOK).as_deref() {
            Ok("s") if !stopped.contains(&Program::Server) => {
                stack.stop(Program::Server);
                stopped.push(Program::Server);
                say("The sync server is stopped. The tills sell on. Enter starts it again.");
            }
            Ok(_) => start_again(stack, &mut stopped),
            Err(RecvTimeoutError::Timeout) => {}
            // Nobody can type any more.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK),
        }
    }
}

fn start_again(stack: &mut Stack, stopped: &mut Vec<Program>) {
    for program in std::mem::take(stopped) {
        match stack.start(program) {
            Ok(()) => match program {
                Program::Server => say("The sync server runs again."),
                Program::Till(at) => say(&format!("{} runs again: {}", stack.tills[at].name, stack.tills[at].page())),
                Program::Printer(at) => say(&format!("{} runs again.", stack.printers[at].name)),
            },
            Err(error) => {
                say(&format!("{error:#}"));
                stopped.push(program);
            }
        }
    }
}

/// The lines that are typed. A program in the background is suspended for reading a terminal, so it does not.
fn keyboard() -> Receiver<String> {
    let (sender, typed) = channel();
    let stdin = std::io::stdin();
    if stdin.is_terminal() && rustix::termios::tcgetpgrp(&stdin) != Ok(rustix::process::getpgrp()) {
        return typed;
    }
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line.trim().to_lowercase()).is_err() {
                return;
            }
        }
    });
    typed
}

fn print_addresses(stack: &Stack, took: Duration) {
    let bold = |text: String| if std::io::stdout().is_terminal() { format!("\x1b[1m{text}\x1b[0m") } else { text };
    say("");
    say(&format!("Evertill is running, {:.1} s after the start. Open these in a browser:", took.as_secs_f64()));
    say("");
    for till in &stack.tills {
        say(&format!("  {:<20}{}", till.name, bold(till.page())));
    }
    say(&format!("  {:<20}{}", "Manager page", bold(format!("{}/", stack.server.web_url()))));
    for printer in &stack.printers {
        say(&format!("  {:<20}{}", format!("Paper of {}", printer.name.to_lowercase()), bold(printer.page())));
    }
    say("");
    let people: Vec<String> =
        STAFF.iter().map(|(name, role, pin)| format!("{name} {pin} ({})", role.replace('_', " "))).collect();
    say(&format!("  At a till:            {}", people.join(", ")));
    say(&format!("  At the manager page:  {} with the password {}", MANAGER.0, MANAGER.1));
    say("");
    say(&format!("  Database: {}. Everything is in {}.", stack.central.describe(), stack.folder().display()));
    say("  s and Enter stop the sync server, Enter alone starts it again: see that the tills sell on meanwhile.");
    say("  Ctrl-C stops it all. `make demo` goes on from what is kept; `make clean-demo` forgets it.");
}

/// Prints a line. Whether anybody reads it is no reason to stop a shop.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
