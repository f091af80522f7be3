//! The node as a whole: real SQLCipher files in a folder per test, a server that is only a key and a chain.

#![expect(unreachable_pub, reason = "a test program has no outside")]

mod ahead;
mod bad_input;
mod catalogue;
mod damage;
mod doctor;
mod face;
mod identity;
mod measure;
mod paper;
mod parked;
mod people;
mod program;
mod receiving;
mod retention;
mod selling;
mod shop;
mod storage;
