//! The program `evertill-node` itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::shop::*;

fn program(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evertill-node"));
    command.arg("--data").arg(data).args(arguments).env("EVERTILL_LOG", "info");
    command
}

fn run(data: &Path, arguments: &[&str]) -> (bool, String, String) {
    let Output { status, stdout, stderr } = program(data, arguments).output().expect("the program");
    (status.success(), String::from_utf8(stdout).expect("text"), String::from_utf8(stderr).expect("text"))
}

/// A folder of a till that knows its store. The machine is this one, as the program finds it.
fn folder() -> Shop {
    let (mut shop, till) = Shop::new();
    drop(till);
    shop.options.machine = node::identity::machine_id();
    let mut till = shop.reopen();
    shop.stock(&mut till);
    shop
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_serves_and_stops_when_asked() {
    let shop = folder();
    let mut command = program(shop.folder.path(), &["run", "--listen", "127.0.0.1:0"]);
    let mut child = Running(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program"));
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    let link = line.trim().strip_prefix("till ready at http://").expect("where it is");
    let (address, token) = link.split_once("/#token=").expect("a token");
    let ask = |body: &str| {
        let mut stream = TcpStream::connect(address).expect("a connection");
        let head = format!("POST /api/query HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close");
        write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    assert!(ask(r#"{"type":"till"}"#).contains(r#""name":"Corner shop""#));
    let (ok, _, complaint) = run(shop.folder.path(), &["status"]);
    assert!(!ok && complaint.contains("in use by another"), "{complaint}");
    let killed = Command::new("kill").args(["-TERM", &child.0.id().to_string()]).status().expect("kill");
    assert!(killed.success() && child.0.wait().expect("an end").success());
}

#[test]
fn status_and_rebuild_say_what_they_found() {
    let shop = folder();
    let (ok, said, complaint) = run(shop.folder.path(), &["status"]);
    assert!(ok && said.contains("till       Till 3 (S01-T03") && said.contains("orders     0"), "{said}{complaint}");
    let (ok, said, complaint) = run(shop.folder.path(), &["rebuild"]);
    assert!(ok && said.starts_with("rebuilt from "), "{said}{complaint}");
}

#[test]
fn what_cannot_work_is_said_in_a_sentence() {
    let empty = tempfile::tempdir().expect("a folder");
    let shop = folder();
    let config = shop.folder("bad.toml");
    std::fs::write(&config, "lisen = '127.0.0.1:1'").expect("a file");
    let config = config.to_str().expect("a path");
    for (data, arguments, part) in [
        (empty.path(), &["run"][..], "is not enrolled yet"),
        (empty.path(), &["enrol", "no link"], "the enrolment link was not copied whole"),
        (shop.folder.path(), &["run", "--listen", "0.0.0.0:1"], "a loopback address"),
        (shop.folder.path(), &["run", "--printer", "lp0"], "tcp://"),
        (shop.folder.path(), &["run", "--config", config], "there is no key `lisen`: did you mean `listen`?"),
        (shop.folder.path(), &["run", "--config", "/no/such/file"], "there is no configuration file /no/such/file"),
    ] {
        let (ok, _, complaint) = run(data, arguments);
        assert!(!ok && complaint.contains(part), "{arguments:?}: {complaint}");
    }
}
