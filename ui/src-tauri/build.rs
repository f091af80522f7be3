//! Embeds the screen, and writes down which commands there are, so that a window may call only those that its capability names.

fn main() {
    let commands = tauri_build::AppManifest::new().commands(&["begin", "enrol", "picture", "rpc", "subscribe"]);
    tauri_build::try_build(tauri_build::Attributes::new().app_manifest(commands))
        .expect("tauri.conf.json, capabilities/ and icons/ fit together");
}
