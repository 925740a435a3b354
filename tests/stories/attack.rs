//! Somebody means harm: strangers on the machine, floods, and what they could find afterwards. Each story runs the real binary.

mod copies;
mod disk;
mod folder;
mod secrets;
mod sessions;
mod signatures;
mod starvation;
mod twice;
