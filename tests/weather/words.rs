//! What people are told, and the steps of the README.
