//! The `tablespace_map` file.
