//! The replica and the identity that writes into it.

use std::path::Path;

use domain::ids::DeviceId;
use journal::{Entry, VerifyingKey};
use operations::check::Report;
use operations::damaged::{self, MachineFiles};
use rusqlite::{Connection, OptionalExtension};
use sync_proto::env::Env;
use sync_proto::scopes;
use uuid::Uuid;

use crate::errors::chain_of;
use crate::identity::Look;
use crate::store::audit::{Audit, Found};
use crate::store::retention::{self, Reach};
use crate::store::{Replica, StoreError, log, paper, people};

/// What is unsent for longer is worth a warning, in milliseconds.
const UNSENT_MS_MAX: u64 = 5 * 60_000;

/// The schema since which old entries go.
const RETENTION_SINCE: usize = 8;

/// Who the till is, and whether it is where it was.
pub(super) fn identity(report: &mut Report, look: &Look) {
    let who = format!("{} ({}), device {}", look.name, look.series, look.device);
    if look.is_moved {
        let todo = "nothing, if it was moved on purpose: it goes on under a new receipt series. Never let both machines run it";
        report.warning("identity", format!("{who}, written on another machine"), todo);
    } else {
        report.ok("identity", who);
    }
}

/// Whether the file holds together, and what of it nobody else has.
pub(super) fn replica(report: &mut Report, data: &Path, look: &Look, env: &dyn Env) {
    const SUBJECT: &str = "replica";
    let path = data.join("replica/replica.db");
    damaged_files(report, &path);
    let from_server = "enrol this till anew in another folder: what it had sent comes back from the server. Keep this folder";
    if !path.exists() {
        return match look.db_uuid {
            None => report.ok(SUBJECT, "none yet: the till was never started"),
            Some(_) => report.error(
                SUBJECT,
                format!("{} is gone", path.display()),
                "put it back if you have it; otherwise start the till, which begins a new one",
            ),
        };
    }
    let (replica, schema) = match Replica::look(&path, &look.replica_key) {
        Ok(opened) => opened,
        Err(error @ StoreError::Newer { .. }) => {
            return report.error(SUBJECT, error.to_string(), "install the newer program again");
        }
        Err(error) => return report.error(SUBJECT, chain_of(&error), from_server),
    };
    match quick_check(replica.db()) {
        Ok(said) if said == "ok" => report.ok(SUBJECT, format!("its pages hold together, schema {schema}")),
        Ok(said) => report.error(SUBJECT, format!("its pages do not hold together: {said}"), from_server),
        Err(error) => report.error(SUBJECT, format!("its pages cannot be read: {error}"), from_server),
    }
    let looked = as_signed(report, replica.db())
        .and_then(|()| belongs(report, &replica, look))
        .and_then(|()| unsent(report, replica.db(), look, env.unix_ms()))
        .and_then(|()| print_queue(report, replica.db()))
        .and_then(|()| if schema < RETENTION_SINCE { Ok(()) } else { reach(report, replica.db()) });
    if let Err(error) = looked {
        report.error(SUBJECT, chain_of(&error), from_server);
    }
}

/// Files that were put aside, which are kept for as long as somebody may need them.
fn damaged_files(report: &mut Report, path: &Path) {
    const SUBJECT: &str = "damaged files";
    match damaged::all_aside(&MachineFiles, path) {
        Ok(files) if files.is_empty() => report.ok(SUBJECT, "none"),
        Ok(files) => {
            let newest = damaged::aside(path, files.len() as u32);
            let todo = "look at this disk, and replace it when it happens again. Remove the files once nothing is unsent and no sale is missed";
            report.warning(SUBJECT, format!("{} were put aside, the newest is {}", files.len(), newest.display()), todo);
        }
        Err(error) => report.warning(SUBJECT, format!("it is not known whether there are any: {error}"), "check the disk"),
    }
}

/// Whether every entry of the log follows the one before it, and every seal holds.
fn as_signed(report: &mut Report, db: &Connection) -> Result<(), StoreError> {
    const SUBJECT: &str = "log";
    let key_of = |device| {
        let known = people::device(db, DeviceId(Uuid::from_bytes(device)))?;
        Ok(known.and_then(|known| VerifyingKey::from_bytes(&known.public_key).ok()))
    };
    let mut audit = Audit::default();
    loop {
        match audit.step(db, key_of)? {
            Found::More => {}
            Found::Whole => {
                report.ok(SUBJECT, format!("all {} entries are what was signed", audit.entries));
                return Ok(());
            }
            Found::Broken(found) => {
                let todo = "start the till, or leave it running: it puts the file aside by itself, and goes on with what can still be read";
                report.error(SUBJECT, found, todo);
                return Ok(());
            }
        }
    }
}

fn quick_check(db: &Connection) -> rusqlite::Result<String> {
    db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
}

