//! The page, the files and the command line of the virtual printer.

use std::process::Command;
use std::time::Duration;

use hardware::printer::{NetworkPrinter, ReceiptPrinter, Timeouts};
use hardware::vprinter::{Config, LogEntry, PaperSensor, VirtualPrinter};
use hardware::{JobId, encoder, profile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::samples;

async fn print_one(twin: &VirtualPrinter, number: u8) {
    let profile = profile::find("epson-80").unwrap();
    let job = encoder::encode(&samples::german(), profile, JobId::from_bytes([number; 16])).unwrap();
    NetworkPrinter::new(twin.address().to_string(), profile, Timeouts::default()).deliver(&job).await;
    let printed = twin.wait_until(|twin| !twin.receipts().is_empty());
    tokio::time::timeout(Duration::from_secs(10), printed).await.expect("a receipt comes out");
}

async fn request(twin: &VirtualPrinter, head: &str, body: &str) -> (String, Vec<u8>) {
    let address = twin.http_address().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = head.replace("HOST", &address.to_string());
    let request = format!("{head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let split = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    (String::from_utf8_lossy(&answer[..split]).into_owned(), answer[split + 4..].to_vec())
}

async fn get(twin: &VirtualPrinter, path: &str) -> (String, Vec<u8>) {
    request(twin, &format!("GET {path} HTTP/1.1\r\nHost: HOST"), "").await
}

async fn with_page() -> VirtualPrinter {
    let http = Some("127.0.0.1:0".parse().unwrap());
    VirtualPrinter::start(Config { http, ..Config::default() }).await.unwrap()
}

#[tokio::test]
async fn the_page_shows_the_paper() {
    let twin = with_page().await;
    print_one(&twin, 1).await;
    let (head, page) = get(&twin, "/").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(String::from_utf8(page).unwrap().contains("<title>Receipt printer</title>"));

    let (_, list) = get(&twin, "/receipts").await;
    let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(list[0]["number"], 1);
    assert_eq!(list[0]["lines"][0], "Bäckerei Größe");

    let (head, png) = get(&twin, "/receipts/1.png").await;
    assert!(head.contains("image/png"), "{head}");
    assert_eq!(png, twin.receipts()[0].png);
    for missing in ["/receipts/2.png", "/receipts/1.exe", "/receipts/..%2Fx.png"] {
        assert!(get(&twin, missing).await.0.starts_with("HTTP/1.1 404"), "{missing}");
    }
}

#[tokio::test]
async fn faults_are_switched_over_http_and_strangers_are_refused() {
    let twin = with_page().await;
    let post = "POST /fault HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json";
    let (head, _) = request(&twin, post, r#"{"paper":"out"}"#).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let (_, status) = get(&twin, "/status").await;
    let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
    assert_eq!(status["faults"]["paper"], serde_json::to_value(PaperSensor::Out).unwrap());

    let (head, _) = request(&twin, post, r#"{"papre":"out"}"#).await;
    assert!(head.starts_with("HTTP/1.1 422"), "a misspelt fault is not a healthy printer: {head}");
    let (head, _) = request(&twin, "GET /receipts HTTP/1.1\r\nHost: elsewhere.example", "").await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
}

#[tokio::test]
async fn the_page_is_not_served_to_the_network() {
    let http = Some("0.0.0.0:0".parse().unwrap());
    let refused = VirtualPrinter::start(Config { http, ..Config::default() }).await;
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn files_and_numbers_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    for number in [1, 2] {
        let out = Some(folder.path().to_owned());
        let twin = VirtualPrinter::start(Config { out, ..Config::default() }).await.unwrap();
        print_one(&twin, number).await;
        assert_eq!(twin.receipts()[0].number, u64::from(number));
    }
    let log = std::fs::read_to_string(folder.path().join("paper.log")).unwrap();
    let entries: Vec<LogEntry> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries.len(), 2);
    for (entry, expected) in entries.iter().zip(1..) {
        let LogEntry::Receipt { number, jobs, .. } = entry else { panic!("a receipt") };
        assert_eq!(*number, expected);
        assert_eq!(*jobs, [JobId::from_bytes([expected as u8; 16]).process_id().to_string()]);
        assert!(folder.path().join(format!("receipt-{number}.png")).exists());
    }
}

#[test]
fn render_draws_a_file_and_is_strict_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.bin");
    std::fs::write(&file, b"\x1b@Hello\x07\n\x1dV\x01tail\n").unwrap();
    let run = |strict: &[&str]| {
        let out = folder.path().join("out");
        Command::new(env!("CARGO_BIN_EXE_evertill-vprinter"))
            .arg("render")
            .arg(&file)
            .arg("--out")
            .arg(&out)
            .args(strict)
            .output()
            .unwrap()
    };
    let lenient = run(&[]);
    assert!(lenient.status.success());
    assert_eq!(String::from_utf8_lossy(&lenient.stdout), "2 receipts, 0 drawer pulses\n");
    let strict = run(&["--strict"]);
    assert_eq!(strict.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&strict.stderr), "byte 7: stray control byte 07\n");
    let transcript = std::fs::read_to_string(folder.path().join("out/receipt-1.json")).unwrap();
    assert!(transcript.contains("\"Hello\""), "{transcript}");
}
