//! The error of the engine.

use std::error::Error as StdError;
use std::fmt;

use crate::format::seal::{OpenError, SealError};
use crate::model::{Deletion, ServerName};
use crate::plan::ChangeRefusal;
use crate::plan::schedule::ScheduleError;
use crate::port::{PortError, PortErrorKind};

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the engine could not do what it was asked to: what was attempted, what can be done about it, and its source.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What the caller of the engine can do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was asked for does not exist. Ask for something else.
    NotFound,
    /// Somebody else was there first: what was to be created exists, or has changed. Look again, then decide.
    Conflict,
    /// The lease was lost under which this was done: somebody else may be at it. Stop; what was stored before is good.
    Fenced,
    /// The request is wrong, or does not fit the server. Correct it.
    InvalidInput,
    /// Credentials, permissions or configuration stand in the way. Mend them, then retry.
    Denied,
    /// No room is left. Make room, then retry.
    NoSpace,
    /// The other side cannot be reached, or failed in passing. Retry later.
    Unavailable,
    /// Data are not what they were when they were written. Use another copy.
    Corrupt,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    pub(crate) fn caused_by(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// `object` is stored, but is not what was written.
    pub(crate) fn corrupt(object: impl fmt::Display, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Corrupt, format!("{object} is damaged")).caused_by(source)
    }

    /// `object` cannot be opened. A newer version is no damage; another server's key is, since the server's own key was proved
    /// to be the right one when it was unwrapped.
    pub(crate) fn open(object: impl fmt::Display, source: OpenError) -> Self {
        let kind = match source {
            OpenError::FutureVersion { .. } | OpenError::UnknownAlgorithm { .. } => ErrorKind::InvalidInput,
            _ => ErrorKind::Corrupt,
        };
        Self::new(kind, format!("{object} cannot be opened")).caused_by(source)
    }

    /// A change of a server was refused.
    pub(crate) fn refused(context: impl Into<String>, refusal: ChangeRefusal) -> Self {
        let kind = match refusal {
            ChangeRefusal::Locked(_) => ErrorKind::Denied,
            ChangeRefusal::Deleted(_)
            | ChangeRefusal::NoSuchLock(_)
            | ChangeRefusal::NoSuchHold { .. }
            | ChangeRefusal::NoSuchRestore(_) => ErrorKind::NotFound,
            ChangeRefusal::Exists
            | ChangeRefusal::NotYet { .. }
            | ChangeRefusal::LockExists(_)
            | ChangeRefusal::NameTaken(_)
            | ChangeRefusal::RestoreCancelled(_)
            | ChangeRefusal::RestoreMade(_)
            | ChangeRefusal::BeingRestored { .. }
            | ChangeRefusal::HoldExists { .. } => ErrorKind::Conflict,
            ChangeRefusal::NotDeleted
            | ChangeRefusal::TooMany { .. }
            | ChangeRefusal::TooLong { .. }
            | ChangeRefusal::Schedule(_) => ErrorKind::InvalidInput,
        };
        Self::new(kind, context).caused_by(refusal)
    }

    /// The settings of a server make no schedule.
    pub(crate) fn unscheduled(error: ScheduleError) -> Self {
        Self::new(ErrorKind::InvalidInput, "the server's schedule cannot be obeyed: configure it otherwise")
            .caused_by(error)
    }

    /// The server `name` was deleted: nothing can be done with it.
    pub(crate) fn deleted(name: &ServerName, deletion: Deletion) -> Self {
        let context = format!("server {name} was {deletion}: deleted servers cannot be restored");
        Self::new(ErrorKind::NotFound, context).caused_by(ChangeRefusal::Deleted(deletion))
    }

    /// Whether the object that was read is to blame, and none but it.
    pub(crate) fn is_of_object(&self) -> bool {
        matches!(self.kind, ErrorKind::Corrupt | ErrorKind::InvalidInput | ErrorKind::NotFound)
    }

    /// What can be done about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<PortErrorKind> for ErrorKind {
    fn from(kind: PortErrorKind) -> Self {
        match kind {
            PortErrorKind::NotFound => Self::NotFound,
            PortErrorKind::Conflict => Self::Conflict,
            PortErrorKind::Fenced => Self::Fenced,
            PortErrorKind::Denied => Self::Denied,
            PortErrorKind::NoSpace => Self::NoSpace,
            PortErrorKind::Invalid => Self::InvalidInput,
            PortErrorKind::Unavailable => Self::Unavailable,
        }
    }
}

impl From<PortError> for Error {
    fn from(error: PortError) -> Self {
        Self::new(error.kind().into(), "a port failed").caused_by(error)
    }
}

impl From<SealError> for Error {
    fn from(error: SealError) -> Self {
        Self::new(ErrorKind::InvalidInput, "an object cannot be sealed").caused_by(error)
    }
}

/// Says what was attempted when something failed.
pub(crate) trait Context<T> {
    /// Puts `context` before the failure, which becomes its source; the kind stays.
    fn context<C: Into<String>>(self, context: impl FnOnce() -> C) -> Result<T>;
}

impl<T> Context<T> for Result<T, PortError> {
    fn context<C: Into<String>>(self, context: impl FnOnce() -> C) -> Result<T> {
        self.map_err(|error| Error::new(error.kind().into(), context()).caused_by(error))
    }
}
