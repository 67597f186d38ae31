//! PostgreSQL: a running server as the source, a data directory as the target.

mod auth;
mod config;
mod connect;
mod connection;
mod conninfo;
mod copy_data;
mod data_directory;
mod local_server;
mod message;
mod passfile;
mod server_error;
mod tls;

pub use config::Config;
pub use conninfo::{ConnInfo, ConnInfoError};
pub use server_error::ServerError;
