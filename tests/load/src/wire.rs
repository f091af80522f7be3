//! A long cable: a relay of datagrams that holds each for a while, and counts them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// The longest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// How many datagrams may be on their way in one direction; more are lost, as on a real cable.
const ON_THE_WAY_MAX: usize = 16_384;
/// How many clients may use one cable.
const CLIENTS_MAX: usize = 16;

/// A cable to a server. Clients send to [`Cable::address`].
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    carried_bytes: Arc<AtomicU64>,
    relay: AbortHandle,
}

impl Cable {
    /// A cable on which a datagram takes `one_way` in either direction.
    ///
    /// # Errors
    /// No socket.
    pub async fn to(server: SocketAddr, one_way: Duration) -> Result<Self> {
        let front = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        let address = front.local_addr()?;
        let carried_bytes = Arc::<AtomicU64>::default();
        let relay = tokio::spawn(relay(front, server, one_way, carried_bytes.clone())).abort_handle();
        Ok(Self { address, carried_bytes, relay })
    }

    /// Where clients send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bytes of all datagrams so far, both directions together.
    pub fn carried_bytes(&self) -> u64 {
        self.carried_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.relay.abort();
    }
}

async fn relay(front: Arc<UdpSocket>, server: SocketAddr, one_way: Duration, carried: Arc<AtomicU64>) {
    // They end with this task, which owns them.
    let mut tasks = JoinSet::new();
    let mut clients: BTreeMap<SocketAddr, mpsc::Sender<(Instant, Vec<u8>)>> = BTreeMap::new();
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok((length, client)) = front.recv_from(&mut datagram).await else { continue };
        carried.fetch_add(length as u64, Ordering::Relaxed);
        if !clients.contains_key(&client) {
            let Ok(back) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.map(Arc::new) else { continue };
            if clients.len() == CLIENTS_MAX {
                clients.pop_first();
            }
            let (up, up_waiting) = mpsc::channel(ON_THE_WAY_MAX);
            let (down, down_waiting) = mpsc::channel(ON_THE_WAY_MAX);
            tasks.spawn(deliver(back.clone(), server, up_waiting));
            tasks.spawn(deliver(front.clone(), client, down_waiting));
            tasks.spawn(take_in(back, down, one_way, carried.clone()));
            clients.insert(client, up);
        }
        let _ = clients[&client].try_send((Instant::now() + one_way, datagram[..length].to_vec()));
    }
}

async fn take_in(from: Arc<UdpSocket>, to: mpsc::Sender<(Instant, Vec<u8>)>, one_way: Duration, carried: Arc<AtomicU64>) {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok(length) = from.recv(&mut datagram).await else { continue };
        carried.fetch_add(length as u64, Ordering::Relaxed);
        let _ = to.try_send((Instant::now() + one_way, datagram[..length].to_vec()));
    }
}

async fn deliver(from: Arc<UdpSocket>, to: SocketAddr, mut waiting: mpsc::Receiver<(Instant, Vec<u8>)>) {
    while let Some((due, datagram)) = waiting.recv().await {
        tokio::time::sleep_until(due).await;
        let _ = from.send_to(&datagram, to).await;
    }
}
