//! The way of a region's log into PostgreSQL, without what is then made of it there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use journeys::postgres::PrivateCluster;
use sync_server::central::feed::FeedSource;
use sync_server::central::{APPEND_BYTES_MAX, APPEND_ROWS_MAX, CentralStore, FeedRow, Postgres};
use sync_server::hub::Hub;
use sync_server::log_source::LogSource;
use sync_server::region::Sender;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use super::grouped;
use crate::Bench;
use crate::catalogue::Names;
use crate::devices::{self, Log};
use crate::figures::{Runs, per_second};
use crate::row::Row;
use crate::shop::{found, runtime};

/// What a table of the same shape takes, from the same columns.
const RAW: &str = "INSERT INTO limit_entries
    (central_seq, device, incarnation, scope, seq, commit_no, hash, bytes, at_ms, region, region_seq, seal)
    SELECT nextval('central_seq'), device, incarnation, 'store/limit', seq, seq, hash, bytes, 0, device, seq, NULL
    FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bytea[], $5::bytea[]) AS r (device, incarnation, seq, hash, bytes)";

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let (sales, runs) = (bench.pick(20_000, 400), bench.pick(3, 1));
    let work = bench.folder()?;
    let cluster = PrivateCluster::start(&work.path().join("postgres"))?;
    let mut opened = found(&work.path().join("region"), &Names::Made, 0)?;
    let keys = devices::admit(&mut opened.region, &opened.authority, 1, 13)?;
    let mut log = Log::of_sales(&keys[0], sales * runs, 13)?;
    while let Some(run) = log.take(1_000) {
        for result in opened.region.admit_all(vec![(Sender::Writer(keys[0].device), run)])? {
            result?;
        }
    }
    let (runtime, hub) = (runtime()?, Hub::spawn(opened.region));
    let rate = runtime.block_on(async {
        let store = Postgres::new(&cluster.url())?;
        store.migrate().await?;
        let (client, connection) = tokio_postgres::connect(&cluster.url(), NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute("CREATE TABLE limit_entries (LIKE entries INCLUDING ALL)").await?;
        let mut source = LogSource::new(hub);
        let (mut rate, mut after) = (Runs::default(), 0);
        for _ in 0..runs {
            let (fed, rows) = feed(&mut source, &store, &mut after, sales).await?;
            rate.push(per_second(rows.len(), fed), per_second(rows.len(), raw(&client, &rows).await?));
        }
        anyhow::Ok(rate)
    })?;
    let name = format!("feed: {} entries of a region's log appended to PostgreSQL's", grouped(sales));
    let limit = rate.limit();
    Ok(vec![Row::new(name, "entries/s", &rate).beside(limit).at_least(0.4 * limit)])
}

/// Appends so many entries as the server does, and answers what that took and what they were.
async fn feed(source: &mut LogSource, store: &Postgres, after: &mut u64, entries: usize) -> Result<(Duration, Vec<FeedRow>)> {
    let (mut took, mut rows) = (Duration::ZERO, Vec::new());
    while rows.len() < entries {
        let begun = Instant::now();
        // Not one more than there will be: a log that has no more waits for it.
        let next = source.next(*after, APPEND_ROWS_MAX.min(entries - rows.len()), APPEND_BYTES_MAX).await;
        let last = next.last().context("the log was long enough")?.region_seq;
        let appended = store.append(source.region(), *after, &next).await?;
        took += begun.elapsed();
        ensure!(appended.region_seq == last, "{} of {last} were appended", appended.region_seq);
        *after = last;
        rows.extend(next);
    }
    Ok((took, rows))
}

/// The same rows as one statement puts them into a table with the same indexes, in batches of the same size.
async fn raw(client: &Client, rows: &[FeedRow]) -> Result<Duration> {
    let mut took = Duration::ZERO;
    for batch in rows.chunks(APPEND_ROWS_MAX) {
        let devices: Vec<Uuid> = batch.iter().map(|row| Uuid::from_bytes(row.device)).collect();
        let incarnations: Vec<Uuid> = batch.iter().map(|row| Uuid::from_bytes(row.incarnation)).collect();
        let places = batch.iter().map(|row| i64::try_from(row.region_seq)).collect::<Result<Vec<_>, _>>()?;
        let hashes: Vec<&[u8]> = batch.iter().map(|row| &row.hash[..]).collect();
        let bytes: Vec<&[u8]> = batch.iter().map(|row| &row.bytes[..]).collect();
        let begun = Instant::now();
        client.execute(RAW, &[&devices, &incarnations, &places, &hashes, &bytes]).await?;
        took += begun.elapsed();
    }
    Ok(took)
}
