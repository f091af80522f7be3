//! The shop has closed: everything is mended, every entry gets where it belongs, and what there is then is judged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domain::record::DeviceKind;
use journal::Scope;
use node::api::{LinkWay, Query};
use node::handle::Node;
use node::till::{Care, Till};
use sync_proto::scopes;
use sync_proto::session::VERSIONS;
use sync_server::central::reports::zone::Zone;
use tokio::time::Instant;

use super::founding::Founding;
use super::machine::End;
use super::net::Weather;
use super::{CONVERGE_MS, LOOK_EVERY, World, verdict};
use crate::rig;

impl World {
    /// Everything works again: the shop has closed, whoever looks after it has come.
    pub(super) async fn mend(&mut self) {
        self.trace.note(format_args!("everything is mended"));
        for till in &self.tills {
            let Some(node) = till.node() else { continue };
            let way = node.with(|till| till.view().ok().and_then(|view| view.link.way)).await;
            self.over_tcp += u64::from(matches!(way, Ok(Some(LinkWay::Tcp))));
        }
        self.network.set_weather(Weather::FAIR);
        // Ways are mended by their own repairs; those that are still cut are now.
        for till in &self.tills {
            for (from, to) in self.ways(till.index) {
                self.network.mend(from, to);
            }
            for other in self.tills.iter() {
                self.network.mend(till.chassis.ip, other.chassis.ip);
            }
        }
        self.servers.iter().for_each(|server| server.central().come_back());
        // Nobody waits for a server that does not come back.
        if let Some(left) = self.servers.iter().position(|server| !server.has_perished()) {
            for till in self.tills.clone() {
                if self.servers[till.region()].has_perished() {
                    self.give_server(till, left).await;
                }
            }
        }
        for machine in self.machines().collect::<Vec<_>>() {
            machine.chassis().env.set_right();
            machine.disk().heal();
            if self.plan.is_caught_up && machine.chassis().set_version(VERSIONS.1) < VERSIONS.1 {
                *self.seen.entry("program behind, brought up to date").or_default() += 1;
                machine.end(End::Killed).await;
                machine.start().await;
            }
        }
    }

    /// Waits until every entry is everywhere.
    pub(super) async fn converge(&mut self) -> Result<u64> {
        let mended = Instant::now();
        let mut why = String::new();
        while mended.elapsed() < Duration::from_millis(CONVERGE_MS) {
            tokio::time::sleep(LOOK_EVERY).await;
            match self.missing().await {
                None => return Ok(mended.elapsed().as_millis() as u64),
                Some(missing) => why = missing,
            }
        }
        let lacking = self.lacking().await.unwrap_or_default();
        anyhow::bail!("not everything is everywhere after {CONVERGE_MS} ms: {why}{lacking}")
    }

    /// What is not everywhere yet, in a sentence.
    async fn missing(&self) -> Option<String> {
        let at_central = self.central.by_scope();
        let of = |wanted: &dyn Fn(&str) -> bool| -> u64 {
            at_central.iter().filter(|(scope, _)| wanted(scope)).map(|(_, count)| count).sum()
        };
        for server in self.servers.iter().filter(|server| !server.has_perished()) {
            let Some(hub) = server.hub() else { return Some(format!("the server of region {} does not run", server.region)) };
            let Ok(Ok(reading)) = hub.with(|region| region.central_reading()).await else {
                return Some(format!("the server of region {} does not answer", server.region));
            };
            let (in_region, due) = (hub.grown().get(), of(&|scope| is_kept_by(&reading.stores, scope)));
            if in_region != due {
                return Some(format!("region {} has {in_region} entries, central {due} of what it keeps", server.region));
            }
        }
        for till in self.tills.iter() {
            let Some(node) = till.node() else { return Some(format!("till {} does not run", till.index)) };
            // Somebody looks at the screen.
            let shown = node.query(Query::Till {}).await;
            let look = |till: &mut Till| {
                let link = till.view().map(|view| view.link);
                let entries = till.db().ok().and_then(|db| db.query_row("SELECT count(*) FROM entry", [], |r| r.get(0)).ok());
                (link, entries)
            };
            let (Ok(link), Some(entries)) = node.with(look).await.ok()? else {
                return Some(format!("till {} does not answer: {:?}", till.index, shown.err()));
            };
            let (entries, followed): (u64, _) = (entries, followed_by(till.store));
            let due = of(&|scope| followed.contains(scope));
            // UDP passes, so a till goes back to QUIC by itself.
            if entries != due || link.unsent > 0 || link.not_central > 0 || link.way == Some(LinkWay::Tcp) {
                return Some(format!("till {} has {entries} entries of {due}, its link is {link:?}", till.index));
            }
        }
        None
    }

