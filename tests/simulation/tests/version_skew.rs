//! Programs of different ages side by side: what an older one does not know it keeps and passes on, to the byte, and a machine that speaks only an earlier
//! version of the protocol replicates both ways.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use domain::record::{DeviceKind, DeviceStart, Record};
use journal::chain::{genesis, link};
use journal::{Body, Entry, Head, Hlc, Origin, ReceivedCommit, Scope, Seal, SigningKey, seal};
use simulation::crash_vfs::Disk;
use simulation::rig::{Folder, OpenTill};
use simulation::shop::MORNING_MS;
use simulation::world;
use simulation::world::founding::{Founding, REGION_LOG};
use simulation::world::net::Weather;
use simulation::world::plan::{Place, Plan, Trouble};
use sync_proto::batch::Run;
use sync_proto::scopes;
use sync_proto::session::VERSIONS;
use sync_server::central::{CentralRow, FeedRow};
use sync_server::region::{LogRow, Refill, Region, Sender};

/// A shop with busy cashiers, in which some programs are of an earlier protocol version to the end.
fn shop(behind: Vec<(Place, u16)>, events: &[(u64, Trouble)]) -> Plan {
    let weather = Weather { loss: 50, duplicates: 30, stragglers: 100, delay_ms: 5, jitter_ms: 30 };
    Plan { weather, behind, is_caught_up: false, ..Plan::quiet(11, 2, events) }
}

#[test]
fn a_machine_that_is_one_version_behind_replicates_both_ways() {
    let (till, server) = (Place::Till(0), Place::Server(0));
    let cut = |at_ms| (at_ms, Trouble::Partition { till: 0, up_open: false, down_open: at_ms % 2 == 0, for_ms: 900 });
    let power = |of, at_ms| (at_ms, Trouble::Power { of, after_calls: 5, off_ms: 500, seed: at_ms });
    let kill = |of, at_ms| (at_ms, Trouble::Kill { of, off_ms: 500 });
    let events = [cut(2_001), power(till, 4_000), power(server, 7_000), cut(9_000), kill(till, 12_000), kill(server, 14_000)];
    let next = VERSIONS.1 - 1;
    for behind in [vec![(till, next)], vec![(server, next)], vec![(till, 1)], vec![(server, 1)], vec![(till, 1), (server, next)]]
    {
        let plan = shop(behind, &events);
        let outcome = world::run(&plan, false);
        assert_eq!(outcome.broken, None, "{plan}");
        assert!(outcome.seen["orders shown"] > 20, "{:?}", outcome.seen);
    }
}

/// A canonical CBOR map with one more key than this build knows.
fn with_a_field_of_tomorrow(mut map: Vec<u8>) -> Vec<u8> {
    map[0] += 1;
    map.extend([0x18, 99, 0x63, b'n', b'e', b'w']);
    map
}

/// What a newer program writes, one entry a commit: all of it signed, some of it of kinds and shapes that this build does not know.
fn of_tomorrow(origin: Origin, key: &SigningKey, scope: &Scope) -> Run {
    let started = DeviceStart { series: "S01-T02z".to_owned(), actor_seed: None, software: "evertill-node 99".to_owned() };
    let known = Record::DeviceStarted(started);
    let bodies = [
        Body::Record { kind: known.kind(), version: 1, bytes: with_a_field_of_tomorrow(known.encode()) },
        Body::Record { kind: 900, version: 1, bytes: vec![0xa1, 0x00, 0x43, 1, 2, 3] },
        Body::Record { kind: 1, version: 7, bytes: vec![0x82, 0x01, 0xf5] },
        Body::Change { document: [5; 16], kind: 77, bytes: vec![0xff; 90] },
    ];
    let before = Head { seq: 0, hash: genesis(origin, scope) };
    let (mut head, mut commits) = (before, Vec::new());
    for (number, body) in (1..).zip(bodies) {
        let entry = Entry { commit: number, part: 0, parts: 1, at: Hlc::new(MORNING_MS + number, 0), staff: None, body };
        let bytes = with_a_field_of_tomorrow(entry.encode());
        head = Head { seq: head.seq + 1, hash: link(&head.hash, &bytes) };
        let signature = seal::sign(key, origin, number, &BTreeMap::from([(scope.clone(), head)]));
        commits
            .push(ReceivedCommit { entries: vec![(scope.clone(), bytes)], seal: Some(Seal { signature, foreign: Vec::new() }) });
    }
    Run { origin, before: BTreeMap::from([(scope.clone(), before)]), commits }
}

fn open_region(disk: &Disk) -> Result<Region> {
    let writer = Founding::of_process().writer(0, [1; 16], [2; 16]);
    let mut region = Region::open_on(disk.vfs(), REGION_LOG.as_ref(), writer)?;
    region.start(MORNING_MS, "simulation")?;
    Ok(region)
}

fn open_till(number: u32, disk: &Disk) -> Result<(Folder, OpenTill)> {
    let folder = Folder::new()?;
    folder.restore(Founding::of_process().device(number))?;
    let till = OpenTill::open(number, &folder, disk, MORNING_MS, u64::from(number))?;
    Ok((folder, till))
}

/// Everything that a server has for a till.
fn download(region: &Region, open: &mut OpenTill) -> Result<()> {
    let store = Founding::of_process().shops[0].store.id;
    let followed: BTreeSet<Scope> = scopes::followed_by(DeviceKind::Till, store).into_iter().collect();
    let mut after = 0;
    loop {
        let out = region.outgoing(&followed, after, (open.till.own_chain().origin, 0), 1 << 20)?;
        if out.up_to == after {
            return Ok(());
        }
        after = out.up_to;
        open.till.receive(out.runs, after)?;
    }
}

