//! A clock that jumps, and one that jumps back.
