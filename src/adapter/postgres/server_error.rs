//! What a server says when it refuses or warns.

use std::fmt;

use crate::port::{PortError, PortErrorKind};

/// An `ErrorResponse` or `NoticeResponse` of a server: the source of a [`PortError`] that a server caused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerError {
    /// `FATAL`, `ERROR`, `WARNING` and the like, untranslated.
    pub severity: String,
    /// The SQLSTATE (appendix A of the manual).
    pub code: String,
    /// What happened, in the server's language.
    pub message: String,
    /// More of it, if there is more.
    pub detail: Option<String>,
    /// What to do, if the server has an idea.
    pub hint: Option<String>,
    /// The function of the server's source that reported it.
    pub routine: Option<String>,
}

/// Kinds by SQLSTATE or its beginning; the first line that fits counts.
const KINDS: [(&str, PortErrorKind); 20] = [
    ("08", PortErrorKind::Unavailable),
    ("28", PortErrorKind::Denied),
    // The database does not exist.
    ("3D000", PortErrorKind::NotFound),
    ("42501", PortErrorKind::Denied),
    // The slot does not exist.
    ("42704", PortErrorKind::NotFound),
    // The slot exists.
    ("42710", PortErrorKind::Conflict),
    ("53100", PortErrorKind::NoSpace),
    // No slot is left: max_replication_slots.
    ("53400", PortErrorKind::Denied),
    ("53", PortErrorKind::Unavailable),
    // The slot is in use.
    ("55006", PortErrorKind::Conflict),
    // wal_level is too low, the slot was invalidated, the server is in recovery.
    ("55000", PortErrorKind::Denied),
    ("57014", PortErrorKind::Unavailable),
    // Shut down, crashed, starting.
    ("57P", PortErrorKind::Unavailable),
    // The log at the requested position was removed.
    ("58P01", PortErrorKind::NotFound),
    ("58030", PortErrorKind::Unavailable),
    ("40", PortErrorKind::Unavailable),
    ("25", PortErrorKind::Unavailable),
    ("0A", PortErrorKind::Invalid),
    ("42", PortErrorKind::Invalid),
    ("", PortErrorKind::Invalid),
];

impl ServerError {
    /// What its SQLSTATE means for whoever asked.
    #[must_use]
    pub fn kind(&self) -> PortErrorKind {
        let line = KINDS.iter().find(|(code, _)| self.code.starts_with(code));
        line.map_or(PortErrorKind::Invalid, |(_, kind)| *kind)
    }

    /// The failure of `context` that the server explains so.
    pub(super) fn of(self, context: impl Into<String>) -> PortError {
        PortError::new(self.kind(), context).caused_by(self)
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (SQLSTATE {})", self.severity, self.message, self.code)?;
        let more = [("detail", &self.detail), ("hint", &self.hint)];
        more.iter().try_for_each(|(label, text)| match text {
            Some(text) => write!(f, "; {label}: {text}"),
            None => Ok(()),
        })
    }
}

impl std::error::Error for ServerError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_the_sqlstate() {
        use PortErrorKind::{Conflict, Denied, Invalid, NotFound, Unavailable};
        for (code, kind) in [
            ("28P01", Denied),
            ("28000", Denied),
            ("42501", Denied),
            ("57P01", Unavailable),
            ("57P03", Unavailable),
            ("53300", Unavailable),
            ("53400", Denied),
            ("08006", Unavailable),
            ("58P01", NotFound),
            ("42710", Conflict),
            ("42704", NotFound),
            ("55006", Conflict),
            ("42601", Invalid),
            ("XX000", Invalid),
            ("", Invalid),
        ] {
            assert_eq!(ServerError { code: code.into(), ..ServerError::default() }.kind(), kind, "{code}");
        }
    }
}
