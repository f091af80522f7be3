//! What a figure covers: which tills, up to when, what is missing.

use jiff::Timestamp;
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::CentralError;
use super::projector::READ_MODEL;
use crate::web_api::{Coverage, CoverageState, TillCoverage};

/// A till that was not heard for longer than this is silent.
pub const SILENT_AFTER_MS: u64 = 120_000;
/// Most tills that the sentence names.
const NAMED_MAX: usize = 5;

/// A clock that is off by more than this is told of.
pub const DRIFT_TOLD_MS: i64 = 120_000;

/// What is missing from figures whatever the till.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gaps {
    /// Orders that no business day has, because the opening of their shift has not arrived.
    pub orders_without_day: u64,
    /// Whether the figures are being built again after an update, so that some may be the old ones.
    pub rebuilding: bool,
    /// Records that are in no figure because this program cannot read them, and nobody has looked into yet.
    pub unread_records: u64,
}

/// What is known of one till.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TillFacts {
    /// Its id.
    pub device: Uuid,
    /// What people call it.
    pub name: String,
    /// The store's code; empty when the store is not known.
    pub store: String,
    /// Its own time of the last entry in the figures.
    pub covers_to_ms: Option<u64>,
    /// When a server last heard it.
    pub seen_at_ms: Option<u64>,
    /// Commits it is known to have made that are not in the figures.
    pub missing_commits: u64,
    /// Its clock less the server's when it last greeted.
    pub clock_drift_ms: Option<i64>,
}

/// Reads what is known of the tills of a store, or of every till, by name of store and till.
async fn till_facts(tx: &Transaction<'_>, store: Option<Uuid>) -> Result<Vec<TillFacts>, CentralError> {
    let rows = tx
        .query(
            "SELECT d.device_id, d.name, COALESCE(s.code, ''), max(o.last_at_ms), max(o.seen_at_ms),
                 COALESCE(sum(GREATEST(0, COALESCE(o.known_commit, 0) - COALESCE(o.commits, 0))), 0)::bigint,
                 (array_agg(o.clock_drift_ms ORDER BY o.seen_at_ms DESC NULLS LAST))[1]
             FROM devices AS d
             LEFT JOIN stores AS s USING (store_id)
             LEFT JOIN (device_contact AS c FULL JOIN device_progress AS p USING (device_id, incarnation)) AS o USING (device_id)
             WHERE d.kind = 'till' AND ($1::uuid IS NULL OR d.store_id = $1)
             GROUP BY d.device_id, d.name, s.code
             ORDER BY COALESCE(s.code, ''), d.name, d.device_id",
            &[&store],
        )
        .await?;
    let of = |row: &tokio_postgres::Row| TillFacts {
        device: row.get(0),
        name: row.get(1),
        store: row.get(2),
        covers_to_ms: row.get::<_, Option<i64>>(3).map(i64::unsigned_abs),
        seen_at_ms: row.get::<_, Option<i64>>(4).map(i64::unsigned_abs),
        missing_commits: row.get::<_, i64>(5).unsigned_abs(),
        clock_drift_ms: row.get(6),
    };
    Ok(rows.iter().map(of).collect())
}

/// What is missing whatever the till.
async fn gaps(tx: &Transaction<'_>, store: Option<Uuid>) -> Result<Gaps, CentralError> {
    let row = tx
        .query_one(
            "SELECT (SELECT count(*) FROM orders WHERE business_day IS NULL AND ($2::uuid IS NULL OR store_id = $2)),
                 EXISTS (SELECT FROM projector_cursor WHERE name = 'read_model' AND version < $1),
                 (SELECT COALESCE(sum(entries), 0)::bigint FROM skipped_kinds WHERE body = 'record')
                     + (SELECT count(*) FROM exceptions AS e
                        WHERE e.kind IN ('unreadable_entry', 'unreadable_record', 'not_projected')
                          AND (e.store_id IS NULL OR $2::uuid IS NULL OR e.store_id = $2)
                          AND NOT EXISTS (SELECT FROM exception_reviews AS r WHERE r.central_seq = e.central_seq AND r.kind = e.kind))",
            &[&READ_MODEL, &store],
        )
        .await?;
    Ok(Gaps {
        orders_without_day: row.get::<_, i64>(0).unsigned_abs(),
        rebuilding: row.get(1),
        unread_records: row.get::<_, i64>(2).unsigned_abs(),
    })
}

