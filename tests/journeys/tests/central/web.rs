//! The manager's API over real HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sync_proto::scopes;
use sync_server::central::{CentralStore, Contact};
use sync_server::config::WebConfig;
use sync_server::live::{Live, follow_figures};
use sync_server::web::accounts::{self, AccountError};
use sync_server::web::{EnrolmentDesk, IssueError, WebServer, WebState};
use sync_server::web_api::EnrolmentCode;
use tokio::sync::watch;
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::shop::{DAY, MORNING_MS, Still, Writer, enrolment, line, morning, opening, order, sale, store};
use crate::world::{World, feed_all, project_all};

pub(crate) const NOON_MS: u64 = MORNING_MS + 3 * 3_600_000;
pub(crate) const PASSWORD: &str = "correct horse battery";

struct Desk;

impl EnrolmentDesk for Desk {
    fn issue(&self, store_code: &str, name: &str) -> Result<EnrolmentCode, IssueError> {
        match (store_code, name) {
            ("S01", "") => Err(IssueError::Name("Give the device a name.".into())),
            ("S01", "broken") => Err(IssueError::Failed("disk full".into())),
            ("S01", name) => Ok(EnrolmentCode { link: format!("evertill://{name}"), expires_at_ms: 7 }),
            (code, _) => Err(IssueError::UnknownStore(code.into())),
        }
    }
}

pub(crate) struct Site {
    pub(crate) world: World,
    pub(crate) env: Arc<Still>,
    pub(crate) address: SocketAddr,
    pub(crate) live: Live,
    agent: Agent,
    _stop: watch::Sender<bool>,
}

/// A served page with one manager, Ada.
pub(crate) async fn site() -> Site {
    let world = World::new().await;
    let env = Still::at(NOON_MS);
    accounts::add_manager(&world.central, &*env, "Ada", PASSWORD).await.expect("a manager");
    let config = WebConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), tls_certificate: None, tls_key: None };
    let server = WebServer::bind(&config).expect("bind");
    let address = server.local_addr().expect("an address");
    let (stop, stopping) = watch::channel(false);
    let live = Live::default();
    let state = WebState::new(world.central.clone(), Desk, env.clone()).with_live(live.clone());
    tokio::spawn(server.run(state, stopping.clone()));
    tokio::spawn(follow_figures(live.clone(), world.central.clone(), stopping));
    let agent = Agent::config_builder().http_status_as_error(false).build().new_agent();
    Site { world, env, address, live, agent, _stop: stop }
}

/// Status, headers and JSON of an answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    response: Response<Body>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn code(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn header(&self, name: &str) -> String {
        self.response.headers().get(name).map(|v| v.to_str().expect("text").to_owned()).unwrap_or_default()
    }
}

