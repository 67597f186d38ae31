//! A server as it is configured.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Hold, Lock, LongTermRetention, Parameters, RequestId, RestoreOrder, ScheduleSettings, ServerName, ServerSpec,
    Timestamp, seconds,
};

/// A server as it is configured, at one moment: what its owner wants, and what was decided about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServerConfig {
    /// What it is.
    pub spec: ServerSpec,
    /// When it is backed up.
    #[serde(default)]
    pub schedule: ScheduleSettings,
    /// What is kept beyond the window.
    #[serde(default)]
    pub long_term: LongTermRetention,
    /// For how long a deletion can be undone, in whole seconds. Default: not at all, as the reference has it.
    #[serde(default, with = "seconds")]
    pub delete_grace: Duration,
    /// Before this instant nothing is promised, as a shorter retention was in force; `None` if the retention was never changed.
    #[serde(default)]
    pub kept_from: Option<Timestamp>,
    /// Snapshots that somebody wants to be kept.
    #[serde(default)]
    pub holds: Vec<Hold>,
    /// What must not be done to it.
    #[serde(default)]
    pub locks: Vec<Lock>,
    /// Since when its backups are paused, if they are: nothing new is stored, and nothing expires.
    #[serde(default)]
    pub paused_at: Option<Timestamp>,
    /// When they were last paused no longer, if they ever were.
    #[serde(default)]
    pub resumed_at: Option<Timestamp>,
    /// When somebody last asked for a snapshot.
    #[serde(default)]
    pub snapshot_requested_at: Option<Timestamp>,
    /// The restores of it that are not over, in the order in which they were ordered.
    #[serde(default)]
    pub restores: Vec<RestoreOrder>,
    /// The parameters that it ran with when its last snapshot was taken; `None` if they are not known.
    #[serde(default)]
    pub parameters: Option<Parameters>,
    /// Who deleted it, if it is deleted.
    #[serde(default)]
    pub deletion: Option<Deletion>,
}

impl ServerConfig {
    /// The server `spec` with all defaults: not paused, not locked, not deleted.
    #[must_use]
    pub fn new(spec: ServerSpec) -> Self {
        Self {
            spec,
            schedule: ScheduleSettings::default(),
            long_term: LongTermRetention::default(),
            delete_grace: Duration::ZERO,
            kept_from: None,
            holds: Vec::new(),
            locks: Vec::new(),
            paused_at: None,
            resumed_at: None,
            snapshot_requested_at: None,
            restores: Vec::new(),
            parameters: None,
            deletion: None,
        }
    }

    /// The server that a restore of this one creates: the same spec but for its name and a standby, backed up and kept alike. Holds, locks,
    /// pauses, restores and parameters are this one's alone.
    #[must_use]
    pub fn restored_as(&self, name: ServerName) -> Self {
        let (schedule, long_term) = (self.schedule.clone(), self.long_term.clone());
        Self { schedule, long_term, delete_grace: self.delete_grace, ..Self::new(self.spec.restored_as(name)) }
    }

    /// The restore `id`, if it is not over.
    #[must_use]
    pub fn restore(&self, id: &RequestId) -> Option<&RestoreOrder> {
        self.restores.iter().find(|order| order.id == *id)
    }
}

impl From<ServerSpec> for ServerConfig {
    fn from(spec: ServerSpec) -> Self {
        Self::new(spec)
    }
}

/// Who deleted a server, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Deletion {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Until when it can be undone; `None` if it cannot: then the server's key is destroyed, or about to be.
    pub undo_until: Option<Timestamp>,
}

impl Deletion {
    /// A deletion that cannot be undone.
    #[must_use]
    pub fn new(at: Timestamp, by: impl Into<String>) -> Self {
        Self { at, by: by.into(), undo_until: None }
    }
}

impl fmt::Display for Deletion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "deleted at {} by {}", self.at, self.by)?;
        match self.undo_until {
            Some(until) => write!(f, ", which can be undone until {until}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LockKind, PostgresMajor, RetentionDays};

    #[test]
    fn a_restored_server_is_kept_alike_and_is_nobodys_to_lock_yet() {
        let mut config = ServerConfig::new(ServerSpec::new("prod".parse().unwrap(), PostgresMajor::MIN));
        config.spec.retention = RetentionDays::MAX;
        config.schedule.log_backup_every = Duration::from_secs(1);
        config.long_term.minimum_snapshots = 3;
        let at = Timestamp::UNIX_EPOCH;
        config.locks.push(Lock::new("keep".parse().unwrap(), LockKind::CanNotDelete, "ops", at));
        (config.paused_at, config.deletion) = (Some(at), Some(Deletion::new(at, "ops")));
        let restored = config.restored_as("prod-2".parse().unwrap());
        let mut expected = ServerConfig::new(config.spec.restored_as("prod-2".parse().unwrap()));
        (expected.schedule, expected.long_term) = (config.schedule.clone(), config.long_term.clone());
        assert_eq!(restored, expected);
    }

    #[test]
    fn what_is_not_written_has_its_default() {
        let spec = ServerSpec::new("prod".parse().unwrap(), PostgresMajor::MIN);
        let json = format!(r#"{{"spec":{}}}"#, serde_json::to_string(&spec).unwrap());
        assert_eq!(serde_json::from_str::<ServerConfig>(&json).unwrap(), ServerConfig::new(spec));
    }
}
