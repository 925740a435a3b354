//! The stories: the real program between real peers, from the outside. One binary, for 20 links cost more than 20 stories.
//!
//! Tests of one binary share its process and run side by side. A story touches nothing that others share: it has a folder,
//! ports, a daemon and a clock of its own, and gives environment and working folder to its children only. What wants the
//! machine for itself is a binary of its own: `crash` (it kills for minutes), `load` (its figures), `hylafax` (one server
//! for all its tests).

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
