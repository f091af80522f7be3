//! The whole server beside a central database, and questions to that database.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use operations::logging::LogConfig;
use sync_server::config::{CentralConfig, Config, LimitsConfig, MetricsConfig, SyncConfig, WebConfig};
use sync_server::daemon::{self, Listening};
use sync_server::env::Machine;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use crate::figures::per_second;
use crate::processor;
use crate::shop::runtime;

/// How often it is looked whether the tables are complete.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The whole server, as its program runs it, on a runtime of its own.
#[derive(Debug)]
pub struct Daemon {
    /// Where it listens.
    pub listening: Listening,
    runtime: Runtime,
    stop: watch::Sender<bool>,
    running: Option<JoinHandle<Result<(), daemon::DaemonError>>>,
}

impl Daemon {
    /// Starts the server of a data folder.
    ///
    /// # Errors
    /// A server that does not start.
    pub fn start(data: &Path, url: &str) -> Result<Self> {
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let config = Config {
            data: data.to_owned(),
            sync: SyncConfig { listen: any, listen_tcp: None, public: None },
            limits: LimitsConfig::default(),
            web: WebConfig { listen: any, tls_certificate: None, tls_key: None },
            central: CentralConfig { url: url.to_owned() },
            metrics: MetricsConfig { listen: any },
            log: LogConfig::default(),
        };
        let runtime = runtime()?;
        let (stop, stopping) = watch::channel(false);
        let (ready, listening) = std::sync::mpsc::channel();
        let running = runtime.spawn(async move {
            let ready = |listening| {
                let _ = ready.send(listening);
            };
            daemon::run(&config, Arc::new(Machine), stopping, ready).await
        });
        let Ok(listening) = listening.recv() else {
            let ended = runtime.block_on(running)?;
            bail!("the server does not start: {ended:?}");
        };
        Ok(Self { listening, runtime, stop, running: Some(running) })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(running) = self.running.take() {
            let _ = self.runtime.block_on(running);
        }
    }
}

/// Questions to the central database, asked beside the server.
#[derive(Debug)]
pub struct Central {
    client: Client,
    runtime: Runtime,
}

impl Central {
    /// Connects to a database.
    ///
    /// # Errors
    /// A database that does not answer.
    pub fn connect(url: &str) -> Result<Self> {
        let runtime = runtime()?;
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            tokio::spawn(connection);
            anyhow::Ok(client)
        })?;
        Ok(Self { client, runtime })
    }

    /// The number that a question answers.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn number(&self, sql: &str) -> Result<i64> {
        Ok(self.client.query_one(sql, &[]).await.with_context(|| sql.to_owned())?.get(0))
    }

    /// Waits until every entry is in the tables, and so many orders with it.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn wait_for_orders(&self, orders: i64) -> Result<()> {
        loop {
            let entries = self
                .number("SELECT count(*) FROM projector_cursor c WHERE c.central_seq >= (SELECT max(central_seq) FROM entries)");
            if entries.await? > 0 && self.number("SELECT count(*) FROM orders").await? >= orders {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What the tables can take at best: the same entries and orders, copied inside the database into tables with the same indexes. Answers orders a second.
    ///
    /// # Errors
    /// A database that does not answer.
    pub fn copied(&self, orders: usize) -> Result<f64> {
        let prepare = format!(
            "CREATE TEMP TABLE source_orders AS SELECT * FROM orders LIMIT {orders};
             CREATE TEMP TABLE source_entries AS SELECT e.* FROM entries AS e JOIN source_orders USING (central_seq);
             CREATE TABLE limit_orders (LIKE orders INCLUDING ALL);
             CREATE TABLE limit_entries (LIKE entries INCLUDING ALL);"
        );
        let copy = "BEGIN;
            INSERT INTO limit_entries SELECT * FROM source_entries;
            INSERT INTO limit_orders SELECT * FROM source_orders;
            COMMIT;";
        let clear = "DROP TABLE source_orders, source_entries, limit_orders, limit_entries;";
        self.runtime.block_on(async {
            self.client.batch_execute(&prepare).await?;
            let begun = Instant::now();
            self.client.batch_execute(copy).await?;
            let took = begun.elapsed();
            self.client.batch_execute(clear).await?;
            Ok(per_second(orders, took))
        })
    }

    /// How many commits are in the tables.
    ///
    /// # Errors
    /// A database that does not answer.
    pub fn commits(&self) -> Result<u64> {
        let sum = self.number("SELECT COALESCE(sum(commits), 0)::bigint FROM device_progress");
        Ok(self.runtime.block_on(sum)?.unsigned_abs())
    }

    /// The number of the database's own process, the parent of those that serve.
    ///
    /// # Errors
    /// A database that does not answer, or on another machine.
    pub fn server_process(&self) -> Result<u32> {
        let serving = self.runtime.block_on(self.number("SELECT pg_backend_pid()::bigint"))?;
        processor::parent(u32::try_from(serving)?)
    }

    /// Waits for an answer of its own runtime.
    pub fn block_on<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }
}
