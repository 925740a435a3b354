//! Every change of a Job, by whomever.

pub mod circumstances;
mod objection;

pub use objection::objection;

use crate::job::JobId;
use crate::store::StoreError;

/// Why nothing could be decided now; it is begun again.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration cannot be used.
    #[error("{0}")]
    Configuration(String),
    /// The Job changes faster than it can be decided about.
    #[error("job {0} is changing all the time")]
    Moving(JobId),
}
