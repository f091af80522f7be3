//! The running programs of a replay, and what happens to them.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sync_server::web_api::{GroupBy, SalesRow};

use super::catalogue::Catalogue;
use super::clerk::{Counter, Screen};
use super::meter::Meter;
use super::plan::{DaySums, Plan};
use super::script::Fault;
use super::sums::Ledger;
use crate::stack::binaries::Binaries;
use crate::stack::central::CentralChoice;
use crate::stack::client::{TillClient, TillError};
use crate::stack::ports::Ports;
use crate::stack::{self, STAFF, Stack};

/// How long a fresh till may take to receive its store, staff and catalogue.
const CATALOGUE_WAIT: Duration = Duration::from_secs(300);
/// How long the coverage line may take to say that everything is there: longer than a till needs to notice that its server was
/// restarted.
const COVERAGE_WAIT: Duration = Duration::from_secs(120);
/// How many days of the manager's report are asked for at once.
const REPORT_DAYS_MAX: i64 = 366;

/// The programs, and what is remembered between a misfortune and its end.
pub struct World {
    stack: Stack,
    /// How many invoices till 2 had entered when it was cut.
    entered_at_cut: u64,
    /// How many invoices till 1 had entered when Postgres was stopped.
    entered_at_stop: u64,
    _catalogue: tempfile::TempDir,
}

impl World {
    /// Starts everything, with the plan's catalogue, and signs a manager in at both tills.
    pub fn start(plan: &Plan, keep: Option<&Path>, tell: &(dyn Fn(&str) + Sync)) -> Result<Self> {
        if let Some(folder) = keep {
            super::refuse_used(folder)?;
        }
        let catalogue = tempfile::tempdir()?;
        let csv = catalogue.path().join("products.csv");
        plan.catalogue.write_csv(std::fs::File::create(&csv)?)?;
        let stack = stack::Plan {
            folder: keep.map(Path::to_owned),
            central: CentralChoice::Private,
            ports: Ports::Free,
            tills: super::plan::TILLS,
            printers: false,
            links: true,
            neighbours: false,
            catalogue: (!plan.catalogue.is_empty()).then_some(csv),
            binaries: Binaries::find()?,
        };
        let stack = stack.start(&mut |text| tell(text))?;
        tell("Waiting until both tills have the catalogue");
        for till in &stack.tills {
            get_ready(till.client(), &plan.catalogue).with_context(|| till.name.clone())?;
        }
        Ok(Self { stack, entered_at_cut: 0, entered_at_stop: 0, _catalogue: catalogue })
    }

    /// The tills' APIs, in their order.
    pub fn clients(&self) -> Vec<TillClient> {
        self.stack.tills.iter().map(|till| till.client().clone()).collect()
    }

    /// What every till says that it holds.
    ///
    /// # Errors
    /// When a till does not answer.
    pub fn ledgers(&self) -> Result<Vec<Ledger>> {
        let ask = |till: &TillClient| Ok(till.post("/api/query", &json!({"type": "ledger"}))?);
        self.clients().iter().map(ask).collect()
    }

    /// Commits that the server lacks, and that central lacks, by till.
    ///
    /// # Errors
    /// When a till does not answer.
    pub fn waiting(&self) -> Result<Vec<(u64, u64)>> {
        self.clients().iter().map(|till| till.view().map(|v| (v.link.unsent, v.link.not_central)).map_err(Into::into)).collect()
    }

    /// Where the central database is.
    pub fn central_url(&self) -> String {
        self.stack.central.url()
    }

    /// Has a misfortune come or end, and says so in a sentence. `entered` is how many invoices its till has entered so far.
    ///
    /// # Errors
    /// When it cannot be brought about, or when it turns out that it did not harm anyone.
    pub fn meet(&mut self, fault: Fault, entered: u64) -> Result<String> {
        if let Some(end) = self.stack.someone_ended() {
            bail!("{end}");
        }
        let mut told = fault.sentence().to_owned();
        match fault {
            Fault::CutTill2 => {
                self.stack.tills[1].cut();
                self.entered_at_cut = entered;
            }
            Fault::HealTill2 => {
                told += &self.harm(1, entered - self.entered_at_cut, |(unsent, _)| unsent, "the server")?;
                self.stack.tills[1].heal();
            }
            Fault::KillServer => self.stack.server.kill(),
            Fault::StartServer => self.stack.server.start()?,
            Fault::StopPostgres => {
                self.stack.central.stop()?;
                self.entered_at_stop = entered;
            }
            Fault::StartPostgres => {
                told += &self.harm(0, entered - self.entered_at_stop, |(_, not_central)| not_central, "central")?;
                self.stack.central.start()?;
            }
        }
        Ok(told)
    }

