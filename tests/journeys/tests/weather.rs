//! Bad weather, with the real programs: folders that are used twice, copied, of another version or damaged; servers that are not the right
//! one; Postgres that refuses, hangs or goes away in the middle; printers without paper; a cashier who taps twice.
//!
//! `docs/bad-input.md` is the table; each test here is a row or some of them.

#![expect(unreachable_pub, reason = "a test program has no outside")]

mod weather {
    mod counter;
    mod doors;
    mod folders;
    mod manager;
    mod postgres;
    mod printer;
    mod proxy;
    mod support;
}
