//! What a command says, for people and for machines.

use std::fmt::{self, Display};
use std::io::{self, Write};

use console::style;
use indicatif::{ProgressBar, ProgressStyle};
use pitr::engine::{Observer, Progress};
use pitr::plan::health::Status;
use serde::Serialize;

use crate::exit::Result;

/// Where to, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Says `value`: as it is displayed, or as JSON, in a line.
    pub(crate) fn say(self, value: &(impl Display + Serialize)) -> Result<()> {
        if self.json {
            let json = serde_json::to_string(value).map_err(io::Error::from)?;
            self.line(&json)
        } else {
            self.line(value)
        }
    }

    /// Says it as it is displayed.
    pub(crate) fn line(self, line: &impl Display) -> Result<()> {
        match writeln!(io::stdout(), "{line}") {
            // Who reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            written => Ok(written?),
        }
    }

    /// Says it to people only, as they wait.
    pub(crate) fn remark(self, remark: &str) {
        if !self.json {
            eprintln!("{}", style(remark).for_stderr().dim());
        }
    }

    /// A bar for what takes long, on a terminal; and who moves it.
    pub(crate) fn progress(self, what: &'static str) -> (ProgressBar, Observer<Progress>) {
        let bar = self.bar(what, "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta}");
        let moved = bar.clone();
        let observer = Observer::new(move |progress: &Progress| {
            moved.set_length(progress.bytes_total.max(progress.bytes));
            moved.set_position(progress.bytes);
        });
        (bar, observer)
    }

    /// Something that turns as long as it is waited for.
    pub(crate) fn spinner(self, what: impl Into<String>) -> ProgressBar {
        let bar = self.bar(what, "{spinner} {msg} ({elapsed})");
        bar.enable_steady_tick(std::time::Duration::from_millis(100));
        bar
    }

    fn bar(self, what: impl Into<String>, template: &str) -> ProgressBar {
        if self.json {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(template).expect("the templates are well-formed");
        ProgressBar::new(0).with_style(style).with_message(what.into())
    }
}

/// A status in its colour.
pub(crate) fn coloured(status: Status) -> impl Display {
    let word = style(status);
    match status {
        Status::Green => word.green(),
        Status::Amber => word.yellow(),
        _ => word.red().bold(),
    }
}

/// Lines that are left out if there are none.
pub(crate) struct Lines<'a, T>(pub(crate) &'a str, pub(crate) &'a [T]);

impl<T: Display> Display for Lines<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.iter().try_for_each(|line| write!(f, "\n{}{line}", self.0))
    }
}
