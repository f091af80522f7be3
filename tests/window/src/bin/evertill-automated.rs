//! The window with its one lock open, so that a test can drive it. It is in no package.

use std::process::ExitCode;

fn main() -> ExitCode {
    evertill::run(evertill::Automation::Allowed)
}
