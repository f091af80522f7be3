//! What replicas say to each other and how they agree. No sockets, no clock, no SQL: bytes and readings go in, frames and events come out.
//!
//! | module | holds |
//! |---|---|
//! | [`scopes`] | which scopes there are and who follows and writes which |
//! | [`documents`] | the CRDT half: products, stores, staff, open orders; their merge rules, and the gate before Automerge |
//! | [`batch`] | runs of commits of one origin as they travel |
//! | [`lines`] | the histories of an origin, and which a run goes on from |
//! | [`frame`] | the frames of the wire, bounded and versioned |
//! | [`session`] | the two ends of a connection as state machines |
//! | [`enrolment`] | how a new device is admitted |
//! | [`probe`] | a look at a server that disturbs nothing |
//! | [`mod@env`] | what the outside world supplies: time and randomness |
//!
//! The only crate that knows Automerge. The QUIC drivers live in `node` and `sync-server` and have no opinions.

pub mod batch;
pub mod documents;
pub mod enrolment;
pub mod env;
pub mod frame;
pub mod lines;
pub mod probe;
pub mod scopes;
pub mod session;
