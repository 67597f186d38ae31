//! Each number: what it is called, and where it comes from.

use std::fmt;

use super::Numbers;
use crate::model::{Task, Timestamp};

/// A family of numbers: one for each server, or several with labels.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// With which the name ends; none if empty.
    pub(super) unit: &'static str,
    pub(super) help: &'static str,
    pub(super) samples: fn(&Numbers) -> Vec<Sample>,
}

impl Family {
    /// What its samples are called.
    pub(super) fn series(&self) -> String {
        format!("{}{}", self.name, self.kind.suffix())
    }
}

/// Labels and a value.
pub(super) type Sample = (Labels, Value);
pub(super) type Labels = Vec<(&'static str, String)>;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Whole(u64),
    /// Prints in seconds since 1970.
    Instant(Timestamp),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(f),
            Self::Instant(at) => {
                let micros = at.as_unix_micros();
                write!(f, "{}.{:06}", micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000))
            }
        }
    }
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Gauge,
    Counter,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }

    /// What the names of its samples end with.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::Gauge => "",
            Self::Counter => "_total",
        }
    }
}

pub(super) const FAMILIES: [Family; 11] = [
    Family {
        name: "pitr_recovery_point_timestamp_seconds",
        kind: Kind::Gauge,
        unit: "seconds",
        help: "The last instant that can be restored.",
        samples: |numbers| instant(numbers.survey.as_ref().and_then(|survey| survey.latest)),
    },
    Family {
        name: "pitr_window_start_timestamp_seconds",
        kind: Kind::Gauge,
        unit: "seconds",
        help: "The first instant that can be restored.",
        samples: |numbers| instant(numbers.survey.as_ref().and_then(|survey| survey.earliest)),
    },
    Family {
        name: "pitr_last_snapshot_timestamp_seconds",
        kind: Kind::Gauge,
        unit: "seconds",
        help: "When the last snapshot was consistent that can be restored.",
        samples: |numbers| instant(numbers.survey.as_ref().and_then(|survey| survey.last_snapshot)),
    },
    Family {
        name: "pitr_last_success_timestamp_seconds",
        kind: Kind::Gauge,
        unit: "seconds",
        help: "When the last run of a task had ended that succeeded.",
        samples: last_successes,
    },
    Family {
        name: "pitr_stored_bytes",
        kind: Kind::Gauge,
        unit: "bytes",
        help: "What is stored, by kind.",
        samples: stored,
    },
    Family {
        name: "pitr_verification_faults",
        kind: Kind::Gauge,
        unit: "",
        help: "How many faults the last verification found.",
        samples: |numbers| numbers.survey.iter().map(|survey| plain(survey.faults)).collect(),
    },
    Family {
        name: "pitr_runs",
        kind: Kind::Counter,
        unit: "",
        help: "Runs of tasks, by outcome. A test restore that shows a fault has failed.",
        samples: runs,
    },
    Family {
        name: "pitr_archived_log_bytes",
        kind: Kind::Counter,
        unit: "bytes",
        help: "Log that was archived, as the server wrote it.",
        samples: |numbers| vec![plain(numbers.archived_bytes)],
    },
    Family {
        name: "pitr_lost_log_bytes",
        kind: Kind::Counter,
        unit: "bytes",
        help: "Log that the server had no longer, and that was not archived.",
        samples: |numbers| vec![plain(numbers.lost_bytes)],
    },
    Family {
        name: "pitr_unreachable",
        kind: Kind::Counter,
        unit: "",
        help: "How often the server could not be worked for.",
        samples: |numbers| vec![plain(numbers.unreachable)],
    },
    Family {
        name: "pitr_restores",
        kind: Kind::Counter,
        unit: "",
        help: "Restores that make new servers, by outcome.",
        samples: |numbers| {
            let restores = numbers.restores.iter();
            restores.map(|(outcome, count)| labelled([("outcome", *outcome)], *count)).collect()
        },
    },
];

fn plain(value: u64) -> Sample {
    labelled([], value)
}

fn labelled<const N: usize>(labels: [(&'static str, &str); N], value: u64) -> Sample {
    (labels.map(|(label, value)| (label, value.to_owned())).to_vec(), Value::Whole(value))
}

/// None before anything can be restored.
fn instant(at: Option<Timestamp>) -> Vec<Sample> {
    at.map(|at| (Vec::new(), Value::Instant(at))).into_iter().collect()
}

fn last_successes(numbers: &Numbers) -> Vec<Sample> {
    let survey = numbers.survey.iter();
    let ended = survey.flat_map(|survey| &survey.last_success);
    ended.map(|(task, ended)| (vec![("task", label_of(*task))], Value::Instant(*ended))).collect()
}

fn stored(numbers: &Numbers) -> Vec<Sample> {
    let Some(usage) = numbers.survey.as_ref().map(|survey| survey.usage) else { return Vec::new() };
    let kinds = [
        ("snapshot", usage.snapshots),
        ("snapshot_on_demand", usage.on_demand_snapshots),
        ("log", usage.logs),
        ("history", usage.histories),
    ];
    kinds.map(|(kind, bytes)| labelled([("kind", kind)], bytes)).to_vec()
}

fn runs(numbers: &Numbers) -> Vec<Sample> {
    let outcome = |succeeded| if succeeded { "success" } else { "failure" };
    let runs = numbers.runs.iter();
    runs.map(|((task, succeeded), count)| {
        labelled([("task", &label_of(*task)), ("outcome", outcome(*succeeded))], *count)
    })
    .collect()
}

fn label_of(task: Task) -> String {
    task.to_string().replace(' ', "_")
}
