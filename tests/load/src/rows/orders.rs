//! What many orders cost a till in memory.

use std::path::Path;

use anyhow::Result;
use node::replication::net::Net;

use super::grouped;
use crate::Bench;
use crate::child::{Started, TillReady};
use crate::devices::{self, Log};
use crate::figures::Runs;
use crate::peer::{Papers, Peer, position};
use crate::row::Row;
use crate::shop::{LinkedTill, Server, copy_folder, found, patiently, runtime};

const PRODUCTS: usize = 500;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let orders = bench.pick(10_000, 200);
    let work = bench.folder()?;
    let mut opened = found(&work.path().join("region"), &bench.names, PRODUCTS)?;
    let keys = devices::admit(&mut opened.region, &opened.authority, 1, 6)?.remove(0);
    let server = Server::start(opened)?;
    let (none, many) = (work.path().join("none"), work.path().join("many"));
    server.stocked_till(&none, PRODUCTS)?;
    copy_folder(&none, &many)?;

    sell_next_door(&server, &keys, orders)?;
    let till = LinkedTill::start(runtime()?, &many, server.address, false)?;
    till.wait_for_orders(orders as u64)?;
    till.close()?;

    let (mut more, mut all) = (Runs::default(), Runs::default());
    for _ in 0..bench.pick(5, 1) {
        let with = resident_bytes(&many)?;
        more.push_alone((with - resident_bytes(&none)?) / 1e6);
        all.push_alone(with / 1e6);
    }
    let orders = grouped(orders);
    Ok(vec![
        Row::new(format!("memory of a till with {orders} orders, beyond one with none"), "MB", &more).at_most(5.0),
        Row::new(format!("memory of a till with {orders} orders, the whole process"), "MB", &all),
    ])
}

/// Another till of the store sells, and the server has it.
fn sell_next_door(server: &Server, keys: &devices::Keys, orders: usize) -> Result<()> {
    let mut log = Log::of_sales(keys, orders, 1)?;
    let last = log.chain().commit;
    let at = position(log.chain(), None, Vec::new());
    let (runtime, authority) = (runtime()?, server.authority.clone());
    runtime.block_on(patiently("the sales of the other till", async {
        let mut peer = Peer::connect(&Net::machine()?, server.address, Papers::of(keys, authority.certificate_pem()), at).await?;
        peer.ignore_what_comes_down();
        while let Some(run) = log.take(500) {
            let upto = last - log.left() as u64;
            peer.send(run).await?;
            while peer.acked().await?.regional < upto {}
        }
        Ok(())
    }))
}

/// The memory of a fresh process on a till's folder, after somebody has looked through orders, ledger and products.
fn resident_bytes(folder: &Path) -> Result<f64> {
    let mut started = Started::new("till", folder, None)?;
    let _: TillReady = started.said()?;
    Ok(started.said::<TillReady>()?.resident_bytes)
}
