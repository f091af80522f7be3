//! Finding the other tills of a store on the shop's network, by multicast DNS.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use domain::ids::{DeviceId, StoreId};
use mdns_sd::{ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::sync::watch;

/// What tills announce themselves as.
const SERVICE: &str = "_evertill._udp.local.";
/// Most tills that are found.
const FOUND_MAX: usize = 64;

/// Announces a till that listens on a port, and keeps `known` up to date with those of its store that are found, beside the `fixed` ones, until told to
/// stop. Where multicast does not work, the fixed ones remain.
pub async fn run(
    (device, store): (DeviceId, StoreId),
    port: u16,
    fixed: BTreeSet<String>,
    known: watch::Sender<BTreeSet<String>>,
    mut stop: watch::Receiver<bool>,
) {
    let (daemon, found) = match begin(device, store, port) {
        Ok(begun) => begun,
        Err(error) => {
            tracing::warn!(%error, "other tills cannot be found by themselves: name them under lan.peers");
            let _ = stop.wait_for(|stop| *stop).await;
            return;
        }
    };
    let own = device.to_string();
    let mut tills = BTreeMap::<String, String>::new();
    loop {
        let event = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            event = found.recv_async() => event,
        };
        match event {
            Ok(ServiceEvent::ServiceResolved(service)) => {
                let said = |key| service.get_property_val_str(key).unwrap_or_default().to_owned();
                let address = service.get_addresses().iter().map(|address| address.to_ip_addr()).min_by_key(preference);
                let is_other = said("store") == store.to_string() && said("device") != own;
                if let Some(ip) = address.filter(|_| is_other && tills.len() < FOUND_MAX) {
                    tills.insert(service.get_fullname().to_owned(), SocketAddr::new(ip, service.get_port()).to_string());
                }
            }
            Ok(ServiceEvent::ServiceRemoved(_, name)) => drop(tills.remove(&name)),
            Ok(_) => continue,
            Err(_) => break,
        }
        let now: BTreeSet<String> = fixed.iter().chain(tills.values()).cloned().collect();
        known.send_if_modified(|known| {
            let is_news = *known != now;
            *known = now;
            is_news
        });
    }
    let _ = daemon.shutdown();
}

fn begin(
    device: DeviceId,
    store: StoreId,
    port: u16,
) -> Result<(ServiceDaemon, mdns_sd::Receiver<ServiceEvent>), mdns_sd::Error> {
    let daemon = ServiceDaemon::new()?;
    let (name, says) = (device.to_string(), [("device", device.to_string()), ("store", store.to_string())]);
    let service = ServiceInfo::new(SERVICE, &name, &format!("{name}.local."), "", port, &says[..])?.enable_addr_auto();
    daemon.register(service)?;
    let found = daemon.browse(SERVICE)?;
    Ok((daemon, found))
}

/// Addresses of the shop's own network before others, and those that need no zone before those that do.
fn preference(address: &IpAddr) -> (u8, IpAddr) {
    let rank = match address {
        IpAddr::V4(v4) if v4.is_private() => 0,
        IpAddr::V4(v4) if !v4.is_loopback() => 1,
        IpAddr::V6(v6) if !v6.is_loopback() && !v6.is_unicast_link_local() => 2,
        IpAddr::V4(_) => 3,
        IpAddr::V6(_) => 4,
    };
    (rank, *address)
}
