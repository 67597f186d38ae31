//! What an operator alerts on, as numbers: gathered from events, told in the OpenMetrics text format.

#[cfg_attr(feature = "metrics", path = "emit/enabled.rs")]
#[cfg_attr(not(feature = "metrics"), path = "emit/disabled.rs")]
mod emit;
mod families;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::families::{FAMILIES, Family};
use super::{BackupService, Happening, Outcome, Survey};
use crate::model::{RestoreOutcome, ServerName, Task};

/// What is known of the servers that are tended here.
#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<BTreeMap<ServerName, Numbers>>);

/// What is known of one server since it was taken.
#[derive(Debug, Default)]
struct Numbers {
    survey: Option<Arc<Survey>>,
    /// Runs of tasks, and whether they succeeded.
    runs: BTreeMap<(Task, bool), u64>,
    /// Restores that made new servers, and others, by how they ended.
    restores: BTreeMap<&'static str, u64>,
    archived_bytes: u64,
    lost_bytes: u64,
    unreachable: u64,
}

impl BackupService {
    /// The numbers of the servers that this process tends, as an OpenMetrics exposition (`application/openmetrics-text; version=1.0.0`). All processes
    /// together have those of the fleet. Nothing is read for it.
    ///
    /// With the feature `metrics`, the same numbers go to the program's recorder as they change, by the same names. Of a server that is tended here no longer,
    /// gauges become NaN there, of which no comparison is true.
    ///
    /// Names and what to alert on are in docs/OPERATIONS.md. Times are those of the servers' clocks; counters begin at zero when a server is taken.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.0.announcer.recorder().text()
    }
}

impl Recorder {
    pub(super) fn note(&self, server: &ServerName, what: &Happening) {
        let mut servers = self.servers();
        match what {
            Happening::Taken(_) => {
                emit::describe();
                servers.insert(server.clone(), Numbers::default());
            }
            Happening::Left => drop(servers.remove(server).inspect(|numbers| emit::end(server, numbers))),
            what => {
                if let Some(numbers) = servers.get_mut(server) {
                    emit::around(server, numbers, |numbers| numbers.note(what));
                }
            }
        }
    }

    fn text(&self) -> String {
        Exposition(&self.servers()).to_string()
    }

    fn servers(&self) -> MutexGuard<'_, BTreeMap<ServerName, Numbers>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Numbers {
    fn note(&mut self, what: &Happening) {
        match what {
            Happening::Surveyed(survey) => self.survey = Some(Arc::clone(survey)),
            Happening::Archived(log) => {
                *self.run_mut(Task::LogBackup, true) += 1;
                self.archived_bytes += log.wal.bytes();
                if let Some(survey) = &mut self.survey {
                    Arc::make_mut(survey).archived(log);
                }
            }
            Happening::Gap(gap) => self.lost_bytes += gap.bytes(),
            Happening::Done(outcome) => self.note_done(outcome),
            Happening::Failed(task, _) => *self.run_mut(*task, false) += 1,
            Happening::Unreachable(_) => self.unreachable += 1,
            Happening::Restored(run) => {
                let outcome = run.outcome.as_ref().map_or("failed", |outcome| match outcome {
                    RestoreOutcome::Made(_) => "made",
                    RestoreOutcome::Failed(_) => "failed",
                    RestoreOutcome::Cancelled => "cancelled",
                });
                *self.restores.entry(outcome).or_default() += 1;
            }
            _ => {}
        }
    }

    /// A test restore that shows that something is wrong was made all right, but it is no success.
    fn note_done(&mut self, outcome: &Outcome) {
        let is_well = match outcome {
            Outcome::TestRestore(proof) => proof.failure.is_none(),
            _ => true,
        };
        *self.run_mut(outcome.task(), is_well) += 1;
    }

    fn run_mut(&mut self, task: Task, succeeded: bool) -> &mut u64 {
        self.runs.entry((task, succeeded)).or_default()
    }
}

struct Exposition<'a>(&'a BTreeMap<ServerName, Numbers>);

impl fmt::Display for Exposition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        FAMILIES.iter().try_for_each(|family| family.write(f, self.0))?;
        f.write_str("# EOF\n")
    }
}

impl Family {
    fn write(&self, text: &mut fmt::Formatter<'_>, servers: &BTreeMap<ServerName, Numbers>) -> fmt::Result {
        let Self { name, kind, unit, help, .. } = self;
        writeln!(text, "# TYPE {name} {}", kind.name())?;
        if !unit.is_empty() {
            writeln!(text, "# UNIT {name} {unit}")?;
        }
        writeln!(text, "# HELP {name} {help}")?;
        for (server, numbers) in servers {
            for (labels, value) in (self.samples)(numbers) {
                write!(text, "{}{{server=\"{server}\"", self.series())?;
                labels.iter().try_for_each(|(label, value)| write!(text, ",{label}=\"{value}\""))?;
                writeln!(text, "}} {value}")?;
            }
        }
        Ok(())
    }
}
