//! Clients that take all of something, and the others beside them.
