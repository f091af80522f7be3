//! Every cut of the sales report against the records themselves, on the days on which clocks change.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::shop::{DAY, morning};
use crate::trade::{AUTUMN, Deal, SPRING, Sums, Trade, ZONE, added_up, product_key, said};
use crate::web::{Site, site};
use crate::world::{feed_all, project_all};

const CUTS: [&str; 8] = ["day", "hour", "till", "cashier", "product", "category", "tender", "tax_rate"];

impl Site {
    fn report(&self, cookie: &str, query: &str) -> Value {
        let answer = self.get(&format!("/api/v1/reports/sales?{query}"), cookie);
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        answer.json()
    }
}

/// What a cut has to say of a deal: keys, amounts, pieces, tax. `local` is its day and hour by the clock.
fn parts(cut: &str, basis: &str, deal: &Deal, local: &(String, i64)) -> Vec<(String, i64, i64, i64)> {
    let o = &deal.order;
    let tax = o.taxes.iter().map(|t| t.tax_minor).sum();
    let whole = |key: String| vec![(key, o.total_minor, 0, tax)];
    let category = |l: &domain::record::OrderLine| match crate::shop::product(1) == l.product {
        true => "Drinks",
        false if [2, 3].map(crate::shop::product).contains(&l.product) => "Food",
        false => "",
    };
    match (cut, basis) {
        ("day", "clock") => whole(local.0.clone()),
        ("day", _) => whole(deal.day.clone()),
        ("hour", _) => whole(local.1.to_string()),
        ("till", _) => whole(deal.device.clone()),
        ("cashier", _) => whole(deal.staff.map_or("none".into(), |s| s.to_string())),
        ("product", _) => o.lines.iter().map(|l| (product_key(l), l.amount_minor, l.quantity.0, 0)).collect(),
        ("category", _) => o.lines.iter().map(|l| (category(l).into(), l.amount_minor, l.quantity.0, 0)).collect(),
        ("tender", _) => o.payments.iter().map(|p| (p.method.as_str().into(), p.amount_minor, 0, 0)).collect(),
        ("tax_rate", _) => o.taxes.iter().map(|t| (t.rate_bp.to_string(), t.net_minor + t.tax_minor, 0, t.tax_minor)).collect(),
        _ => unreachable!("a cut"),
    }
}