/// An entry's bytes, and its seal if it has one.
type Signed = (Vec<u8>, Option<[u8; 64]>);

fn bytes_at_region(region: &Region, origin: Origin) -> Result<Vec<Signed>> {
    let rows: Vec<LogRow> = region.rows_after(0, 100_000, usize::MAX)?;
    Ok(rows.into_iter().filter(|row| row.origin == origin).map(|row| (row.bytes, row.seal)).collect())
}

fn bytes_at_till(open: &OpenTill, origin: Origin) -> Result<Vec<Vec<u8>>> {
    let sql =
        "SELECT e.bytes FROM entry e JOIN origin o ON o.id = e.origin WHERE o.device = ? AND o.incarnation = ? ORDER BY e.seq";
    let mut select = open.till.db()?.prepare(sql)?;
    let rows = select.query_map([origin.device, origin.incarnation], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[test]
fn what_a_program_does_not_know_survives_the_trip_to_the_byte() -> Result<()> {
    let founding = Founding::of_process();
    let shop = &founding.shops[0];
    let (device, key) = (shop.till_device(2), shop.till_key(2));
    let origin = Origin { device: *device.as_bytes(), incarnation: [0x22; 16] };
    let run = of_tomorrow(origin, &key, &scopes::store(shop.store.id));
    let written: Vec<Vec<u8>> = run.commits.iter().flat_map(|commit| &commit.entries).map(|(_, bytes)| bytes.clone()).collect();
    let sealed: Vec<_> = run.commits.iter().map(|commit| commit.seal.as_ref().map(|seal| seal.signature)).collect();

    // Its own server takes it,
    let (disk, other_disk, third_disk) = (founding.region_disk(0), founding.region_disk(0), founding.region_disk(0));
    let mut region = open_region(&disk)?;
    region.admit_all(vec![(Sender::Writer(device), run)])?.remove(0)?;
    let as_written: Vec<_> = written.iter().cloned().zip(sealed).collect();
    ensure!(bytes_at_region(&region, origin)? == as_written, "at the server");

    // sends it to a till, which shows what it knows of it and keeps the rest,
    let (ground, other_ground, third_ground) = (Disk::new(), Disk::new(), Disk::new());
    let (_folder, mut till) = open_till(1, &ground)?;
    download(&region, &mut till)?;
    ensure!(bytes_at_till(&till, origin)? == written, "at the till");
    let unread: Vec<String> = {
        let mut select = till.till.db()?.prepare("SELECT why FROM unread ORDER BY entry")?;
        select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
    };
    let kept = ["a record of kind 900, version 1", "a record of kind 1, version 7", "a document of kind 77"];
    ensure!(unread == kept, "{unread:?}");

    // which brings it to a neighbour,
    let (_folder, mut neighbour) = open_till(3, &other_ground)?;
    download(&open_region(&founding.region_disk(0))?, &mut neighbour)?;
    let (lines, _) = till.till.grown_since(0)?;
    for line in lines {
        let wanted = neighbour.till.lacking(&[till.till.offered(&line)?])?;
        for (_, after) in wanted.lines {
            let run = till.till.run_after(&line, after, 1 << 20)?.context("something to bring")?;
            neighbour.till.receive_brought(run)?;
        }
    }
    ensure!(bytes_at_till(&neighbour, origin)? == written, "at the neighbour");

    // which brings it to a server that has lost it,
    let mut other = open_region(&other_disk)?;
    let (lines, _) = neighbour.till.grown_since(0)?;
    let line = lines.into_iter().find(|line| line.chain.origin == origin).context("the neighbour has it")?;
    let run = neighbour.till.run_after(&line, 0, 1 << 20)?.context("something to bring")?;
    other.admit_all(vec![(Sender::Bearer(shop.till_device(3)), run)])?.remove(0)?;
    ensure!(
        bytes_at_region(&other, origin)?.into_iter().map(|(bytes, _)| bytes).eq(written.iter().cloned()),
        "at the other server"
    );

    // which feeds it to the central store, from which a third server takes it,
    let rows = other.rows_after(0, 100_000, usize::MAX)?.into_iter().filter(|row| row.origin == origin);
    let fed = rows.map(|row| {
        let LogRow { region_seq, origin, scope, seq, commit, hash, bytes, seal, .. } = row;
        let Origin { device, incarnation } = origin;
        let scope = scope.as_str().to_owned();
        CentralRow {
            central_seq: region_seq,
            row: FeedRow { region_seq, device, incarnation, scope, seq, commit, hash, bytes, at_ms: 0, seal },
        }
    });
    let (mut refill, mut third) = (Refill::default(), open_region(&third_disk)?);
    refill.add(fed.collect())?;
    third.refill(&mut refill, 1_000_000)?;
    ensure!(
        bytes_at_region(&third, origin)?.into_iter().map(|(bytes, _)| bytes).eq(written.iter().cloned()),
        "at the third server"
    );

    // and so it comes back to the till that wrote it, with another program.
    let (_folder, mut writer) = open_till(2, &third_ground)?;
    download(&third, &mut writer)?;
    ensure!(bytes_at_till(&writer, origin)? == written, "back at the till");
    let agreed = writer.agreed()?;
    ensure!(writer.rebuilt_projections().is_ok() && writer.agreed()? == agreed, "a rebuild shows something else");
    Ok(())
}
