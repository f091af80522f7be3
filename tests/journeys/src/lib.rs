//! Journeys through the real programs: what the demo runs, what replays a file of invoices, what the end-to-end tests drive.
//!
//! | module | holds |
//! |---|---|
//! | [`stack`] | starts and stops a whole Evertill: Postgres, sync server, tills, printers |
//! | [`cashier`] | someone who sells through a till's API |
//! | [`counter`] | a till in memory that sells straight into a region's hub, and how soon a watcher sees it |
//! | [`postgres`] | a private PostgreSQL cluster |
//! | [`reconcile`] | enters a file of invoices at two tills, and compares what each place then knows |

pub mod cashier;
pub mod counter;
pub mod postgres;
pub mod reconcile;
pub mod stack;
