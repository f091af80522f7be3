//! A till's whole working life in this replay: shifts, invoices, and the misfortunes between them, in order.
//!
//! Misfortunes are tied to a till's own progress and not to a clock, so the same file always meets the same ones, however fast
//! the machine is.

use jiff::civil::Date;

use super::plan::{Act, Job, Plan};

/// The cash a drawer starts with when nothing more is needed, in minor units.
pub const FLOAT_MINOR: i64 = 20_000;

/// Something to do at a till, or to the world around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'a> {
    /// Open a shift.
    OpenShift {
        /// The day it counts for.
        day: Date,
        /// The cash put into the drawer: enough for the day's refunds, since no drawer holds less than nothing.
        float_minor: i64,
    },
    /// Enter one invoice.
    Invoice(&'a Job),
    /// Close the shift.
    CloseShift {
        /// What must be in the drawer.
        counted_minor: i64,
    },
    /// Meet with a misfortune, or have it end.
    Fault(Fault),
}

/// What happens to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Till 2 loses the network.
    CutTill2,
    /// Till 2 has the network again.
    HealTill2,
    /// The sync server is killed with SIGKILL.
    KillServer,
    /// The sync server is started again.
    StartServer,
    /// Postgres goes away.
    StopPostgres,
    /// Postgres is back.
    StartPostgres,
}

impl Fault {
    /// What it is, for a person who watches.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::CutTill2 => "till 2 is cut off from the network",
            Self::HealTill2 => "till 2 has the network again",
            Self::KillServer => "the sync server is killed (SIGKILL)",
            Self::StartServer => "the sync server is started again",
            Self::StopPostgres => "Postgres is stopped",
            Self::StartPostgres => "Postgres is started again",
        }
    }
}

/// When each misfortune comes: in front of which invoice of which till, in eighths of that till's invoices.
///
/// Till 2 is cut for its middle half. The server dies and Postgres goes while till 1 is sending, and the server comes
/// back while Postgres is still away, which is the hardest order.
const FAULTS: [(usize, usize, Fault); 6] = [
    (0, 3, Fault::StopPostgres),
    (0, 4, Fault::KillServer),
    (0, 5, Fault::StartServer),
    (0, 7, Fault::StartPostgres),
    (1, 2, Fault::CutTill2),
    (1, 6, Fault::HealTill2),
];

/// What the till with this number, from 0, will do.
pub fn script(plan: &Plan, till: usize) -> Vec<Step<'_>> {
    let jobs = &plan.tills[till];
    let mut steps = Vec::with_capacity(jobs.len() + jobs.len() / 8 + FAULTS.len());
    let mut at = 0;
    for day in jobs.chunk_by(|a, b| a.day == b.day) {
        let float_minor = FLOAT_MINOR.saturating_add(deficit_minor(day));
        steps.push(Step::OpenShift { day: day[0].day, float_minor });
        for job in day {
            steps.extend(faults_before(till, at, jobs.len()).map(Step::Fault));
            steps.push(Step::Invoice(job));
            at += 1;
        }
        let counted_minor = float_minor.saturating_add(day.iter().map(cash_minor).sum());
        steps.push(Step::CloseShift { counted_minor });
    }
    steps.extend(faults_before(till, at, jobs.len()).map(Step::Fault));
    steps
}

/// A till with few invoices still meets all of them, in their order, some at the end.
fn faults_before(till: usize, at: usize, of: usize) -> impl Iterator<Item = Fault> {
    let due = move |eighths: usize| (of * eighths).div_ceil(8);
    FAULTS.into_iter().filter(move |(who, eighths, _)| *who == till && due(*eighths) == at).map(|(_, _, f)| f)
}

/// The cash that an invoice brings into the drawer, or, negative, takes out of it.
fn cash_minor(job: &Job) -> i64 {
    let cash = |act: &Act| match act {
        Act::Sale(_) | Act::Refund(_) => i64::try_from(act.sums().rounded_minor).unwrap_or(i64::MAX),
        Act::Stock { .. } | Act::Account(_) => 0,
    };
    job.acts.iter().map(cash).fold(0, i64::saturating_add)
}

/// How far below zero the drawer would go with an empty float.
fn deficit_minor(day: &[Job]) -> i64 {
    let mut cash = 0_i64;
    let mut lowest = 0;
    for job in day {
        cash = cash.saturating_add(cash_minor(job));
        lowest = lowest.min(cash);
    }
    lowest.saturating_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::{invoices, plan};

    fn planned(rows: &[String]) -> Plan {
        let header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country".to_owned();
        let text = std::iter::once(&header).chain(rows).cloned().collect::<Vec<_>>().join("\n");
        plan::plan(&invoices::read(text.as_bytes()).expect("rows"))
    }

    fn shape(steps: &[Step]) -> String {
        let word = |step: &Step| match step {
            Step::OpenShift { day, float_minor } => format!("open {} {float_minor}", day.day()),
            Step::Invoice(job) => job.number.clone(),
            Step::CloseShift { counted_minor } => format!("close {counted_minor}"),
            Step::Fault(fault) => format!("{fault:?}"),
        };
        steps.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_shift_is_a_business_day_with_a_float_that_covers_its_refunds() {
        let rows = [
            "1,A,X,1,2011-01-01 09:00:00,1.0,,UK",
            "2,A,X,1,2011-01-01 09:00:00,1.0,,UK",
            "C3,A,X,-500,2011-01-01 09:00:00,1.0,,UK",
            "4,A,X,1,2011-01-01 09:00:00,1.0,,UK",
            "5,A,X,7,2011-01-02 09:00:00,1.0,,UK",
        ]
        .map(str::to_owned);
        let plan = planned(&rows);
        let steps: Vec<_> = script(&plan, 0).into_iter().filter(|s| !matches!(s, Step::Fault(_))).collect();
        assert_eq!(shape(&steps), "open 1 69900, 1, C3, close 20000, open 2 20000, 5, close 20700");
    }

    #[test]
    fn till_2_is_away_for_its_middle_half_and_the_rest_falls_into_it() {
        let rows: Vec<_> = (0..16).map(|n| format!("{n},A,X,1,2011-01-01 09:00:00,1.0,,UK")).collect();
        let plan = planned(&rows);
        let inner = |till| {
            let steps = script(&plan, till);
            shape(&steps[1..steps.len() - 1])
        };
        assert_eq!(inner(0), "0, 2, 4, StopPostgres, 6, KillServer, 8, StartServer, 10, 12, StartPostgres, 14");
        assert_eq!(inner(1), "1, 3, CutTill2, 5, 7, 9, 11, HealTill2, 13, 15");
    }

    #[test]
    fn every_misfortune_comes_and_ends_however_short_the_file() {
        for count in 0..20 {
            let rows: Vec<_> = (0..count).map(|n| format!("{n},A,X,1,2011-01-01 09:00:00,1.0,,UK")).collect();
            let plan = planned(&rows);
            for till in 0..2 {
                let steps = script(&plan, till);
                let faults: Vec<_> = steps.iter().filter_map(|s| if let Step::Fault(f) = s { Some(*f) } else { None }).collect();
                let expected: Vec<_> = FAULTS.iter().filter(|(who, ..)| *who == till).map(|(_, _, f)| *f).collect();
                assert_eq!(faults, expected, "{count} invoices, till {till}");
            }
        }
    }
}
