//! A network that lets no UDP through: a till is enrolled, sells and is acknowledged centrally over TCP, and leaves TCP when UDP passes again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use journeys::cashier::{self, PATIENCE};
use journeys::stack::link::{TcpRelay, UdpLink};
use journeys::stack::ports::{Ports, Protocol};
use journeys::stack::till::Till;
use journeys::stack::{self, Plan, STORE, Stack};
use node::api::{LinkState, LinkWay};
use node::env::SystemEnv;
use node::handle::Node;
use node::replication::net::Net;
use node::replication::{self, Link};
use node::till::{Till as OpenTill, TillOptions};
use tokio::sync::watch;

/// A stack without tills, and a way to its server that lets TCP through and no UDP.
fn start() -> Result<(Stack, UdpLink, TcpRelay)> {
    let plan = Plan { tills: 0, printers: false, links: false, ..Plan::for_test()? };
    let stack = plan.start(&mut |text| eprintln!("{text}"))?;
    let server = stack.server.sync_address();
    let udp = UdpLink::to(server)?;
    udp.cut();
    let tcp = TcpRelay::at(udp.address(), server)?;
    Ok((stack, udp, tcp))
}

/// An enrolment link that leads there.
fn enrolment_link(stack: &Stack, udp: &UdpLink) -> Result<String> {
    let link = stack.manager()?.enrolment_code(STORE, "Till 1")?.link;
    Ok(link.replace(&stack.server.sync_address().to_string(), &udp.address().to_string()))
}

#[test]
fn a_till_behind_a_network_without_udp_is_enrolled_and_sells() -> Result<()> {
    let (stack, udp, _tcp) = start()?;
    let listen = Ports::Free.choose("Till 1", Protocol::Tcp, 0, &mut |_| {})?;
    let (data, log) = (stack.folder().join("till-1"), stack.folder().join("till-1.log"));
    let plan = Plan::for_test()?;
    let mut till = Till::prepare("Till 1", &plan.binaries.node(), &data, &log, listen, udp.address());
    till.enrol(&enrolment_link(&stack, &udp)?)?;
    till.start()?;
    cashier::wait_for_link(till.client(), LinkState::Online)?;
    assert_eq!(till.client().view()?.link.way, Some(LinkWay::Tcp));
    cashier::begin(till.client())?;
    for number in 0..5 {
        cashier::sell(till.client(), number)?;
    }
    // In the central database, not only on the server.
    cashier::wait_until_sent(till.client())?;
    let over_tcp = || {
        let metrics = ureq::get(stack.server.metrics_url()).call()?.body_mut().read_to_string()?;
        Ok(metrics.lines().any(|line| line == "evertill_connections_tcp 1").then_some(()))
    };
    stack::until("the server to count the connection", PATIENCE, over_tcp)?;
    let sick = till.command(&["doctor", "--server", &udp.address().to_string()])?;
    ensure!(sick.contains("over TCP, because UDP does not pass"), "{sick}");

    // Once UDP passes, a till that starts takes it.
    udp.restore();
    let over_quic = || {
        till.stop();
        till.start()?;
        cashier::wait_for_link(till.client(), LinkState::Online)?;
        Ok((till.client().view()?.link.way == Some(LinkWay::Quic)).then_some(()))
    };
    stack::until("a link over QUIC", PATIENCE, over_quic)?;
    cashier::sign_in(till.client())?;
    cashier::sell(till.client(), 6)?;
    cashier::wait_until_sent(till.client())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_till_that_is_connected_over_tcp_goes_back_to_quic_by_itself() -> Result<()> {
    let (stack, udp, _tcp) = tokio::task::block_in_place(start)?;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("till");
    let link = tokio::task::block_in_place(|| enrolment_link(&stack, &udp))?;
    let env = Arc::new(SystemEnv);
    let identity = node::enrol::enrol(&data, &link.parse()?, &*env).await?;
    let link = Link {
        address: udp.address().to_string(),
        tcp_address: None,
        server_name: identity.server_name().to_owned(),
        authority_pem: identity.authority_cert_pem()?,
        certificate_pem: identity.device_cert_pem()?,
        key_pem: identity.key_pem()?,
        versions: sync_proto::session::VERSIONS,
    };
    let till = OpenTill::open(identity, env.clone(), TillOptions::default())?;
    let (node, _thread) = Node::start(till)?;
    let net = Net { quic_again: Duration::from_millis(300), ..Net::machine()? };
    let (stop, stopping) = watch::channel(false);
    let replicating = tokio::spawn(replication::run(node.clone(), net, link, env, stopping));

    reached(&node, LinkWay::Tcp).await?;
    udp.restore();
    reached(&node, LinkWay::Quic).await?;
    stop.send_replace(true);
    replicating.await??;
    tokio::task::block_in_place(|| drop(stack));
    Ok(())
}

/// Waits until the till is connected so.
async fn reached(node: &Node, way: LinkWay) -> Result<()> {
    let connected = async {
        loop {
            let link = node.with(|till| till.link_view()).await?;
            if link.state == LinkState::Online && link.way == Some(way) && link.unsent == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, connected).await.with_context(|| format!("no link over {way:?}"))?
}
