//! Changes of a server's configuration, as they are asked for and recorded.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    LockKind, LockName, LongTermRetention, Parameters, Redundancy, RequestId, RestoreSpec, RetentionDays,
    ScheduleSettings, ServerConfig, SnapshotId, Timestamp, seconds,
};

/// Who asks for a change, and in which request: made again, the same request changes nothing more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Caller {
    /// Who, as the audit log is to say.
    pub by: String,
    /// In which request.
    pub request: RequestId,
}

impl Caller {
    /// The request `request` of `by`.
    #[must_use]
    pub fn new(by: impl Into<String>, request: RequestId) -> Self {
        Self { by: by.into(), request }
    }
}

/// What is changed of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// It is protected from now on.
    Create,
    /// It is configured otherwise.
    Configure(Box<ConfigUpdate>),
    /// Nothing new is stored, and nothing expires, until it is resumed: it is stopped, say.
    Pause,
    /// It is backed up again.
    Resume,
    /// A snapshot is due at once.
    RequestSnapshot,
    /// A snapshot is kept beyond the window.
    PlaceHold {
        /// Which one.
        snapshot: SnapshotId,
        /// What the hold is called, among those on this snapshot.
        name: String,
        /// When it ends by itself; `None` is never.
        until: Option<Timestamp>,
    },
    /// A hold is released: after a grace, it is over. Until then it can be placed anew.
    ReleaseHold {
        /// On which snapshot.
        snapshot: SnapshotId,
        /// What it is called.
        name: String,
    },
    /// Something must not be done to the server.
    PlaceLock {
        /// What the lock is called.
        name: LockName,
        /// What it forbids.
        kind: LockKind,
        /// Why, for whoever is refused.
        reason: String,
    },
    /// A lock is over.
    RemoveLock {
        /// What it is called.
        name: LockName,
    },
    /// A restore of it is to make a new server. The request that asks for it is the restore's name.
    Restore(Box<RestoreSpec>),
    /// A restore is given up, and what it made so far is removed.
    CancelRestore {
        /// Which one.
        restore: RequestId,
    },
    /// What a restore was to make is there, and accepts writes: it cannot be cancelled any more. Whoever carries it out says so, and nobody else.
    ConfirmRestore {
        /// Which one.
        restore: RequestId,
    },
    /// A restore is over. Whoever carries it out says so, and nobody else.
    EndRestore {
        /// Which one.
        restore: RequestId,
    },
    /// The parameters that it runs with were looked at, and were others than before. Whoever backs it up says so.
    NoteParameters(Parameters),
    /// It is not backed up any more, and cannot be restored: at once, or after its [grace](ServerConfig::delete_grace).
    Delete,
    /// The deletion is undone.
    Undelete,
    /// The deletion cannot be undone any more.
    FinishDeletion,
}

impl Change {
    /// What it does, in a word or two.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Configure(_) => "configure",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::RequestSnapshot => "request snapshot",
            Self::PlaceHold { .. } => "place hold",
            Self::ReleaseHold { .. } => "release hold",
            Self::PlaceLock { .. } => "place lock",
            Self::RemoveLock { .. } => "remove lock",
            Self::Restore(_) => "restore",
            Self::CancelRestore { .. } => "cancel restore",
            Self::ConfirmRestore { .. } => "confirm restore",
            Self::EndRestore { .. } => "end restore",
            Self::NoteParameters(_) => "note parameters",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
            Self::FinishDeletion => "finish deletion",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::PlaceHold { snapshot, name, .. } | Self::ReleaseHold { snapshot, name } => {
                write!(f, " {name:?} on {snapshot}")
            }
            Self::PlaceLock { name, kind, .. } => write!(f, " {name} ({kind})"),
            Self::RemoveLock { name } => write!(f, " {name}"),
            Self::Restore(spec) => write!(f, " as {}", spec.name),
            Self::CancelRestore { restore } | Self::ConfirmRestore { restore } | Self::EndRestore { restore } => {
                write!(f, " {restore}")
            }
            _ => Ok(()),
        }
    }
}

