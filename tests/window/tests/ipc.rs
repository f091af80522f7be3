//! What the window's screen may call, through Tauri's own dispatch and access control, with no screen at all.

use std::path::Path;
use std::sync::Arc;

use clap::Parser;
use evertill::arguments::Arguments;
use evertill::host::{Host, LINK_BYTES_MAX};
use evertill::shell;
use serde_json::{Value, json};
use tauri::test::{INVOKE_KEY, MockRuntime, get_ipc_response, mock_builder};
use tauri::webview::InvokeRequest;
use tauri::{App, WebviewUrl, WebviewWindow, WebviewWindowBuilder};

struct Program {
    app: App<MockRuntime>,
    main: WebviewWindow<MockRuntime>,
    data: tempfile::TempDir,
}

fn program() -> Program {
    let data = tempfile::tempdir().expect("a folder");
    let arguments = Arguments::parse_from(["evertill".as_ref(), "--data".as_ref(), data.path().as_os_str()]);
    let host = Arc::new(Host::of(&arguments).expect("a till"));
    let app = shell::shell(mock_builder(), host).build(shell::context()).expect("a program");
    let main = shell::open(&app, false).expect("a window");
    Program { app, main, data }
}

fn call(window: &WebviewWindow<MockRuntime>, command: &str, arguments: Value) -> Result<Value, Value> {
    let request = InvokeRequest {
        cmd: command.into(),
        callback: tauri::ipc::CallbackFn(0),
        error: tauri::ipc::CallbackFn(1),
        url: "tauri://localhost".parse().expect("an address"),
        body: arguments.into(),
        headers: Default::default(),
        invoke_key: INVOKE_KEY.to_owned(),
    };
    get_ipc_response(window, request).map(|answer| answer.deserialize().expect("JSON"))
}

fn shown(data: &Path) -> Value {
    json!({"stage": "first_run", "data": data})
}

#[test]
fn a_folder_that_is_no_till_asks_for_the_link() {
    let program = program();
    assert_eq!(call(&program.main, "begin", json!({"again": false})), Ok(shown(program.data.path())));
    for link in ["", "https://example.com", "evertill://host:1/CODE", &"e".repeat(LINK_BYTES_MAX + 1)] {
        let problem = call(&program.main, "enrol", json!({"link": link})).unwrap_err();
        assert_eq!(problem["code"], "bad_link", "{link}: {problem}");
    }
    // Nobody listens there.
    let link = format!("evertill://127.0.0.1:9/0123456789#{}", "00".repeat(32));
    assert_eq!(call(&program.main, "enrol", json!({"link": link})).unwrap_err()["code"], "unreachable");
    assert_eq!(call(&program.main, "begin", json!({"again": true})), Ok(shown(program.data.path())));
    assert_eq!(std::fs::read_dir(program.data.path()).unwrap().count(), 0, "the folder is not as it was");
}

#[test]
fn a_till_that_is_not_at_work_refuses_and_says_so() {
    let program = program();
    call(&program.main, "begin", json!({"again": false})).unwrap();
    for asked in [json!({"query": {"type": "till"}}), json!({"command": {"type": "sign_out"}})] {
        let error = call(&program.main, "rpc", json!({"call": asked})).unwrap_err();
        assert_eq!(error["code"], "storage", "{error}");
        assert_eq!(error["message"], "the till is stopping: start it again");
    }
    let picture = json!({"id": "019cad8f-ac00-7101-8101-010101010101"});
    assert_eq!(call(&program.main, "picture", picture).unwrap_err()["code"], "storage");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let program = program();
    let too_large = json!({"command": {"type": "sign_in", "staff": "x", "pin": "1".repeat(300_000)}});
    for asked in [json!({"query": {"type": "everything"}}), json!({"order": 66}), json!(1)] {
        let error = call(&program.main, "rpc", json!({"call": asked})).unwrap_err();
        assert_eq!(error["code"], "bad_request", "{error}");
    }
    let error = call(&program.main, "rpc", json!({"call": too_large})).unwrap_err();
    assert_eq!(error["code"], "bad_request", "{error}");
    assert!(error["message"].as_str().is_some_and(|m| m.contains("262144 bytes")), "{error}");
}

#[test]
fn a_folder_whose_identity_is_broken_is_said_to_be() {
    let program = program();
    let device = program.data.path().join("device");
    std::fs::create_dir(&device).unwrap();
    std::fs::write(device.join("identity.json"), "{}").unwrap();
    let shown = call(&program.main, "begin", json!({"again": false})).unwrap();
    assert_eq!((&shown["stage"], &shown["code"]), (&json!("stuck"), &json!("folder")), "{shown}");
    assert!(shown["message"].as_str().unwrap().contains("identity.json"), "{shown}");
}

#[test]
fn no_other_window_and_no_other_command_is_let_in() {
    let program = program();
    let other = WebviewWindowBuilder::new(&program.app, "other", WebviewUrl::default()).build().unwrap();
    for command in ["begin", "enrol", "rpc", "subscribe"] {
        let refused = call(&other, command, json!({})).unwrap_err().to_string();
        assert!(refused.contains("not allowed"), "{command}: {refused}");
    }
    for command in ["plugin:window|close", "plugin:webview|create_webview_window", "plugin:path|resolve_directory", "shell"] {
        let refused = call(&program.main, command, json!({})).unwrap_err().to_string();
        assert!(refused.contains("not allowed") || refused.contains("not found"), "{command}: {refused}");
    }
}
