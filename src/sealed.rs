//! The persisted facts that intake, prepare, commands and receipt share: sealed under a Submission's key, or, where they are
//! needed when that is gone, under a key that ends with them.

mod file;
mod job;
mod submission;

pub use file::{FileNote, ResultFile};
pub use job::JobFacts;
pub use submission::{
    Before, Carried, CommandOutcome, Dsn, DsnRecipient, MailMark, Part, PartKind, SubmissionFacts,
};
