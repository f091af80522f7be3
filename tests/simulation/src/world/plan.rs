//! What goes wrong in a world, drawn from its seed: a list of events with their times, which can be cut down to those that matter.

use std::fmt;

use sync_proto::session::VERSIONS;

use super::net::Weather;
use crate::Dice;
use crate::crash_vfs::FaultKind;
use crate::shop::MORNING_MS;

/// A machine of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A till, from 0.
    Till(usize),
    /// A regional server, from 0.
    Server(usize),
}

/// Something that goes wrong, or is done to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The way between a till and the server is closed, in one direction or both, for so long.
    Partition {
        /// The till.
        till: usize,
        /// Whether the till can still be heard.
        up_open: bool,
        /// Whether the server can still be heard.
        down_open: bool,
        /// In milliseconds.
        for_ms: u64,
    },
    /// Datagrams of a till wait, and then come all at once.
    Clog {
        /// The till.
        till: usize,
        /// In milliseconds.
        for_ms: u64,
    },
    /// The way lets only short datagrams through.
    Narrow {
        /// The till.
        till: usize,
        /// In milliseconds.
        for_ms: u64,
    },
    /// Nothing passes between two tills.
    Apart {
        /// The one.
        till: usize,
        /// The other.
        other: usize,
        /// In milliseconds.
        for_ms: u64,
    },
    /// The router forgets the till's mapping.
    Rebind {
        /// The till.
        till: usize,
    },
    /// The power goes during the disk's call so many calls from now, and comes back after so long.
    Power {
        /// Which machine.
        of: Place,
        /// Calls from now; 0 is now, whatever the disk does.
        after_calls: u64,
        /// In milliseconds.
        off_ms: u64,
        /// What becomes of what was not synced.
        seed: u64,
    },
    /// The process is killed, and started again after so long.
    Kill {
        /// Which machine.
        of: Place,
        /// In milliseconds.
        off_ms: u64,
    },
    /// The disk fails.
    Disk {
        /// Which machine.
        of: Place,
        /// How.
        kind: FaultKind,
        /// Calls from now.
        after_calls: u64,
        /// Until it is healed, in milliseconds.
        for_ms: u64,
    },
    /// A copy of the machine's disk is made.
    BackUp {
        /// Which machine.
        of: Place,
    },
    /// The copy is put back: of a till the replica alone, or its whole folder.
    Restore {
        /// Which machine.
        of: Place,
        /// Whether keys and identity are put back too.
        whole_folder: bool,
        /// How long it takes, in milliseconds.
        off_ms: u64,
    },
    /// Datagrams vanish between a till and every server; TCP passes.
    NoUdp {
        /// The till.
        till: usize,
        /// In milliseconds.
        for_ms: u64,
    },
    /// Something between breaks off the till's connections over TCP.
    Reset {
        /// The till.
        till: usize,
    },
    /// A machine is started with the program before this one, whose newest schema is the one before, and then with this one again.
    Older {
        /// Which machine.
        of: Place,
        /// How long until the right program is there, in milliseconds.
        off_ms: u64,
    },
    /// A till is given another region's server.
    Move {
        /// The till.
        till: usize,
        /// The region.
        to: usize,
    },
    /// So is every till of a store.
    MoveStore {
        /// The store.
        store: usize,
        /// The region.
        to: usize,
    },
    /// A server is lost for ever, with its disk.
    Perish {
        /// The region.
        region: usize,
    },
    /// A server's disk is lost.
    Wipe {
        /// The region.
        region: usize,
        /// How long it takes to replace it, in milliseconds.
        off_ms: u64,
    },
    /// Disk and folder of a running till are copied to another machine, which is used as well for so long.
    Clone {
        /// The till.
        till: usize,
        /// In milliseconds.
        for_ms: u64,
    },
    /// The central database is away, for one server or for all.
    CentralAway {
        /// For which region's server; for all when none.
        region: Option<usize>,
        /// In milliseconds.
        for_ms: u64,
    },
    /// The central database does something and its answer is lost.
    CentralAnswerLost,
    /// A backup of the central database is made.
    CentralBackUp,
    /// The central database goes back to its backup.
    CentralRestore,
    /// A clock jumps.
    Clock {
        /// Whose.
        of: Place,
        /// By how much, in milliseconds.
        by_ms: i64,
    },
    /// A clock runs fast or slow.
    Drift {
        /// Whose.
        of: Place,
        /// In millionths.
        ppm: i64,
    },
    /// A bit of a disk is another one than was written.
    Flip {
        /// Whose.
        of: Place,
        /// Which.
        chance: u64,
        /// How long the machine is off when it happens, in milliseconds; none while it runs.
        off_ms: Option<u64>,
    },
    /// The manager changes a price.
    Reprice {
        /// Which product, from 0.
        product: usize,
        /// At which region's server.
        region: usize,
    },
}