/// What is to be otherwise; what is `None` stays as it is. A server's name cannot change, nor its PostgreSQL: that is upgraded, and noticed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ConfigUpdate {
    /// How long every instant stays restorable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionDays>,
    /// Where its backups' copies stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redundancy: Option<Redundancy>,
    /// When it is backed up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleSettings>,
    /// What is kept beyond the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long_term: Option<LongTermRetention>,
    /// For how long a deletion can be undone, in whole seconds.
    #[serde(skip_serializing_if = "Option::is_none", with = "seconds::optional")]
    pub delete_grace: Option<Duration>,
    /// Its pricing tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pricing_tier: Option<String>,
    /// Its compute generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_generation: Option<String>,
    /// Its number of virtual cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v_cores: Option<u32>,
    /// Its provisioned storage in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_bytes: Option<u64>,
    /// The availability zone of its primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Whether it has a standby.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_availability: Option<bool>,
    /// Whatever else its owner wants to be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
}

impl ConfigUpdate {
    /// Nothing is to be otherwise.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// So many days of retention.
    #[must_use]
    pub fn retention(self, retention: RetentionDays) -> Self {
        Self { retention: Some(retention), ..self }
    }

    /// This schedule.
    #[must_use]
    pub fn schedule(self, schedule: ScheduleSettings) -> Self {
        Self { schedule: Some(schedule), ..self }
    }

    /// This kept beyond the window.
    #[must_use]
    pub fn long_term(self, long_term: LongTermRetention) -> Self {
        Self { long_term: Some(long_term), ..self }
    }

    /// So long to undo a deletion, in whole seconds.
    #[must_use]
    pub fn delete_grace(self, delete_grace: Duration) -> Self {
        Self { delete_grace: Some(delete_grace), ..self }
    }

    /// `config` with all of this.
    #[must_use]
    pub fn applied_to(self, config: &ServerConfig) -> ServerConfig {
        let mut config = config.clone();
        let spec = &mut config.spec;
        set(&mut spec.retention, self.retention);
        set(&mut spec.redundancy, self.redundancy);
        set(&mut spec.pricing_tier, self.pricing_tier);
        set(&mut spec.compute_generation, self.compute_generation);
        set(&mut spec.v_cores, self.v_cores);
        set(&mut spec.storage_bytes, self.storage_bytes);
        set(&mut spec.zone, self.zone.map(Some));
        set(&mut spec.high_availability, self.high_availability);
        set(&mut spec.tags, self.tags);
        set(&mut config.schedule, self.schedule);
        set(&mut config.long_term, self.long_term);
        set(&mut config.delete_grace, self.delete_grace);
        config
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// One change of a server, as it is recorded for good: who did what, when, and what the server was from then on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConfigChange {
    /// How many changes there were by then; 1 is its creation.
    pub revision: u64,
    /// When, by the clock of whoever made it.
    pub at: Timestamp,
    /// Who asked for it.
    pub caller: Caller,
    /// For what.
    pub change: Change,
    /// What the server is since.
    pub config: ServerConfig,
}

impl ConfigChange {
    /// The creation of a server at `at`.
    #[must_use]
    pub const fn creation(at: Timestamp, caller: Caller, config: ServerConfig) -> Self {
        Self { revision: 1, at, caller, change: Change::Create, config }
    }

    /// The change after this one, which made the server `config`.
    #[must_use]
    pub const fn next(&self, at: Timestamp, caller: Caller, change: Change, config: ServerConfig) -> Self {
        Self { revision: self.revision.saturating_add(1), at, caller, change, config }
    }
}

impl fmt::Display for ConfigChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { revision, at, caller, change, .. } = self;
        write!(f, "{revision}, {at}: {change}, by {} ({})", caller.by, caller.request)
    }
}
