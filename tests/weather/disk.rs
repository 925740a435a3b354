//! Disks that are full, and what goes on when they are not any more.