/// The coverage of what the transaction sees of a store, or of all.
pub(super) async fn of(tx: &Transaction<'_>, store: Option<Uuid>, now_ms: u64) -> Result<Coverage, CentralError> {
    Ok(coverage(now_ms, till_facts(tx, store).await?, gaps(tx, store).await?))
}

/// The coverage of figures asked for at `now_ms`, from what is known of every till and what is missing besides.
pub fn coverage(now_ms: u64, tills: Vec<TillFacts>, gaps: Gaps) -> Coverage {
    let drifts: Vec<Option<i64>> = tills.iter().map(|t| t.clock_drift_ms).collect();
    let tills: Vec<TillCoverage> = tills.into_iter().map(|t| till(now_ms, t)).collect();
    let complete = gaps == Gaps::default() && tills.iter().all(|t| t.state == CoverageState::Current);
    let sentence = sentence(now_ms, &tills, &drifts, gaps);
    Coverage { asked_at_ms: now_ms, complete, sentence, tills }
}

/// How a device stands that was heard and has unsent commits so.
pub(super) fn state(now_ms: u64, seen_at_ms: Option<u64>, covers_to_ms: Option<u64>, missing_commits: u64) -> CoverageState {
    let heard_lately = seen_at_ms.is_some_and(|seen| now_ms.saturating_sub(seen) <= SILENT_AFTER_MS);
    match (heard_lately, missing_commits) {
        (true, 0) => CoverageState::Current,
        (true, _) => CoverageState::Behind,
        (false, _) if seen_at_ms.is_none() && covers_to_ms.is_none() => CoverageState::Never,
        (false, _) => CoverageState::Silent,
    }
}

fn till(now_ms: u64, facts: TillFacts) -> TillCoverage {
    TillCoverage {
        device: facts.device.to_string(),
        name: facts.name,
        store: facts.store,
        state: state(now_ms, facts.seen_at_ms, facts.covers_to_ms, facts.missing_commits),
        covers_to_ms: facts.covers_to_ms,
        seen_at_ms: facts.seen_at_ms,
        missing_commits: facts.missing_commits,
    }
}

fn sentence(now_ms: u64, tills: &[TillCoverage], drifts: &[Option<i64>], gaps: Gaps) -> String {
    let current: Vec<&TillCoverage> = tills.iter().filter(|t| t.state == CoverageState::Current).collect();
    // Each of them had told everything when it was last heard; together they reach to the earliest of these moments.
    let to = current.iter().filter_map(|t| t.seen_at_ms).min().map(|ms| format!(" to {}", clock(ms, now_ms)));
    let to = to.unwrap_or_default();
    let mut parts = vec![match (current.len(), tills.len()) {
        (_, 0) => "No till is enrolled yet".to_owned(),
        (1, 1) => format!("Covers the one till{to}"),
        (n, all) if n == all => format!("Covers all {all} tills{to}"),
        (n, all) => format!("Covers {n} of {all} {}{to}", plural(all as u64, "till")),
    }];
    let others: Vec<&TillCoverage> = tills.iter().filter(|t| t.state != CoverageState::Current).collect();
    // The same name in two stores needs the store beside it.
    let name = |t: &TillCoverage| match tills.iter().filter(|o| o.name == t.name).count() {
        1 => t.name.clone(),
        _ => format!("{} of {}", t.name, t.store),
    };
    for t in others.iter().take(NAMED_MAX) {
        parts.push(format!("{} {}", name(t), shortfall(now_ms, t)));
    }
    if others.len() > NAMED_MAX {
        parts.push(format!(
            "{} more {} not covered",
            others.len() - NAMED_MAX,
            if others.len() - NAMED_MAX == 1 { "till is" } else { "tills are" }
        ));
    }
    let off = |drift: &Option<i64>| drift.filter(|ms| ms.abs() > DRIFT_TOLD_MS);
    let drifting: Vec<(&TillCoverage, i64)> = tills.iter().zip(drifts).filter_map(|(t, d)| Some((t, off(d)?))).collect();
    for (t, ms) in drifting.iter().take(NAMED_MAX) {
        let way = if *ms > 0 { "fast" } else { "slow" };
        parts.push(format!("the clock of {} is {} {way}", name(t), span(ms.unsigned_abs())));
    }
    if drifting.len() > NAMED_MAX {
        let more = drifting.len() - NAMED_MAX;
        parts.push(if more == 1 { "1 more clock is off".to_owned() } else { format!("{more} more clocks are off") });
    }
    if gaps.rebuilding {
        parts.push("the figures are being built again after an update, some may be missing".to_owned());
    }
    let orders_without_day = gaps.orders_without_day;
    if orders_without_day > 0 {
        let wait = if orders_without_day == 1 { "waits" } else { "wait" };
        parts.push(format!("{orders_without_day} {} {wait} for the opening of their shift", plural(orders_without_day, "order")));
    }
    match gaps.unread_records {
        0 => {}
        1 => parts.push("1 record is of a newer program or cannot be read: bring the server up to date".to_owned()),
        n => parts.push(format!("{n} records are of a newer program or cannot be read: bring the server up to date")),
    }
    parts.join("; ") + "."
}

