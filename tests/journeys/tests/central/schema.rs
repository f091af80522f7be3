//! The schema: migrations, tables that only grow, row-level security.

use std::fs;
use std::path::Path;

use sync_server::central::CentralError;
use tokio_postgres::NoTls;

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
    assert_eq!((applied.iter().sum::<usize>(), applied.iter().filter(|a| **a > 0).count()), (11, 1), "{applied:?}");
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
               AND NOT (c.relkind = 'v' AND c.reloptions @> ARRAY['security_invoker=true'])
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
    client.batch_execute("RESET ROLE; GRANT SELECT ON order_lines TO reader; SET ROLE reader").await.expect("a grant");
    let lines = client.query_one("SELECT count(*) FROM order_lines", &[]).await.expect("count");
    assert_eq!(lines.get::<_, i64>(0), 4, "a view shows the lines of the store that is asked for: two in each sale");
}

/// What a program before left is there while the rows are built again, and readers who had been granted a table read the view in its place.
#[tokio::test]
async fn orders_that_lay_in_several_tables_are_whole_after_the_migration() {
    let world = World::new().await;
    let url = world.cluster.create_database("older").expect("a database");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("connect");
    tokio::spawn(connection);
    client
        .batch_execute("CREATE TABLE schema_migrations (version int PRIMARY KEY, name text, checksum bytea)")
        .await
        .expect("a table");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/central");
    let mut files: Vec<_> = fs::read_dir(folder).expect("migrations").map(|file| file.expect("a file").path()).collect();
    files.sort();
    for (version, file) in (1..10).zip(files) {
        let sql = fs::read_to_string(file).expect("a migration");
        client.batch_execute(&sql).await.expect("an older schema");
        client
            .execute("INSERT INTO schema_migrations VALUES ($1, '', sha256(convert_to($2, 'UTF8')))", &[&version, &sql])
            .await
            .expect("noted");
    }
    let rows = "
        INSERT INTO orders SELECT id('5'), id(o), kind, id('d'), id('1'), 1, id('f'), '2026-03-02', NULL, 7, 'GBP', 'inclusive', 849, 141, NULL,
            NULL, NULL, 1 FROM (VALUES ('a', 'sale'), ('b', 'refund'), ('c', 'sale')) AS v (o, kind);
        INSERT INTO order_lines SELECT id('5'), id(o), line, id('e'), 'Tea ' || line, 1000, 300, 2000, 3, original
            FROM (VALUES ('a', 0, NULL), ('a', 1, NULL), ('b', 0, 1), ('b', 1, NULL)) AS v (o, line, original);
        INSERT INTO order_taxes VALUES (id('5'), id('a'), 0, 2000, 100, 20), (id('5'), id('a'), 1, 0, 50, 0);
        INSERT INTO payments VALUES (id('5'), id('a'), 0, 'cash', 100, 200, 100), (id('5'), id('a'), 1, 'card', 70, NULL, 0);
        INSERT INTO stock_movements SELECT id('5'), id(o), line, id('e'), -1000, reason, 7, price, price, device, device, NULL, note, NULL, NULL, 1
            FROM (VALUES ('a', 0, 'sale', NULL, NULL, NULL), ('a', 1, 'sale', NULL, NULL, NULL), ('b', 0, 'refund', NULL, NULL, NULL),
                ('b', 1, 'refund', NULL, NULL, NULL), ('9', 0, 'adjustment', 0, id('d'), 'broken')) AS v (o, line, reason, price, device, note);
        INSERT INTO stock_levels VALUES (id('5'), id('e'), -5000, false);
        UPDATE projector_cursor SET central_seq = 1";
    let id = "CREATE FUNCTION id(hex text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT lpad(hex, 32, '0')::uuid $$";
    client
        .batch_execute(&format!("{id}; {rows}; CREATE ROLE shopkeeper; GRANT SELECT ON orders, payments TO shopkeeper"))
        .await
        .expect("rows");
    let said = async || {
        let mut said = Vec::new();
        for table in ["order_lines", "order_taxes", "payments", "stock_movements"] {
            let rows = client.query(&format!("SELECT t::text FROM {table} AS t ORDER BY 1"), &[]).await.expect(table);
            said.extend(rows.iter().map(|row| row.get::<_, String>(0)));
        }
        said
    };
    let before = said().await;
    assert_eq!(before.len(), 4 + 2 + 2 + 5);
    let central = sync_server::central::Postgres::new(&url).expect("a URL");
    assert_eq!(central.migrate().await.expect("the schema of now"), 2);
    assert_eq!(said().await, before);
    let moved = client.query_one("SELECT moved_at_ms FROM stock_levels", &[]).await.expect("a level");
    assert_eq!(moved.get::<_, i64>(0), 7);
    client.batch_execute(&format!("SET ROLE shopkeeper; SET app.store_id = '{:032x}'", 5)).await.expect("a reader");
    let payments = client.query_one("SELECT count(*) FROM payments", &[]).await.expect("payments, as before");
    assert_eq!(payments.get::<_, i64>(0), 2);
    assert!(client.execute("SELECT FROM order_lines", &[]).await.is_err(), "nobody was granted them");
}
