//! A database of one's own, and short ways to ask it.

use journeys::postgres::PrivateCluster;
use sync_server::central::{CentralStore, Postgres, projector};
use tokio_postgres::{Client, NoTls};

use crate::shop::Region;

pub(crate) struct World {
    pub(crate) cluster: PrivateCluster,
    pub(crate) central: Postgres,
}

impl World {
    pub(crate) async fn new() -> Self {
        let cluster = PrivateCluster::temporary().expect("a private cluster");
        let central = migrated(&cluster.url()).await;
        Self { cluster, central }
    }

    /// Another empty database of the same cluster.
    pub(crate) async fn another(&self, name: &str) -> Postgres {
        migrated(&self.cluster.create_database(name).expect("a database")).await
    }

    pub(crate) async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.cluster.url(), NoTls).await.expect("connect");
        tokio::spawn(connection);
        client
    }

    /// The one number that a question answers with.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.client().await.query_one(sql, &[]).await.expect(sql).get(0)
    }

    /// The one text of every row.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        self.client().await.query(sql, &[]).await.expect(sql).iter().map(|row| row.get(0)).collect()
    }
}

async fn migrated(url: &str) -> Postgres {
    let central = Postgres::new(url).expect("a URL");
    central.migrate().await.expect("a schema");
    central
}

/// Appends what a region has after its position.
pub(crate) async fn feed_all(central: &Postgres, region: &Region) {
    let after = central.position(region.id).await.expect("a position").region_seq;
    let rows = &region.rows[after as usize..];
    for chunk in rows.chunks(500) {
        let appended = central.append(region.id, chunk[0].region_seq - 1, chunk).await.expect("append");
        assert_eq!(appended.region_seq, chunk[chunk.len() - 1].region_seq);
    }
}

/// Projects until nothing is left. A projector that was just stopped may hold its lock a moment longer.
pub(crate) async fn project_all(central: &Postgres) {
    loop {
        let projected = projector::project_once(central).await.expect("project");
        if projected.entries == 0 && !projected.elsewhere {
            return;
        }
    }
}
