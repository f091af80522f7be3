//! The loopback face: who gets in and who does not.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use node::face::{BODY_BYTES_MAX, Face, FaceError};
use node::handle::Node;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::shop::*;

pub struct Open {
    _shop: Shop,
    pub address: SocketAddr,
    pub token: String,
    pub node: Node,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn open() -> Open {
    let (shop, mut till) = Shop::stocked();
    till.sign_in(CASHIER);
    till.open();
    open_to(shop, till).await
}

/// The face of a till as it stands.
pub async fn open_to(shop: Shop, till: node::till::Till) -> Open {
    let face = Face::open("127.0.0.1:0".parse().expect("an address"), shop.folder.path(), &*shop.env).await.expect("a face");
    let address = face.address();
    let link = face.link();
    let token = link.split_once("/#token=").expect("a token in the link").1.to_owned();
    assert!(link.starts_with(&format!("http://{address}/#")) && token.len() == 64);
    let node = Node::inline(till);
    let (stop, stopping) = watch::channel(false);
    let serving = tokio::spawn(face.serve(node.clone(), stopping));
    Open { _shop: shop, address, token, node, stop, serving }
}

impl Open {
    /// Sends a request as it stands and gives the status and the rest of the answer.
    pub async fn raw(&self, request: impl AsRef<[u8]>) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        stream.write_all(request.as_ref()).await.expect("sent");
        let mut answer = String::new();
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_string(&mut answer)).await;
        read.expect("an answer in time").expect("an answer");
        let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        (status, answer)
    }

    pub async fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut head = format!("{line} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.raw(&format!("{head}\r\n{body}")).await
    }

    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }
}

