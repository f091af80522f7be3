//! The catalogue over real HTTP: a whole server in this process, its own region, its own Postgres.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::document::Store;
use domain::ids::StoreId;
use domain::tax::TaxMode;
use serde_json::{Value, json};
use sync_proto::env::{Env, random};
use sync_server::central::catalogue;
use sync_server::config::Config;
use sync_server::daemon;
use sync_server::env::Machine;
use sync_server::web::accounts;
use sync_server::web_api::ImportState;
use tokio::sync::{oneshot, watch};
use ureq::Agent;

use crate::shop::gbp;
use crate::world::World;

const PASSWORD: &str = "correct horse battery";
const PATIENCE: Duration = Duration::from_secs(60);
/// A PNG of one pixel.
const PIXEL: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0,
];

struct Running {
    stop: watch::Sender<bool>,
    ended: tokio::task::JoinHandle<Result<(), daemon::DaemonError>>,
    address: SocketAddr,
}

struct Site {
    world: World,
    folder: tempfile::TempDir,
    running: Option<Running>,
    agent: Agent,
}

/// A signed-in manager.
struct Manager<'a> {
    site: &'a Site,
    cookie: String,
}

struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    bytes: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Status and code of a refusal.
    fn code(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap_or_default().to_owned())
    }

    fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }

    fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text());
        self.json()
    }
}

impl Site {
    /// A server with the store S01 and the managers Ada and Bob.
    async fn new() -> Self {
        let world = World::new().await;
        let folder = tempfile::tempdir().expect("a folder");
        let env = Machine;
        {
            let mut opened = daemon::open(folder.path(), &env, true).expect("a region");
            let store = Store {
                id: StoreId::new(env.unix_ms(), random(&env)),
                code: "S01".into(),
                name: "Corner Shop".into(),
                address: vec!["1 High Street".into()],
                currency: gbp(),
                tax_mode: TaxMode::Inclusive,
                receipt_header: Vec::new(),
                receipt_footer: "Thank you".into(),
                languages: vec!["en".into()],
                time_zone: "UTC".into(),
            };
            opened.region.add_store(store, env.unix_ms()).expect("a store");
        }
        for name in ["Ada", "Bob"] {
            accounts::add_manager(&world.central, &env, name, PASSWORD).await.expect("a manager");
        }
        let agent = Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut site = Self { world, folder, running: None, agent };
        site.start().await;
        site
    }

    async fn start(&mut self) {
        let text = format!(
            "data = {:?}\n[sync]\nlisten = \"127.0.0.1:0\"\n[web]\nlisten = \"127.0.0.1:0\"\n[central]\nurl = {:?}\n[metrics]\nlisten = \"127.0.0.1:0\"\n",
            self.folder.path(),
            self.world.cluster.url()
        );
        let path = self.folder.path().join("sync-server.toml");
        std::fs::write(&path, text).expect("write");
        let config = Config::read(&path, None).expect("a configuration");
        let (stop, stopping) = watch::channel(false);
        let (ready, listening) = oneshot::channel();
        let ended = tokio::spawn(async move {
            daemon::run(&config, Arc::new(Machine), stopping, |listening| {
                let _ = ready.send(listening.web);
            })
            .await
        });
        let Ok(address) = listening.await else { panic!("it does not listen: {:?}", ended.await) };
        self.running = Some(Running { stop, ended, address });
    }

    async fn stop(&mut self) {
        let running = self.running.take().expect("it runs");
        running.stop.send(true).expect("it listens");
        running.ended.await.expect("it ends").expect("without an error");
    }

