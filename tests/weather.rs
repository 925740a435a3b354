//! The daemon's surroundings misbehave, as reported in public: each story runs the real binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fault ends the story")]

mod support;

#[path = "weather/alarms.rs"]
mod alarms;
#[path = "weather/clock.rs"]
mod clock;
#[path = "weather/database.rs"]
mod database;
#[path = "weather/disk.rs"]
mod disk;
#[path = "weather/folder.rs"]
mod folder;
#[path = "weather/log.rs"]
mod log;
#[path = "weather/network.rs"]
mod network;
#[path = "weather/reload.rs"]
mod reload;
#[path = "weather/setup.rs"]
mod setup;
#[path = "weather/sftp.rs"]
mod sftp;
#[path = "weather/words.rs"]
mod words;