impl Trouble {
    /// The region whose server has to be there for it.
    pub fn server(self) -> Option<usize> {
        match self {
            Self::Power { of, .. }
            | Self::Kill { of, .. }
            | Self::Disk { of, .. }
            | Self::BackUp { of }
            | Self::Restore { of, .. }
            | Self::Clock { of, .. }
            | Self::Drift { of, .. }
            | Self::Flip { of, .. }
            | Self::Older { of, .. } => match of {
                Place::Server(region) => Some(region),
                Place::Till(_) => None,
            },
            Self::Wipe { region, .. } | Self::Perish { region } | Self::Reprice { region, .. } => Some(region),
            _ => None,
        }
    }

    /// Every name that [`Self::name`] gives.
    pub const NAMES: &[&str] = &[
        "partition",
        "one-way partition",
        "clog",
        "MTU drop",
        "tills apart",
        "NAT rebind",
        "power cut, till",
        "power cut, server",
        "kill, till",
        "kill, server",
        "disk full",
        "permanent I/O error",
        "I/O error",
        "backup",
        "server restored",
        "till restored, whole folder",
        "till restored, replica alone",
        "server wiped",
        "till cloned",
        "central away",
        "central answer lost",
        "central backup",
        "central restored",
        "clock jump",
        "clock drift",
        "bit flipped, till off",
        "bit flipped, till at work",
        "bit flipped, server off",
        "bit flipped, server at work",
        "price change",
        "price change, second server",
        "UDP blocked",
        "TCP reset",
        "older program, till",
        "older program, server",
        "till moved",
        "store moved",
        "server lost for ever",
    ];

    /// What it is called in the table of what was seen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Partition { up_open: false, down_open: false, .. } => "partition",
            Self::Partition { .. } => "one-way partition",
            Self::Clog { .. } => "clog",
            Self::Narrow { .. } => "MTU drop",
            Self::Apart { .. } => "tills apart",
            Self::Rebind { .. } => "NAT rebind",
            Self::Power { of: Place::Till(_), .. } => "power cut, till",
            Self::Power { of: Place::Server(_), .. } => "power cut, server",
            Self::Kill { of: Place::Till(_), .. } => "kill, till",
            Self::Kill { of: Place::Server(_), .. } => "kill, server",
            Self::Disk { kind: FaultKind::DiskFull { .. }, .. } => "disk full",
            Self::Disk { kind: FaultKind::NoSync, .. } => "permanent I/O error",
            Self::Disk { .. } => "I/O error",
            Self::BackUp { .. } => "backup",
            Self::Restore { of: Place::Server(_), .. } => "server restored",
            Self::Restore { whole_folder: true, .. } => "till restored, whole folder",
            Self::Restore { .. } => "till restored, replica alone",
            Self::Wipe { .. } => "server wiped",
            Self::Clone { .. } => "till cloned",
            Self::CentralAway { .. } => "central away",
            Self::CentralAnswerLost => "central answer lost",
            Self::CentralBackUp => "central backup",
            Self::CentralRestore => "central restored",
            Self::Clock { .. } => "clock jump",
            Self::Drift { .. } => "clock drift",
            Self::Flip { of: Place::Till(_), off_ms: Some(_), .. } => "bit flipped, till off",
            Self::Flip { of: Place::Till(_), .. } => "bit flipped, till at work",
            Self::Flip { of: Place::Server(_), off_ms: Some(_), .. } => "bit flipped, server off",
            Self::Flip { of: Place::Server(_), .. } => "bit flipped, server at work",
            Self::Reprice { region: 0, .. } => "price change",
            Self::Reprice { .. } => "price change, second server",
            Self::NoUdp { .. } => "UDP blocked",
            Self::Reset { .. } => "TCP reset",
            Self::Older { of: Place::Till(_), .. } => "older program, till",
            Self::Older { of: Place::Server(_), .. } => "older program, server",
            Self::Move { .. } => "till moved",
            Self::MoveStore { .. } => "store moved",
            Self::Perish { .. } => "server lost for ever",
        }
    }
}

/// Something at its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Milliseconds from the opening of the shop.
    pub at_ms: u64,
    /// What.
    pub trouble: Trouble,
}

/// Where a till stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Home {
    /// Its store, from 0.
    pub store: usize,
    /// The region whose server it speaks to, from 0.
    pub region: usize,
}

