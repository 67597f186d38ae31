//! A data directory as the target of a restore.
