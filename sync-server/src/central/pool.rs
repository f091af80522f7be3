//! Connections to Postgres: bounded in number, never waited for without end.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};

use super::CentralError;

/// Most connections at once: feed, projector and the managers' questions.
const CONNECTIONS_MAX: usize = 12;
/// How long one connection may take to come up, or to become free.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// What every connection begins with. The server gives up before the caller's own limit does, so that it usually says why.
const SESSION: &str = "
    SET statement_timeout = '25s';
    SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '60s';
    SET client_min_messages = 'warning';
    SET jit = off;
    SET TIME ZONE 'UTC'";

#[derive(Debug)]
pub(crate) struct Pool {
    config: Config,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

#[derive(Debug)]
struct Connection {
    client: Client,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection on loan. Dropped, it is closed: whatever it was doing is rolled back by the server.
pub(crate) struct Loan {
    connection: Connection,
    _permit: OwnedSemaphorePermit,
}

impl Deref for Loan {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.connection.client
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.connection.client
    }
}

impl Pool {
    pub(super) fn new(url: &str) -> Result<Self, CentralError> {
        let mut config = Config::from_str(url).map_err(CentralError::Url)?;
        config.connect_timeout(CONNECT_WAIT).keepalives_idle(Duration::from_secs(15));
        if config.get_application_name().is_none() {
            config.application_name("evertill-sync-server");
        }
        Ok(Self { config, idle: Mutex::default(), permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)) })
    }

    /// A connection that is up, as far as one can know.
    pub(super) async fn get(&self) -> Result<Loan, CentralError> {
        in_time("give a connection", CONNECT_WAIT * 2, async {
            let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
            let waiting = {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.retain(|c| !c.client.is_closed());
                idle.pop()
            };
            let connection = match waiting {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            Ok(Loan { connection, _permit: permit })
        })
        .await
    }

    /// Takes a connection back for the next one. Only after success: one that failed may still be busy.
    pub(super) fn give_back(&self, loan: Loan) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(loan.connection);
    }

    async fn connect(&self) -> Result<Connection, CentralError> {
        let (client, driver) = self.config.connect(NoTls).await?;
        let task = tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "a connection to the central database ended");
            }
        });
        let connection = Connection { client, task };
        connection.client.batch_execute(SESSION).await?;
        Ok(connection)
    }
}

/// Does something within a time, whatever the network does.
pub(crate) async fn in_time<T>(
    what: &'static str,
    limit: Duration,
    doing: impl Future<Output = Result<T, CentralError>>,
) -> Result<T, CentralError> {
    match tokio::time::timeout(limit, doing).await {
        Ok(done) => done,
        Err(_) => Err(CentralError::TimedOut { what, after_ms: limit.as_millis() }),
    }
}
