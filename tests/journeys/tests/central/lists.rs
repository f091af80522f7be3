//! The sales behind every figure, one sale to the last detail, stock, devices, exceptions, and all of them as files.

use std::collections::BTreeSet;

use domain::record::{Order, Record};
use serde_json::{Value, json};
use sync_proto::scopes;
use sync_server::central::{CentralError, CentralStore, Contact, projector};

use crate::shop::{
    DAY, MORNING_MS, Region, Writer, enrolment, line, morning, opening, order, order_id, product, sale, start, store,
};
use crate::trade::{SPRING, Trade, ZONE, said};
use crate::web::{NOON_MS, Site, site};
use crate::world::{feed_all, project_all};

impl Site {
    fn json(&self, cookie: &str, path: &str) -> Value {
        let answer = self.get(&format!("/api/v1/{path}"), cookie);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    /// Every row of a list, page by page; and how many pages that took.
    fn all(&self, cookie: &str, path: &str, limit: usize, of: &str) -> (Vec<Value>, usize) {
        let (mut rows, mut after, mut pages) = (Vec::new(), String::new(), 0);
        let sign = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self.json(cookie, &format!("{path}{sign}limit={limit}{after}"));
            rows.extend(page[of].as_array().expect("rows").iter().cloned());
            pages += 1;
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return (rows, pages),
            }
        }
    }

    /// A table as a file: its rows, the first one with the names, the last one with the coverage.
    fn file(&self, cookie: &str, path: &str) -> (Vec<Vec<String>>, String) {
        let answer = self.get(&format!("/api/v1/{path}"), cookie);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "text/csv; charset=utf-8; header=present".into()),
            "{path}"
        );
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(answer.body.as_bytes());
        let rows = reader.records().map(|row| row.expect("a row").iter().map(str::to_owned).collect()).collect();
        (rows, answer.header("content-disposition"))
    }

    async fn fed(&self, region: &Region) {
        feed_all(&self.world.central, region).await;
        project_all(&self.world.central).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_every_figure_are_its_sales() {
    let site = site().await;
    let cookie = site.cookie();
    let trade = Trade::new(&site.world, 11, SPRING, 120).await;
    for basis in ["business_day", "clock"] {
        let within = format!("from={SPRING}&to=2026-03-30&basis={basis}&time_zone={ZONE}");
        for (cut, parameter) in [
            ("day", ""),
            ("hour", "hour"),
            ("till", "till"),
            ("cashier", "cashier"),
            ("product", "product"),
            ("category", "category"),
            ("tender", "tender"),
            ("tax_rate", "tax_rate_bp"),
        ] {
            let report = site.json(&cookie, &format!("reports/sales?{within}&group_by={cut}"));
            for (key, (sales, sold, refunds, refunded, ..)) in said(&report) {
                let path = match cut {
                    "day" => format!("sales?from={key}&to={key}&basis={basis}&time_zone={ZONE}"),
                    _ => format!("sales?{within}&{parameter}={key}"),
                };
                let (rows, _) = site.all(&cookie, &path, 500, "rows");
                let of = |kind: &str| rows.iter().filter(|row| row["kind"] == kind).collect::<Vec<_>>();
                assert_eq!((of("sale").len() as i64, of("refund").len() as i64), (sales, refunds), "{path}");
                if matches!(cut, "day" | "hour" | "till" | "cashier" | "tender") {
                    let sum =
                        |rows: Vec<&Value>| rows.iter().map(|row| row["total_minor"].as_i64().expect("an amount")).sum::<i64>();
                    assert_eq!((sum(of("sale")), -sum(of("refund"))), (sold, refunded), "{path}");
                }
            }
        }
    }
    let path = format!("sales?from={SPRING}&to=2026-03-30&basis=clock&time_zone={ZONE}");
    let (small, pages) = site.all(&cookie, &path, 7, "rows");
    let (large, _) = site.all(&cookie, &path, 500, "rows");
    assert_eq!((small.len(), pages), (trade.deals.len(), trade.deals.len().div_ceil(7)));
    assert!(small == large, "pages of another size hold the same rows");
    assert!(small.is_sorted_by_key(|row| std::cmp::Reverse(row["at_ms"].as_u64())));
    let only = |more: &str| site.all(&cookie, &format!("{path}&{more}"), 500, "rows").0;
    assert!(only("kind=refund").iter().all(|row| row["kind"] == "refund") && !only("kind=refund").is_empty());
    assert!(only("store=S01").iter().all(|row| row["store"] == "S01") && !only("store=S01").is_empty());
    // By receipt number, whole, in part and alone; by amount; and by what nothing has.
    let number = small[5]["number"].as_str().expect("a number").to_owned();
    assert_eq!(only(&format!("search={number}")), [small[5].clone()]);
    let (series, alone) = number.rsplit_once('-').expect("a series");
    assert!(only(&format!("search={}", alone.trim_start_matches('0'))).contains(&small[5]));
    let of_series = only(&format!("search={}", &series.to_lowercase()[..7]));
    assert!(
        of_series.contains(&small[5])
            && of_series.iter().all(|row| row["number"].as_str().expect("a number").starts_with(series))
    );
    let total = small[5]["total_minor"].as_i64().expect("an amount").abs();
    let amount = only(&format!("search={}.{:02}", total / 100, total % 100));
    assert!(
        amount.contains(&small[5]) && amount.iter().all(|row| row["total_minor"].as_i64().expect("an amount").abs() == total)
    );
    for nothing in ["zzz", "99999999", "%25", "S77-000001", "0.001"] {
        assert_eq!(only(&format!("search={nothing}")), Vec::<Value>::new(), "{nothing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_stand_still_while_sales_arrive() {
    let site = site().await;
    let cookie = site.cookie();
    let (mut region, mut till, shop) = (Region::new(1), Writer::new(1), scopes::store(store(1)));
    region.take(till.write(&shop, &opening(1)));
    for n in 1..=30 {
        region.take(till.write(&shop, &sale(n)));
    }
    site.fed(&region).await;
    let path = format!("sales?from={DAY}&to={DAY}&limit=10");
    let before: Vec<Value> = site.all(&cookie, &format!("sales?from={DAY}&to={DAY}"), 500, "rows").0;
    let (mut seen, mut after) = (Vec::new(), String::new());
    for n in 31..=33 {
        let page = site.json(&cookie, &format!("{path}{after}"));
        seen.extend(page["rows"].as_array().expect("rows").iter().cloned());
        after = page["next"].as_str().map_or(String::new(), |next| format!("&after={next}"));
        // Newer ones come in between; none of them shifts a page.
        region.take(till.write(&shop, &sale(n)));
        site.fed(&region).await;
    }
    assert_eq!((seen, after), (before, String::new()));
    assert_eq!(site.all(&cookie, &format!("sales?from={DAY}&to={DAY}"), 500, "rows").0.len(), 33);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sale_to_the_last_detail() {
    let site = site().await;
    let cookie = site.cookie();
    site.fed(&morning()).await;
    site.world.client().await.batch_execute("UPDATE stores SET time_zone = 'Europe/Berlin'").await.expect("update");
    let sold = site.json(&cookie, &format!("sales/S01/{}", order_id(1)));
    let refund = site.json(&cookie, &format!("sales/S01/{}", order_id(30)));
    assert_eq!((&sold["sale"]["number"], &sold["sale"]["total_minor"]), (&json!("S01-T01a-000001"), &json!(849)));
    assert_eq!((&sold["original"], &sold["refunds"][0]), (&Value::Null, &refund["sale"]));
    assert_eq!((&refund["original"], refund["refunds"].as_array().map(Vec::len)), (&sold["sale"], Some(0)));
    let receipt = &sold["receipt"];
    assert_eq!(
        *receipt,
        json!({
            "store_name": "Corner Shop", "address": ["1 High Street", "Leeds"], "header": [], "is_refund": false,
            "number": "S01-T01a-000001", "at": receipt["at"], "cashier": "", "original_number": null, "reason": null,
            "lines": [
                { "name": "Product 1", "detail": "2 × 2.55", "amount": "5.10" },
                { "name": "Product 2", "detail": null, "amount": "3.39" },
            ],
            "total": "GBP 8.49", "taxes": [["20 %", "7.07", "1.42"]], "tax_included": true,
            "payments": [{ "method": "cash", "handed_over": "8.49", "change": null }], "footer": ["Thank you"],
        })
    );
    assert!(receipt["at"].as_str().expect("a time").starts_with("2026-03-02 10:00"), "an hour ahead of UTC: {receipt}");
    assert_eq!(
        (&refund["receipt"]["original_number"], &refund["receipt"]["reason"]),
        (&json!("S01-T01a-000001"), &json!("broken"))
    );
    assert_eq!((&sold["lines"][0]["refunded_milli"], &sold["lines"][1]["refunded_milli"]), (&json!(1_000), &json!(0)));
    assert_eq!((&sold["lines"][0]["code"], &sold["lines"][0]["tax_rate_bp"]), (&json!("P1"), &json!(2_000)));
    // The proof names the entry whose bytes hash to it.
    let hash = sold["proof"]["hash"].as_str().expect("a hash");
    let sql = "SELECT count(*) FROM entries WHERE encode(hash, 'hex') = $1 AND seq = $2 AND commit_no = $3 AND device::text = $4";
    let proof = &sold["proof"];
    let (seq, commit) = (proof["seq"].as_i64().expect("a place"), proof["commit"].as_i64().expect("a commit"));
    let device = proof["device"].as_str().expect("a device");
    let found = site.world.client().await.query_one(sql, &[&hash, &seq, &commit, &device]).await.expect("asks");
    assert_eq!((found.get::<_, i64>(0), hash.len()), (1, 64));
    // By the id of the store, too, while its code is not known.
    assert_eq!(site.json(&cookie, &format!("sales/{}/{}", store(1), order_id(1))), sold);
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_is_the_sum_of_its_movements() {
    let site = site().await;
    let cookie = site.cookie();
    site.fed(&morning()).await;
    let (levels, _) = site.all(&cookie, "stock", 1, "rows");
    let short =
        |row: &Value| (row["code"].as_str().expect("a code").to_owned(), row["quantity_milli"].as_i64().expect("a level"));
    assert_eq!(levels.iter().map(short).collect::<Vec<_>>(), [("P1".into(), -81_000), ("P2".into(), -44_000)]);
    let found = |query: &str| site.json(&cookie, &format!("stock?{query}"))["rows"].as_array().expect("rows").len();
    assert_eq!([found("search=product%201"), found("search=20001"), found("search=p2"), found("search=%25")], [1, 2, 1, 0]);
    assert_eq!([found("below_milli=-50000"), found("category="), found("category=Food"), found("store=S01")], [1, 2, 0, 2]);

    let path = format!("stock/S01/{}/movements", product(2));
    let (movements, pages) = site.all(&cookie, &path, 10, "movements");
    assert_eq!((movements.len(), pages), (42, 5));
    let n = |row: &Value, field: &str| row[field].as_i64().expect("a number");
    assert_eq!(n(&movements[0], "level_milli"), -44_000);
    for pair in movements.windows(2) {
        assert_eq!(n(&pair[0], "level_milli") - n(&pair[0], "quantity_milli"), n(&pair[1], "level_milli"));
    }
    let first = movements.last().expect("the first");
    assert_eq!(n(first, "level_milli"), n(first, "quantity_milli"), "from nothing");
    let adjusted = movements.iter().find(|m| m["reason"] == "adjustment").expect("the breakage");
    assert_eq!(
        (&adjusted["note"], &adjusted["till"], &adjusted["order"]),
        (&json!("fell from the shelf"), &json!("Till 1"), &Value::Null)
    );
    let sold = movements.iter().find(|m| m["order"] == order_id(3).to_string()).expect("a sale");
    assert_eq!((&sold["number"], &sold["reason"], &sold["till"]), (&json!("S01-T01a-000003"), &json!("sale"), &json!("Till 1")));
    assert_eq!(levels[1]["moved_at_ms"], movements[0]["at_ms"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_say_what_they_run_and_how_their_clocks_stand() {
    let site = site().await;
    let cookie = site.cookie();
    site.fed(&morning()).await;
    let (first, second) = (Writer::new(1), Writer::new(2));
    let contact = |writer: &Writer, commit, ago_ms, clock_drift_ms| Contact {
        device: writer.origin().device,
        incarnation: writer.origin().incarnation,
        commit,
        seen_at_ms: NOON_MS - ago_ms,
        clock_drift_ms,
    };
    let heard = [contact(&first, 25, 1_000, Some(301_000)), contact(&second, 23, 1_000, Some(-500))];
    site.world.central.seen(&heard).await.expect("seen");
    // Heard again without a word of its clock: what it said holds.
    site.world.central.seen(&[contact(&first, 25, 0, None)]).await.expect("seen");
    let connection = site.live.connect(first.device());
    let devices = site.json(&cookie, "devices");
    let till = &devices[1];
    assert_eq!(
        *till,
        json!({
            "device": first.device().to_string(), "name": "Till 1", "kind": "till", "store": "S01", "series": "S01-T01a",
            "software": "0.1.0", "enrolled_at_ms": MORNING_MS + 3_000, "state": "current", "connected": true, "seen_at_ms": NOON_MS,
            "last_entry_at_ms": MORNING_MS + 25_000, "unsent_commits": 0, "clock_drift_ms": 301_000,
        })
    );
    assert_eq!(
        (&devices[2]["state"], &devices[2]["unsent_commits"], &devices[2]["connected"]),
        (&json!("behind"), &json!(3), &json!(false))
    );
    assert_eq!(
        (&devices[0]["kind"], &devices[0]["state"], &devices[0]["store"]),
        (&json!("server"), &json!("current"), &Value::Null)
    );
    let sentence = &site.json(&cookie, "stock")["coverage"]["sentence"];
    assert_eq!(sentence, "Covers 1 of 2 tills to 12:00 UTC; Till 2 3 commits behind; the clock of Till 1 is 5 min fast.");
    drop(connection);
    assert_eq!(site.json(&cookie, "devices")[1]["connected"], false);
    let (rows, name) = site.file(&cookie, "devices?format=csv");
    assert_eq!((rows.len(), name.as_str()), (5, "attachment; filename=\"devices.csv\""));
    assert_eq!(rows[2][11], "301.000");
}

/// A trade with one of every oddity that a till can write.
fn odd() -> Region {
    let (mut region, mut till, shop) = (Region::new(1), Writer::new(1), scopes::store(store(1)));
    region.take(Writer::new(90).write(&scopes::directory(), &enrolment(till.device(), Some(store(1)), "Till 1", 1)));
    region.take(till.write(&shop, &start("S01-T01a")));
    region.take(till.write(&shop, &opening(1)));
    let odd_sum = Order { total_minor: 1, ..order(1, 1, vec![line(1, 1, "2.55")]) };
    region.take(till.write(&shop, &Record::SaleCompleted(odd_sum)));
    region.take(till.write(&shop, &sale(2)));
    region.take(till.write(&shop, &Record::SaleCompleted(order(2, 1, vec![line(2, 1, "1.00")]))));
    region
}

#[tokio::test(flavor = "multi_thread")]
async fn exceptions_are_looked_at_and_stay_so() {
    let site = site().await;
    let cookie = site.cookie();
    site.fed(&odd()).await;
    let list = |query: &str| site.json(&cookie, &format!("exceptions{query}"));
    let open = list("");
    let kinds: Vec<_> = open["rows"].as_array().expect("rows").iter().map(|r| r["kind"].as_str().expect("a kind")).collect();
    assert_eq!((kinds, &open["open"], &open["next"]), (vec!["duplicate_id", "sums"], &json!(2), &Value::Null));
    let sums = &open["rows"][1];
    assert_eq!((&sums["order"], &sums["number"]), (&json!(order_id(1).to_string()), &json!("S01-T01a-000001")));
    assert_eq!(
        (&sums["till"], &sums["at_ms"], &sums["store"]),
        (&json!("Till 1"), &json!(MORNING_MS + 3_000), &Value::Null),
        "no store's document"
    );
    assert_eq!(sums["title"], "The amounts of a receipt do not add up");
    assert_eq!(list("?kind=sums")["rows"].as_array().map(Vec::len), Some(1));
    assert_eq!(site.all(&cookie, "exceptions", 1, "rows").1, 2);
    let of_sale = site.json(&cookie, &format!("sales/{}/{}", store(1), order_id(1)));
    assert_eq!((&of_sale["exceptions"][0], &of_sale["sale"]["flagged"]), (sums, &json!(true)));

    let review = |id: &str, body: Value| {
        let headers = [("cookie", cookie.as_str()), ("content-type", "application/json")];
        site.ask("POST", &format!("/api/v1/exceptions/{id}/review"), &headers, Some(&body.to_string()))
    };
    let mut events = site.live.subscribe();
    let id = sums["id"].as_str().expect("an id");
    let reviewed = review(id, json!({ "note": "till was updated" }));
    assert_eq!(reviewed.json()["review"], json!({ "by": "Ada", "at_ms": NOON_MS, "note": "till was updated" }));
    let told =
        async { while *events.recv().await.expect("an event") != (sync_server::web_api::LiveEvent::Exceptions { open: 1 }) {} };
    tokio::time::timeout(std::time::Duration::from_secs(60), told).await.expect("watchers are told");
    assert_eq!((&list("")["open"], list("")["rows"].as_array().map(Vec::len)), (&json!(1), Some(1)));
    assert_eq!(list("?state=all")["rows"].as_array().map(Vec::len), Some(2));
    for (id, body, status) in [
        ("9999-1", json!({ "note": "" }), 404),
        ("x", json!({ "note": "" }), 404),
        (id, json!({ "note": "x".repeat(1_001) }), 400),
        (id, json!({}), 400),
    ] {
        assert_eq!(review(id, body).status, status, "{id}");
    }
    // Figures built anew know who looked.
    projector::reproject(&site.world.central, false).await.expect("rebuilds");
    assert_eq!(list("")["open"], 1);
    let (rows, _) = site.file(&cookie, "exceptions?state=all&format=csv");
    assert_eq!(rows.iter().filter(|row| row.contains(&"till was updated".to_owned())).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_a_file_with_all_its_rows() {
    let site = site().await;
    let cookie = site.cookie();
    let mut region = morning();
    let (mut till, shop) = (Writer::new(1), scopes::store(store(2)));
    till.now_ms += 7_200_000;
    region.take(till.write(&shop, &opening(2)));
    // More than a piece of a file holds.
    for n in 1_000..3_300 {
        region.take(till.write(&shop, &Record::SaleCompleted(order(n, 2, vec![line(3, 1, "1.00")]))));
    }
    site.fed(&region).await;
    let (rows, name) = site.file(&cookie, &format!("sales?from={DAY}&to={DAY}&limit=5&format=csv"));
    assert_eq!((rows.len(), name.as_str()), (42 + 2_300 + 2, "attachment; filename=\"sales-list.csv\""));
    let orders: BTreeSet<_> = rows[1..rows.len() - 1].iter().map(|row| row.last().expect("an id").clone()).collect();
    assert_eq!(orders.len(), 42 + 2_300);
    let last = rows.last().expect("the last row");
    assert_eq!((last[0].as_str(), last[2].as_str()), ("coverage", "2026-03-02T12:00:00Z"));
    assert!(last[1].starts_with("Covers 0 of 2 tills"), "{last:?}");
    let total = rows[0].iter().position(|name| name == "total").expect("a column");
    let sum: f64 = rows[1..rows.len() - 1].iter().map(|row| row[total].parse::<f64>().expect("a plain number")).sum();
    assert_eq!((sum * 100.0).round() as i64, 34_554 + 230_000);

    let report = format!("reports/sales?from={DAY}&to={DAY}&group_by=product&format=csv");
    let (rows, name) = site.file(&cookie, &report);
    assert_eq!(name, format!("attachment; filename=\"sales-by-product-{DAY}-{DAY}.csv\""));
    assert_eq!(rows[0][..6], ["product", "label", "detail", "currency", "sales", "sales_amount"]);
    assert_eq!(rows[1][1..], ["Product 3", "", "GBP", "2300", "2300.00", "0", "0.00", "2300.00", "", "2300.000"]);
    assert_eq!((rows[rows.len() - 2][0].as_str(), rows[rows.len() - 2][8].as_str()), ("total", "2645.54"));
    assert_eq!(rows[rows.len() - 1][0], "coverage");
    for (path, rows_expected) in [
        ("stock?format=csv".to_owned(), 3 + 2),
        (format!("stock/S01/{}/movements?format=csv", product(2)), 42 + 2),
        ("exceptions?format=csv".to_owned(), 2),
        ("devices?format=csv".to_owned(), 3 + 2),
        (format!("reports/sales?from={DAY}&to={DAY}&group_by=hour&format=csv"), 24 + 3),
    ] {
        let (rows, _) = site.file(&cookie, &path);
        assert_eq!(rows.len(), rows_expected, "{path}: {rows:?}");
        assert_eq!(rows.last().expect("a row")[0], "coverage", "{path}");
    }
    // What somebody typed is never a formula.
    site.world.client().await.batch_execute("UPDATE products SET name = '=1+1' WHERE code = 'P1'").await.expect("update");
    let names: Vec<_> = site.file(&cookie, "stock?format=csv").0.into_iter().filter_map(|row| row.get(2).cloned()).collect();
    assert!(names.contains(&"'=1+1".to_owned()), "{names:?}");
    assert_eq!(site.get("/api/v1/stock?format=csv&store=S77", &cookie).code(), (400, "bad_request".into()));
    let none = format!("/api/v1/stock/S01/{}/movements?format=csv", product(77));
    assert_eq!(site.get(&none, &cookie).code(), (404, "not_found".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_read_model_is_built_again_by_itself() {
    let site = site().await;
    let cookie = site.cookie();
    site.fed(&morning()).await;
    let path = format!("reports/sales?from={DAY}&to={DAY}&group_by=tax_rate");
    let right = site.json(&cookie, &path);
    // As a program left it that knew nothing of tax lines.
    let client = site.world.client().await;
    let older = "UPDATE orders SET tax_rates_bp = '{}', tax_nets_minor = '{}', tax_amounts_minor = '{}';
        UPDATE projector_cursor SET version = 1";
    client.batch_execute(older).await.expect("older");
    let before = site.json(&cookie, &path);
    let sentence = before["coverage"]["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains("being built again after an update"), "{sentence}");
    assert_eq!((&before["coverage"]["complete"], before["rows"].as_array().map(Vec::len)), (&json!(false), Some(0)));
    project_all(&site.world.central).await;
    assert_eq!(site.json(&cookie, &path), right);
    assert_eq!(site.world.number("SELECT version::bigint FROM projector_cursor").await, i64::from(projector::READ_MODEL));
    // A newer program's rows are left alone.
    client.batch_execute("UPDATE projector_cursor SET version = 1000").await.expect("newer");
    let mut region = morning();
    region.take(Writer::new(9).write(&scopes::store(store(1)), &sale(500)));
    feed_all(&site.world.central, &region).await;
    let left = projector::project_once(&site.world.central).await.expect("looks");
    assert_eq!((left.entries, left.elsewhere), (0, true));
    let refused = projector::reproject(&site.world.central, false).await;
    assert!(matches!(refused, Err(CentralError::NewerReadModel { found: 1_000, .. })), "{refused:?}");
}
