//! To come.
pub mod number;
