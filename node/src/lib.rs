//! One device of a shop: it sells, prints, and replicates, and needs no network for the first two.
//!
//! | module | holds |
//! |---|---|
//! | [`api`] | the one door: commands, queries, events, and what a screen shows |
//! | [`till`] | the synchronous heart: a command is one transaction |
//! | [`store`] | the replica: log and projections in one encrypted SQLite file |
//! | [`draft`] | the cart being built, so that a crash gives it back |
//! | [`identity`] | who this device is, outside the replica; the data folder |
//! | [`handle`] | the till on a thread of its own, and the handle that everything else holds |
//! | [`replication`] | the link to the regional server, beside the command path |
//! | [`peers`] | the other tills of the store, over the shop's own network |
//! | [`enrol`] | how a device is admitted |
//! | [`ticket`], [`print_queue`] | receipts on their way to paper, and the drawer |
//! | [`running`] | all of that at work in one program, until it is stopped |
//! | [`face`] | the loopback HTTP and WebSocket face, and the embedded screen |
//! | [`config`] | the configuration of the programs that are a till |
//! | [`doctor`] | what is there and what is wrong, for whoever looks after the till |
//! | [`metrics`] | what Prometheus is told |
//!
//! Time and randomness come from [`sync_proto::env::Env`]; nothing here reads a clock by itself, except for how long hardware and
//! networks may take.

pub mod api;
pub mod care;
pub mod config;
pub mod doctor;
pub mod draft;
pub mod enrol;
pub mod env;
mod errors;
pub mod face;
pub mod handle;
pub mod identity;
pub mod metrics;
pub mod peers;
pub mod print_queue;
pub mod replication;
pub mod running;
pub mod store;
pub mod ticket;
pub mod till;
