//! How a command ends when it does not do what it was asked to.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use console::style;
use pitr::adapter::postgres::LocalServerError;
use pitr::engine::{self, ErrorKind};
use pitr::plan::PlanError;
use pitr::port::PortError;
use serde::Serialize;

/// What `--help` says of it.
pub(crate) const TABLE: &str = "\
Exit status:
   0  done
   1  something else failed
   2  the command line is wrong
   3  there is no such thing, or it was deleted
   4  somebody else was first, or it is there already
   5  what was asked for is wrong, or does not fit the server
   6  a lock, a permission or a key stands in the way
   7  no room is left
   8  the repository or the server cannot be reached: try again
   9  what is stored is damaged
  10  this cannot be restored; what can be instead is said
  11  done, but what was looked at is not well: red, damaged, a restore that failed

Times have an offset: yours are read with any, and without one they are refused; what is printed is UTC, which ends in Z.";

/// How a command fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Conflict = 4,
    Invalid = 5,
    Denied = 6,
    NoSpace = 7,
    Unavailable = 8,
    Corrupt = 9,
    Refused = 10,
    Unwell = 11,
}

/// Why a command was not done.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// From the outermost to the innermost.
    causes: Vec<String>,
    /// What to do about it.
    advice: Option<String>,
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, causes: vec![message.into()], advice: None }
    }

    fn caused(exit: Exit, error: &dyn Error) -> Self {
        let causes = std::iter::successors(Some(error), |cause| (*cause).source());
        Self { exit, causes: causes.map(ToString::to_string).collect(), advice: None }
    }

    /// The same, with `advice`, if it is a failure of this kind.
    pub(crate) fn advise(mut self, exit: Exit, advice: impl FnOnce() -> String) -> Self {
        if self.exit == exit && self.advice.is_none() {
            self.advice = Some(advice());
        }
        self
    }

    /// Says it, on standard error. What was looked at and is not well, was said already.
    pub(crate) fn report(self, json: bool) -> ExitCode {
        if json {
            eprintln!("{}", serde_json::json!({ "error": self.exit, "causes": self.causes, "advice": self.advice }));
        } else if !self.causes.is_empty() {
            eprintln!("{} {}", style("pitrctl:").for_stderr().red().bold(), self);
            if let Some(advice) = self.advice {
                eprintln!("         {advice}");
            }
        }
        ExitCode::from(self.exit as u8)
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Conflict | ErrorKind::Fenced => Self::Conflict,
            ErrorKind::InvalidInput => Self::Invalid,
            ErrorKind::Denied => Self::Denied,
            ErrorKind::NoSpace => Self::NoSpace,
            ErrorKind::Unavailable => Self::Unavailable,
            ErrorKind::Corrupt => Self::Corrupt,
            _ => Self::Failed,
        }
    }
}

impl From<engine::Error> for Failure {
    fn from(error: engine::Error) -> Self {
        Self::caused(error.kind().into(), &error)
    }
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        Self::caused(ErrorKind::from(error.kind()).into(), &error)
    }
}

impl From<PlanError> for Failure {
    fn from(refusal: PlanError) -> Self {
        Self::caused(Exit::Refused, &refusal)
    }
}

impl From<LocalServerError> for Failure {
    fn from(error: LocalServerError) -> Self {
        Self::caused(Exit::Failed, &error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::caused(Exit::Failed, &error)
    }
}

/// Without the advice.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.causes.join(": "))
    }
}

/// What was looked at is not well, as was said already.
pub(crate) fn unwell(is_well: bool) -> Result<()> {
    if is_well { Ok(()) } else { Err(Failure { exit: Exit::Unwell, causes: Vec::new(), advice: None }) }
}
