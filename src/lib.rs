//! faxbridge turns a mail with attachments, or a file dropped over SFTP, into a fax to a verified number.
//!
//! This page is the map. A fax goes through the modules in this order:
//!
//! ```text
//! intake/{smtp,imap,sftp,folder}   a protocol in, an Arrival out
//!   intake::proof             who sent a mail, and what proves it
//!   intake::accept            documents sealed and synced, row committed; only then "250", "moved", "closed", "claimed"
//! prepare                     one accepted Submission becomes Jobs, or an answer to its sender:
//!   packet                      documents to pages (in a child process), every part accounted for
//!   addressing, routing         what the sender asked for; which rule takes it, with the trace
//!   register                    the verified recipient behind a key or number, or why not
//!   cover                       the sheet in front
//! delivery::worker            claim a Job, commit an Attempt, then call the Provider; bring home its Outcome
//! delivery::{webhook,media}   what providers call: news of a Job, its document where they take no upload
//!   job::state                  the only place where a Job's state changes
//!   job::retry                  when to try again
//! receipt                     one final answer per Submission: mail in the thread, result file beside the drop
//! retention                   key destroyed, files removed, 30 minutes after the final state
//! ```
//!
//! [`commands`] is the way back: a receipt that is answered with `cancel`, `release` or `status`.
//!
//! Beside the way: [`store`] (the queries by name), [`spool`] (sealed documents), [`config`], [`clock`] (the only place
//! that asks what time it is), [`alarm`] (what is wrong now and wants a person), [`log`] (writes lines so that nobody waits for it),
//! [`listener`] (a socket that outlives want, and that one configuration hands to the next), [`process`] (what keeps memory
//! private), [`text`] (counts and sizes in sentences), [`crash`] (the named steps at which tests kill the process), [`daemon`] (the
//! only wiring). [`simulator`] is the fax provider of the demo and the tests; only they import it.
//!
//! The nine promises this code keeps, each with a test that fails if it breaks, stand in `README.md`.

pub mod addressing;
pub mod alarm;
pub mod clock;
pub mod commands;
pub mod config;
pub mod cover;
pub mod crash;
pub mod daemon;
pub mod delivery;
pub(crate) mod gate;
pub mod intake;
pub mod job;
#[cfg(test)]
mod layers;
pub mod listener;
pub mod log;
pub mod oauth;
pub mod packet;
pub mod prepare;
pub mod process;
pub mod receipt;
pub mod register;
pub mod replies;
pub mod retention;
pub mod routing;
pub mod sealed;
pub mod shared_folder;
pub mod simulator;
pub mod spool;
pub mod store;
pub(crate) mod tally;
pub mod text;
pub mod vault;
