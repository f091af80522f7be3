//! Draws the sample receipts and keeps their bytes: `cargo run -p hardware --example receipts -- FOLDER`.

use anyhow::Context;
use hardware::vprinter::{PaperWidth, render};
use hardware::{JobId, Ticket, encoder, profile};

#[path = "../tests/it/samples.rs"]
mod samples;

fn main() -> anyhow::Result<()> {
    let folder = std::path::PathBuf::from(std::env::args_os().nth(1).context("which folder?")?);
    let draw = |name: &str, ticket: &Ticket, profile_id: &str, width| -> anyhow::Result<()> {
        let profile = profile::find(profile_id).context("no such profile")?;
        let job = encoder::encode(ticket, profile, JobId::from_bytes([7; 16]))?;
        job.warnings.iter().for_each(|warning| println!("{name}: {warning}"));
        let rendering = render(&job.bytes, width);
        rendering.violations().for_each(|violation| println!("{name}: {violation:?}"));
        let folder = folder.join(name);
        rendering.save(&folder).with_context(|| format!("could not save {name}"))?;
        std::fs::write(folder.join("job.bin"), &job.bytes).with_context(|| format!("could not save {name}"))
    };
    draw("shop-80", &samples::shop(), "epson-80", PaperWidth::Mm80)?;
    draw("shop-58", &samples::shop(), "generic-58", PaperWidth::Mm58)?;
    draw("german-58", &samples::german(), "generic-58", PaperWidth::Mm58)?;
    draw("scripts-80", &samples::many_scripts(), "epson-80", PaperWidth::Mm80)
}
