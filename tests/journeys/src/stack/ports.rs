//! Which ports the stack listens on.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use anyhow::{Context, Result};

/// Ports from here to [`LAST`] are tried in random order. The kernel gives none of them to outgoing connections, so a port
/// that was free stays free while its server is down and comes back.
const FIRST: u16 = 12_000;
const LAST: u16 = 32_000;
const TRIES: usize = 200;

/// Where a stack listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// Ports that people can remember, where they are free.
    Friendly,
    /// Any free ones: any number of stacks run at once.
    Free,
}

/// What listens on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP and print data.
    Tcp,
    /// QUIC.
    Udp,
    /// QUIC, and the same over TCP.
    Both,
}

impl Ports {
    /// A loopback address that is free now. `friendly` is the port that people know; `notice` is told when it is taken.
    pub fn choose(self, what: &str, protocol: Protocol, friendly: u16, notice: &mut dyn FnMut(&str)) -> Result<SocketAddr> {
        if self == Self::Friendly && is_free(protocol, friendly) {
            return Ok(loopback(friendly));
        }
        let port = random_ports().take(TRIES).find(|port| is_free(protocol, *port)).context("no port is free on 127.0.0.1")?;
        if self == Self::Friendly {
            notice(&format!("Port {friendly} is in use by another program; {what} is at port {port} instead."));
        }
        Ok(loopback(port))
    }
}

fn is_free(protocol: Protocol, port: u16) -> bool {
    match protocol {
        Protocol::Tcp => TcpListener::bind(loopback(port)).is_ok(),
        Protocol::Udp => UdpSocket::bind(loopback(port)).is_ok(),
        Protocol::Both => is_free(Protocol::Tcp, port) && is_free(Protocol::Udp, port),
    }
}

fn random_ports() -> impl Iterator<Item = u16> {
    let (state, span) = (RandomState::new(), u64::from(LAST - FIRST));
    (0u64..).map(move |n| FIRST + u16::try_from(state.hash_one(n) % span).expect("less than the span, which is a port"))
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_friendly_port_is_named() {
        let taken = TcpListener::bind(loopback(0)).unwrap();
        let friendly = taken.local_addr().unwrap().port();
        let mut notices = Vec::new();
        let mut choose =
            |ports: Ports| ports.choose("till 1", Protocol::Tcp, friendly, &mut |text| notices.push(text.to_owned())).unwrap();
        let address = choose(Ports::Friendly);
        assert_ne!(address.port(), friendly);
        choose(Ports::Free);
        assert_eq!(notices.len(), 1);
        assert!(notices[0].contains("till 1") && notices[0].contains(&friendly.to_string()), "{notices:?}");
    }
}
