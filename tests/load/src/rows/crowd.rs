//! Many devices with nothing to say: what each costs the server in memory, and how fast all of them come back at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use journal::{Origin, OriginChain};
use node::replication::net::Net;
use sync_proto::frame::{Cursor, ScopeName};
use sync_proto::session::DevicePosition;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::grouped;
use crate::Bench;
use crate::catalogue::Names;
use crate::child::{ServerReady, Started};
use crate::devices::{self, Keys};
use crate::dice::Dice;
use crate::figures::{Runs, per_second};
use crate::peer::{Papers, Peer, position};
use crate::row::Row;
use crate::shop::{found, patiently, runtime};

/// How many handshakes are under way at once; the server turns away more than 256.
const HANDSHAKES: usize = 64;
/// How often a device tries again before the bench gives up.
const TRIES_MAX: usize = 10;
/// How long the server is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);

pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let count = bench.pick(10_000, 50);
    let work = bench.folder()?;
    let folder = work.path().join("region");
    let mut opened = found(&folder, &Names::Made, 0)?;
    let keys: Arc<[Keys]> = devices::admit(&mut opened.region, &opened.authority, count, 7)?.into();
    let authority: Arc<str> = opened.authority.certificate_pem().into();
    let region = opened.region.own().incarnation;
    drop(opened);

    let (mut memory, mut storm) = (Runs::default(), Runs::default());
    for _ in 0..bench.pick(2, 1) {
        let mut server = Started::new("region", &folder, None)?;
        let ready: ServerReady = server.said()?;
        let before = server.resident_bytes()?;
        let runtime = runtime()?;
        let begun = Instant::now();
        let work = patiently("the devices' return", all_connect(keys.clone(), authority.clone(), region, ready));
        let peers = runtime.block_on(work)?;
        storm.push_alone(per_second(count, begun.elapsed()));
        runtime.block_on(async { tokio::time::sleep(SETTLE).await });
        memory.push_alone((server.resident_bytes()? - before) / 1024.0 / count as f64);
        drop(peers);
    }
    let count = grouped(count);
    Ok(vec![
        Row::new(format!("server: memory of an idle device, {count} connected"), "KiB", &memory).at_most(35.0),
        // 10,000 in 10 s.
        Row::new(format!("reconnect storm of {count} devices, devices and server on one machine"), "devices/s", &storm)
            .at_least(1_000.0),
    ])
}

async fn all_connect(keys: Arc<[Keys]>, authority: Arc<str>, region: [u8; 16], ready: ServerReady) -> Result<Vec<Peer>> {
    let net = Net::machine()?;
    let turns = Arc::new(Semaphore::new(HANDSHAKES));
    let mut connecting = JoinSet::new();
    for at in 0..keys.len() {
        let (keys, authority, net) = (keys.clone(), authority.clone(), net.clone());
        let turn = turns.clone().acquire_owned().await.context("nobody closes it")?;
        connecting.spawn(async move {
            let connected =
                connect(&net, ready.address, &keys[at], &authority, whereabouts(&keys[at], region, ready.last_seq)).await;
            drop(turn);
            connected
        });
    }
    let mut peers = Vec::with_capacity(keys.len());
    while let Some(peer) = connecting.join_next().await {
        peers.push(peer??);
    }
    Ok(peers)
}

/// Connects, and when there is no answer tries again, as a device does.
async fn connect(net: &Net, server: SocketAddr, keys: &Keys, authority: &str, at: DevicePosition) -> Result<Peer> {
    let mut tries = 0;
    loop {
        match Peer::connect(net, server, Papers::of(keys, authority), at.clone()).await {
            Err(_) if tries < TRIES_MAX => tries += 1,
            connected => return connected,
        }
    }
}

/// A device that has written nothing and has everything that it follows.
fn whereabouts(keys: &Keys, region: [u8; 16], last_seq: u64) -> DevicePosition {
    let incarnation = Dice::new(keys.device.0.as_u64_pair().1).bytes();
    let chain = OriginChain::new(Origin { device: *keys.device.as_bytes(), incarnation });
    let followed = sync_proto::scopes::followed_by(domain::record::DeviceKind::Till, keys.store);
    let cursors = followed.into_iter().map(|scope| Cursor { scope: ScopeName(scope), region_seq: last_seq }).collect();
    position(&chain, Some(region), cursors)
}
