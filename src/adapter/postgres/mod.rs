//! PostgreSQL: a running server as the source, a data directory as the target.

mod auth;
mod base_backup;
mod config;
mod connect;
mod connection;
mod conninfo;
mod copy_data;
mod data_directory;
mod data_directory_source;
mod disk;
mod local_provisioner;
mod local_server;
mod message;
mod observe;
mod os_user;
mod passfile;
mod replication;
mod scratch_directory;
mod server;
mod server_error;
mod tls;
mod wal_stream;

#[cfg(fuzzing)]
pub mod fuzzing;

pub use config::Config;
pub use conninfo::{ConnInfo, ConnInfoError};
pub use data_directory::DataDirectory;
pub use data_directory_source::DataDirectorySource;
pub use local_provisioner::LocalProvisioner;
pub use local_server::{
    InitOptions, LocalServer, LocalServerError, PgInstall, Recovered, RecoveryStop, RunningServer, StopMode,
};
pub use os_user::OsUser;
pub use scratch_directory::ScratchDirectory;
pub use server::{Checkpoint, PostgresServer, SlotName, SnapshotSettings, StreamSettings};
pub use server_error::ServerError;
