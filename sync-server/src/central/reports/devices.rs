//! Every device: when it was heard, what it has not sent, how its clock stands.

use domain::ids::DeviceId;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use super::csv::Csv;
use super::{ANSWER_WAIT, Postgres, ReportError, answer, in_time, snapshot, unsigned};
use crate::central::coverage;
use crate::live::Live;
use crate::web_api::{CoverageState, DeviceView};

/// Every device, by store and name; who is connected, [`Live`] knows.
///
/// # Errors
/// When the database does not answer.
pub async fn devices(central: &Postgres, live: &Live, now_ms: u64) -> Result<Vec<DeviceView>, ReportError> {
    answer!(central, "list devices", |tx| read(&tx, live, now_ms))
}

pub(super) async fn read(tx: &Transaction<'_>, live: &Live, now_ms: u64) -> Result<Vec<DeviceView>, ReportError> {
    let rows = tx
        .query(
            "SELECT d.device_id, d.name, d.kind, s.code, COALESCE(i.series, ''), COALESCE(i.software, ''), d.enrolled_at_ms,
                 max(o.seen_at_ms), max(o.last_at_ms),
                 COALESCE(sum(GREATEST(0, COALESCE(o.known_commit, 0) - COALESCE(o.commits, 0))), 0)::bigint,
                 (array_agg(o.clock_drift_ms ORDER BY o.seen_at_ms DESC NULLS LAST))[1],
                 -- A server is heard when its region feeds.
                 max((SELECT (extract(epoch FROM f.updated_at) * 1000)::bigint FROM feed_cursor AS f WHERE f.region = o.incarnation))
             FROM devices AS d
             LEFT JOIN stores AS s USING (store_id)
             LEFT JOIN LATERAL (SELECT series, software FROM incarnations AS i WHERE i.device_id = d.device_id
                 ORDER BY last_start_ms DESC, incarnation LIMIT 1) AS i ON true
             LEFT JOIN (device_contact AS c FULL JOIN device_progress AS p USING (device_id, incarnation)) AS o
                 ON o.device_id = d.device_id
             GROUP BY d.device_id, d.name, d.kind, s.code, i.series, i.software, d.enrolled_at_ms
             ORDER BY s.code NULLS FIRST, d.name, d.device_id",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| view(row, live, now_ms)).collect())
}

fn view(row: &Row, live: &Live, now_ms: u64) -> DeviceView {
    let ms = |at: usize| row.get::<_, Option<i64>>(at).map(unsigned);
    let device: Uuid = row.get(0);
    let kind: String = row.get(2);
    let (seen_at_ms, last_entry_at_ms, unsent_commits) = (ms(7), ms(8), unsigned(row.get(9)));
    let seen_at_ms = if kind == "server" { seen_at_ms.max(ms(11)) } else { seen_at_ms };
    let state = match (kind.as_str(), unsent_commits) {
        // A server has nothing to say for days when nothing is sold.
        ("server", 0) => CoverageState::Current,
        ("server", _) => CoverageState::Behind,
        _ => coverage::state(now_ms, seen_at_ms, last_entry_at_ms, unsent_commits),
    };
    DeviceView {
        device: device.to_string(),
        name: row.get(1),
        kind,
        store: row.get(3),
        series: row.get(4),
        software: row.get(5),
        enrolled_at_ms: unsigned(row.get(6)),
        state,
        connected: live.is_connected(DeviceId(device)),
        seen_at_ms,
        last_entry_at_ms,
        unsent_commits,
        clock_drift_ms: row.get(10),
    }
}

pub(super) const HEADER: &[&str] = &[
    "store",
    "name",
    "kind",
    "state",
    "connected",
    "series",
    "software",
    "enrolled_utc",
    "seen_utc",
    "last_entry_utc",
    "unsent_commits",
    "clock_drift_s",
    "device_id",
];

pub(super) fn write(d: &DeviceView, csv: &mut Csv) {
    let state = match d.state {
        CoverageState::Current => "current",
        CoverageState::Behind => "behind",
        CoverageState::Silent => "silent",
        CoverageState::Never => "never",
    };
    csv.text(d.store.as_deref().unwrap_or_default()).text(&d.name).plain(&d.kind).plain(state);
    csv.plain(if d.connected { "yes" } else { "no" }).text(&d.series).text(&d.software).moment(d.enrolled_at_ms);
    csv.moment(d.seen_at_ms).moment(d.last_entry_at_ms).number(i64::try_from(d.unsent_commits).ok());
    csv.amount(d.clock_drift_ms, 3).plain(&d.device).end_row();
}
