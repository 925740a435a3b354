//! The harness of the stories: the real program in a temporary folder, a simulator as its provider, a real mail sink for
//! its receipts, and the clients that offices use.
//!
//! A story says what its [`Clinic`] has of its own ([`Stage::new`]), starts the daemon on port 0, and waits for what must
//! happen ([`Stage::until`]), never for a length of time. Programs that are missing (`tests/packages.txt`) fail the story.

#![allow(dead_code, unused_imports, reason = "each story uses its own part of the harness")]

pub(crate) mod certificate;
pub(crate) mod clients;
pub(crate) mod clinic;
pub(crate) mod clock;
pub(crate) mod daemon;
pub(crate) mod disk;
pub(crate) mod documents;
pub(crate) mod port;
pub(crate) mod register;
pub(crate) mod sink;
pub(crate) mod smtp;
pub(crate) mod stage;
mod turnstile;

pub(crate) use clinic::{Clinic, JANE, NUMBER, RADIOLOGY};
pub(crate) use stage::Stage;
