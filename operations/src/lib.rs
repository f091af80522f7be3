//! What every program of Evertill shows its operator: configuration that explains itself, findings, logs, metrics.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | one bounded TOML file read against a list of keys; every mistake with its line and what to do |
//! | [`check`] | findings: ok, warning or error, each with what to do; as text, as JSON, as an exit code |
//! | [`logging`] | the `[log]` section: lines for people or JSON lines with stable fields |
//! | [`metrics`] | Prometheus text from a registry |
//! | [`machine`] | disk space and permissions |
//! | [`damaged`] | damaged database files: put aside, and read as far as they can be |
//!
//! It knows none of our other crates, and nothing of sales or replication: the node and the sync server each bring their own keys,
//! checks and metrics.

pub mod care;
pub mod check;
pub mod config;
pub mod damaged;
pub mod logging;
pub mod machine;
pub mod metrics;
