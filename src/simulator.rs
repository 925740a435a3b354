//! The simulator: the fax provider of the demo and the tests.
//!
//! It ([`server`]) speaks real HTTP, takes real uploads, signs its webhooks and misbehaves as scripted ([`script`]); it is
//! never called by any other way than HTTP. Only the command line and tests import it.

mod api;
mod book;
mod face;
mod fetch;
mod line;
mod office;
mod print;
pub mod script;
pub mod server;
mod webhook;

pub use face::telnyx_public_key;
