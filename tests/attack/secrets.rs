//! What is left of a document when it is gone: in memory, in the database, in the log.
