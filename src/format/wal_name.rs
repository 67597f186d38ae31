//! Names of WAL files.