/// A night, or an hour of it, in which the clocks on the wall do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Night {
    /// The time zone of the tills.
    pub zone: &'static str,
    /// When it happens, Unix milliseconds.
    pub at_ms: u64,
    /// How long after the shop opens, in milliseconds.
    pub after_ms: u64,
}

/// Midnights, and nights in which clocks change: forwards and backwards, by an hour and by half of one, and at midnight itself, so that it is left out or
/// comes twice.
const NIGHTS: &[(&str, u64)] = &[
    // 2026-06-30 23:00 UTC, midnight.
    ("Europe/London", 1_782_860_400_000),
    // 2026-05-01 10:00 UTC, midnight, 14 hours ahead.
    ("Pacific/Kiritimati", 1_777_629_600_000),
    // 2026-03-29 01:00 UTC, forwards.
    ("Europe/London", 1_774_746_000_000),
    // 2026-10-25 01:00 UTC, backwards.
    ("Europe/London", 1_792_890_000_000),
    // 2026-11-01 06:00 UTC, backwards.
    ("America/New_York", 1_793_512_800_000),
    // 2026-04-04 15:00 UTC, backwards by half an hour.
    ("Australia/Lord_Howe", 1_775_314_800_000),
    // 2026-03-28 22:00 UTC, forwards from midnight.
    ("Asia/Beirut", 1_774_735_200_000),
    // 2026-10-24 21:00 UTC, backwards from midnight.
    ("Asia/Beirut", 1_792_875_600_000),
];

