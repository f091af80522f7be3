//! The package as it ships: what it holds, what it asks of the system, and that its window lets nobody in.
//!
//! `make package` builds it; `EVERTILL_DEB` names another one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use journeys::cashier::PATIENCE;
use journeys::stack::until;
use window::display::Display;
use window::driver::Driver;

/// The package, and what is in it.
struct Package {
    deb: PathBuf,
    root: tempfile::TempDir,
}

impl Package {
    fn open() -> Result<Self> {
        let deb = match std::env::var_os("EVERTILL_DEB") {
            Some(deb) => PathBuf::from(deb),
            None => built()?,
        };
        let root = tempfile::tempdir()?;
        say(Command::new("dpkg-deb").arg("--extract").arg(&deb).arg(root.path()))?;
        Ok(Self { deb, root })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn field(&self, field: &str) -> Result<String> {
        Ok(say(Command::new("dpkg-deb").arg("--field").arg(&self.deb).arg(field))?.trim().to_owned())
    }

    /// A script that the package manager runs.
    fn script(&self, name: &str) -> Result<String> {
        let control = tempfile::tempdir()?;
        say(Command::new("dpkg-deb").arg("--control").arg(&self.deb).arg(control.path()))?;
        std::fs::read_to_string(control.path().join(name)).with_context(|| format!("the package has no {name}"))
    }
}

/// The newest package beside the folder that this test was built into.
fn built() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(3).context("a test is built into a folder of its own")?;
    let folder = target.join("release/bundle/deb");
    let debs = std::fs::read_dir(&folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let debs = debs.filter(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let newest = debs.max_by_key(|path| std::fs::metadata(path).and_then(|deb| deb.modified()).ok());
    newest.with_context(|| format!("there is no package in {}: build it first with `make package`", folder.display()))
}

/// What a program prints; it must succeed.
fn say(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("could not start {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{command:?} failed:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

#[test]
fn it_holds_the_window_the_headless_till_and_what_the_system_needs_for_them() -> Result<()> {
    let package = Package::open()?;
    let listing = say(Command::new("dpkg-deb").arg("--contents").arg(&package.deb))?;
    // Mode and owner first, the path last.
    let files: Vec<Vec<&str>> = listing.lines().map(|line| line.split_whitespace().collect()).collect();
    for (path, mode) in [
        ("usr/bin/evertill", "-rwxr-xr-x"),
        ("usr/bin/evertill-node", "-rwxr-xr-x"),
        ("lib/systemd/system/evertill-node.service", "-rw-r--r--"),
        ("lib/udev/rules.d/70-evertill.rules", "-rw-r--r--"),
        ("usr/share/applications/Evertill.desktop", "-rw-r--r--"),
        ("usr/share/icons/hicolor/128x128/apps/evertill.png", "-rw-r--r--"),
        ("usr/share/doc/evertill/node.toml", "-rw-r--r--"),
        ("usr/share/doc/evertill/copyright", "-rw-r--r--"),
        ("usr/share/doc/evertill/third-party-licenses.gz", "-rw-r--r--"),
    ] {
        let found = files.iter().find(|file| file.last().is_some_and(|last| last.trim_start_matches("./") == path));
        let found = found.with_context(|| format!("the package has no {path}:\n{listing}"))?;
        assert_eq!(found[0], mode, "{path}");
        ensure!(["0/0", "root/root"].contains(&found[1]), "{path} belongs to {}", found[1]);
    }
    ensure!(!listing.contains("evertill-automated"), "the window with its lock open is in the package");
    for name in ["evertill", "evertill-node"] {
        let version = say(Command::new(package.path("usr/bin").join(name)).arg("--version"))?;
        assert_eq!(version.trim(), format!("{name} {}", package.field("Version")?));
        say(Command::new(package.path("usr/bin").join(name)).arg("--help"))?;
    }
    Ok(())
}

#[test]
fn it_asks_for_every_library_that_it_links_against() -> Result<()> {
    let package = Package::open()?;
    let depends = package.field("Depends")?;
    for library in ["libwebkit2gtk-4.1-0", "libgtk-3-0", "libdbus-1-3", "adduser"] {
        ensure!(depends.split(", ").any(|asked| asked.split(' ').next() == Some(library)), "no {library} in {depends}");
    }
    for name in ["evertill", "evertill-node"] {
        let linked = say(Command::new("ldd").arg(package.path("usr/bin").join(name)))?;
        ensure!(!linked.contains("not found"), "{name}:\n{linked}");
    }
    // A till without a window runs on a machine without a desktop.
    let linked = say(Command::new("ldd").arg(package.path("usr/bin/evertill-node")))?;
    ensure!(!linked.contains("gtk") && !linked.contains("webkit"), "{linked}");
    Ok(())
}

#[test]
fn the_units_are_what_systemd_understands() -> Result<()> {
    let package = Package::open()?;
    let units = [
        package.path("lib/systemd/system/evertill-node.service"),
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/systemd/evertill-sync-server.service"),
    ];
    for unit in units {
        let text = std::fs::read_to_string(&unit)?;
        for line in ["Restart=always", "NoNewPrivileges=yes", "ProtectSystem=strict", "UMask=0077", "KillSignal=SIGTERM"] {
            ensure!(text.lines().any(|l| l == line), "{} has no {line}", unit.display());
        }
        ensure!(!text.contains("User=root"), "{} runs as root", unit.display());
        let Ok(output) = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output() else {
            eprintln!("systemd-analyze is not installed; {} was only read", unit.display());
            continue;
        };
        // The programs are not installed here, which is the one thing that it may mind.
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let minded: Vec<&str> =
            said.lines().filter(|line| line.contains("evertill") && !line.contains("is not executable")).collect();
        ensure!(minded.is_empty(), "{}:\n{}", unit.display(), minded.join("\n"));
    }
    Ok(())
}

#[test]
fn the_device_rules_are_well_formed_and_open_nothing_to_the_world() -> Result<()> {
    let package = Package::open()?;
    let rules = package.path("lib/udev/rules.d/70-evertill.rules");
    let mut given = 0;
    for line in std::fs::read_to_string(&rules)?.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let parts = line.split(", ").map(rule).collect::<Result<Vec<_>>>().with_context(|| line.to_owned())?;
        let assigned = |key| parts.iter().find(|(k, op, _)| *k == key && *op == "=").map(|(_, _, value)| *value);
        if let Some(mode) = assigned("MODE") {
            given += 1;
            assert_eq!((mode, assigned("GROUP")), ("0660", Some("evertill")), "{line}");
            ensure!(parts.iter().any(|(key, op, _)| *key == "SUBSYSTEM" && *op == "=="), "it would match anything: {line}");
        }
    }
    assert!(given >= 3, "printers, serial adapters and scanners, but only {given} rules");
    if let Ok(output) = Command::new("udevadm").arg("verify").arg(&rules).output() {
        let said = String::from_utf8_lossy(&output.stderr);
        // Older ones do not know the word.
        ensure!(output.status.success() || said.contains("Unknown command"), "{said}");
    }
    Ok(())
}

/// A key with its operator and value: `SUBSYSTEM=="tty"`.
fn rule(part: &str) -> Result<(&str, &str, &str)> {
    let end = part.find(['=', '!', '+', '-', ':']).context("no operator")?;
    let (key, rest) = part.split_at(end);
    let quote = rest.find('"').context("no value")?;
    let (op, value) = rest.split_at(quote);
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).context("the quotes do not close")?;
    let name = key.split('{').next().unwrap_or(key);
    let known = ["ACTION", "SUBSYSTEM", "KERNEL", "ATTRS", "GROUP", "MODE", "GOTO", "LABEL"].contains(&name);
    let matches = ["==", "!="].contains(&op);
    if !known || !(matches || op == "=") || value.contains('"') {
        bail!("{part} is no rule");
    }
    ensure!(matches == ["ACTION", "SUBSYSTEM", "KERNEL", "ATTRS"].contains(&name), "{name} with {op}");
    Ok((key, op, value))
}

#[test]
fn its_scripts_make_the_user_and_never_remove_what_was_sold() -> Result<()> {
    let package = Package::open()?;
    for name in ["postinst", "prerm", "postrm"] {
        let script = package.script(name)?;
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), &script)?;
        say(Command::new("sh").arg("-n").arg(file.path()))?;
        ensure!(script.contains("set -e"), "{name} goes on after an error");
        let removes = script.lines().filter(|line| line.contains("rm ") || line.contains("rmdir ") || line.contains("deluser"));
        for line in removes {
            ensure!(
                line.contains("/etc/evertill") && !line.contains("/var/lib"),
                "{name} removes more than the configuration: {line}"
            );
        }
    }
    let postinst = package.script("postinst")?;
    ensure!(postinst.contains("adduser --quiet --system --group"), "{postinst}");
    ensure!(!postinst.contains("systemctl enable"), "the unit is to stay off until somebody enables it");
    Ok(())
}

#[test]
fn its_window_lets_no_driver_in() -> Result<()> {
    let package = Package::open()?;
    let folder = tempfile::tempdir()?;
    let display = Display::start(folder.path())?;
    let driver = Driver::start(&display, folder.path(), "driver")?;
    let (program, data) = (package.path("usr/bin/evertill"), folder.path().join("till").display().to_string());
    let (answer, answered) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let opened = driver.open(&program, &["--data", &data]);
            let _ = answer.send(opened.map(drop).map_err(|error| format!("{error:#}")));
        });
        // By now the window with its lock open would have let the driver in: it does so before the page runs.
        let loaded = until("the page", PATIENCE, || Ok(driver.said()?.contains("the screen has loaded").then_some(())));
        let outcome = answered.recv_timeout(Duration::from_secs(5));
        driver.end();
        loaded?;
        ensure!(!matches!(outcome, Ok(Ok(()))), "the window that ships let a driver in");
        eprintln!("{outcome:?}");
        Ok(())
    })
}
