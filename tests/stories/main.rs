//! The stories: the real program between real peers, from the outside. They are one binary, since
//! twenty links of the library cost more than one.
//!
//! Tests of a binary share its process and run side by side. So a story touches nothing that others
//! share: it has a folder, ports, a daemon and a clock of its own, and it sets environment and working
//! folder of its children only. Three tests are binaries of their own: `crash` kills for minutes, `load`
//! measures, and both want the machine for themselves; `hylafax` has one server for all its tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fault ends the story")]

mod asked;
mod attack;
mod bad_input;
mod cli;
mod commands;
mod demo;
mod drops;
mod hostile;
mod imap;
mod mail;
mod mails;
mod outside;
mod postfix;
mod proof;
mod providers;
mod receipts;
mod service;
#[path = "../support/mod.rs"]
mod support;
mod weather;
