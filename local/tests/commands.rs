//! The program's commands as an operator runs them, or over a DynamoDB of the test's. One program, which is built and
//! linked once; each file is a module here, and `cargo test -p local --test commands import::` runs one of them.

#![allow(clippy::unwrap_used, clippy::panic)]

mod between;
mod items;
mod program;

mod bootstrap;
mod check;
mod cli;
mod hostile_log;
mod import;
mod registration_email;
mod repair;
mod two_stacks;
