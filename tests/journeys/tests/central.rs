//! The central half of the sync server against a real PostgreSQL: every entry once, the same rows however they came, figures that say what
//! they cover.

#[path = "central/shop.rs"]
mod shop;
#[path = "central/world.rs"]
mod world;

#[path = "central/append.rs"]
mod append;
#[path = "central/at_once.rs"]
mod at_once;
#[path = "central/catalogue.rs"]
mod catalogue;
#[path = "central/lists.rs"]
mod lists;
#[path = "central/live.rs"]
mod live;
#[path = "central/open_orders.rs"]
mod open_orders;
#[path = "central/project.rs"]
mod project;
#[path = "central/reports.rs"]
mod reports;
#[path = "central/schema.rs"]
mod schema;
#[path = "central/shifts.rs"]
mod shifts;
#[path = "central/trade.rs"]
mod trade;
#[path = "central/web.rs"]
mod web;