/// Everything that a seed decides about a world, apart from the dice of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// How many tills.
    pub tills: usize,
    /// How many regions, each with a server.
    pub regions: usize,
    /// The store of each till and the region that it begins at.
    pub homes: Vec<Home>,
    /// Whether servers and tills have TCP besides UDP.
    pub tcp: bool,
    /// The night that the world is open in; a morning in March, by UTC, when none.
    pub night: Option<Night>,
    /// How long the shop is open, in milliseconds.
    pub open_ms: u64,
    /// How fast the cashiers are: the longest time between two actions, in milliseconds.
    pub think_ms: u64,
    /// Whether the shop's own network carries anything between tills.
    pub lan: bool,
    /// The network while the shop is open.
    pub weather: Weather,
    /// Which machines run a program of an earlier time, and the newest version of the protocol that it speaks.
    pub behind: Vec<(Place, u16)>,
    /// Whether those are brought up to date when the shop closes.
    pub is_caught_up: bool,
    /// Of 1,000 receipts, how many go wrong.
    pub printer_faults: u64,
    /// How long tills keep what is in the central database, in milliseconds; none for ever.
    pub keep_ms: Option<u64>,
    /// What goes wrong, in order.
    pub events: Vec<Event>,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x9E37_0001);
        let regions = 1 + usize::from(dice.below(4) == 0);
        let tills = regions.max(1 + dice.below(3) as usize);
        let stores = 1 + dice.below(regions as u64) as usize;
        let home = |dice: &mut Dice, till: usize| Home { store: till % stores, region: dice.below(regions as u64) as usize };
        let homes = (0..tills).map(|till| home(&mut dice, till)).collect();
        let open_ms = 8_000 + dice.below(32_000);
        let weather = match dice.below(4) {
            0 => Weather::FAIR,
            1 => Weather { loss: 10, duplicates: 10, stragglers: 20, delay_ms: 20, jitter_ms: 10 },
            2 => Weather { loss: 50, duplicates: 30, stragglers: 100, delay_ms: 5, jitter_ms: 30 },
            _ => Weather { loss: 150, duplicates: 50, stragglers: 50, delay_ms: 80, jitter_ms: 200 },
        };
        let mut plan = Self {
            seed,
            tills,
            regions,
            homes,
            tcp: dice.below(2) == 0,
            night: None,
            open_ms,
            think_ms: 200 + dice.below(1_500),
            lan: dice.below(3) > 0,
            weather,
            behind: Vec::new(),
            is_caught_up: true,
            printer_faults: [0, 30, 200][dice.below(3) as usize],
            keep_ms: None,
            events: Vec::new(),
        };
        // Most worlds have a theme, so that rare things come together; some have everything.
        let kinds = 2 + dice.below(5);
        let known = if regions > 1 { THEMES + THEMES_OF_REGIONS } else { THEMES };
        let themes: Vec<u64> = (0..kinds).map(|_| dice.below(known)).collect();
        for _ in 0..3 + dice.below(14) {
            let theme = themes[dice.below(kinds) as usize];
            let at_ms = dice.below(open_ms);
            for (after_ms, trouble) in plan.draw(theme, &mut dice) {
                plan.events.push(Event { at_ms: at_ms + after_ms, trouble });
            }
        }
        for _ in 0..dice.below(5) {
            let trouble = Trouble::Reprice { product: dice.below(12) as usize, region: dice.below(regions as u64) as usize };
            plan.events.push(Event { at_ms: dice.below(open_ms), trouble });
        }
        plan.events.sort_by_key(|event| event.at_ms);
        // Programs are brought up to date at different hours.
        if dice.below(4) == 0 {
            for place in (0..tills).map(Place::Till).chain((0..regions).map(Place::Server)) {
                if dice.below(2) == 0 {
                    plan.behind.push((place, 1 + dice.below(u64::from(VERSIONS.1) - 1) as u16));
                }
            }
        }
        if dice.below(5) == 0 {
            let (zone, at_ms) = NIGHTS[dice.below(NIGHTS.len() as u64) as usize];
            plan.night = Some(Night { zone, at_ms, after_ms: dice.below(open_ms) });
        }
        // Nobody keeps what the central database has for longer than that may be put back; where it goes back, tills keep everything.
        let may_go = !plan.events.iter().any(|event| matches!(event.trouble, Trouble::CentralRestore));
        if dice.below(3) == 0 && may_go {
            plan.keep_ms = Some(500 + dice.below(5_000));
        }
        plan
    }

    /// A shop of one store and one region that is open for 20 seconds, with busy cashiers and a network that only the events trouble.
    pub fn quiet(seed: u64, tills: usize, events: &[(u64, Trouble)]) -> Self {
        Self {
            seed,
            tills,
            regions: 1,
            homes: vec![Home { store: 0, region: 0 }; tills],
            tcp: false,
            night: None,
            open_ms: 20_000,
            think_ms: 300,
            lan: false,
            weather: Weather::FAIR,
            behind: Vec::new(),
            is_caught_up: true,
            printer_faults: 0,
            keep_ms: None,
            events: events.iter().map(|&(at_ms, trouble)| Event { at_ms, trouble }).collect(),
        }
    }

    /// What a right clock shows when the shop opens, Unix milliseconds.
    pub fn opens_ms(&self) -> u64 {
        self.night.map_or(MORNING_MS, |night| night.at_ms - night.after_ms)
    }

    /// The time zone of the tills.
    pub fn zone(&self) -> &'static str {
        self.night.map_or("UTC", |night| night.zone)
    }

    fn draw(&self, theme: u64, dice: &mut Dice) -> Vec<(u64, Trouble)> {
        let till = dice.below(self.tills as u64) as usize;
        let region = dice.below(self.regions as u64) as usize;
        let of = if dice.below(3) == 0 { Place::Server(region) } else { Place::Till(till) };
        let for_ms = 500 + dice.below(15_000);
        let off_ms = 200 + dice.below(5_000);
        let soon = 2_000 + dice.below(15_000);
        let one = |trouble| vec![(0, trouble)];
        match theme {
            0 => {
                let open = dice.below(3);
                one(Trouble::Partition { till, up_open: open == 1, down_open: open == 2, for_ms })
            }
            1 => one(Trouble::Clog { till, for_ms: for_ms / 3 }),
            2 => one(Trouble::Narrow { till, for_ms }),
            3 => one(Trouble::Rebind { till }),
            4 => one(Trouble::Power { of, after_calls: dice.below(60), off_ms, seed: dice.next_u64() }),
            5 => one(Trouble::Kill { of, off_ms }),
            6 => {
                let kind = match dice.below(6) {
                    0 => FaultKind::DiskFull { calls: 1 + dice.below(40) },
                    1 => FaultKind::Error { calls: 1 },
                    2 => FaultKind::SyncError { forgets: dice.below(2) == 0 },
                    3 => FaultKind::NoSync,
                    4 => FaultKind::ReadError,
                    _ => FaultKind::Error { calls: 1 + dice.below(10) },
                };
                one(Trouble::Disk { of, kind, after_calls: dice.below(40), for_ms: for_ms / 2 })
            }
            7 => vec![(0, Trouble::BackUp { of }), (soon, Trouble::Restore { of, whole_folder: dice.below(2) == 0, off_ms })],
            8 => one(Trouble::Wipe { region, off_ms }),
            9 => one(Trouble::Clone { till, for_ms }),
            10 => {
                let for_one = self.regions > 1 && dice.below(2) == 0;
                one(Trouble::CentralAway { region: for_one.then_some(region), for_ms: for_ms * 3 })
            }
            11 => one(Trouble::CentralAnswerLost),
            12 => vec![(0, Trouble::CentralBackUp), (soon, Trouble::CentralRestore)],
            13 => {
                let years = 315_360_000_000;
                let by_ms = [years, -years, 3_600_000, -3_600_000, 90_000, -90_000][dice.below(6) as usize];
                one(Trouble::Clock { of, by_ms })
            }
            15 => {
                let (chance, is_off) = (dice.next_u64(), dice.below(2));
                let flip = |off_ms| Trouble::Flip { of, chance, off_ms };
                match is_off {
                    0 => one(flip(Some(off_ms))),
                    // What has it open reads it again when it is started again.
                    _ => vec![(0, flip(None)), (soon, Trouble::Kill { of, off_ms })],
                }
            }
            14 => one(Trouble::Apart { till, other: (till + 1) % self.tills, for_ms }),
            17 => one(Trouble::NoUdp { till, for_ms: for_ms * 2 }),
            18 => {
                // A till that stands gives QUIC up after 20 s; one that starts dials at once.
                let starts = Trouble::Kill { of: Place::Till(till), off_ms: 200 };
                let blocked = Trouble::NoUdp { till, for_ms: 3_000 + for_ms };
                vec![(0, blocked), (100, starts), (2_500 + for_ms / 2, Trouble::Reset { till })]
            }
            19 => one(Trouble::Older { of, off_ms }),
            20 => one(Trouble::Move { till, to: region }),
            21 => one(Trouble::MoveStore { store: self.homes[till].store, to: region }),
            22 => {
                // Somebody comes and gives its tills the other server, one after the other.
                let other = (region + 1) % self.regions;
                let moves = (0..self.tills).filter(|till| self.homes[*till].region == region);
                let moved = moves.zip(1..).map(|(till, n)| (soon + n * 700, Trouble::Move { till, to: other }));
                [(0, Trouble::Perish { region })].into_iter().chain(moved).collect()
            }
            _ => one(Trouble::Drift { of, ppm: dice.below(100_000) as i64 - 50_000 }),
        }
    }
}

