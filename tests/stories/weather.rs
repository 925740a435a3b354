//! The daemon's surroundings misbehave, as reported in public: each story runs the real binary.

mod alarms;
mod clock;
mod database;
mod disk;
mod folder;
mod log;
mod network;
mod reload;
mod setup;
mod sftp;
mod words;
