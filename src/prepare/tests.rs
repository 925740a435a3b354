//! Preparing without a worker: what becomes of a Submission that cannot be prepared.
