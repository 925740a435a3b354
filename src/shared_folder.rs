//! Folders that other programs use too: how files get in and out of them without harm, and what others call their files.
//!
//! Watched folders (`intake/folder.rs`) take files from there, receipts put result files there, and the SFTP server shows
//! names of the same kind. Every step goes through descriptors (`dir.rs`), a folder that strangers could exchange is not used
//! ([`trusted`]), and a file system that hangs keeps one thread of its own ([`FileThread`]).

mod dir;
pub(crate) mod names;
mod results;
mod thread;
mod trust;

pub(crate) use dir::{Dir, Facts, numbered};
pub use results::write_result;
pub(crate) use results::{RESULTS, TEMPORARY, clear_temporaries};
pub use thread::FileThread;
pub use trust::{Untrusted, trusted, trusted_by};