impl Site {
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = tokio::task::block_in_place(|| match body {
            Some(body) => self.agent.run(request.body(body.to_owned()).expect("a request")),
            None => self.agent.run(request.body(()).expect("a request")),
        });
        let mut response = sent.expect("an answer");
        let body = tokio::task::block_in_place(|| response.body_mut().read_to_string()).expect("a body");
        Answer { status: response.status().as_u16(), response, body }
    }

    pub(crate) fn sign_in(&self, name: &str, password: &str) -> Answer {
        let body = json!({ "name": name, "password": password }).to_string();
        self.ask("POST", "/api/v1/session", &[("content-type", "application/json")], Some(&body))
    }

    pub(crate) fn cookie(&self) -> String {
        self.sign_in("ada", PASSWORD).header("set-cookie").split(';').next().expect("a cookie").to_owned()
    }

    pub(crate) fn get(&self, path: &str, cookie: &str) -> Answer {
        self.ask("GET", path, &[("cookie", cookie)], None)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_signs_in_and_out() {
    let site = site().await;
    let signed_in = site.sign_in("ADA", PASSWORD);
    assert_eq!((signed_in.status, signed_in.json()), (200, json!({ "name": "Ada" })));
    let cookie = signed_in.header("set-cookie");
    assert!(cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().expect("a cookie").to_owned();
    assert_eq!(site.get("/api/v1/session", &cookie).json(), json!({ "name": "Ada" }));
    assert_eq!(site.get("/api/v1/session", "").code(), (401, "not_signed_in".into()));
    let elsewhere = site.ask("DELETE", "/api/v1/session", &[("cookie", &cookie), ("origin", "https://evil.example")], None);
    assert_eq!(elsewhere.status, 403);
    assert_eq!(site.get("/api/v1/session", &cookie).status, 200, "another site's page signs nobody out");
    let own = format!("http://{}", site.address);
    assert_eq!(site.ask("DELETE", "/api/v1/session", &[("cookie", &cookie), ("origin", &own)], None).status, 204);
    assert_eq!(site.get("/api/v1/session", &cookie).status, 401);
    let cookie = site.cookie();
    site.env.0.fetch_add(13 * 3_600_000, Ordering::Relaxed);
    assert_eq!(site.get("/api/v1/session", &cookie).status, 401, "a session ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_make_the_next_one_wait() {
    let site = site().await;
    for name in ["ada", "nobody"] {
        for _ in 0..5 {
            assert_eq!(site.sign_in(name, "wrong").code(), (401, "wrong_password".into()));
        }
        let sixth = site.sign_in(name, PASSWORD);
        assert_eq!((sixth.code(), sixth.header("retry-after")), ((429, "try_later".into()), "30".into()), "{name}");
    }
    site.env.0.fetch_add(30_000, Ordering::Relaxed);
    assert_eq!(site.sign_in("ada", PASSWORD).status, 200);
    assert_eq!(site.sign_in("ada", PASSWORD).status, 200, "the count began again");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_make_no_sense_get_a_sentence() {
    let site = site().await;
    let cookie = site.cookie();
    let json_type = ("content-type", "application/json");
    for (body, kind) in [
        ("{", json_type),
        (r#"{"name":"ada"}"#, json_type),
        (r#"{"name":"ada","password":"x","admin":true}"#, json_type),
        (r#"{"name":"ada","password":7}"#, json_type),
        (r#"{"name":"ada","password":"x"}"#, ("content-type", "text/plain")),
    ] {
        assert_eq!(site.ask("POST", "/api/v1/session", &[kind], Some(body)).code(), (400, "bad_request".into()), "{body:.40}");
    }
    // The server may hang up on the rest of a body that is too long; it never takes it.
    let long = json!({ "name": "ada", "password": "x".repeat(20_000) }).to_string();
    let request = ureq::http::Request::post(format!("http://{}/api/v1/session", site.address)).header(json_type.0, json_type.1);
    let sent = tokio::task::block_in_place(|| site.agent.run(request.body(long).expect("a request")));
    assert!(sent.is_err() || sent.is_ok_and(|answer| answer.status() == 400));
    for query in [
        "",
        "?from=2026-03-02&to=2026-03-01&group_by=day",
        "?from=2026-03-02&to=2026-03-03&group_by=week",
        "?from=2026-03-02&to=2026-03-03",
        "?from=2006-03-02&to=2026-03-03&group_by=day",
        "?from=yesterday&to=2026-03-03&group_by=day",
        "?from=2026-03-02&to=2026-03-03&group_by=day&store=1",
        "?from=2026-03-02&to=2026-03-03&group_by=day&currency=pounds",
    ] {
        assert_eq!(site.get(&format!("/api/v1/reports/sales{query}"), &cookie).code(), (400, "bad_request".into()), "{query}");
    }
    for path in ["/api/v1/nothing", "/api", "/api/v2/session", "/assets/none.js"] {
        assert_eq!(site.get(path, &cookie).status, 404, "{path}");
    }
    assert_eq!(site.ask("PUT", "/api/v1/devices", &[("cookie", &cookie)], None).code(), (404, "not_found".into()));
    for path in ["/api/v1/reports/sales?from=x", "/api/v1/devices"] {
        assert_eq!(site.get(path, "evertill_session=00").code(), (401, "not_signed_in".into()), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_the_headers_and_the_face_is_known() {
    let site = site().await;
    for path in ["/", "/sales/2026", "/api/face", "/api/v1/devices", "/healthz", "/none.js"] {
        let answer = site.get(path, "");
        assert!(
            answer.header("content-security-policy").starts_with("default-src 'self'; style-src 'self' 'unsafe-inline'"),
            "{path}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
    assert_eq!(site.get("/api/face", "").json(), json!({ "face": "manager" }));
    assert!(site.get("/", "").header("content-type").starts_with("text/html"));
    assert!(site.get("/some/page", "").body.contains("<html"), "the app knows its paths itself");
    assert_eq!(site.get("/healthz", "").body, "ok\n");
    assert_eq!(site.get("/readyz", "").json(), json!({ "ready": true, "central": "ok" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn enrolment_codes_come_from_the_desk() {
    let site = site().await;
    let cookie = site.cookie();
    let ask = |store: &str, name: &str, cookie: &str| {
        let body = json!({ "store": store, "name": name }).to_string();
        site.ask("POST", "/api/v1/enrolment-codes", &[("content-type", "application/json"), ("cookie", cookie)], Some(&body))
    };
    assert_eq!(ask("S01", "Till 7", &cookie).json(), json!({ "link": "evertill://Till 7", "expires_at_ms": 7 }));
    assert_eq!(ask("S09", "Till 7", &cookie).code(), (400, "bad_request".into()));
    assert_eq!(ask("S01", "", &cookie).json()["message"], "Give the device a name.");
    let broken = ask("S01", "broken", &cookie);
    assert_eq!(broken.code(), (500, "internal".into()));
    assert!(!broken.body.contains("disk full"), "what broke is for the log");
    assert_eq!(ask("S01", "Till 7", "").code(), (401, "not_signed_in".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_by_day_and_till_with_what_they_cover() {
    let site = site().await;
    let region = morning();
    feed_all(&site.world.central, &region).await;
    project_all(&site.world.central).await;
    let cookie = site.cookie();
    let contact = |writer: &Writer, commit, ago_ms| Contact {
        device: writer.origin().device,
        incarnation: writer.origin().incarnation,
        commit,
        seen_at_ms: NOON_MS - ago_ms,
        clock_drift_ms: None,
    };
    let (first, second) = (Writer::new(1), Writer::new(2));
    let heard = [contact(&first, 25, 60_000), contact(&second, 23, 47 * 60_000)];
    site.world.central.seen(&heard).await.expect("seen");

    let days = site.get(&format!("/api/v1/reports/sales?from=2026-03-01&to={DAY}&group_by=day"), &cookie).json();
    let row = |key: &str, label: &str, detail: &str, sales: i64| {
        json!({
            "key": key, "label": label, "detail": detail, "quantity_milli": null, "sales": sales, "sales_minor": 849 * sales, "refunds": i64::from(sales > 20),
            "refunds_minor": if sales > 20 { 255 } else { 0 },
            "net_minor": 849 * sales - if sales > 20 { 255 } else { 0 },
            "tax_minor": 142 * sales - if sales > 20 { 43 } else { 0 },
        })
    };
    assert_eq!(days["rows"], json!([row("2026-03-01", "2026-03-01", "", 0), row(DAY, DAY, "", 41)]));
    assert_eq!(days["total"], row("total", "Total", "", 41));
    assert_eq!((&days["currency"], &days["exponent"], &days["from"]), (&json!("GBP"), &json!(2), &json!("2026-03-01")));
    let coverage = &days["coverage"];
    assert_eq!(coverage["sentence"], "Covers 1 of 2 tills to 11:59 UTC; Till 2 silent for 47 min, 3 commits missing.");
    assert_eq!((&coverage["complete"], &coverage["asked_at_ms"]), (&json!(false), &json!(NOON_MS)));
    assert_eq!(
        coverage["tills"][0],
        json!({
            "device": first.device().to_string(), "name": "Till 1", "store": "S01", "state": "current",
            "covers_to_ms": MORNING_MS + 25_000, "seen_at_ms": NOON_MS - 60_000, "missing_commits": 0,
        })
    );

    let tills = site.get(&format!("/api/v1/reports/sales?from={DAY}&to={DAY}&group_by=till"), &cookie).json();
    let expected =
        [row(&first.device().to_string(), "Till 1", "S01", 21), row(&second.device().to_string(), "Till 2", "S01", 20)];
    assert_eq!(tills["rows"], json!(expected));
    assert_eq!(tills["total"], days["total"]);

    let devices = site.get("/api/v1/devices", &cookie).json();
    let names: Vec<_> = devices.as_array().expect("a list").iter().map(|d| (&d["name"], &d["store"])).collect();
    assert_eq!(names, [(&json!("Server"), &Value::Null), (&json!("Till 1"), &json!("S01")), (&json!("Till 2"), &json!("S01"))]);
    assert_eq!(devices[1]["seen_at_ms"], json!(NOON_MS - 60_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_wait_for_a_shift_and_for_a_currency() {
    let site = site().await;
    let cookie = site.cookie();
    let sales = |query: &str| site.get(&format!("/api/v1/reports/sales?from={DAY}&to={DAY}&group_by=day{query}"), &cookie);
    let empty = sales("").json();
    assert_eq!((&empty["currency"], &empty["coverage"]["sentence"]), (&json!("XXX"), &json!("No till is enrolled yet.")));

    let (mut region, mut till, shop) = (crate::shop::Region::new(1), Writer::new(1), scopes::store(store(1)));
    region.take(Writer::new(90).write(&scopes::directory(), &enrolment(till.device(), Some(store(1)), "Till 1", 1)));
    region.take(till.write(&shop, &sale(1)));
    feed_all(&site.world.central, &region).await;
    project_all(&site.world.central).await;
    let waiting = sales("&currency=GBP").json();
    assert_eq!(waiting["total"]["sales"], 0);
    assert_eq!(
        waiting["coverage"]["sentence"],
        "Covers 0 of 1 till; Till 1 silent; 1 order waits for the opening of their shift."
    );

    region.take(till.write(&shop, &opening(1)));
    let yen = domain::record::Order {
        currency: domain::money::Currency::new("JPY").expect("JPY"),
        ..order(2, 1, vec![line(1, 1, "1.00")])
    };
    region.take(till.write(&shop, &domain::record::Record::SaleCompleted(yen)));
    feed_all(&site.world.central, &region).await;
    project_all(&site.world.central).await;
    assert_eq!(sales("&currency=GBP").json()["total"]["sales"], 1);
    assert_eq!(sales("&currency=JPY").json()["exponent"], 0);
    let which = sales("");
    assert_eq!(which.code(), (400, "bad_request".into()));
    assert_eq!(which.json()["message"], "The stores count in GBP, JPY; add one of them, such as currency=GBP.");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_managers_are_told_and_tills_are_not_held_up() {
    let mut site = site().await;
    let cookie = site.cookie();
    tokio::task::block_in_place(|| site.world.cluster.stop()).expect("stop");
    assert_eq!(site.get("/api/v1/devices", &cookie).code(), (503, "central_away".into()));
    for _ in 0..10 {
        assert_eq!(site.sign_in("ada", PASSWORD).code(), (503, "central_away".into()), "nobody's password was wrong");
    }
    let ready = site.get("/readyz", "");
    assert_eq!((ready.status, ready.json()), (200, json!({ "ready": true, "central": "away" })));
    tokio::task::block_in_place(|| site.world.cluster.restart()).expect("restart");
    assert_eq!(site.get("/api/v1/devices", &cookie).status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_set_anew_ends_the_sessions_of_the_old_one() {
    let site = site().await;
    let central = &site.world.central;
    accounts::add_manager(central, &*site.env, "Ben", PASSWORD).await.expect("another manager");
    let cookie_of = |answer: Answer| answer.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let (old, other) = ([site.cookie(), site.cookie()], cookie_of(site.sign_in("Ben", PASSWORD)));
    let anew = "battery horse correct";
    assert_eq!(accounts::reset_password(central, &*site.env, "ADA", anew).await.expect("set"), "Ada");
    assert_eq!(site.sign_in("ada", PASSWORD).code(), (401, "wrong_password".into()));
    let new = cookie_of(site.sign_in("ada", anew));
    let since = Instant::now();
    while old.iter().any(|cookie| site.get("/api/v1/session", cookie).status != 401) {
        assert!(since.elapsed() < Duration::from_secs(60), "they stay signed in");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for cookie in [&new, &other] {
        assert_eq!(site.get("/api/v1/session", cookie).status, 200);
    }
    for (name, password) in [("Cleo", anew), ("", anew), ("a\0", anew)] {
        let refused = accounts::reset_password(central, &*site.env, name, password).await;
        assert!(matches!(refused, Err(AccountError::Unknown(_))), "{name:?}");
    }
    let short = accounts::reset_password(central, &*site.env, "Ada", "seven77").await;
    assert!(matches!(short, Err(AccountError::Password)));
    // An account that is gone lets nobody stay.
    site.world.client().await.batch_execute("DELETE FROM manager_accounts WHERE name = 'Ben'").await.expect("deleted");
    while site.get("/api/v1/session", &other).status != 401 {
        assert!(since.elapsed() < Duration::from_secs(60), "Ben stays signed in");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(site.get("/api/v1/session", &new).status, 200);
}

#[tokio::test]
async fn accounts_are_made_once_with_a_name_and_a_password() {
    let world = World::new().await;
    let env = Still::at(0);
    let add = async |name: &str, password: &str| accounts::add_manager(&world.central, &*env, name, password).await;
    add("Ada", PASSWORD).await.expect("a manager");
    assert!(matches!(add("ada", PASSWORD).await, Err(AccountError::Taken(_))));
    for name in ["", " Ada", "A\nda", &"a".repeat(65)] {
        assert!(matches!(add(name, PASSWORD).await, Err(AccountError::Name)), "{name:?}");
    }
    for password in ["", "seven77", &"x".repeat(1_025)] {
        assert!(matches!(add("Ben", password).await, Err(AccountError::Password)));
    }
    let verify = async |name: &str, password: &str| accounts::verify(&world.central, name, password).await.expect("an answer");
    assert_eq!(verify("aDA", PASSWORD).await.map(|manager| manager.name).as_deref(), Some("Ada"));
    for (name, password) in [("Ada", ""), ("Ada", "wrong"), ("Ben", PASSWORD), ("A%", PASSWORD), ("a\0", PASSWORD)] {
        assert_eq!(verify(name, password).await, None);
    }
    let stored = world.texts("SELECT password_hash FROM manager_accounts").await;
    assert!(stored[0].starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
}
