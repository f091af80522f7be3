//! Where the programs are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The folder that holds the built programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    folder: PathBuf,
}

const PROGRAMS: [&str; 3] = ["evertill-sync-server", "evertill-node", "evertill-vprinter"];

impl Binaries {
    /// Finds them beside the running program, or where `EVERTILL_BIN_DIR` says.
    pub fn find() -> Result<Self> {
        let folder = match std::env::var_os("EVERTILL_BIN_DIR") {
            Some(folder) => PathBuf::from(folder),
            None => beside(&std::env::current_exe().context("could not find the running program")?),
        };
        for program in PROGRAMS {
            if !folder.join(program).is_file() {
                bail!("{program} is not in {}: build it first with `cargo build --workspace --bins`", folder.display());
            }
        }
        Ok(Self { folder })
    }

    /// The regional daemon.
    pub fn sync_server(&self) -> PathBuf {
        self.folder.join(PROGRAMS[0])
    }

    /// The till.
    pub fn node(&self) -> PathBuf {
        self.folder.join(PROGRAMS[1])
    }

    /// The virtual printer.
    pub fn vprinter(&self) -> PathBuf {
        self.folder.join(PROGRAMS[2])
    }
}

/// A test runs from `deps/` below the folder of the programs.
fn beside(program: &Path) -> PathBuf {
    let folder = program.parent().unwrap_or(Path::new("."));
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    folder.to_owned()
}
