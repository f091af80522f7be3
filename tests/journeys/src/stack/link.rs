//! A cable for datagrams, to be cut and mended.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often an idle relay looks whether it should end.
const LOOK: Duration = Duration::from_millis(50);
/// The longest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// How many client addresses are relayed at once. A client that comes back after a restart is a new one; when there are
/// too many, all are forgotten, and whoever is alive is learnt again from its next datagram.
const CLIENTS_MAX: usize = 64;

/// A relay on loopback between clients and one server. Clients send to [`UdpLink::address`]; the server sees an address of the
/// relay for each of them. While the link is cut, datagrams vanish in both directions and nobody is told.
pub struct UdpLink {
    address: SocketAddr,
    shared: Arc<Shared>,
    front: Option<JoinHandle<()>>,
}

struct Shared {
    front: UdpSocket,
    target: Mutex<SocketAddr>,
    cut: AtomicBool,
    ended: AtomicBool,
    carried: AtomicU64,
    dropped: AtomicU64,
}

impl UdpLink {
    /// A link to the server, on a free port.
    pub fn to(target: SocketAddr) -> std::io::Result<Self> {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        front.set_read_timeout(Some(LOOK))?;
        let address = front.local_addr()?;
        let shared = Arc::new(Shared {
            front,
            target: Mutex::new(target),
            cut: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            carried: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        let relay = shared.clone();
        let front = std::thread::Builder::new().name("udp-link".into()).spawn(move || relay_from_clients(&relay))?;
        Ok(Self { address, shared, front: Some(front) })
    }

    /// Where clients send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on every datagram vanishes.
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
    }

    /// From now on datagrams arrive again; those that vanished stay away.
    pub fn restore(&self) {
        self.shared.cut.store(false, Ordering::SeqCst);
    }

    /// Whether it is cut.
    pub fn is_cut(&self) -> bool {
        self.shared.cut.load(Ordering::SeqCst)
    }

    /// Sends what comes from now on to another address, for a server that came back elsewhere.
    pub fn set_target(&self, target: SocketAddr) {
        *self.shared.target.lock().expect("no holder of the lock panics") = target;
    }

    /// How many datagrams were carried, both directions together.
    pub fn carried(&self) -> u64 {
        self.shared.carried.load(Ordering::SeqCst)
    }

    /// How many datagrams vanished, both directions together.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::SeqCst)
    }
}

impl Drop for UdpLink {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        if let Some(front) = self.front.take() {
            let _ = front.join();
        }
    }
}

impl Shared {
    /// Counts a datagram, and says whether it may pass.
    fn passes(&self) -> bool {
        let cut = self.cut.load(Ordering::SeqCst);
        if cut { &self.dropped } else { &self.carried }.fetch_add(1, Ordering::SeqCst);
        !cut
    }

    fn target(&self) -> SocketAddr {
        *self.target.lock().expect("no holder of the lock panics")
    }
}

/// One client's own socket towards the server.
struct Client {
    towards_server: Arc<UdpSocket>,
    forgotten: Arc<AtomicBool>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.forgotten.store(true, Ordering::SeqCst);
    }
}

fn relay_from_clients(shared: &Arc<Shared>) {
    let mut clients: BTreeMap<SocketAddr, Client> = BTreeMap::new();
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    while !shared.ended.load(Ordering::SeqCst) {
        let (length, from) = match shared.front.recv_from(&mut datagram) {
            Ok(received) => received,
            Err(error) if is_pause(&error) => continue,
            Err(_) => return,
        };
        if !shared.passes() {
            continue;
        }
        if clients.len() >= CLIENTS_MAX && !clients.contains_key(&from) {
            clients.clear();
        }
        let client = match clients.entry(from) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => match Client::new(shared, from) {
                Ok(client) => new.insert(client),
                // As good as a lost datagram: the sender tries again.
                Err(_) => continue,
            },
        };
        let _ = client.towards_server.send_to(&datagram[..length], shared.target());
    }
}

impl Client {
    fn new(shared: &Arc<Shared>, address: SocketAddr) -> std::io::Result<Self> {
        let towards_server = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
        towards_server.set_read_timeout(Some(LOOK))?;
        let forgotten = Arc::new(AtomicBool::new(false));
        let (relay, socket, ended) = (shared.clone(), towards_server.clone(), forgotten.clone());
        std::thread::Builder::new()
            .name("udp-link-back".into())
            .spawn(move || relay_to_client(&relay, &socket, &ended, address))?;
        Ok(Self { towards_server, forgotten })
    }
}

