//! Why a server on this machine could not be had.

use std::io;
use std::path::PathBuf;

use crate::port::{PortError, PortErrorKind};

/// Why a PostgreSQL server on this machine could not be found, made, started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalServerError {
    /// No installation was found. Install PostgreSQL, or name the directory of its programs.
    #[error("no PostgreSQL {wanted} was found: install it, or name the directory that holds initdb and postgres; looked in {}", looked_in(.in_directories))]
    NoInstallation {
        /// What was looked for: "15 to 18", or one major version.
        wanted: String,
        /// Where it was looked for.
        in_directories: Vec<PathBuf>,
    },
    /// The program did not say a version that pitr knows.
    #[error("{} is no PostgreSQL that pitr knows: it says {said:?}", program.display())]
    UnknownVersion {
        /// The program that was asked.
        program: PathBuf,
        /// Its answer.
        said: String,
    },
    /// A program failed.
    #[error("{program} failed: {output}")]
    Failed {
        /// Which program.
        program: &'static str,
        /// The end of what it printed.
        output: String,
    },
    /// The server ended by itself.
    #[error("the server ended ({status}); the end of {}:\n{tail}", log.display())]
    Ended {
        /// How it ended.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// Something could not be done on this machine.
    #[error("could not {context}")]
    Io {
        /// What was attempted.
        context: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl LocalServerError {
    /// For whoever restored it: what keeps a server from coming up is not the machine's fault.
    pub(in crate::adapter::postgres) fn into_port(self) -> PortError {
        match self {
            Self::Io { context, source } => PortError::io(context, source),
            error => PortError::new(PortErrorKind::Invalid, "the restored server did not come up").caused_by(error),
        }
    }

    /// For `map_err`: what was attempted.
    pub(super) fn io(context: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let context = context.into();
        move |source| Self::Io { context, source }
    }
}

fn looked_in(directories: &[PathBuf]) -> String {
    directories.iter().map(|directory| directory.display().to_string()).collect::<Vec<_>>().join(", ")
}
