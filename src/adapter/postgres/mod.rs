//! PostgreSQL: a running server as the source, a data directory as the target.

mod data_directory;
mod local_server;
mod os_user;

pub use data_directory::DataDirectory;
pub use local_server::{
    InitOptions, LocalServer, LocalServerError, PgInstall, Recovered, RecoveryStop, RunningServer, StopMode,
};
pub use os_user::OsUser;
