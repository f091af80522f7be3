//! `evertill`: the till in a window. `docs/window.md` says how to install and run it.

use std::process::ExitCode;

fn main() -> ExitCode {
    evertill::run(evertill::Automation::Refused)
}
