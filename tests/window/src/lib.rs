//! The window driven as a person would, on a screen that nobody sees, and the package that it ships in.
//!
//! | module | holds |
//! |---|---|
//! | [`display`] | a screen of its own (Xvfb) |
//! | [`driver`] | WebKitWebDriver, which starts a program with a window and drives its page |
//!
//! The program `evertill-automated` is the window as it ships but for one thing: it lets a driver in. It is a program of this package rather
//! than a feature of the window's, so that no way of building the window can leave that door open.

pub mod display;
pub mod driver;
