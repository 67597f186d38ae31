//! PostgreSQL: a running server as the source, a data directory as the target.

mod data_directory;
mod local_server;
