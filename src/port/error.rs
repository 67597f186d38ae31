//! The error of every port.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Why a port could not do what it was asked to: what was attempted, which kind of failure, and its source.
#[derive(Debug)]
pub struct PortError {
    kind: PortErrorKind,
    context: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    retry_after: Option<Duration>,
}

/// What the caller of a port can do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PortErrorKind {
    /// What was asked for does not exist. Nothing to retry.
    NotFound,
    /// What was to be created exists, or what was to be replaced has another version. Read again, then decide.
    Conflict,
    /// The lease was lost under which this was attempted: somebody else may be at it. Stop.
    Fenced,
    /// The other side refuses: wrong credentials, missing permission, wrong configuration. Fix it, then retry.
    Denied,
    /// No room is left. Make room, then retry.
    NoSpace,
    /// The request itself is wrong, or meets data that are not what they should be. A retry fails again.
    Invalid,
    /// The other side cannot be reached, or failed in passing. Retry later.
    Unavailable,
}

impl PortError {
    /// A failure of this kind; `context` says what was attempted, in lower case, and names what it was attempted on.
    #[must_use]
    pub fn new(kind: PortErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None, retry_after: None }
    }

    /// The same failure, caused by `source`.
    #[must_use]
    pub fn caused_by(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// A failed operation on a local file or socket, with the kind that the operating system's error has.
    #[must_use]
    pub fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        Self::new(kind_of(source.kind()), context).caused_by(source)
    }

    /// The same failure of a side that asks to be left alone for `pause`.
    #[must_use]
    pub fn with_retry_after(self, pause: Duration) -> Self {
        Self { retry_after: Some(pause), ..self }
    }

    /// What can be done about it.
    #[must_use]
    pub fn kind(&self) -> PortErrorKind {
        self.kind
    }

    /// How long the other side asks to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

fn kind_of(kind: std::io::ErrorKind) -> PortErrorKind {
    use std::io::ErrorKind;
    match kind {
        ErrorKind::NotFound => PortErrorKind::NotFound,
        ErrorKind::AlreadyExists => PortErrorKind::Conflict,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => PortErrorKind::Denied,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => PortErrorKind::NoSpace,
        ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            PortErrorKind::Invalid
        }
        _ => PortErrorKind::Unavailable,
    }
}

/// `error` with all of its causes, as one line.
pub(crate) fn explain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |cause| (*cause).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl Error for PortError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