fn shortfall(now_ms: u64, t: &TillCoverage) -> String {
    let missing = match t.missing_commits {
        0 => String::new(),
        n => format!(", {n} {} missing", plural(n, "commit")),
    };
    match (t.state, t.seen_at_ms) {
        (CoverageState::Never, _) => "never heard".to_owned() + &missing,
        (CoverageState::Silent, Some(seen)) => format!("silent for {}{missing}", span(now_ms.saturating_sub(seen))),
        (CoverageState::Silent, None) => "silent".to_owned() + &missing,
        (CoverageState::Behind | CoverageState::Current, _) => {
            format!("{} {} behind", t.missing_commits, plural(t.missing_commits, "commit"))
        }
    }
}

fn plural(n: u64, word: &str) -> String {
    if n == 1 { word.to_owned() } else { format!("{word}s") }
}

fn span(ms: u64) -> String {
    match ms / 60_000 {
        minutes @ 0..120 => format!("{minutes} min"),
        minutes @ 120..2_880 => format!("{} h", minutes / 60),
        minutes => format!("{} days", minutes / 1_440),
    }
}

/// The time of day, with the date when it is not the day of asking. UTC.
fn clock(ms: u64, now_ms: u64) -> String {
    let time = |ms: u64| Timestamp::from_millisecond(ms.cast_signed()).unwrap_or(Timestamp::MAX);
    let (at, now) = (time(ms).strftime("%Y-%m-%d %H:%M UTC").to_string(), time(now_ms).strftime("%Y-%m-%d").to_string());
    at.strip_prefix(&now).map_or(at.clone(), |rest| rest.trim_start().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const MIN: u64 = 60_000;
    /// 2026-03-02 14:33:00 UTC.
    const NOW: u64 = 1_772_461_980_000;

    fn of(name: &str, seen_ago_ms: Option<u64>, missing_commits: u64) -> TillFacts {
        let seen_at_ms = seen_ago_ms.map(|ago| NOW - ago);
        TillFacts {
            device: Uuid::nil(),
            name: name.into(),
            store: "S01".into(),
            covers_to_ms: seen_at_ms,
            seen_at_ms,
            missing_commits,
            clock_drift_ms: Some(DRIFT_TOLD_MS),
        }
    }

    fn check(tills: Vec<TillFacts>, orders_without_day: u64, complete: bool, expected: Expect) {
        let coverage = coverage(NOW, tills, Gaps { orders_without_day, ..Gaps::default() });
        expected.assert_eq(&coverage.sentence);
        assert_eq!(coverage.complete, complete);
    }

    #[test]
    fn the_sentence_says_what_is_missing() {
        check(vec![], 0, true, expect!["No till is enrolled yet."]);
        check(vec![of("Till 1", Some(MIN), 0)], 0, true, expect!["Covers the one till to 14:32 UTC."]);
        check(
            vec![of("Till 1", Some(0), 0), of("Till 2", Some(2 * MIN), 0)],
            0,
            true,
            expect!["Covers all 2 tills to 14:31 UTC."],
        );
        check(
            vec![of("Till 1", Some(MIN), 0), of("Till 2", Some(0), 0), of("Till 3", Some(47 * MIN), 0)],
            0,
            false,
            expect!["Covers 2 of 3 tills to 14:32 UTC; Till 3 silent for 47 min."],
        );
        check(
            vec![of("Till 1", Some(1), 3), of("Till 2", Some(49 * 60 * MIN), 1), of("Till 3", None, 0)],
            0,
            false,
            expect![
                "Covers 0 of 3 tills; Till 1 3 commits behind; Till 2 silent for 2 days, 1 commit missing; Till 3 never heard."
            ],
        );
        check(vec![of("Till 1", Some(150 * MIN), 0)], 0, false, expect!["Covers 0 of 1 till; Till 1 silent for 2 h."]);
        check(
            vec![of("Till 1", Some(0), 0)],
            2,
            false,
            expect!["Covers the one till to 14:33 UTC; 2 orders wait for the opening of their shift."],
        );
    }

    #[test]
    fn clocks_and_rebuilds_are_told_of() {
        let drifting = |name: &str, ms| TillFacts { clock_drift_ms: Some(ms), ..of(name, Some(0), 0) };
        check(
            vec![drifting("Till 1", 5 * 60_000 + 1), drifting("Till 2", -3 * 3_600_000), drifting("Till 3", -120_000)],
            0,
            true,
            expect!["Covers all 3 tills to 14:33 UTC; the clock of Till 1 is 5 min fast; the clock of Till 2 is 3 h slow."],
        );
        let rebuilding = coverage(NOW, vec![], Gaps { rebuilding: true, ..Gaps::default() });
        assert!(!rebuilding.complete);
        assert!(rebuilding.sentence.contains("being built again"), "{}", rebuilding.sentence);
        let unread = coverage(NOW, vec![of("Till 1", Some(0), 0)], Gaps { unread_records: 2, ..Gaps::default() });
        assert!(!unread.complete);
        assert!(unread.sentence.ends_with("; 2 records are of a newer program or cannot be read: bring the server up to date."));
    }

    #[test]
    fn a_long_list_is_cut_and_equal_names_get_their_store() {
        let mut tills: Vec<_> = (1..=7).map(|n| of(&format!("Till {n}"), None, 0)).collect();
        tills[0].name = "Till 2".into();
        tills[0].store = "S02".into();
        check(
            tills,
            0,
            false,
            expect![
                "Covers 0 of 7 tills; Till 2 of S02 never heard; Till 2 of S01 never heard; Till 3 never heard; Till 4 never heard; Till 5 never heard; 2 more tills are not covered."
            ],
        );
    }

    #[test]
    fn the_states_and_their_limits() {
        let state = |facts: TillFacts| till(NOW, facts).state;
        assert_eq!(state(of("t", Some(SILENT_AFTER_MS), 0)), CoverageState::Current);
        assert_eq!(state(of("t", Some(SILENT_AFTER_MS + 1), 0)), CoverageState::Silent);
        assert_eq!(state(of("t", Some(0), 1)), CoverageState::Behind);
        assert_eq!(state(of("t", None, 0)), CoverageState::Never);
        // Its entries came through another device: something is known of it, but no server heard it.
        assert_eq!(state(TillFacts { covers_to_ms: Some(1), ..of("t", None, 0) }), CoverageState::Silent);
        // A server whose clock is ahead of ours.
        assert_eq!(state(TillFacts { seen_at_ms: Some(NOW + 5_000), ..of("t", None, 0) }), CoverageState::Current);
    }

    #[test]
    fn a_moment_of_another_day_carries_its_date() {
        assert_eq!(clock(NOW - 24 * 60 * MIN, NOW), "2026-03-01 14:33 UTC");
        assert_eq!(clock(NOW, NOW), "14:33 UTC");
    }
}
