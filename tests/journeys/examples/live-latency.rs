//! How long a sale takes from its acknowledgement to the manager's page, over a real WebSocket.
//!
//! `cargo run --release -p journeys --example live-latency -- [SALES]`

use anyhow::{Context, Result};
use journeys::counter::live_latency;

#[tokio::main]
async fn main() -> Result<()> {
    let sales = std::env::args().nth(1).map_or(Ok(2_000), |n| n.parse()).context("SALES is a number")?;
    let latency = live_latency(sales).await?;
    println!(
        "{} sales, acknowledgement to message: p50 {:?}, p99 {:?}, longest {:?}",
        latency.sales, latency.p50, latency.p99, latency.max
    );
    Ok(())
}
