//! Who may know whom. The map is the table in ARCHITECTURE.md; this test holds the manifests to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// Each of our crates, and those of ours that it may use. Packages below `tests/` may use anything.
const MAY_USE: [(&str, &[&str]); 9] = [
    ("journal", &[]),
    ("domain", &[]),
    ("hardware", &[]),
    ("operations", &[]),
    ("sync-proto", &["domain", "journal"]),
    ("node", &["domain", "hardware", "journal", "operations", "sync-proto"]),
    ("sync-server", &["domain", "journal", "operations", "sync-proto"]),
    ("evertill", &["node", "operations"]),
    ("evertill-verify", &["journal"]),
];

/// Foreign crates that stay where they are: only these of ours may ask for them.
const ONLY_IN: [(&str, &[&str]); 6] = [
    ("automerge", &["sync-proto"]),
    ("rusqlite", &["node", "sync-server"]),
    ("quinn", &["node", "sync-server"]),
    ("escpos", &["hardware"]),
    ("serialport", &["hardware"]),
    ("tauri", &["evertill"]),
];

/// Crates that do no I/O, and what would let them: not even through others.
const PURE: [&str; 3] = ["domain", "journal", "sync-proto"];
const IO: [&str; 4] = ["tokio", "mio", "socket2", "rusqlite"];

/// Pairs that never meet, not even through others.
const APART: [(&str, &str); 2] = [("node", "sync-server"), ("sync-server", "hardware")];

#[test]
fn our_crates_know_only_whom_they_may() {
    let workspace = Workspace::read();
    let mut wrong = Vec::new();
    for package in workspace.ours() {
        let Some((_, may_use)) = MAY_USE.iter().find(|(name, _)| *name == package.name) else {
            wrong.push(format!("{} is new: say in MAY_USE of this test and in ARCHITECTURE.md whom it may know", package.name));
            continue;
        };
        for used in workspace.own_dependencies(package) {
            if !may_use.contains(&used) {
                let turned = if workspace.may(used, &package.name) { ": that arrow points the other way" } else { "" };
                wrong.push(format!("{} → {used}{turned}. {} may know {may_use:?} only", package.name, package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn foreign_crates_stay_where_they_belong() {
    let workspace = Workspace::read();
    let mut wrong = Vec::new();
    for package in workspace.ours() {
        for (foreign, homes) in ONLY_IN {
            if package.dependencies.iter().any(|d| d.name == foreign) && !homes.contains(&package.name.as_str()) {
                wrong.push(format!("{} asks for {foreign}, which belongs to {homes:?} only", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn pure_crates_do_no_io_even_through_others() {
    let workspace = Workspace::read();
    for name in PURE {
        for io in IO {
            let path = workspace.path(name, io);
            assert!(path.is_none(), "{name} does no I/O, but reaches {io}: {}", path.unwrap_or_default().join(" → "));
        }
    }
}

#[test]
fn those_who_never_meet_do_not_meet() {
    let workspace = Workspace::read();
    for (one, other) in APART {
        for (from, to) in [(one, other), (other, one)] {
            let path = workspace.path(from, to);
            assert!(path.is_none(), "{from} must never reach {to}, but does: {}", path.unwrap_or_default().join(" → "));
        }
    }
}

#[test]
fn the_search_finds_what_is_there() {
    // Guards the tests above against passing because they look at nothing.
    let workspace = Workspace::read();
    assert_eq!(workspace.path("sync-proto", "automerge"), Some(vec!["sync-proto".into(), "automerge".into()]));
    assert_eq!(workspace.path("node", "minicbor").map(|path| path.len() > 1), Some(true));
    assert!(workspace.own_dependencies(workspace.named("sync-proto")).contains(&"journal"));
}

struct Workspace {
    root: String,
    packages: BTreeMap<String, Package>,
    members: BTreeSet<String>,
    /// What each package id is linked with: normal dependencies, as resolved.
    links: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    workspace_root: String,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Link>,
}

#[derive(Deserialize)]
struct Link {
    pkg: String,
    dep_kinds: Vec<LinkKind>,
}

#[derive(Deserialize)]
struct LinkKind {
    /// None for a normal dependency.
    kind: Option<String>,
}

impl Workspace {
    fn read() -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &host(), "--manifest-path"])
            .arg(manifest)
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: Metadata = serde_json::from_slice(&output.stdout).expect("cargo metadata speaks JSON");
        let links = metadata.resolve.nodes.into_iter().map(|node| {
            let normal = node.deps.into_iter().filter(|link| link.dep_kinds.iter().any(|kind| kind.kind.is_none()));
            (node.id, normal.map(|link| link.pkg).collect())
        });
        Self {
            root: metadata.workspace_root,
            links: links.collect(),
            members: metadata.workspace_members.into_iter().collect(),
            packages: metadata.packages.into_iter().map(|package| (package.id.clone(), package)).collect(),
        }
    }

    /// The members of the workspace but for the packages of tests.
    fn ours(&self) -> impl Iterator<Item = &Package> {
        let tests = format!("{}/tests/", self.root);
        self.members.iter().map(|id| &self.packages[id]).filter(move |package| !package.manifest_path.starts_with(&tests))
    }

    fn named(&self, name: &str) -> &Package {
        self.ours().find(|package| package.name == name).unwrap_or_else(|| panic!("the workspace has no {name}"))
    }

    /// Those of our crates that a manifest names, for whatever purpose, tests of the crate included.
    fn own_dependencies(&self, package: &Package) -> BTreeSet<&str> {
        let own: BTreeSet<&str> = self.members.iter().map(|id| self.packages[id].name.as_str()).collect();
        package.dependencies.iter().filter_map(|d| own.get(d.name.as_str()).copied()).collect()
    }

    fn may(&self, user: &str, used: &str) -> bool {
        MAY_USE.iter().any(|(name, may_use)| *name == user && may_use.contains(&used))
    }

    /// The shortest way on which a crate of ours comes to be linked with another crate, if it does.
    fn path(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let start = &self.named(from).id;
        let mut came_from: BTreeMap<&str, Option<&str>> = BTreeMap::from([(start.as_str(), None)]);
        let mut open = VecDeque::from([start.as_str()]);
        while let Some(id) = open.pop_front() {
            if self.packages[id].name == to {
                let way = std::iter::successors(Some(id), |id| came_from[id]).map(|id| self.packages[id].name.clone());
                let mut way: Vec<String> = way.collect();
                way.reverse();
                return Some(way);
            }
            for next in &self.links[id] {
                if !came_from.contains_key(next.as_str()) {
                    came_from.insert(next, Some(id));
                    open.push_back(next);
                }
            }
        }
        None
    }
}

/// The platform that is built for; others' dependencies are not downloaded.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let text = String::from_utf8(output.stdout).expect("rustc speaks UTF-8");
    text.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host").to_owned()
}
