//! Mails that fill the disk.
