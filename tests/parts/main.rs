//! Parts of the program without its daemon, each against programs that nobody here wrote, or against
//! a peer that misbehaves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fault ends the test")]

mod accepting;
mod contract;
mod cover;
mod faults;
mod packet;
#[path = "../support/register.rs"]
mod register;
mod sftp;
mod smtp;