    /// A misfortune that harmed nobody proves nothing: all that was entered meanwhile must still be waiting.
    fn harm(&self, till: usize, entered: u64, of: impl Fn((u64, u64)) -> u64, who: &str) -> Result<String> {
        let waiting = of(self.waiting()?[till]);
        ensure!(waiting >= entered, "of {entered} invoices only {waiting} commits are still waiting: {who} was not away");
        Ok(format!("; {who} lacks {waiting} commits of till {}", till + 1))
    }

    /// Sentences about business days on which the manager's report and the file differ.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn days_that_differ(&self, plan: &Plan) -> Result<Vec<String>> {
        let manager = self.stack.manager()?;
        let mut flaws = Vec::new();
        let mut days = plan.days.keys().copied().peekable();
        while let Some(first) = days.peek().copied() {
            let end = first.saturating_add(jiff::Span::new().days(REPORT_DAYS_MAX));
            let mut last = first;
            while let Some(day) = days.next_if(|day| *day < end) {
                last = day;
            }
            let complete = || {
                let report = manager.sales(&first.to_string(), &last.to_string(), GroupBy::Day)?;
                Ok(Some(report).filter(|report| report.coverage.complete))
            };
            match stack::until("complete coverage of the manager's report", COVERAGE_WAIT, complete) {
                Ok(report) => flaws.extend(rows_that_differ(plan, &report.rows)?),
                Err(error) => return Ok(vec![format!("{error:#}")]),
            }
        }
        Ok(flaws)
    }
}

fn rows_that_differ(plan: &Plan, rows: &[SalesRow]) -> Result<Vec<String>> {
    let mut flaws = Vec::new();
    for row in rows {
        let day: jiff::civil::Date = row.key.parse().with_context(|| format!("{:?} is no day", row.key))?;
        let expected = plan.days.get(&day).copied().unwrap_or_default();
        let shown = DaySums {
            sales: u64::try_from(row.sales)?,
            sales_minor: row.sales_minor.into(),
            refunds: u64::try_from(row.refunds)?,
            refunds_minor: row.refunds_minor.into(),
        };
        if shown != expected {
            flaws.push(format!("the manager's report of {day} shows {shown:?} instead of {expected:?}"));
        }
    }
    Ok(flaws)
}

/// What people call the till with this number, from 0.
pub fn till_name(till: usize) -> String {
    format!("Till {}", till + 1)
}

/// Signs the manager in, and waits for the product that was imported last.
fn get_ready(till: &TillClient, catalogue: &Catalogue) -> Result<()> {
    let (name, _, pin) = STAFF.into_iter().find(|(_, role, _)| *role == "manager").context("the stack has no manager")?;
    let signed_in = || Ok(till.sign_in(name, pin).ok());
    stack::until("the store's staff", CATALOGUE_WAIT, signed_in)?;
    let Some(code) = catalogue.last_code() else { return Ok(()) };
    let line = json!({"type": "add_line", "item": {"by": "code", "code": code}});
    stack::until("the catalogue", CATALOGUE_WAIT, || Ok(till.post::<Screen>("/api/command", &line).ok()))?;
    till.post::<Screen>("/api/command", &json!({"type": "clear_cart"}))?;
    Ok(())
}

/// A till's API as a clerk uses it, with a stop watch.
pub struct TillMeter<'a> {
    client: &'a TillClient,
    meter: &'a Meter,
}

impl<'a> TillMeter<'a> {
    /// The till behind `client`, timed by `meter`.
    pub fn new(client: &'a TillClient, meter: &'a Meter) -> Self {
        Self { client, meter }
    }
}

impl Counter for TillMeter<'_> {
    fn command(&mut self, command: &Value) -> Result<Screen> {
        let started = Instant::now();
        let answer: Result<Screen, TillError> = self.client.post("/api/command", command);
        self.meter.command(command["type"].as_str().unwrap_or_default(), started.elapsed());
        Ok(answer?)
    }
}