    /// Which entries only central has, and which only a till has, for whoever looks into a failure.
    async fn lacking(&self) -> Option<String> {
        let rows = self.central.rows();
        let at_central: BTreeSet<_> = rows.iter().map(|row| row.hash).collect();
        let followed: Vec<_> = self.tills.iter().map(|till| followed_by(till.store)).collect();
        let mut out = String::new();
        for till in self.tills.iter() {
            let Some(node) = till.node() else { continue };
            let look = |till: &mut Till| -> Option<BTreeMap<[u8; 32], String>> {
                let sql = "SELECT e.hash, hex(o.device) || ' ' || hex(o.incarnation) || ', commit ' || e.commit_no
                           FROM entry e JOIN origin o ON o.id = e.origin";
                let mut select = till.db().ok()?.prepare(sql).ok()?;
                let entries = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
                entries.collect::<Result<_, _>>().ok()
            };
            let here = node.with(look).await.ok()??;
            let commit = node.with(|till| till.own_chain().commit).await.ok()?;
            out += &format!("\n  till {} at commit {commit}", till.index);
            let look = |till: &mut Till| -> Option<Vec<String>> {
                let sql = "SELECT hex(o.incarnation) || ' is line ' || coalesce(l.parent || ' after ' || l.after_commit, 'first') || ', row ' || o.id
                               || ', up to ' || max(e.commit_no) || ', acks ' || coalesce(a.regional || ' ' || a.central, 'none')
                           FROM origin o JOIN entry e ON e.origin = o.id LEFT JOIN line l ON l.origin = o.id LEFT JOIN ack a ON a.origin = o.id
                           WHERE o.device = ? GROUP BY o.id";
                let own = *till.identity().device().as_bytes();
                let mut select = till.db().ok()?.prepare(sql).ok()?;
                let lines = select.query_map([own], |row| row.get(0)).ok()?;
                lines.collect::<Result<_, _>>().ok()
            };
            out += &format!("\n    {}", node.with(look).await.ok()??.join("\n    "));
            let followed = &followed[till.index];
            for row in rows.iter().filter(|row| followed.contains(&row.scope) && !here.contains_key(&row.hash)).take(8) {
                let (device, incarnation) = (uuid::Uuid::from_bytes(row.device), uuid::Uuid::from_bytes(row.incarnation));
                let (at, commit) = (row.region_seq, row.commit);
                out += &format!("\n  till {} lacks {device} {incarnation}, commit {commit}, place {at}", till.index);
            }
            for (_, of) in here.iter().filter(|(hash, _)| !at_central.contains(*hash)).take(8) {
                out += &format!("\n  only till {} has {of}", till.index);
            }
        }
        Some(out)
    }