fn without_counts(rows: &BTreeMap<String, Sums>) -> Sums {
    rows.values().fold(Sums::default(), |a, b| (0, a.1 + b.1, 0, a.3 + b.3, a.4 + b.4, a.5 + b.5))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cut_is_the_sum_over_the_records() {
    for (seed, first) in [(1, SPRING), (2, AUTUMN)] {
        let site = site().await;
        let cookie = site.cookie();
        let trade = Trade::new(&site.world, seed, first, 150).await;
        let local = trade.by_the_clock(&site.world, ZONE).await;
        let last = first.parse::<jiff::civil::Date>().expect("a day") + jiff::Span::new().days(2);
        for (basis, store) in [("business_day", None), ("clock", None), ("clock", Some(1)), ("business_day", Some(2))] {
            let chosen = || trade.deals.iter().enumerate().filter(|(_, d)| store.is_none_or(|store| store == d.store));
            let narrowed = store.map_or(String::new(), |n| format!("&store=S0{n}"));
            let whole: i64 = chosen().map(|(_, d)| d.order.total_minor).sum();
            for cut in CUTS {
                let query =
                    format!("from={first}&to={last}&group_by={cut}&basis={basis}&time_zone={ZONE}&currency=GBP{narrowed}");
                let report = site.report(&cookie, &query);
                let expected = added_up(chosen(), |n, deal| parts(cut, basis, deal, &local[n]));
                let rows = said(&report);
                assert_eq!(rows, expected, "seed {seed}: {query}");
                // The total is of the same sums, and every order is counted in it once.
                let total = &said(&json!({ "rows": [report["total"]] }))["total"];
                let sums = without_counts(&rows);
                assert_eq!((0, total.1, 0, total.3, total.4, total.5), sums, "{query}");
                assert_eq!((total.0 + total.2) as usize, chosen().count(), "{query}");
                if !matches!(cut, "product" | "category") {
                    assert_eq!(report["total"]["net_minor"], whole, "{query}");
                }
                let tills = report["coverage"]["tills"].as_array().map(Vec::len);
                assert_eq!(tills, Some(if store.is_some() { 2 } else { 4 }), "a store's figures are of its own tills");
                assert_eq!((&report["time_zone"], &report["truncated"]), (&json!(ZONE), &json!(false)));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn days_by_the_clock_end_when_clocks_say_so() {
    let site = site().await;
    let cookie = site.cookie();
    let trade = Trade::new(&site.world, 7, AUTUMN, 400).await;
    for zone in ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC", "Pacific/Chatham"] {
        let local = trade.by_the_clock(&site.world, zone).await;
        let query = |from: &str, to: &str, cut: &str| format!("from={from}&to={to}&group_by={cut}&basis=clock&time_zone={zone}");
        for cut in ["day", "hour"] {
            let report = site.report(&cookie, &query("2026-10-20", "2026-10-30", cut));
            let expected = added_up(trade.deals.iter().enumerate(), |n, deal| parts(cut, "clock", deal, &local[n]));
            assert_eq!(said(&report), expected, "{zone} {cut}");
            assert_eq!(report["rows"].as_array().expect("rows").len(), if cut == "hour" { 24 } else { 11 });
        }
        // The day of 25 hours in Berlin, and nothing of the days beside it.
        let of_day = trade.deals.iter().enumerate().filter(|(n, _)| local[*n].0 == "2026-10-25");
        let expected = added_up(of_day, |n, deal| parts("hour", "clock", deal, &local[n]));
        assert_eq!(said(&site.report(&cookie, &query("2026-10-25", "2026-10-25", "hour"))), expected, "{zone}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_carry_names_and_empty_ones_are_there() {
    let site = site().await;
    feed_all(&site.world.central, &morning()).await;
    project_all(&site.world.central).await;
    let cookie = site.cookie();
    let labels = |cut: &str| {
        let report = site.report(&cookie, &format!("from={DAY}&to={DAY}&group_by={cut}"));
        let rows = report["rows"].as_array().expect("rows").clone();
        let text = |row: &Value| {
            format!(
                "{} ({}) {}",
                row["label"].as_str().expect("a label"),
                row["detail"].as_str().expect("a detail"),
                row["net_minor"]
            )
        };
        rows.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(labels("product"), ["Product 1 (P1) 20655", "Product 2 (P2) 13899"]);
    assert_eq!(labels("category"), ["No category () 34554"]);
    assert_eq!(labels("tender"), ["Cash () 34554"]);
    assert_eq!(labels("tax_rate"), ["20 % () 34554"]);
    assert_eq!(labels("till"), ["Till 1 (S01) 17574", "Till 2 (S01) 16980"]);
    assert_eq!(labels("hour")[9], "09:00 () 34554");
    assert_eq!(labels("hour").len(), 24);
    let nobody = site.report(&cookie, &format!("from={DAY}&to={DAY}&group_by=cashier"));
    assert_eq!(nobody["rows"][0]["label"], "07070707-0707-0707-0707-070707070707", "whom no document tells of");
    let total = &site.report(&cookie, &format!("from={DAY}&to={DAY}&group_by=product"))["total"];
    assert_eq!((&total["sales"], &total["quantity_milli"], &total["tax_minor"]), (&json!(41), &json!(122_000), &Value::Null));
    // Without a time zone in the question it is the store's.
    site.world.client().await.execute("UPDATE stores SET time_zone = 'Asia/Tokyo'", &[]).await.expect("update");
    let hours = site.report(&cookie, &format!("from={DAY}&to={DAY}&group_by=hour&store=S01"));
    assert_eq!((&hours["time_zone"], &hours["rows"][18]["net_minor"]), (&json!("Asia/Tokyo"), &json!(34_554)));
}

/// However many days and tills there are, the rows come to the total: no trading day is shown as empty, none is left out.
#[tokio::test(flavor = "multi_thread")]
async fn many_days_and_many_tills_come_to_the_total() {
    const TRADING: i64 = 2_500;
    let site = site().await;
    feed_all(&site.world.central, &morning()).await;
    project_all(&site.world.central).await;
    let cookie = site.cookie();
    // A day further back each, and a till of its own each; the older, the more was sold.
    let client = site.world.client().await;
    let more = format!(
        "INSERT INTO devices SELECT (jsonb_populate_record(d,
             jsonb_build_object('device_id', lpad(to_hex(n), 32, '0')::uuid, 'name', 'Till ' || n))).*
         FROM devices AS d, generate_series(10, {TRADING} + 9) AS n WHERE d.name = 'Till 1';
         INSERT INTO orders SELECT (jsonb_populate_record(o, jsonb_build_object('order_id', lpad(to_hex(n), 32, '0')::uuid,
             'device_id', lpad(to_hex(n + 9), 32, '0')::uuid, 'business_day', o.business_day - n, 'total_minor', 100000 + n))).*
         FROM orders AS o, generate_series(1, {TRADING}) AS n WHERE o.receipt_number = 1"
    );
    client.batch_execute(&more).await.expect("more of both");
    let last: jiff::civil::Date = DAY.parse().expect("a day");
    let first = last - jiff::Span::new().days(3_199);
    for (cut, rows_expected) in [("day", 3_200), ("till", TRADING as usize + 2)] {
        let query = format!("from={first}&to={DAY}&group_by={cut}");
        let report = site.report(&cookie, &query);
        let rows = report["rows"].as_array().expect("rows");
        let sum: i64 = rows.iter().map(|row| row["net_minor"].as_i64().expect("an amount")).sum();
        assert_eq!((rows.len(), &report["truncated"]), (rows_expected, &json!(false)), "{cut}");
        assert_eq!(json!(sum), report["total"]["net_minor"], "{cut}");
        let traded = rows.iter().filter(|row| row["sales"].as_i64() > Some(0)).count() as i64;
        assert_eq!(traded, TRADING + if cut == "day" { 1 } else { 2 }, "{cut}");
        let file = site.get(&format!("/api/v1/reports/sales?{query}&format=csv"), &cookie);
        assert_eq!(file.body.lines().count(), rows_expected + 3, "{cut}: names, rows, total, coverage");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_make_no_sense_are_answered_with_what_to_ask() {
    let site = site().await;
    let cookie = site.cookie();
    let id = "01010101-0101-0101-0101-010101010101";
    for (path, about) in [
        (format!("reports/sales?from={DAY}&to={DAY}&group_by=day&time_zone=Berlin"), "IANA"),
        (format!("reports/sales?from={DAY}&to={DAY}&group_by=day&store=S77"), "No store has the code S77"),
        (format!("reports/sales?from={DAY}&to={DAY}&group_by=day&basis=moon"), "basis"),
        (format!("reports/sales?from={DAY}&to={DAY}&group_by=day&colour=red"), "colour"),
        (format!("reports/sales?from={DAY}&to={DAY}&group_by=day&format=xml"), "format"),
        (format!("sales?from={DAY}&to={DAY}&limit=0"), "`limit`"),
        (format!("sales?from={DAY}&to={DAY}&limit=501"), "`limit`"),
        (format!("sales?from={DAY}&to={DAY}&hour=24"), "`hour`"),
        (format!("sales?from={DAY}&to={DAY}&till=7"), "`till`"),
        (format!("sales?from={DAY}&to={DAY}&after=now"), "`after`"),
        (format!("sales?from={DAY}&to={DAY}&search={}", "x".repeat(201)), "`search`"),
        (format!("sales?from={DAY}"), "to"),
        ("stock?after=x".into(), "`after`"),
        ("stock?store=S77".into(), "S77"),
        ("exceptions?state=closed".into(), "`state`"),
        ("exceptions?kind=sadness".into(), "`kind`"),
    ] {
        let answer = site.get(&format!("/api/v1/{path}"), &cookie);
        assert_eq!(answer.code(), (400, "bad_request".into()), "{path}: {}", answer.body);
        let message = answer.json()["message"].as_str().expect("a sentence").to_owned();
        assert!(message.contains(about) && message.ends_with('.'), "{path}: {message}");
    }
    for path in
        [format!("sales/S01/{id}"), "sales/S01/x".into(), format!("stock/S01/{id}/movements"), "stock/S01/x/movements".into()]
    {
        assert_eq!(site.get(&format!("/api/v1/{path}"), &cookie).code(), (404, "not_found".into()), "{path}");
    }
}
