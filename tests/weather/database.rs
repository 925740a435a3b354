//! Other programs at the database; copies of it that are put back.
