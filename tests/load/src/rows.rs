//! The groups of figures. A group shares what is costly to set up; what it measures belongs together.

use anyhow::Result;

use crate::Bench;
use crate::row::Row;

mod backlog;
mod catalogue;
mod central;
mod crowd;
mod feed;
mod history;
mod link;
mod log;
mod orders;
mod sale;
mod sustained;

/// Figures that are measured together.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// What `--only` calls it.
    pub name: &'static str,
    /// What it measures, in a line.
    pub about: &'static str,
    /// Measures it.
    pub measure: fn(&Bench) -> Result<Vec<Row>>,
}

/// All of them, in the order in which they run.
pub const GROUPS: [Group; 11] = [
    Group { name: "sale", about: "a sale made durable at the till: time, syncs, pages", measure: sale::measure },
    Group { name: "link", about: "a sale to the server and to the next till", measure: link::measure },
    Group { name: "backlog", about: "2,000 unsent sales, and the bytes of one", measure: backlog::measure },
    Group { name: "log", about: "the server's log beside a raw one", measure: log::measure },
    Group { name: "feed", about: "the log into PostgreSQL, beside PostgreSQL alone", measure: feed::measure },
    Group { name: "central", about: "from the tills into PostgreSQL and to the manager", measure: central::measure },
    Group {
        name: "sustained",
        about: "the same for minutes: does the rate hold, does the server's memory",
        measure: sustained::measure,
    },
    Group {
        name: "catalogue",
        about: "a new till, a start, a reconnect, scans and searches in a large catalogue",
        measure: catalogue::measure,
    },
    Group {
        name: "history",
        about: "a reconnect to a server with many entries, and a till that catches up with them",
        measure: history::measure,
    },
    Group { name: "orders", about: "memory of a till with many orders", measure: orders::measure },
    Group {
        name: "crowd",
        about: "memory of the server with many idle devices, and their return all at once",
        measure: crowd::measure,
    },
];

/// The group of a name.
pub fn group(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.name == name)
}

/// A count as people write it: 2,000.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_grouped() {
        assert_eq!([7, 999, 2_000, 1_234_567].map(super::grouped), ["7", "999", "2,000", "1,234,567"]);
    }
}