fn relay_to_client(shared: &Shared, from_server: &UdpSocket, forgotten: &AtomicBool, client: SocketAddr) {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    while !shared.ended.load(Ordering::SeqCst) && !forgotten.load(Ordering::SeqCst) {
        match from_server.recv(&mut datagram) {
            Ok(length) if shared.passes() => {
                let _ = shared.front.send_to(&datagram[..length], client);
            }
            Ok(_) => {}
            Err(error) if is_pause(&error) => {}
            Err(_) => return,
        }
    }
}

/// Whether a read failed only because nothing came, or because the other side is not listening at the moment.
fn is_pause(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted | ErrorKind::ConnectionRefused)
}

/// A relay for bytes beside a [`UdpLink`], on the TCP port of the same number: a network that lets TCP through and, while that link is cut, no UDP.
pub struct TcpRelay {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    front: Option<JoinHandle<()>>,
}

impl TcpRelay {
    /// A relay to the server, at an address.
    pub fn at(address: SocketAddr, target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let ended = Arc::new(AtomicBool::new(false));
        let is_ended = ended.clone();
        let front = std::thread::Builder::new().name("tcp-relay".into()).spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if is_ended.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(server) = TcpStream::connect(target) {
                    relay_both_ways(&client, &server);
                }
            }
        })?;
        Ok(Self { address, ended, front: Some(front) })
    }
}

impl Drop for TcpRelay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes it.
        let _ = TcpStream::connect(self.address);
        if let Some(front) = self.front.take() {
            let _ = front.join();
        }
    }
}

/// Until either side closes.
fn relay_both_ways(client: &TcpStream, server: &TcpStream) {
    for (from, to) in [(client, server), (server, client)] {
        let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A server that answers every datagram with its name and what came.
    fn echo(name: &'static str) -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut datagram = [0; 100];
            while let Ok((length, from)) = socket.recv_from(&mut datagram) {
                let answer = [name.as_bytes(), &datagram[..length]].concat();
                socket.send_to(&answer, from).unwrap();
            }
        });
        address
    }

    fn client() -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    fn ask(client: &UdpSocket, link: &UdpLink, text: &str) -> String {
        client.send_to(text.as_bytes(), link.address()).unwrap();
        receive(client)
    }

    fn receive(client: &UdpSocket) -> String {
        let mut datagram = [0; 100];
        let (length, _) = client.recv_from(&mut datagram).unwrap();
        String::from_utf8(datagram[..length].to_vec()).unwrap()
    }

    fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !is_so() {
            assert!(std::time::Instant::now() < deadline, "still not: {what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn every_client_gets_its_own_answer() {
        let link = UdpLink::to(echo("")).unwrap();
        let (one, two) = (client(), client());
        one.send_to(b"one", link.address()).unwrap();
        two.send_to(b"two", link.address()).unwrap();
        assert_eq!(receive(&two), "two");
        assert_eq!(receive(&one), "one");
        assert_eq!(link.carried(), 4);
    }

    #[test]
    fn a_cut_link_loses_and_a_mended_one_carries() {
        let link = UdpLink::to(echo("")).unwrap();
        let client = client();
        assert_eq!(ask(&client, &link, "before"), "before");
        link.cut();
        client.send_to(b"meanwhile", link.address()).unwrap();
        wait_until("the datagram vanished", || link.dropped() == 1);
        link.restore();
        // What was lost stays lost: the next answer is to the next question.
        assert_eq!(ask(&client, &link, "after"), "after");
    }

    #[test]
    fn an_answer_under_way_is_lost_too() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let link = UdpLink::to(server.local_addr().unwrap()).unwrap();
        let client = client();
        client.send_to(b"question", link.address()).unwrap();
        let mut datagram = [0; 100];
        let (_, relay) = server.recv_from(&mut datagram).unwrap();
        link.cut();
        server.send_to(b"answer", relay).unwrap();
        wait_until("the answer vanished", || link.dropped() == 1);
        link.restore();
        server.send_to(b"second answer", relay).unwrap();
        assert_eq!(receive(&client), "second answer");
    }

    #[test]
    fn a_server_that_moved_is_found_again() {
        let link = UdpLink::to(echo("old ")).unwrap();
        let client = client();
        assert_eq!(ask(&client, &link, "a"), "old a");
        link.set_target(echo("new "));
        assert_eq!(ask(&client, &link, "b"), "new b");
    }

    #[test]
    fn more_clients_than_it_remembers_are_served() {
        let link = UdpLink::to(echo("")).unwrap();
        let first = client();
        assert_eq!(ask(&first, &link, "first"), "first");
        for number in 0..CLIENTS_MAX + 5 {
            assert_eq!(ask(&client(), &link, &number.to_string()), number.to_string());
        }
        assert_eq!(ask(&first, &link, "again"), "again");
    }
}
