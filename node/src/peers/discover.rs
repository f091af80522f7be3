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
/// Most addresses that one of them is dialled at.
const ADDRESSES_MAX: usize = 4;

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
    let mut tills = BTreeMap::<String, BTreeSet<String>>::new();
    loop {
        let event = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            event = found.recv_async() => event,
        };
        match event {
            Ok(ServiceEvent::ServiceResolved(service)) => {
                let said = |key| service.get_property_val_str(key).unwrap_or_default().to_owned();
                let is_other = said("store") == store.to_string() && said("device") != own;
                let name = service.get_fullname();
                if is_other && (tills.contains_key(name) || tills.len() < FOUND_MAX) {
                    // All of them: which one of several networks is the shop's, nobody says.
                    let at = |address: &mdns_sd::ScopedIp| SocketAddr::new(address.to_ip_addr(), service.get_port()).to_string();
                    let addresses = service.get_addresses().iter().filter(|address| is_of_a_network(address.to_ip_addr()));
                    tills.insert(name.to_owned(), addresses.map(at).take(ADDRESSES_MAX).collect());
                }
            }
            Ok(ServiceEvent::ServiceRemoved(_, name)) => drop(tills.remove(&name)),
            Ok(_) => continue,
            Err(_) => break,
        }
        let now: BTreeSet<String> = fixed.iter().chain(tills.values().flatten()).cloned().collect();
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

/// Whether another machine may be reached there without being told through which of this one's networks.
fn is_of_a_network(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_loopback(),
    }
}