    pub(super) async fn judge(&mut self) -> Result<()> {
        let founding = Founding::of_process();
        let log = Arc::new(verdict::CentralLog::read(self.central.rows())?);
        verdict::nothing_shown_is_lost(&log, &self.oracle.orders()).context("I1")?;
        verdict::nothing_parked_is_lost(&log, &self.oracle.parked_orders()).context("I1")?;
        verdict::chains_hold(&log).context("I3")?;
        verdict::nobody_wrote_elsewhere(founding, &log).context("I8")?;
        verdict::paper_is_honest(&self.oracle.papers()).context("I10")?;
        let zone = Zone::new(self.plan.zone()).context("the zone")?;
        verdict::days_agree(&log, &zone, &self.oracle).context("I14")?;
        for server in self.servers.iter().filter(|server| !server.has_perished()) {
            let hub = server.hub().with_context(|| format!("the server of region {} does not run", server.region))?;
            let log = log.clone();
            let kept = hub.with(move |region| verdict::region_is_whole(&log, region)).await?;
            kept.with_context(|| format!("I5: region {}", server.region))?;
        }
        let (mut shown, mut gone, mut let_go) = (Vec::new(), BTreeSet::new(), 0);
        for till in self.tills.iter() {
            let node = till.node().with_context(|| format!("till {} does not run", till.index))?;
            let look = move |till: &mut Till| {
                let found = rig::agreed(till)?;
                till.rebuild()?;
                Ok((found, rig::agreed(till)?))
            };
            shown.push(read(&node, look).await?);
        }
        // Afterwards, because what is old goes while others are looked at.
        for till in self.tills.iter() {
            let node = till.node().with_context(|| format!("till {} does not run", till.index))?;
            gone.extend(read(&node, verdict::gone_orders).await?);
            let_go += read(&node, |till| Ok(till.reach()?)).await?.gone;
        }
        *self.seen.entry("entries let go").or_default() += let_go;
        let (mut agreed, mut in_common) = (BTreeMap::<usize, String>::new(), None::<BTreeSet<String>>);
        for (till, (found, rebuilt)) in self.tills.iter().zip(shown) {
            let node = till.node().with_context(|| format!("till {} does not run", till.index))?;
            let (found, rebuilt) = (verdict::but_for(&gone, &found), verdict::but_for(&gone, &rebuilt));
            ensure!(
                found == rebuilt,
                "I5: till {} shows something else after a rebuild: {}",
                till.index,
                difference(&found, &rebuilt)
            );
            let of_servers = rig::written_by_servers(&found);
            let common = in_common.get_or_insert_with(|| of_servers.clone());
            ensure!(*common == of_servers, "I5: tills of two stores do not agree on what servers wrote");
            let first = agreed.entry(till.store).or_insert_with(|| found.clone());
            ensure!(*first == found, "I5: tills do not agree: {}", difference(first, &found));
            let (shop, of_store) = (&founding.shops[till.store], log.clone());
            read(&node, move |till| verdict::stock_is_a_fold(shop, &of_store, till)).await.context("I6")?;
            if verdict::a_gone_sale_is_told(&node, &log).await? {
                self.oracle.told();
            }
            read(&node, verdict::everything_is_read).await.with_context(|| format!("till {}", till.index))?;
        }
        Ok(())
    }
}

/// Reads at a till. What cannot be read is looked into, as it is when somebody who works there comes upon it: a damaged file is put aside.
async fn read<T: Send + 'static>(node: &Node, look: impl FnOnce(&mut Till) -> Result<T> + Send + 'static) -> Result<T> {
    let look = |till: &mut Till| {
        let looked = look(till);
        if looked.is_err() {
            let _ = till.examine();
            while matches!(till.suspicion_step(), Ok(Care::More)) {}
        }
        looked
    };
    node.with(look).await?
}

/// The scopes that the tills of a store follow, by their names.
fn followed_by(store: usize) -> BTreeSet<String> {
    let store = Founding::of_process().shops[store].store.id;
    scopes::followed_by(DeviceKind::Till, store).iter().map(|scope| scope.as_str().to_owned()).collect()
}

/// Whether a server that serves some stores keeps a scope: those of servers, and theirs.
pub(super) fn is_kept_by(stores: &[Scope], scope: &str) -> bool {
    !scope.starts_with("store/") || stores.iter().any(|store| store.as_str() == scope)
}

fn difference(a: &str, b: &str) -> String {
    let (of_a, of_b): (BTreeSet<_>, BTreeSet<_>) = (a.lines().collect(), b.lines().collect());
    let only =
        |one: &BTreeSet<&str>, other: &BTreeSet<&str>| one.difference(other).take(3).map(|s| (*s).to_owned()).collect::<Vec<_>>();
    format!("only in the first {:#?}, only in the second {:#?}", only(&of_a, &of_b), only(&of_b, &of_a))
}