    fn manager(&self, name: &str) -> Manager<'_> {
        let mut manager = Manager { site: self, cookie: String::new() };
        let body = json!({ "name": name, "password": PASSWORD });
        let answer = manager.send("POST", "/session", Some("application/json"), body.to_string().into_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let cookie = answer.headers["set-cookie"].to_str().expect("text");
        manager.cookie = cookie.split(';').next().expect("a cookie").to_owned();
        manager
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Manager<'_> {
    fn send(&self, method: &str, path: &str, kind: Option<&str>, body: Vec<u8>) -> Answer {
        let address = self.site.running.as_ref().expect("it runs").address;
        let mut request = ureq::http::Request::builder().method(method).uri(format!("http://{address}/api/v1{path}"));
        request = request.header("cookie", &self.cookie);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        tokio::task::block_in_place(|| {
            let mut response = self.site.agent.run(request.body(body).expect("a request")).expect("an answer");
            let bytes = response.body_mut().with_config().limit(64 << 20).read_to_vec().expect("a body");
            Answer { status: response.status().as_u16(), headers: response.headers().clone(), bytes }
        })
    }

    fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None, Vec::new())
    }

    fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some("application/json"), body.to_string().into_bytes())
    }

    fn patch(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, Some("application/json"), body.to_string().into_bytes())
    }

    fn put(&self, path: &str, body: &[u8]) -> Answer {
        self.send("PUT", path, Some("application/octet-stream"), body.to_vec())
    }

    fn product(&self, code: &str, name: &str, price_centi: i64) -> Value {
        let body = json!({ "code": code, "name": name, "price_centi": price_centi, "tax_rate_bp": 2000 });
        let answer = self.post("/products", body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    /// The answer to a question as soon as it is as wished: the read model follows the region.
    fn until(&self, path: &str, wished: impl Fn(&Value) -> bool) -> Value {
        let since = Instant::now();
        loop {
            let answer = self.get(path).ok();
            if wished(&answer) {
                return answer;
            }
            assert!(since.elapsed() < PATIENCE, "{path} stays {answer:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn import(&self, file: &str) -> Value {
        let begun = self.send("POST", "/imports?name=products.csv", Some("text/csv"), file.as_bytes().to_vec());
        assert_eq!(begun.status, 202, "{}", begun.text());
        let id = begun.json()["id"].as_str().expect("an id").to_owned();
        self.resting(&id)
    }

    fn resting(&self, id: &str) -> Value {
        self.until(&format!("/imports/{id}"), |view| {
            !matches!(view["state"].as_str().expect("a state"), "reading" | "applying" | "undoing")
        })
    }

    fn step(&self, import: &Value, step: &str) -> Value {
        let id = import["id"].as_str().expect("an id");
        let begun = self.post(&format!("/imports/{id}/{step}"), json!({}));
        assert_eq!(begun.status, 202, "{}", begun.text());
        self.resting(id)
    }
}

fn id(view: &Value) -> String {
    view["product"]["product"].as_str().expect("an id").to_owned()
}

/// Writings of a field, newest first: what, replacing what, by whom, and what became of it.
fn writings(view: &Value, field: &str) -> Vec<(String, String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let all = view["history"].as_array().expect("a history").iter().filter(|edit| edit["field"] == field);
    all.map(|edit| (text(&edit["new"]), text(&edit["old"]), text(&edit["by"]), text(&edit["outcome"]))).collect()
}

fn row(new: &str, old: &str, by: &str, outcome: &str) -> (String, String, String, String) {
    (new.into(), old.into(), by.into(), outcome.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_made_edited_and_found_and_its_history_told() {
    let site = Site::new().await;
    let (ada, bob) = (site.manager("Ada"), site.manager("Bob"));
    let made = ada.product("85123A", "White hanging heart", 25_500);
    let path = format!("/products/{}", id(&made));
    let edited = bob.patch(&path, json!({ "seen": made["seen"], "price_centi": 27_500 })).ok();
    assert_eq!(edited["product"]["price_centi"], 27_500);
    assert_eq!(
        writings(&edited, "price"),
        [row("2.75", "2.55", "Bob", "current"), row("2.55", "-", "Ada", "replaced")],
        "who, what and the old value"
    );
    assert_eq!(ada.get(&path).ok(), edited);

    // The list follows; words are found by their beginning, codes and barcodes too.
    let with = bob.patch(&path, json!({ "barcodes": ["4006381333931"], "category": "Décor" })).ok();
    assert_eq!(with["product"]["barcodes"], json!(["4006381333931"]));
    ada.until("/products?search=400638", |page| page["total"] == 1);
    for search in ["HANG%20whi", "85123", "heart"] {
        let page = ada.get(&format!("/products?search={search}")).ok();
        assert_eq!((&page["total"], &page["rows"][0]["price_centi"]), (&json!(1), &json!(27_500)), "{search}");
    }
    let page = ada.get("/products?category=D%C3%A9cor&active=true").ok();
    assert_eq!((&page["categories"], &page["total"], &page["currency"]), (&json!(["Décor"]), &json!(1), &json!("GBP")));
    assert_eq!(ada.get("/products?search=cake").ok()["total"], 0);
    assert_eq!(ada.get("/products?active=false").ok()["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_one_another_without_a_gap() {
    let site = Site::new().await;
    let ada = site.manager("Ada");
    let rows: String = (0..23).map(|n| format!("P{n},Same name,1,0\n")).collect();
    let import = ada.import(&format!("code,name,price,tax_rate_bp\n{rows}"));
    assert_eq!(ada.step(&import, "apply")["state"], "applied");
    ada.until("/products", |page| page["total"] == 23);
    let (mut after, mut seen) = (String::new(), std::collections::BTreeSet::new());
    loop {
        let page = ada.get(&format!("/products?limit=7{after}")).ok();
        for row in page["rows"].as_array().expect("rows") {
            assert!(seen.insert(row["product"].to_string()), "a product twice");
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", next.replace(' ', "%20")),
            None => break,
        }
    }
    assert_eq!(seen.len(), 23);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_edits_made_at_once_agree_on_the_later_one_and_the_manager_is_told() {
    let site = Site::new().await;
    let (ada, bob) = (site.manager("Ada"), site.manager("Bob"));
    let made = ada.product("A1", "Tea", 10_000);
    let path = format!("/products/{}", id(&made));
    // Both have the same state before their eyes.
    ada.patch(&path, json!({ "seen": made["seen"], "price_centi": 11_000, "name": "Green tea" })).ok();
    let bobs = bob.patch(&path, json!({ "seen": made["seen"], "price_centi": 12_000 })).ok();
    assert_eq!((&bobs["product"]["price_centi"], &bobs["product"]["name"]), (&json!(12_000), &json!("Green tea")));
    assert_eq!(
        writings(&bobs, "price"),
        [row("1.20", "1.00", "Bob", "current"), row("1.10", "1.00", "Ada", "outvoted"), row("1.00", "-", "Ada", "replaced")]
    );
    ada.until("/products?search=green", |page| page["rows"][0]["price_centi"] == 12_000);
    let told = site.world.texts("SELECT detail FROM exceptions WHERE kind = 'edited_at_once'").await;
    assert_eq!(
        told,
        ["price of Green tea (A1): Bob wrote 1.20 and Ada wrote 1.10, without seeing each other; 1.20 stands as the later one"]
    );
    // An edit on the newest state ends it, and tells nobody anything.
    bob.patch(&path, json!({ "seen": bobs["seen"], "price_centi": 13_000 })).ok();
    ada.until("/products?search=green", |page| page["rows"][0]["price_centi"] == 13_000);
    assert_eq!(site.world.number("SELECT count(*) FROM exceptions").await, 1);
    let rebuilt = sync_server::central::projector::reproject(&site.world.central, true).await.expect("rebuilt");
    assert_eq!(rebuilt.differing, Vec::<String>::new(), "the same from the entries alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_in_words() {
    let site = Site::new().await;
    let ada = site.manager("Ada");
    let made = ada.product("A1", "Tea", 10_000);
    let path = format!("/products/{}", id(&made));
    ada.patch(&path, json!({ "barcodes": ["4006381333931"] })).ok();
    let other = ada.product("A2", "Coffee", 10_000);
    let others = format!("/products/{}", id(&other));
    let long = "x".repeat(1_001);
    for (answer, code, words) in [
        (ada.patch(&others, json!({ "code": "A1" })), "conflict", "belongs to Tea (A1)"),
        (ada.patch(&others, json!({ "barcodes": ["1", "4006381333931"] })), "conflict", "belongs to Tea (A1)"),
        (
            ada.post("/products", json!({ "code": "A1", "name": "x", "price_centi": 1, "tax_rate_bp": 0 })),
            "conflict",
            "belongs to",
        ),
        (ada.post("/products", json!({ "code": "A3", "name": "x", "price_centi": 1 })), "bad_request", "needs a code"),
        (ada.patch(&path, json!({ "price_centi": -1 })), "bad_request", "below zero"),
        (ada.patch(&path, json!({ "price_centi": i64::MAX })), "bad_request", "price"),
        (ada.patch(&path, json!({ "name": long })), "bad_request", "at most 1000 bytes"),
        (ada.patch(&path, json!({ "name": " " })), "bad_request", "cannot be empty"),
        (ada.patch(&path, json!({ "name": "a\u{1b}b" })), "bad_request", "control characters"),
        (ada.patch(&path, json!({ "barcodes": ["1|2"] })), "bad_request", "the sign |"),
        (ada.patch(&path, json!({ "tax_rate_bp": 10_001 })), "bad_request", "basis points"),
        (ada.patch(&path, json!({ "tax_class": id(&made) })), "bad_request", "no such tax class"),
        (ada.patch(&path, json!({ "seen": "zz" })), "bad_request", "seen"),
        (ada.patch(&path, json!({ "seen": "7".repeat(64), "name": "x" })), "conflict", "load it again"),
        (ada.patch(&path, json!({ "nmae": "x" })), "bad_request", "JSON"),
        (ada.patch("/products/no-id", json!({})), "not_found", "nothing"),
        (ada.get("/products?limit=501"), "bad_request", "1 to 500"),
        (ada.get("/products?after=x"), "bad_request", "next"),
        (ada.get("/products?format=xml"), "bad_request", "format=csv"),
        (ada.put(&format!("{path}/picture"), b"<svg/>"), "bad_request", "PNG, JPEG or WebP"),
        (ada.put(&format!("{path}/picture"), &vec![0; 48 * 1024 + 1]), "too_large", "48 KiB"),
        (ada.patch("/stores/S02", json!({})), "not_found", "nothing"),
        (ada.patch("/stores/S01", json!({ "time_zone": "Mars/Base" })), "bad_request", "time zone"),
        (ada.patch("/stores/S01", json!({ "languages": ["en", "xx"] })), "bad_request", "en, de, ja, ko"),
        (ada.patch("/stores/S01", json!({ "currency": "pound" })), "bad_request", "three capital letters"),
    ] {
        assert!(answer.code().1 == code && answer.message().contains(words), "{} is not {code}: {words}", answer.text());
    }
    assert_eq!(ada.get(&path).ok()["product"]["name"], "Tea");
    // A barcode of a product that is off sale is free.
    ada.patch(&path, json!({ "active": false })).ok();
    ada.patch(&others, json!({ "barcodes": ["4006381333931"] })).ok();
    assert_eq!(ada.patch(&path, json!({ "active": true })).code(), (409, "conflict".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_kept_once_and_for_ever() {
    let site = Site::new().await;
    let ada = site.manager("Ada");
    let path = format!("/products/{}", id(&ada.product("A1", "Tea", 10_000)));
    let put = ada.put(&format!("{path}/picture"), PIXEL).ok();
    let picture = put["picture"].as_str().expect("a picture").to_owned();
    let got = ada.get(&format!("/pictures/{picture}"));
    assert_eq!((got.status, got.bytes.as_slice()), (200, PIXEL));
    assert_eq!(got.headers["content-type"], "image/png");
    assert_eq!(got.headers["cache-control"], "private, max-age=31536000, immutable");
    assert_eq!(got.headers["x-content-type-options"], "nosniff");
    let other = format!("/products/{}", id(&ada.product("A2", "Coffee", 10_000)));
    assert_eq!(ada.put(&format!("{other}/picture"), PIXEL).ok()["picture"], picture.as_str());
    let gone = ada.send("DELETE", &format!("{path}/picture"), None, Vec::new()).ok();
    assert_eq!((&gone["picture"], &gone["view"]["product"]["picture"]), (&Value::Null, &Value::Null));
    assert_eq!(ada.get(&format!("/pictures/{picture}")).status, 200, "the other product still has it");
    let stranger = Manager { site: &site, cookie: String::new() };
    assert_eq!(stranger.get(&format!("/pictures/{picture}")).code(), (401, "not_signed_in".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tax_class_says_the_rate_of_its_products() {
    let site = Site::new().await;
    let ada = site.manager("Ada");
    let class = ada.post("/tax-classes", json!({ "name": "Reduced rate", "rate_bp": 500 }));
    assert_eq!(class.status, 201, "{}", class.text());
    let class = class.json();
    assert_eq!(ada.post("/tax-classes", json!({ "name": "REDUCED rate", "rate_bp": 1 })).code(), (409, "conflict".into()));
    let path = format!("/products/{}", id(&ada.product("A1", "Tea", 10_000)));
    let edited = ada.patch(&path, json!({ "tax_class": class["tax_class"] })).ok();
    assert_eq!(edited["product"]["tax_rate_bp"], 500);
    assert_eq!(writings(&edited, "tax_class")[0].0, "Reduced rate");
    ada.until("/tax-classes", |all| all[0]["products"] == 1);
    let class_path = format!("/tax-classes/{}", class["tax_class"].as_str().expect("an id"));
    ada.patch(&class_path, json!({ "seen": class["seen"], "rate_bp": 700 })).ok();
    assert_eq!(ada.get(&path).ok()["product"]["tax_rate_bp"], 700);
    ada.until("/products?search=tea", |page| page["rows"][0]["tax_rate_bp"] == 700);
    ada.patch(&class_path, json!({ "active": false })).ok();
    let other = format!("/products/{}", id(&ada.product("A2", "Coffee", 10_000)));
    let refused = ada.patch(&other, json!({ "tax_class": class["tax_class"] }));
    assert_eq!(refused.code(), (400, "bad_request".into()));
    assert_eq!(ada.patch(&path, json!({ "tax_rate_bp": 0 })).ok()["product"]["tax_class"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_edited_with_its_history() {
    let site = Site::new().await;
    let ada = site.manager("Ada");
    let store = ada.get("/stores/S01").ok();
    let edited = ada
        .patch(
            "/stores/S01",
            json!({
                "seen": store["seen"], "name": "Corner Shop & Sons", "receipt_header": ["VAT 123", "Open daily", ""],
                "receipt_footer": ["Thank you", "Come again"], "tax_mode": "exclusive", "languages": ["de", "en"],
                "time_zone": "Europe/London", "currency": "EUR",
            }),
        )
        .ok();
    assert_eq!(edited["receipt_header"], json!(["VAT 123", "Open daily"]));
    assert_eq!(edited["receipt_footer"], json!(["Thank you", "Come again"]));
    assert_eq!(
        (&edited["currency"], &edited["time_zone"], &edited["tax_mode"]),
        (&json!("EUR"), &json!("Europe/London"), &json!("exclusive"))
    );
    assert_eq!(writings(&edited, "tax_mode")[0], row("exclusive", "inclusive", "Ada", "current"));
    assert_eq!(writings(&edited, "languages")[0], row("de, en", "-", "Ada", "current"));
    let listed = ada.get("/stores").ok();
    assert_eq!((&listed[0]["name"], &listed[0]["history"]), (&json!("Corner Shop & Sons"), &json!([])));
}

const GOOD: &str = "\u{feff}Name;code;price;tax class;barcodes;category;active\nTea;T1;1.10;;4006381333931|40063813;Drinks;true\n\
                    \"Tea; green\";T2;2.555;standard;;Drinks;no\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_shown_written_and_taken_back() {
    let site = Site::new().await;
    let ada = site.manager("Ada");
    let (t1, other) = (ada.product("T1", "Old tea", 10_000), ada.product("X", "Other", 10_000));
    ada.patch(&format!("/products/{}", id(&other)), json!({ "barcodes": ["77"] })).ok();

    let refused = ada.import(&format!("{GOOD}Bad;T3;1,10;standard;77;;maybe\n;T1;1;;;;\nNew;T4;1;;;;\n"));
    assert_eq!(
        (&refused["state"], &refused["wrong"], &refused["rows"]),
        (&json!("refused"), &json!(4), &json!(5)),
        "{refused:#}"
    );
    let problems: Vec<(u64, String)> = refused["problems"]
        .as_array()
        .expect("problems")
        .iter()
        .map(|p| (p["row"].as_u64().expect("a row"), p["column"].as_str().expect("a column").to_owned()))
        .collect();
    let at = |row: u64, column: &str| (row, column.to_owned());
    assert_eq!(
        problems,
        [at(3, "tax_class"), at(4, "price"), at(4, "active"), at(5, "name"), at(6, "tax_class")],
        "{:#}",
        refused["problems"]
    );
    assert_eq!(ada.get("/products?search=green").ok()["total"], 0, "nothing of it is written");

    ada.post("/tax-classes", json!({ "name": "Standard", "rate_bp": 2000 })).ok();
    let ready = ada.import(GOOD);
    assert_eq!((&ready["state"], &ready["added"], &ready["changed"]), (&json!("ready"), &json!(1), &json!(1)), "{ready:#}");
    assert_eq!(ready["by"], "Ada");
    let change = &ready["changes"][0];
    assert_eq!((&change["row"], &change["code"], &change["added"]), (&json!(2), &json!("T1"), &json!(false)));
    assert_eq!(change["fields"][1], json!({ "field": "price", "old": "1.00", "new": "1.10" }));
    assert_eq!(ada.get(&format!("/products/{}", id(&t1))).ok()["product"]["name"], "Old tea", "nothing is written yet");

    let applied = ada.step(&ready, "apply");
    assert_eq!((&applied["state"], &applied["done"]), (&json!("applied"), &json!(2)), "{applied:#}");
    let tea = ada.get(&format!("/products/{}", id(&t1))).ok();
    assert_eq!((&tea["product"]["name"], &tea["product"]["price_centi"]), (&json!("Tea"), &json!(11_000)));
    assert_eq!(writings(&tea, "name")[0], row("Tea", "Old tea", "Ada", "current"));
    let green = ada.until("/products?search=green", |page| page["total"] == 1);
    assert_eq!(
        (&green["rows"][0]["active"], &green["rows"][0]["tax_rate_bp"], &green["rows"][0]["price_centi"]),
        (&json!(false), &json!(2000), &json!(25_550))
    );
    let again = ada.post(&format!("/imports/{}/apply", applied["id"].as_str().expect("an id")), json!({}));
    assert_eq!(again.code(), (409, "conflict".into()));

    // Somebody edits one field meanwhile: it stays, the rest goes back.
    ada.patch(&format!("/products/{}", id(&t1)), json!({ "price_centi": 12_000 })).ok();
    let undone = ada.step(&applied, "undo");
    assert_eq!((&undone["state"], &undone["kept"]), (&json!("undone"), &json!(1)), "{undone:#}");
    let tea = ada.get(&format!("/products/{}", id(&t1))).ok();
    assert_eq!(
        (&tea["product"]["name"], &tea["product"]["price_centi"], &tea["product"]["category"]),
        (&json!("Old tea"), &json!(12_000), &json!(""))
    );
    assert_eq!(ada.get("/imports").ok().as_array().expect("imports").len(), 2);
    let forgotten = ada.send("DELETE", &format!("/imports/{}", undone["id"].as_str().expect("an id")), None, Vec::new());
    assert_eq!(forgotten.status, 204);
}

/// Files of 64 MiB are held in memory until they are on disk: one of them at a time.
#[tokio::test(flavor = "multi_thread")]
async fn one_file_is_taken_at_a_time() {
    let site = Site::new().await;
    let (ada, bob) = (site.manager("Ada"), site.manager("Bob"));
    let file = "code,name,price,tax_rate_bp\nA,A,1,0\n";
    let send = |sender: &Manager<'_>| sender.send("POST", "/imports?name=second.csv", Some("text/csv"), file.as_bytes().to_vec());
    let begin = |length: usize, begun: &str| {
        let mut sender = std::net::TcpStream::connect(site.running.as_ref().expect("it runs").address).expect("connects");
        let head = format!(
            "POST /api/v1/imports?name=slow.csv HTTP/1.1\r\nhost: x\r\ncookie: {}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{begun}",
            ada.cookie
        );
        sender.write_all(head.as_bytes()).expect("sent");
        sender
    };
    let answer = |mut sender: std::net::TcpStream| {
        let mut answer = Vec::new();
        // Whoever is refused early may find the connection closed: what came before that is the answer.
        let _ = sender.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let (begun, rest) = file.split_at(10);
    let since = Instant::now();
    let (taken, refused) = loop {
        let mut slow = begin(file.len(), begun);
        // The server has its first words by then, or the next time.
        std::thread::sleep(Duration::from_millis(100));
        let other = send(&bob);
        let _ = slow.write_all(rest.as_bytes());
        let slow = answer(slow);
        if other.status != 202 {
            break (slow, other);
        }
        assert!(since.elapsed() < PATIENCE, "two files at once");
    };
    assert_eq!(refused.code(), (503, "try_later".into()));
    assert!(refused.message().starts_with("Another file is being sent."), "{}", refused.message());
    assert!(taken.starts_with("HTTP/1.1 202"), "{taken}");
    assert_eq!(send(&bob).status, 202);
    let refused = answer(begin((64 << 20) + 1, ""));
    assert!(refused.starts_with("HTTP/1.1 413") && refused.contains("at most 64 MiB: split it."), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_an_import_that_changes_nothing() {
    let site = Site::new().await;
    let ada = site.manager("Ada");
    ada.post("/tax-classes", json!({ "name": "Standard", "rate_bp": 2000 })).ok();
    let rows: String = (0..40)
        .map(|n| {
            format!(
                "P{n},\"Name {n}, \"\"quoted\"\" é\",{n}.0{n:02},{},{},{},{}\n",
                if n % 2 == 0 { "" } else { "550" },
                if n % 2 == 0 { "Standard" } else { "" },
                if n % 3 == 0 { format!("50{n}|60{n}") } else { String::new() },
                n % 5 != 0
            )
        })
        .collect();
    let ready = ada.import(&format!("code,name,price,tax_rate_bp,tax_class,barcodes,active\n{rows}"));
    assert_eq!(ready["state"], "ready", "{:#}", ready["problems"]);
    assert_eq!(ada.step(&ready, "apply")["state"], "applied");
    // Texts that a spreadsheet would calculate, and those that look as if somebody had seen to it.
    let formulas = [
        ("=HYPERLINK(\"http://evil\",\"x\")", "'=HYPERLINK(\"\"http://evil\"\",\"\"x\"\")"),
        ("'=kept", "''=kept"),
        ("+plus", "'+plus"),
        ("-5 °C", "'-5 °C"),
        ("@home", "'@home"),
        ("'s-Gravenhage", "'s-Gravenhage"),
    ];
    for (n, (name, _)) in formulas.iter().enumerate() {
        let made = ada.product(&format!("=F{n}"), name, 10_000);
        let more = json!({ "barcodes": [format!("={n}"), format!("'={n}")], "category": name });
        ada.patch(&format!("/products/{}", id(&made)), more).ok();
    }
    ada.until("/products?category=-5%20%C2%B0C", |page| page["total"] == 1);
    ada.until("/products?category=%27s-Gravenhage", |page| page["total"] == 1);
    let export = ada.get("/products?format=csv");
    assert_eq!(export.headers["content-type"], "text/csv; charset=utf-8; header=present");
    let text = export.text();
    assert!(text.starts_with("code,name,price,tax_rate_bp,tax_class,barcodes,category,active\n"), "{text}");
    let back = ada.import(&text);
    for (n, (_, cell)) in formulas.iter().enumerate() {
        assert!(text.contains(&format!("'=F{n},")) && text.contains(cell), "{cell} in {text}");
    }
    let rows = csv::Reader::from_reader(text.as_bytes()).records().map(|row| row.expect("a row")).collect::<Vec<_>>();
    let sign = |cell: &str| cell.starts_with(['=', '+', '-', '@']);
    assert!(rows.len() == 46 && rows.iter().all(|row| !row.iter().any(sign)), "{text}");
    assert_eq!((&back["state"], &back["unchanged"], &back["wrong"]), (&json!("ready"), &json!(46), &json!(0)), "{back:#}");
    // Into an empty catalogue it makes the same one.
    let other = Site::new().await;
    let bob = other.manager("Bob");
    bob.post("/tax-classes", json!({ "name": "Standard", "rate_bp": 2000 })).ok();
    bob.step(&bob.import(&text), "apply");
    bob.until("/products", |page| page["total"] == 46);
    assert_eq!(bob.get("/products?format=csv").text(), text);
}

/// So many products beside those that the region knows, with long names.
async fn many_products(site: &Site, count: usize) {
    let sql = format!(
        "INSERT INTO products (product_id, code, name, barcodes, price_centi, tax_rate_bp, active)
         SELECT lpad(to_hex(n), 32, '0')::uuid, 'C' || n, lpad(n::text, 6, '0') || repeat('x', 900), '{{}}', 10000, 2000, true
         FROM generate_series(1, {count}) AS n"
    );
    site.world.client().await.batch_execute(&sql).await.expect("inserted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_of_one_moment() {
    let site = Site::new().await;
    many_products(&site, 11_000).await;
    let mut pieces = catalogue::export(site.world.central.clone());
    let mut rows = pieces.recv().await.expect("a piece").expect("reads");
    assert_eq!(rows.len() as i64, catalogue::PIECE_ROWS);
    // One of those that were read comes behind all others now, one that is still to come goes before them.
    let renamed = "UPDATE products SET name = 'zzz' WHERE code = 'C1'; UPDATE products SET name = '!' WHERE code = 'C11000'";
    site.world.client().await.batch_execute(renamed).await.expect("renamed");
    while let Some(piece) = pieces.recv().await {
        rows.extend(piece.expect("reads"));
    }
    let codes: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.row.code.as_str()).collect();
    assert_eq!((rows.len(), codes.len()), (11_000, 11_000));
    assert_eq!(
        (rows[0].row.code.as_str(), rows[10_999].row.code.as_str()),
        ("C1", "C11000"),
        "as they were called when it began"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_products_waits_for_its_turn() {
    let site = Site::new().await;
    let ada = site.manager("Ada");
    // More than fits between the server and those who do not read.
    many_products(&site, 40_000).await;
    let slow: Vec<std::net::TcpStream> = (0..3)
        .map(|_| {
            let mut reader = std::net::TcpStream::connect(site.running.as_ref().expect("it runs").address).expect("connects");
            let head = format!("GET /api/v1/products?format=csv HTTP/1.1\r\nhost: x\r\ncookie: {}\r\n\r\n", ada.cookie);
            reader.write_all(head.as_bytes()).expect("sent");
            let mut begun = [0; 12];
            reader.read_exact(&mut begun).expect("an answer");
            assert_eq!(&begun, b"HTTP/1.1 200");
            reader
        })
        .collect();
    for path in ["/products?format=csv", "/devices?format=csv"] {
        assert_eq!(ada.get(path).code(), (503, "try_later".into()), "{path}");
    }
    drop(slow);
    let since = Instant::now();
    while ada.get("/devices?format=csv").status != 200 {
        assert!(since.elapsed() < PATIENCE, "nobody writes a file any more");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_survives_a_stop_in_its_middle() {
    let mut site = Site::new().await;
    let rows: String = (0..2_000).map(|n| format!("P{n},Product {n},1.{:02},2000\n", n % 100)).collect();
    let ready = site.manager("Ada").import(&format!("code,name,price,tax_rate_bp\n{rows}"));
    assert_eq!((&ready["state"], &ready["added"]), (&json!("ready"), &json!(2_000)));
    let id = ready["id"].as_str().expect("an id").to_owned();
    let begun = site.manager("Ada").post(&format!("/imports/{id}/apply"), json!({}));
    assert_eq!(begun.status, 202);
    // Stopped as soon as some of it is written.
    site.manager("Ada").until(&format!("/imports/{id}"), |view| view["done"].as_u64() > Some(0));
    site.stop().await;
    let midway = {
        let opened = daemon::open(site.folder.path(), &Machine, false).expect("the log");
        opened.region.import(id.parse().expect("an id")).expect("the import")
    };
    assert_eq!(midway.state, ImportState::Applying, "{midway:?}");
    assert!((64..2_000).contains(&midway.done) && midway.done % 64 == 0, "{midway:?}");
    site.start().await;
    let ada = site.manager("Ada");
    let applied = ada.resting(&id);
    assert_eq!((&applied["state"], &applied["done"], &applied["wrong"]), (&json!("applied"), &json!(2_000), &json!(0)));
    ada.until("/products", |page| page["total"] == 2_000);
    let undone = ada.step(&applied, "undo");
    assert_eq!((&undone["state"], &undone["kept"]), (&json!("undone"), &json!(0)));
    ada.until("/products?active=false", |page| page["total"] == 2_000);
    assert!(!Path::new(&site.file("imports")).read_dir().expect("a folder").any(|_| true), "its file is gone");
}
