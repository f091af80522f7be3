//! Power cuts and bad networks, replayed from a seed.
//!
//! What is here serves the tests beside it; nothing of it ships.
//!
//! * [`crash_vfs`]: disks that live in memory, lose power at any call, fill up and fail, under unmodified SQLite.
//! * [`Dice`]: chance from a seed.
//! * [`shop`]: a store with staff, products and tills, and the server that says so; time and chance from a seed.
//! * [`rig`]: a real till on such a disk, with its identity in a folder.
//! * [`day`]: a selling day, and a witness who notes what was shown.
//! * [`judge`]: whether a till that was found after an accident kept its promises.
//! * [`sweep`]: many worlds, and what is left of one that fails.
//! * [`world`]: tills, a server and a central store in one thread and virtual time, with everything that goes wrong between them.
//!
//! `docs/testing.md` tells how the sweeps work and how to replay a failure.

pub mod crash_vfs;
pub mod day;
mod dice;
pub mod judge;
pub mod rig;
pub mod shop;
pub mod sweep;
pub mod world;

pub use dice::Dice;
