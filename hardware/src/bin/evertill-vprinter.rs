//! `evertill-vprinter`: a receipt printer without a printer.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use hardware::vprinter::{Config, PaperWidth, VirtualPrinter, render};

/// A virtual receipt printer: takes ESC/POS and shows the paper.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Listen like a network printer; each receipt becomes receipt-N.png and receipt-N.json.
    Listen {
        /// Address for print data; port 0 takes a free one.
        #[arg(long, default_value = "127.0.0.1:9100")]
        tcp: SocketAddr,
        /// Loopback address for the page that shows the paper; port 0 takes a free one.
        #[arg(long)]
        http: Option<SocketAddr>,
        /// Folder for pictures, transcripts and paper.log.
        #[arg(long)]
        out: PathBuf,
        /// Width of the roll.
        #[arg(long, value_enum, default_value_t)]
        paper: Paper,
    },
    /// Print a file of bytes; each cut becomes receipt-N.png and receipt-N.json.
    Render {
        /// The bytes.
        file: PathBuf,
        /// Folder for the pictures and transcripts.
        #[arg(long)]
        out: PathBuf,
        /// Width of the roll.
        #[arg(long, value_enum, default_value_t)]
        paper: Paper,
        /// Exit with 1 if there is anything that a careful printer would mind.
        #[arg(long)]
        strict: bool,
    },
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Paper {
    /// 80 mm, 576 dots
    #[default]
    #[value(name = "80")]
    Mm80,
    /// 58 mm, 384 dots
    #[value(name = "58")]
    Mm58,
}

impl From<Paper> for PaperWidth {
    fn from(paper: Paper) -> Self {
        match paper {
            Paper::Mm80 => PaperWidth::Mm80,
            Paper::Mm58 => PaperWidth::Mm58,
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match Arguments::parse().command {
        Command::Listen { tcp, http, out, paper } => listen(Config { tcp, http, out: Some(out), width: paper.into() }),
        Command::Render { file, out, paper, strict } => render_file(&file, &out, paper.into(), strict),
    }
}

#[tokio::main]
async fn listen(config: Config) -> anyhow::Result<ExitCode> {
    let printer = VirtualPrinter::start(config).await.context("could not start the virtual printer")?;
    println!("printer {}", printer.address());
    if let Some(address) = printer.http_address() {
        println!("paper   http://{address}/");
    }
    tokio::signal::ctrl_c().await.context("could not wait for the end")?;
    Ok(ExitCode::SUCCESS)
}

fn render_file(file: &Path, out: &Path, width: PaperWidth, strict: bool) -> anyhow::Result<ExitCode> {
    let bytes = std::fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    let rendering = render(&bytes, width);
    rendering.save(out).with_context(|| format!("could not write to {}", out.display()))?;
    println!("{} receipts, {} drawer pulses", rendering.sheets.len(), rendering.pulses.len());
    let mut count = 0;
    for violation in rendering.violations() {
        count += 1;
        eprintln!("byte {}: {}", violation.offset, violation.what);
    }
    Ok(if strict && count > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
