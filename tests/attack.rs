//! Somebody means harm: strangers on the machine, floods, and what they could find afterwards. Each story runs the real binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fault ends the story")]

mod support;

#[path = "proof/dns.rs"]
mod dns;
#[allow(dead_code, reason = "not every kind of signature is needed here")]
#[path = "proof/sign.rs"]
mod sign;

#[path = "attack/copies.rs"]
mod copies;
#[path = "attack/disk.rs"]
mod disk;
#[path = "attack/folder.rs"]
mod folder;
#[path = "attack/secrets.rs"]
mod secrets;
#[path = "attack/sessions.rs"]
mod sessions;
#[path = "attack/signatures.rs"]
mod signatures;
#[path = "attack/starvation.rs"]
mod starvation;
