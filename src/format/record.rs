//! Records: small facts as versioned JSON, to be sealed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::{
    ConfigChange, Deletion, Incarnation, ObjectKey, RestoreProof, RestoreRates, RestoreRun, ServerConfig, Snapshot,
    SnapshotId, Task, TaskFacts, Timestamp, UsageLog, WorkerId,
};

/// The version of every kind of record that this pitr writes.
const VERSION: u32 = 1;

/// A kind of record: says in its first field what it is.
pub trait Record: Serialize + DeserializeOwned {
    /// The kind's name in the encoding.
    const KIND: &'static str;
}

impl Record for RestoreProof {
    const KIND: &'static str = "restore proof";
}

impl Record for Snapshot {
    const KIND: &'static str = "snapshot";
}

impl Record for RestoreRun {
    const KIND: &'static str = "restore";
}

impl Record for ConfigChange {
    const KIND: &'static str = "change";
}

impl Record for Deletion {
    const KIND: &'static str = "deletion";
}

/// What is known of a server beside its backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServerRecord {
    /// Since when it is protected.
    pub created_at: Timestamp,
    /// Its last change, and with it what the server is. All changes before are records of their own.
    pub latest: ConfigChange,
    /// Its lives, oldest first. Backups of any other are refused.
    pub incarnations: Vec<Incarnation>,
}

impl ServerRecord {
    /// A server that has no backups yet.
    #[must_use]
    pub const fn new(creation: ConfigChange) -> Self {
        Self { created_at: creation.at, latest: creation, incarnations: Vec::new() }
    }

    /// What the server is.
    #[must_use]
    pub const fn config(&self) -> &ServerConfig {
        &self.latest.config
    }
}

impl Record for ServerRecord {
    const KIND: &'static str = "server";
}

/// A snapshot that is being taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunningSnapshot {
    /// Which life of the server it is of.
    pub incarnation: Incarnation,
    /// The snapshots whose packs it may use.
    pub builds_on: Vec<SnapshotId>,
    /// The token of the lease under which it is taken, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
}

impl RunningSnapshot {
    /// A snapshot of `incarnation` that uses no packs of others yet.
    #[must_use]
    pub const fn new(incarnation: Incarnation, token: Option<u64>) -> Self {
        Self { incarnation, builds_on: Vec::new(), token }
    }
}

impl Record for RunningSnapshot {
    const KIND: &'static str = "running snapshot";
}

/// What became of the work for a server, for whoever goes on with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunLog {
    /// What is known of the runs of each task that ever ran.
    pub tasks: BTreeMap<Task, TaskFacts>,
    /// How many faults the last verification found.
    pub faults: u64,
    /// Which packs it found damaged, the first 1000: snapshots do not build on them.
    #[serde(default)]
    pub damaged: Vec<ObjectKey>,
    /// When that snapshot was asked for that was taken on demand last.
    #[serde(default)]
    pub answered: Option<Timestamp>,
    /// How fast test restores were.
    #[serde(default)]
    pub rates: RestoreRates,
}

impl Record for RunLog {
    const KIND: &'static str = "run log";
}

impl Record for UsageLog {
    const KIND: &'static str = "usage log";
}

/// Who works for a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LeaseRecord {
    /// How often it was given to somebody: each has a greater one than whoever came before.
    pub token: u64,
    /// Who has it; `None` if it was given back.
    pub worker: Option<WorkerId>,
}

impl LeaseRecord {
    /// The `token`th, for `worker`.
    #[must_use]
    pub const fn new(token: u64, worker: Option<WorkerId>) -> Self {
        Self { token, worker }
    }
}

impl Record for LeaseRecord {
    const KIND: &'static str = "lease";
}

/// A worker's sign of life. Not sealed: it is of no server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Heartbeat {
    /// How many came before.
    pub beats: u64,
    /// For how long a worker is silent who has ended, in milliseconds.
    pub lease_millis: u64,
    /// Whether it was ended: by itself, or by somebody who took it for dead.
    pub ended: bool,
}

impl Heartbeat {
    /// The first one of a worker whose silence lasts for `lease`.
    #[must_use]
    pub fn first(lease: Duration) -> Self {
        Self { beats: 0, lease_millis: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX), ended: false }
    }
}

impl Record for Heartbeat {
    const KIND: &'static str = "heartbeat";
}

/// When the store's promises to keep objects immutable were renewed last, of those that are kept for longer than they were made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Renewal {
    /// By the clock of the one who renewed them.
    pub at: Timestamp,
}

