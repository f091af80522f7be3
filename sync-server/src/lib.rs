//! The regional sync server: a daemon that devices replicate with and that feeds the central Postgres.
//!
//! | module | holds |
//! |---|---|
//! | [`config`], [`check`] | the one configuration file, and what can be found out about it beforehand |
//! | [`authority`] | the certificate authority and the server's own key |
//! | [`region`] | the log: admission, documents, enrolment codes, in one SQLite file |
//! | [`backup`] | a copy of the region while it runs, and the way back |
//! | [`hub`] | the owner of the log, and the way to it |
//! | [`care`] | audits of the log, and what can be read of a damaged one |
//! | [`log_source`] | the log as the feed reads it |
//! | [`posted`] | a value that changes, and who waits for it |
//! | [`quic`] | the QUIC face: replication and enrolment |
//! | [`refill`] | what the central store has and the log has not |
//! | [`servers`] | how the servers of one shop meet |
//! | [`import`] | products from a CSV file |
//! | [`live`] | what happens now, for those who watch |
//! | [`central`] | the feed to Postgres, the projector, the reports |
//! | [`web`], [`web_api`] | the manager page and its API |
//! | [`metrics`] | what Prometheus is told |
//! | [`daemon`] | all of it together |

pub mod authority;
pub mod backup;
pub mod care;
pub mod central;
pub mod check;
pub mod config;
pub mod daemon;
pub mod env;
pub mod hub;
pub mod import;
pub mod live;
pub mod log_source;
pub mod metrics;
pub mod posted;
pub mod quic;
pub mod refill;
pub mod region;
pub mod secrets;
pub mod servers;
pub mod web;
pub mod web_api;
mod words;
