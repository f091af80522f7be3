//! The schema: migrations, tables that only grow, row-level security.

use sync_server::central::CentralError;

use crate::shop::{Region, Writer, morning, sale, store};
use crate::world::{World, feed_all, project_all};
use sync_proto::scopes;

#[tokio::test]
async fn migrations_are_applied_once_and_never_edited() {
    let world = World::new().await;
    assert_eq!(world.central.migrate().await.expect("again"), 0);
    let client = world.client().await;
    client.execute("INSERT INTO schema_migrations VALUES (1000, 'of a newer program', '')", &[]).await.expect("insert");
    assert_eq!(world.central.migrate().await.expect("beside a newer program"), 0);
    client.execute("UPDATE schema_migrations SET checksum = 'x' WHERE version = 2", &[]).await.expect("update");
    assert!(matches!(world.central.migrate().await, Err(CentralError::EditedMigration { version: 2 })));
}

#[tokio::test]
async fn a_database_that_is_not_there_is_said_to_be_so() {
    let world = World::new().await;
    let url = world.cluster.url().replacen("/evertill?", "/nothing?", 1);
    let refused = sync_server::central::Postgres::new(&url).expect("a URL").migrate().await;
    assert!(matches!(refused, Err(CentralError::NoEntry(_))), "{refused:?}");
    assert!(matches!(sync_server::central::Postgres::new("host=/tmp port=x"), Err(CentralError::Url(_))));
}

#[tokio::test]
async fn servers_that_start_together_migrate_once() {
    let world = World::new().await;
    let url = world.cluster.create_database("together").expect("a database");
    let servers: Vec<_> = (0..4).map(|_| sync_server::central::Postgres::new(&url).expect("a URL")).collect();
    let applied = futures(servers.iter().map(|s| s.migrate())).await;
    let applied: Vec<usize> = applied.into_iter().map(|a| a.expect("a schema")).collect();
    assert_eq!((applied.iter().sum::<usize>(), applied.iter().filter(|a| **a > 0).count()), (9, 1), "{applied:?}");
}

async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, slot) in all.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(out) = future.as_mut().poll(cx)
            {
                *slot = Some(out);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn entries_are_never_changed_or_removed() {
    let world = World::new().await;
    feed_all(&world.central, &morning()).await;
    let client = world.client().await;
    for statement in ["UPDATE entries SET bytes = ''", "DELETE FROM entries", "TRUNCATE entries", "TRUNCATE forked_entries"] {
        let refused = client.batch_execute(statement).await.expect_err(statement);
        let message = refused.as_db_error().expect("from Postgres").message();
        assert!(message.contains("only grows"), "{statement}: {message}");
    }
}

#[tokio::test]
async fn every_table_of_a_store_is_behind_row_level_security() {
    let world = World::new().await;
    let open = world
        .texts(
            "SELECT c.relname::text FROM pg_class AS c
             JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'store_id' AND NOT a.attisdropped
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
               AND NOT (c.relrowsecurity AND c.relforcerowsecurity
                        AND EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid AND p.polname = 'one_store'))",
        )
        .await;
    assert_eq!(open, Vec::<String>::new());
    assert!(world.number("SELECT count(DISTINCT polrelid) FROM pg_policy").await >= 13, "the question above finds tables at all");
}

#[tokio::test]
async fn a_reader_sees_the_store_it_asks_for_and_no_other() {
    let world = World::new().await;
    let mut region = Region::new(1);
    for n in [1, 2] {
        let mut till = Writer::new(n);
        for sale_number in 0..u64::from(n) {
            region.take(till.write(&scopes::store(store(n.into())), &sale(10 * u64::from(n) + sale_number)));
        }
    }
    feed_all(&world.central, &region).await;
    project_all(&world.central).await;
    let client = world.client().await;
    client
        .batch_execute("CREATE ROLE reader; GRANT SELECT ON orders, stock_levels TO reader; GRANT UPDATE ON orders TO reader; SET ROLE reader")
        .await
        .expect("a reader");
    let count = async || client.query_one("SELECT count(*) FROM orders", &[]).await.expect("count").get::<_, i64>(0);
    assert_eq!(count().await, 0, "who asks for no store sees none");
    for n in [1, 2] {
        client.batch_execute(&format!("SET app.store_id = '{}'", store(n))).await.expect("set");
        assert_eq!(count().await, n as i64);
    }
    assert_eq!(client.execute("UPDATE orders SET total_minor = 0", &[]).await.expect("update"), 0);
    assert!(client.execute("SELECT FROM payments", &[]).await.is_err(), "without a grant there is nothing");
}