impl Renewal {
    /// All that were due at `at`.
    #[must_use]
    pub const fn new(at: Timestamp) -> Self {
        Self { at }
    }
}

impl Record for Renewal {
    const KIND: &'static str = "renewal";
}

/// Why bytes are not the record that they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Written by a newer pitr.
    #[error("{kind} record of version {version}, this pitr reads up to {VERSION}: upgrade it")]
    FutureVersion {
        /// The kind that was expected.
        kind: &'static str,
        /// The version found.
        version: u32,
    },
    /// Another kind of record.
    #[error("a {found:?} record where a {kind} record should be")]
    Kind {
        /// The kind that was expected.
        kind: &'static str,
        /// The kind found.
        found: String,
    },
    /// Not a record, or one with wrong fields.
    #[error("malformed {kind} record: {reason}")]
    Malformed {
        /// The kind that was expected.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Header {
    kind: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Body<R> {
    record: R,
}

#[derive(Serialize)]
struct Envelope<'a, R> {
    kind: &'static str,
    version: u32,
    record: &'a R,
}

/// The bytes of `record`.
///
/// # Errors
/// If a value in it cannot be written as JSON.
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, RecordError> {
    let envelope = Envelope { kind: R::KIND, version: VERSION, record };
    serde_json::to_vec(&envelope).map_err(malformed::<R>)
}

/// The record that `bytes` encode.
///
/// # Errors
/// If they encode none of this kind.
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, RecordError> {
    let Header { kind: found, version } = serde_json::from_slice(bytes).map_err(malformed::<R>)?;
    if found != R::KIND {
        return Err(RecordError::Kind { kind: R::KIND, found: found.chars().take(40).collect() });
    }
    if version > VERSION {
        return Err(RecordError::FutureVersion { kind: R::KIND, version });
    }
    let Body { record } = serde_json::from_slice(bytes).map_err(malformed::<R>)?;
    Ok(record)
}

