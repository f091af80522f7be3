use std::os::unix::fs::PermissionsExt;

use expect_test::{Expect, expect};
use serde::Deserialize;

use super::*;

const KEYS: [Key; 6] = [
    Key { name: "data", kind: Kind::Text("the data folder"), required: true },
    Key { name: "sync.listen", kind: Kind::Listen("0.0.0.0:4433"), required: true },
    Key { name: "sync.public", kind: Kind::HostAndPort("sync.example.com:4433"), required: false },
    Key { name: "web.listen", kind: Kind::Listen("127.0.0.1:8443"), required: false },
    LOG_KEYS[0],
    LOG_KEYS[1],
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Small {
    data: PathBuf,
}

fn check(text: &str, expected: Expect) {
    let told: Vec<_> = mistakes(text, &KEYS).iter().map(ToString::to_string).collect();
    expected.assert_eq(&told.join("\n"));
}

const GOOD: &str =
    "data = 'd'\n[sync]\nlisten = '[::1]:4710'\npublic = 'shop.example:1'\n[log]\nformat = 'json'\nlevel = 'warn'\n";

#[test]
fn a_good_text_has_no_mistakes() {
    check(GOOD, expect![""]);
    check(&GOOD.replace('\n', "\r\n"), expect![""]);
}

#[test]
fn unknown_keys_name_the_nearest_one() {
    check(
        &GOOD.replace("listen", "lissten"),
        expect![[r#"
          line 3: there is no key `sync.lissten`: did you mean `sync.listen`?
          `sync.listen` is missing: add it, an IP address and port in quotes, such as "0.0.0.0:4433""#]],
    );
    check(
        &GOOD.replace("[sync]", "[synk]"),
        expect![[r#"
          line 2: there is no key `synk`: did you mean `sync`?
          `sync.listen` is missing: add it, an IP address and port in quotes, such as "0.0.0.0:4433""#]],
    );
    check(&format!("public = 'a:1'\n{GOOD}"), expect!["line 1: there is no key `public`: did you mean `sync.public`?"]);
    check(&format!("warp_drive = true\n{GOOD}"), expect!["line 1: there is no key `warp_drive`: remove it"]);
    check(&format!("{GOOD}colour = 'red'"), expect!["line 8: there is no key `log.colour`: remove it"]);
}

#[test]
fn wrong_types_and_values_name_key_line_and_what_is_expected() {
    check(&GOOD.replace("'d'", "3"), expect!["line 1: `data` is a number, but should be a text in quotes: the data folder"]);
    check(&GOOD.replace("'d'", "'  '"), expect![[r#"line 1: `data` is "  ", but should be a text in quotes: the data folder"#]]);
    check(
        &GOOD.replace("'[::1]:4710'", "4710"),
        expect![[r#"line 3: `sync.listen` is a number, but should be an IP address and port in quotes, such as "0.0.0.0:4433""#]],
    );
    check(
        &GOOD.replace("4710", "65536"),
        expect![[
            r#"line 3: `sync.listen` is "[::1]:65536", but should be an IP address and port in quotes, such as "0.0.0.0:4433""#
        ]],
    );
    check(
        &GOOD.replace("shop.example:1", "shop.example:0"),
        expect![[
            r#"line 4: `sync.public` is "shop.example:0", but should be a host and port in quotes, such as "sync.example.com:4433""#
        ]],
    );
    check(
        &GOOD.replace("shop.example:1", "two words:1"),
        expect![[
            r#"line 4: `sync.public` is "two words:1", but should be a host and port in quotes, such as "sync.example.com:4433""#
        ]],
    );
    check(&GOOD.replace("'json'", "'xml'"), expect![[r#"line 6: `log.format` is "xml", but should be one of "text", "json""#]]);
    check(
        &GOOD.replace("'warn'", "'loud'"),
        expect![[
            r#"line 7: `log.level` is "loud", but should be a level such as "info", or filters such as "info,quinn=debug""#
        ]],
    );
    check(
        &GOOD.replace("'warn'", "true"),
        expect![[
            r#"line 7: `log.level` is true or false, but should be a level such as "info", or filters such as "info,quinn=debug""#
        ]],
    );
    check(&format!("web = 3\n{GOOD}"), expect!["line 1: `web` is a number, but it is the name of a section: write [web]"]);
    check(&format!("web = ['a']\n{GOOD}"), expect!["line 1: `web` is a list, but it is the name of a section: write [web]"]);
}

#[test]
fn all_mistakes_are_told_at_once_and_what_is_no_toml_too() {
    check(
        "dta = 'd'\n[sync]\nlisten = 1\n",
        expect![[r#"
          line 1: there is no key `dta`: did you mean `data`?
          line 3: `sync.listen` is a number, but should be an IP address and port in quotes, such as "0.0.0.0:4433"
          `data` is missing: add it, a text in quotes: the data folder"#]],
    );
    check("data = 'd'\ndata = 'e'", expect!["line 2: this is no TOML: duplicate key"]);
    check("data = 'd'\nlisten 3", expect!["line 2: this is no TOML: key with no value, expected `=`"]);
}

#[test]
fn files_that_cannot_be_taken_are_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("it.toml");
    let sentence = |path: &Path| {
        let text =
            File::read(path).and_then(|file| file.parse::<Small>(&KEYS[..1]).map(|_| ())).expect_err("refused").to_string();
        text.replace(folder.path().to_str().expect("text"), "DIR")
    };
    expect!["there is no configuration file DIR/it.toml: give its path with --config"].assert_eq(&sentence(&path));
    expect!["DIR is no file: give the path of the configuration file with --config"].assert_eq(&sentence(folder.path()));
    fs::write(&path, vec![b'#'; FILE_BYTES_MAX as usize + 1]).expect("written");
    expect!["DIR/it.toml is larger than 65536 bytes, so it is no configuration file: give the right path with --config"]
        .assert_eq(&sentence(&path));
    fs::write(&path, b"data = '\xff'").expect("written");
    expect!["the configuration file DIR/it.toml is not UTF-8 text: save it as UTF-8"].assert_eq(&sentence(&path));
    fs::write(&path, "").expect("written");
    expect![[r#"
        the configuration file DIR/it.toml is wrong:
          `data` is missing: add it, a text in quotes: the data folder"#]]
    .assert_eq(&sentence(&path));
    // Root reads whatever it likes, so the answer of the system stands for the file.
    let denied = unreadable(Path::new("/etc/it.toml"), io::ErrorKind::PermissionDenied.into());
    expect!["the configuration file /etc/it.toml cannot be read by this user: chown it to the user that runs the program, or run as that user"]
        .assert_eq(&denied.to_string());

    fs::write(&path, "\u{FEFF}data = 'd'").expect("written");
    assert_eq!(File::read(&path).expect("read").parse::<Small>(&KEYS[..1]).expect("parsed").data, Path::new("d"));
}

#[test]
fn a_secret_is_kept_from_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("it.toml");
    fs::write(&path, "data = 'd'").expect("written");
    for (mode, refused) in [(0o600, false), (0o400, false), (0o640, true), (0o644, true)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        let answer = File::read(&path).expect("read").refuse_readers();
        assert_eq!(answer.is_err(), refused, "{mode:o}");
        if let Err(error) = answer {
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }
}

#[test]
fn an_example_shows_keys_commented_out_or_not() {
    let example = "# words = not a setting\ndata = 'd'\n[sync]\nlisten = '[::1]:1'\n#public = 'a:1'\n#[log]\n#format = 'json'\n";
    assert!(uncommented(example).contains("\npublic = 'a:1'\n[log]\nformat = 'json'\n"));
    assert_eq!(not_shown(example, &KEYS), ["web.listen", "log.level"]);
}