#[tokio::test]
async fn its_own_screen_gets_in() {
    let open = open().await;
    let (status, answer) = open.ask("GET /api/face", &[], "").await;
    assert_eq!((status, answer.ends_with(r#"{"face":"till"}"#)), (200, true), "{answer}");
    let (status, answer) = open.ask("POST /api/query", &[("Authorization", &open.bearer())], r#"{"type":"till"}"#).await;
    assert_eq!((status, answer.contains(r#""name":"Corner shop""#)), (200, true), "{answer}");
    let line = r#"{"type":"add_line","item":{"by":"code","code":"22423"}}"#;
    let own = format!("http://{}", open.address);
    let (status, answer) = open.ask("POST /api/command", &[("Authorization", &open.bearer()), ("Origin", &own)], line).await;
    assert_eq!((status, answer.contains(r#""total_minor":1275"#)), (200, true), "{answer}");
    for header in ["content-security-policy: default-src 'self'", "x-content-type-options: nosniff", "cache-control: no-store"] {
        assert!(answer.contains(header), "{header} is missing in {answer}");
    }
}

#[tokio::test]
async fn strangers_do_not_get_in() {
    let open = open().await;
    let till = r#"{"type":"till"}"#;
    let bearer = open.bearer();
    let port = open.address.port();
    type Row<'a> = (&'a str, Vec<(&'a str, String)>, u16);
    let table: &[Row<'_>] = &[
        ("no token", vec![], 401),
        ("a wrong token", vec![("Authorization", format!("Bearer {}", "0".repeat(64)))], 401),
        ("an empty token", vec![("Authorization", "Bearer ".to_owned())], 401),
        ("another scheme", vec![("Authorization", format!("Basic {}", open.token))], 401),
        ("a rebound name", vec![("Authorization", bearer.clone()), ("Host", format!("evil.example:{port}"))], 403),
        ("another port", vec![("Authorization", bearer.clone()), ("Host", "127.0.0.1:1".to_owned())], 403),
        ("another page", vec![("Authorization", bearer.clone()), ("Origin", "http://evil.example".to_owned())], 403),
        ("a page without a name", vec![("Authorization", bearer.clone()), ("Origin", "null".to_owned())], 403),
        ("localhost", vec![("Authorization", bearer.clone()), ("Host", format!("localhost:{port}"))], 200),
    ];
    for (name, headers, expected) in table {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let (status, answer) = open.ask("POST /api/query", &headers, till).await;
        assert_eq!(status, *expected, "{name}: {answer}");
        assert_eq!(answer.contains("Corner shop"), *expected == 200, "{name}");
    }
    let (status, _) = open.raw("POST /api/query HTTP/1.0\r\n\r\n").await;
    assert_eq!(status, 403, "no host at all");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_code() {
    let open = open().await;
    let bearer = open.bearer();
    let wide = format!(r#"{{"type":"search","text":"{}","limit":1}}"#, "x".repeat(BODY_BYTES_MAX));
    let deep = "[".repeat(10_000);
    for (body, expected) in [
        ("", 400),
        ("{", 400),
        (r#"{"type":"sell_everything"}"#, 400),
        (r#"{"type":"till","extra":1}"#, 400),
        (r#"{"type":"search","text":"x","limit":-1}"#, 400),
        (r#"{"type":"order","order":"no id"}"#, 400),
        (r#"{"type":"order","order":"0198c5e2-0000-7000-8000-000000000000"}"#, 404),
        (wide.as_str(), 413),
        (deep.as_str(), 400),
    ] {
        let (status, answer) = open.ask("POST /api/query", &[("Authorization", &bearer)], body).await;
        assert_eq!(status, expected, "{}: {answer}", &body[..body.len().min(60)]);
        assert!(answer.contains(r#""code":""#), "{answer}");
    }
    let cash = r#"{"type":"settle_cash","order":"0198c5e2-0000-7000-8000-000000000000","tendered_minor":1.5}"#;
    assert_eq!(open.ask("POST /api/command", &[("Authorization", &bearer)], cash).await.0, 400, "money is whole");
    assert_eq!(open.ask("GET /api/nothing", &[], "").await.0, 404);
    assert_eq!(open.ask("DELETE /", &[], "").await.0, 405);
    assert!(!open.ask("GET /../../etc/passwd", &[], "").await.1.contains("root:"));
    let (status, answer) = open.ask("GET /sell", &[], "").await;
    assert_eq!((status, answer.contains("<!doctype html>") || answer.contains("<!DOCTYPE html>")), (200, true));
}

#[tokio::test]
async fn events_reach_a_listener_with_the_token_and_nobody_else() {
    let open = open().await;
    let url = format!("ws://{}/api/events", open.address);
    let request = |protocols: Option<&str>| {
        let mut request = url.as_str().into_client_request().expect("a request");
        if let Some(protocols) = protocols {
            request.headers_mut().insert("sec-websocket-protocol", protocols.parse().expect("a header"));
        }
        request
    };
    for wrong in [None, Some("evertill"), Some("evertill, 00"), Some(open.token.as_str())] {
        assert!(tokio_tungstenite::connect_async(request(wrong)).await.is_err(), "{wrong:?}");
    }
    let right = format!("evertill, {}", open.token);
    open.node.with(|till| till.take_events()).await.expect("a till");
    let (mut socket, answer) = tokio_tungstenite::connect_async(request(Some(&right))).await.expect("a listener");
    assert_eq!(answer.headers().get("sec-websocket-protocol").and_then(|p| p.to_str().ok()), Some("evertill"));
    open.node.command(scan("22423", 1)).await.expect("a line");
    let event = tokio::time::timeout(Duration::from_secs(30), socket.next()).await.expect("in time");
    assert_eq!(event.expect("an event").expect("an event").into_text().expect("text").as_str(), r#"{"type":"till_changed"}"#);
    open.stop.send_replace(true);
    open.serving.await.expect("it ends").expect("well");
    let last = socket.next().await;
    assert!(last.as_ref().is_none_or(|m| m.as_ref().is_ok_and(|m| m.is_close())), "{last:?}");
}

#[tokio::test]
async fn only_this_machine_can_reach_it_and_the_token_lasts() {
    let (shop, _till) = Shop::new();
    let outside = Face::open("0.0.0.0:0".parse().expect("an address"), shop.folder.path(), &*shop.env).await;
    assert!(matches!(outside, Err(FaceError::NotLoopback(_))));
    let local = "127.0.0.1:0".parse().expect("an address");
    let token = async || {
        let face = Face::open(local, shop.folder.path(), &*shop.env).await.expect("a face");
        face.link().split_once('#').expect("a token").1.to_owned()
    };
    assert_eq!(token().await, token().await, "a screen that is open stays signed in over a restart");
    use std::os::unix::fs::PermissionsExt;
    let path = shop.folder("device/face.token");
    assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("permissions");
    assert!(matches!(Face::open(local, shop.folder.path(), &*shop.env).await, Err(FaceError::Token(_))));
}
