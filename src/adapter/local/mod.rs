//! A directory as storage.