/// Whether the incarnation is the one that writes into this file.
fn belongs(report: &mut Report, replica: &Replica, look: &Look) -> Result<(), StoreError> {
    const SUBJECT: &str = "incarnation";
    let commit = match log::find_origin(replica.db(), look.origin)? {
        Some(row) => log::load_chain(replica.db(), row)?.commit,
        None => 0,
    };
    let todo = "nothing, if that was on purpose: at its next start the till goes on under a new receipt series, and gets back what the server has";
    if look.db_uuid.is_some() && look.db_uuid != replica.db_uuid()? {
        report.warning(SUBJECT, "the replica file is another one than this till wrote", todo);
    } else if commit < look.high_water.commit {
        let found = format!(
            "the replica ends with commit {commit}, but this till has written {}: it is from a backup",
            look.high_water.commit
        );
        report.warning(SUBJECT, found, todo);
    } else {
        report.ok(SUBJECT, format!("it fits the replica, with {commit} commits"));
    }
    Ok(())
}

/// What only this till has, and since when.
fn unsent(report: &mut Report, db: &Connection, look: &Look, now_ms: u64) -> Result<(), StoreError> {
    const SUBJECT: &str = "unsent";
    let scope = scopes::store(look.store);
    let (mut unsent, mut not_central, mut oldest_ms) = (0, 0, None::<u64>);
    for (row, origin) in log::origins_of_device(db, look.origin.device)? {
        let chain = log::load_chain(db, row)?;
        if origin != look.origin && !chain.heads.contains_key(&scope) {
            continue;
        }
        let (regional, central) = log::acks(db, row)?;
        let missing = chain.commit.saturating_sub(regional);
        unsent += missing;
        if origin == look.origin {
            not_central = chain.commit.saturating_sub(central);
        }
        if missing > 0 {
            let first = written_at(db, row, regional)?;
            oldest_ms = oldest_ms.into_iter().chain(first).min();
        }
    }
    let age_ms = oldest_ms.map_or(0, |at| now_ms.saturating_sub(at));
    let since = duration(age_ms);
    match unsent {
        0 if not_central == 0 => report.ok(SUBJECT, "nothing: everything is in the central database"),
        0 => report.ok(
            SUBJECT,
            format!("nothing: everything is at the sync server, {not_central} commits not yet in the central database"),
        ),
        _ if age_ms <= UNSENT_MS_MAX => report.ok(SUBJECT, format!("{unsent} commits, the oldest of {since} ago")),
        _ => {
            let todo = "connect the till: until then only its own disk has them";
            report.warning(SUBJECT, format!("{unsent} commits, the oldest of {since} ago"), todo);
        }
    }
    Ok(())
}

/// When the first commit of an origin after `commit` was written.
fn written_at(db: &Connection, origin: i64, commit: u64) -> Result<Option<u64>, StoreError> {
    let bytes: Option<Vec<u8>> = db
        .query_row(
            "SELECT bytes FROM entry WHERE origin = ?1 AND commit_no > ?2 AND length(bytes) > 0 ORDER BY commit_no LIMIT 1",
            (origin, commit),
            |r| r.get(0),
        )
        .optional()?;
    let entry = bytes.map(|bytes| Entry::decode(&bytes)).transpose().map_err(|_| StoreError::Damaged("an entry"))?;
    Ok(entry.map(|entry| entry.at.unix_ms()))
}

/// How far back it goes.
fn reach(report: &mut Report, db: &Connection) -> Result<(), StoreError> {
    let Reach { gone_until_ms, gone } = retention::reach(db)?;
    let since = gone_until_ms.and_then(|ms| jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok());
    let said = match since {
        None => "everything: nothing has gone yet".to_owned(),
        Some(since) => {
            let since = since.strftime("%Y-%m-%d %H:%M UTC");
            format!(
                "everything since {since}; {gone} older entries have gone, and the server is asked for their sales when somebody looks at them"
            )
        }
    };
    report.ok("keeps", said);
    Ok(())
}

fn print_queue(report: &mut Report, db: &Connection) -> Result<(), StoreError> {
    const SUBJECT: &str = "print queue";
    let jobs = paper::open_jobs(db)?;
    let Some(first) = jobs.first() else {
        report.ok(SUBJECT, "no receipt waits");
        return Ok(());
    };
    let problem = first.problem.clone().unwrap_or_else(|| "the printer has not said why".to_owned());
    let todo = "look at the printer; a receipt that is uncertain waits for an answer on the till's screen";
    report.warning(SUBJECT, format!("{} receipts wait, the first is {}: {problem}", jobs.len(), first.title), todo);
    Ok(())
}

/// `5 s`, `12 min`, `3 h`, `2 days`.
fn duration(ms: u64) -> String {
    match ms / 1_000 {
        s @ 0..=119 => format!("{s} s"),
        s @ 120..=7_199 => format!("{} min", s / 60),
        s @ 7_200..=172_799 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    }
}
