//! Load, check everything, report every fault.
pub mod secret;
mod sections;
pub mod units;

pub use sections::*;
