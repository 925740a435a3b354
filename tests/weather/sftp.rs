//! Clients of SFTP: names while uploading, the same name again, answers that nobody reads.