/// How many kinds [`Plan::draw`] knows.
const THEMES: u64 = 20;
/// How many more there are where there is more than one region.
const THEMES_OF_REGIONS: u64 = 3;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            tills,
            regions,
            homes,
            tcp,
            night,
            open_ms,
            think_ms,
            lan,
            weather,
            behind,
            printer_faults,
            keep_ms,
            events,
            ..
        } = self;
        writeln!(f, "seed {seed}: {tills} tills open {open_ms} ms, cashiers think up to {think_ms} ms")?;
        let between = if *lan { "tills hear one another" } else { "tills do not hear one another" };
        writeln!(f, "  network {weather:?}, {between}, {printer_faults} of 1000 receipts go wrong")?;
        let ways = if *tcp { "QUIC and TCP" } else { "QUIC alone" };
        let homes: Vec<_> = homes.iter().map(|home| format!("store {} at {}", home.store, home.region)).collect();
        writeln!(f, "  {regions} regions, over {ways}, tills of {}", homes.join(", "))?;
        if let Some(Night { zone, after_ms, .. }) = night {
            writeln!(f, "  clocks of {zone} change, or a day ends, after {after_ms} ms")?;
        }
        if !behind.is_empty() {
            writeln!(f, "  programs of earlier protocol versions run at {behind:?}")?;
        }
        if let Some(keep_ms) = keep_ms {
            writeln!(f, "  tills keep {keep_ms} ms of what is central")?;
        }
        for Event { at_ms, trouble } in events {
            writeln!(f, "  {at_ms:>6} ms  {trouble:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worlds that the test of the worlds looks at: what is drawn in none of them, nobody sees.
    #[test]
    fn every_accident_is_drawn_in_some_of_three_hundred_worlds() {
        let plans: Vec<Plan> = (0..300).map(Plan::of).collect();
        for name in Trouble::NAMES {
            let is_it = |event: &&Event| event.trouble.name() == *name;
            let with = plans.iter().filter(|plan| plan.events.iter().any(|event| is_it(&event))).count();
            assert!(with >= 4, "{name} is drawn in {with} worlds");
        }
        let nights = plans.iter().filter_map(|plan| plan.night);
        assert!(NIGHTS.iter().all(|(_, at_ms)| nights.clone().any(|night| night.at_ms == *at_ms)));
        let (two, tcp) = (plans.iter().filter(|plan| plan.regions > 1), plans.iter().filter(|plan| plan.tcp));
        assert!((50..100).contains(&two.count()) && (120..180).contains(&tcp.count()));
    }
}