fn malformed<R: Record>(error: serde_json::Error) -> RecordError {
    RecordError::Malformed { kind: R::KIND, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Caller, Change, ConfigUpdate, DayUsage, LockKind, PostgresMajor, RestoreRoute, RetentionDays, ServerSpec,
        TaskRun, TimelineId, Trial, Usage,
    };

    fn record() -> ServerRecord {
        let spec = ServerSpec::new("prod".parse().unwrap(), PostgresMajor::MIN);
        let caller = Caller::new("ops", "request-1".parse().unwrap());
        ServerRecord::new(ConfigChange::creation("2026-11-24T03:00:00Z".parse().unwrap(), caller, spec.into()))
    }

    #[test]
    fn a_record_survives() {
        let bytes = encode(&record()).unwrap();
        assert!(bytes.starts_with(br#"{"kind":"server","version":1,"#));
        assert_eq!(decode(&bytes), Ok(record()));
    }

    /// The text of version 1: it must stay readable for ever.
    #[test]
    fn the_record_of_a_test_restore_is_the_one_that_is_documented() {
        let (begun, instant) = ("2026-11-24T03:00:00.000001Z", "2026-11-23T21:30:00Z");
        let [begun, instant] = [begun, instant].map(|time| time.parse().unwrap());
        let incarnation = "7301234567890123456-18".parse().unwrap();
        let mut proof = RestoreProof::new(begun, instant);
        let text = concat!(
            r#"{"kind":"restore proof","version":1,"record":{"#,
            r#""begun":"2026-11-24T03:00:00.000001Z","ended":"2026-11-24T03:00:00.000001Z","instant":"2026-11-23T21:30:00.000000Z"}}"#
        );
        assert_eq!(String::from_utf8(encode(&proof).unwrap()).unwrap(), text);
        assert_eq!(decode(text.as_bytes()), Ok(proof.clone()));
        let mut trial = Trial::new("18.1", TimelineId::new(2).unwrap(), "0/30000F8".parse().unwrap());
        (trial.last_commit, trial.faults) = (Some(instant), vec!["a fault".to_owned()]);
        let snapshot = "20261123T210908Z-0a1b2c3d".parse().unwrap();
        proof.route = Some(RestoreRoute::new(incarnation, snapshot, TimelineId::FIRST));
        (proof.files_millis, proof.trial, proof.failure) = (Some(1500), Some(trial), Some("a fault".to_owned()));
        let text = text.replace("}}", concat!(
            r#","route":{"incarnation":"7301234567890123456-18","snapshot":"20261123T210908Z-0a1b2c3d","timeline":1,"#,
            r#""file_bytes":0,"log_bytes":0,"stored_bytes":0},"files_millis":1500,"trial":{"postgres":"18.1","recovery_millis":0,"timeline":2,"reached":"0/30000F8","#,
            r#""last_commit":"2026-11-23T21:30:00.000000Z","databases":0,"relations":0,"amcheck":false,"faults":["a fault"]},"failure":"a fault"}}"#
        ));
        assert_eq!(String::from_utf8(encode(&proof).unwrap()).unwrap(), text);
        assert_eq!(decode(text.as_bytes()), Ok(proof));
    }

    /// The text of version 1: it must stay readable for ever, also without what has its default.
    #[test]
    fn the_record_of_a_server_is_the_one_that_is_documented() {
        let text = concat!(
            r#"{"kind":"server","version":1,"record":{"created_at":"2026-11-24T03:00:00.000000Z","latest":{"revision":1,"at":"2026-11-24T03:00:00.000000Z","#,
            r#""caller":{"by":"ops","request":"request-1"},"change":"create","config":{"#,
            r#""spec":{"name":"prod","postgres":15,"pricing_tier":"","compute_generation":"","v_cores":0,"storage_bytes":0,"region":"","#,
            r#""zone":null,"high_availability":false,"retention":7,"redundancy":"local","tags":{}},"#,
            r#""schedule":{"snapshot_every":86400,"snapshot_at":"02:00","snapshot_jitter":3600,"skip_idle_snapshots":false,"#,
            r#""recovery_time_objective":null,"replay_bytes_per_second":50000000,"log_backup_every":300,"log_backup_bytes":16777216,"#,
            r#""verification_every":604800,"test_restore_every":null,"compaction_every":86400,"compaction_log_backups":256,"retry_min":10,"retry_max":3600,"#,
            r#""log_backup_retry_max":60,"run_timeout":86400,"log_backup_timeout":600},"#,
            r#""long_term":{"minimum_snapshots":1,"sparse":[],"release_grace":86400},"delete_grace":0,"kept_from":null,"holds":[],"locks":[],"#,
            r#""paused_at":null,"resumed_at":null,"snapshot_requested_at":null,"restores":[],"parameters":null,"deletion":null}},"incarnations":[]}}"#
        );
        assert_eq!(String::from_utf8(encode(&record()).unwrap()).unwrap(), text);
        let start = text.find(r#","schedule":"#).unwrap();
        let short = [&text[..start], &text[text.find("}},\"incarnations").unwrap()..]].concat();
        assert_eq!(decode(short.as_bytes()), Ok(record()));
    }

    #[test]
    fn the_records_of_changes_are_those_that_are_documented() {
        let creation = record().latest;
        let (at, config) = (creation.at, creation.config.clone());
        let caller = Caller::new("ops", "request-2".parse().unwrap());
        for (change, text) in [
            (Change::Pause, r#""pause""#),
            (
                Change::Configure(Box::new(ConfigUpdate::new().retention(RetentionDays::MAX))),
                r#"{"configure":{"retention":35}}"#,
            ),
            (
                Change::PlaceHold { snapshot: "daily".parse().unwrap(), name: "audit".to_owned(), until: None },
                r#"{"place_hold":{"snapshot":"daily","name":"audit","until":null}}"#,
            ),
            (
                Change::PlaceLock {
                    name: "own".parse().unwrap(),
                    kind: LockKind::CanNotDelete,
                    reason: "wages".to_owned(),
                },
                r#"{"place_lock":{"name":"own","kind":"CanNotDelete","reason":"wages"}}"#,
            ),
            (Change::RemoveLock { name: "own".parse().unwrap() }, r#"{"remove_lock":{"name":"own"}}"#),
            (Change::FinishDeletion, r#""finish_deletion""#),
        ] {
            let change = creation.next(at, caller.clone(), change, config.clone());
            let bytes = encode(&change).unwrap();
            let head = r#"{"kind":"change","version":1,"record":{"revision":2,"at":"2026-11-24T03:00:00.000000Z","caller":{"by":"ops","request":"request-2"},"#;
            assert!(
                String::from_utf8(bytes.clone()).unwrap().starts_with(&format!(r#"{head}"change":{text},"config":{{"#)),
                "{text}"
            );
            assert_eq!(decode(&bytes), Ok(change));
        }
        let bytes = encode(&Deletion::new(at, "ops")).unwrap();
        let text = r#"{"kind":"deletion","version":1,"record":{"at":"2026-11-24T03:00:00.000000Z","by":"ops","undo_until":null}}"#;
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
    }

    #[test]
    fn the_records_of_work_are_those_that_are_documented() {
        let (incarnation, worker) =
            ("7301234567890123456-18".parse().unwrap(), "20261124T081500Z-5e6f7081".parse().unwrap());
        let mut running = RunningSnapshot::new(incarnation, Some(3));
        running.builds_on.push("20261122T210907Z-1b2c3d4e".parse().unwrap());
        let lease = LeaseRecord::new(3, Some(worker));
        let renewal = Renewal::new("2026-11-24T03:00:00Z".parse().unwrap());
        let damaged = vec!["servers/prod/data/daily/pack-00000007".parse().unwrap()];
        let facts = TaskFacts::default().succeeded(TaskRun::new(renewal.at, renewal.at)).failed(renewal.at);
        let (tasks, rates) = (BTreeMap::from([(Task::Snapshot, facts)]), RestoreRates::default());
        let runs = RunLog { tasks, faults: 2, damaged, answered: Some(renewal.at), rates };
        let midnight: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
        let (until, at_end) = (midnight.saturating_add(Duration::from_micros(1)), Usage::from([7, 0, 0, 0]));
        let day = DayUsage { day: midnight, from: midnight, until, at_end, maximum: 7, average: 7 };
        let usage = UsageLog { days: vec![day] };
        let heartbeat = Heartbeat { beats: 17, ..Heartbeat::first(Duration::from_secs(60)) };
        for (bytes, kind, record) in [
            (
                encode(&running),
                "running snapshot",
                r#"{"incarnation":"7301234567890123456-18","builds_on":["20261122T210907Z-1b2c3d4e"],"token":3}"#,
            ),
            (encode(&lease), "lease", r#"{"token":3,"worker":"20261124T081500Z-5e6f7081"}"#),
            (
                encode(&runs),
                "run log",
                concat!(
                    r#"{"tasks":{"snapshot":{"last_success":{"started":"2026-11-24T03:00:00.000000Z","ended":"2026-11-24T03:00:00.000000Z"},"#,
                    r#""failures":1,"last_failure":"2026-11-24T03:00:00.000000Z","running_since":null}},"faults":2,"damaged":["servers/prod/data/daily/pack-00000007"],"answered":"2026-11-24T03:00:00.000000Z","#,
                    r#""rates":{"fetch_bytes_per_second":null,"replay_bytes_per_second":null}}"#
                ),
            ),
            (
                encode(&usage),
                "usage log",
                concat!(
                    r#"{"days":[{"day":"2026-11-24T00:00:00.000000Z","from":"2026-11-24T00:00:00.000000Z","until":"2026-11-24T00:00:00.000001Z","#,
                    r#""at_end":{"snapshots":7,"on_demand_snapshots":0,"logs":0,"histories":0},"maximum":7,"average":7}]}"#
                ),
            ),
            (encode(&renewal), "renewal", r#"{"at":"2026-11-24T03:00:00.000000Z"}"#),
            (encode(&heartbeat), "heartbeat", r#"{"beats":17,"lease_millis":60000,"ended":false}"#),
        ] {
            let text = format!(r#"{{"kind":"{kind}","version":1,"record":{record}}}"#);
            assert_eq!(String::from_utf8(bytes.unwrap()).unwrap(), text);
        }
        let text = encode(&RunningSnapshot::new(incarnation, None)).unwrap();
        assert_eq!(decode(&text), Ok(RunningSnapshot::new(incarnation, None)));
    }

    #[test]
    fn other_kinds_and_versions_are_told_apart() {
        let text = String::from_utf8(encode(&record()).unwrap()).unwrap();
        let newer = text.replace("\"version\":1", "\"version\":2");
        let error = decode::<ServerRecord>(newer.as_bytes()).unwrap_err();
        assert_eq!(error, RecordError::FutureVersion { kind: "server", version: 2 });
        let error = decode::<Snapshot>(text.as_bytes()).unwrap_err();
        assert_eq!(error, RecordError::Kind { kind: "snapshot", found: "server".to_owned() });
        for damaged in [&text[..text.len() - 1], &text.replace("\"retention\":7", "\"retention\":99"), ""] {
            let error = decode::<ServerRecord>(damaged.as_bytes()).unwrap_err();
            assert!(matches!(error, RecordError::Malformed { kind: "server", .. }), "{error}");
        }
    }
}
