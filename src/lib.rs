//! faxbridge turns a mail with attachments, or a file dropped over SFTP, into a fax to a verified number.
//!
//! This page is the map. One fax, from SMTP to its receipt; each line is a file, a function in it, and what it does. Where a
//! line ends in a commit, a crash behind it loses nothing: the next line begins with what is in the database.
//!
//! ```text
//! intake/smtp/session/content.rs   data               DATA: the bytes go into a draft, sealed as they come
//! intake/proof.rs                  prove              who sent it, and what proves that
//! intake/accept.rs                 accept             document synced, then
//! store/accept.rs                  insert_submission  a row in submission, committed; only then "250"; wakes
//! prepare.rs                       try_to_prepare     one Submission becomes Jobs, or an answer to its sender:
//!   prepare/packets.rs             open               its documents are opened in a child process (packet/worker.rs)
//!   prepare/plan.rs                plan               what was asked for (addressing), which rule takes it (routing),
//!                                                     the verified recipient (register), or why it is held
//!   prepare/packets.rs             make               cover (cover.rs) and pages become sealed packets
//! store/jobs.rs                    record_prepared    rows in job, one per recipient, committed; wakes
//! delivery/worker.rs               run                claims the Jobs that are due (store/queue.rs), and for each
//!   delivery/worker/carry.rs       carry_on           does what its state asks for; of one that is queued,
//!   delivery/worker/carry.rs       send               asks once more whether it may leave
//!   delivery/worker/carry.rs       apply              decides by the state machine (job/state.rs) and saves:
//! store/steps.rs                   save_opening       a row in attempt, committed before the request leaves
//!   delivery/worker/carry.rs       submit             the Provider is called (delivery/sinch.rs and its neighbours)
//!   delivery/worker/ask.rs         inquire            and later asked, or its webhook tells (store/news.rs), how it ended
//! store/steps.rs                   save_step          the Outcome in attempt, the new state in job, and in the same commit
//! store/jobs.rs                    finish_if_complete when it was the Submission's last open Job:
//! store/outbox.rs                  tell_final         a row in outbox for each way, mail or result file; wakes
//! receipt/outbox.rs                compose_all        claims the row and
//!   receipt/account.rs             account            reads what happened,
//!   receipt.rs                     compose            finds the words (receipt/letter.rs, receipt/words.rs), signs,
//! store/outbox.rs                  record_composed    and keeps the sealed answer in the row, committed
//! receipt/outbox.rs                send               it leaves: by the relay (receipt/relay.rs), or as a file
//! store/outbox.rs                  record_sent        the row is done; the signed receipt stays
//! retention.rs                     destroy            key destroyed, files removed, 30 minutes after the final state
//! ```
//!
//! A wake is a notice within the process (`store/wake.rs`); who misses it looks by himself soon after. A refused or held fax
//! takes the same way from `record_prepared` on: its row in outbox is made there (`tell_final`, `tell_held`).
//!
//! The other ways in are [`intake::imap`], [`intake::sftp`] and [`intake::folder`], and all of them end in `accept`. A receipt that
//! is answered with `cancel`, `release` or `status` comes in as a mail too; [`commands`] carries it out.
//!
//! Beside the way: [`config`]; [`vault`] (keys, marks, sealed values), [`spool`] (sealed documents), [`store`] (the queries by
//! name); [`sealed`] (the facts that several wings read), [`replies`] (addresses for answers to receipts), [`shared_folder`];
//! [`oauth`] (tokens for mailboxes and relay); [`clock`] (the only place that asks what time it is), [`alarm`] (what is wrong now
//! and wants a person), [`log`] (writes lines so that nobody waits for it), [`listener`] (a socket that one configuration hands to
//! the next), [`process`] (what keeps memory private), [`text`] (counts and sizes in sentences), [`crash`] (the named steps at
//! which tests kill the process); [`daemon`] (the only wiring). [`simulator`] is the fax provider of the demo and the tests; only
//! they import it. Which module may import which, `layers.rs` says, and tests.
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
