//! Strangers who may write to a watched folder.
