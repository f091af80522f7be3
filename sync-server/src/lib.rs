//! The regional sync server: a daemon that devices replicate with and that feeds the central Postgres.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | the one configuration file |
//! | [`authority`] | the certificate authority and the server's own key |
//! | [`region`] | the log: admission, documents, enrolment codes, in one SQLite file |
//! | [`hub`] | the thread that owns the log, and the way to it |
//! | [`quic`] | the QUIC face: replication and enrolment |
//! | [`import`] | products from a CSV file |
//! | [`central`] | the feed to Postgres, the projector, the reports |
//! | [`web`], [`web_api`] | the manager page and its API |
//! | [`daemon`] | all of it together |

pub mod authority;
pub mod central;
pub mod config;
pub mod daemon;
pub mod env;
pub mod hub;
pub mod import;
pub mod quic;
pub mod region;
pub mod secrets;
pub mod web;
pub mod web_api;
