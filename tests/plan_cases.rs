//! Readable planning cases: each file of `testdata/plans` is a catalog, and what is to come of asking it.
//!
//! A time without a date is of 15 August 2026, UTC; a range such as `1: 0/100000..0/200000` begins with its timeline.
#![allow(clippy::unwrap_used, reason = "a case that is not well-formed fails the test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use pitr::model::{
    Artifact, Branch, Catalog, CommitIndex, Incarnation, IndexedCommit, LogBackup, Lsn, PostgresMajor, SegmentSize,
    Snapshot, SnapshotKind, StoredHistory, StoredObject, SystemId, TimelineHistory, TimelineId, TimelineSwitch,
    Timestamp, WalRange,
};
use pitr::plan::{
    Answer, Objective, PlanError, RecoveryTarget, RestorePlan, RestoreRequest, SnapshotChoice, Target, plan_restore,
    recovery_window,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What the case shows.
    about: String,
    #[serde(default)]
    snapshot: Vec<SnapshotRow>,
    #[serde(default)]
    log: Vec<LogRow>,
    #[serde(default)]
    series: Vec<SeriesRow>,
    #[serde(default)]
    history: Vec<HistoryRow>,
    /// Why the catalog itself is refused.
    catalog_error: Option<String>,
    /// The recovery window of each timeline: pairs of first and last instants.
    #[serde(default)]
    window: BTreeMap<TimelineId, Vec<[String; 2]>>,
    #[serde(default)]
    unusable: BTreeMap<String, String>,
    #[serde(default)]
    ask: Vec<Ask>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SnapshotRow {
    id: String,
    wal: String,
    consistent_at: String,
    parent: Option<String>,
    #[serde(default)]
    stored_bytes: u64,
    #[serde(default = "first_life")]
    system_id: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogRow {
    wal: String,
    max_commit: Option<String>,
    complete_through: Option<String>,
    #[serde(default)]
    index: Vec<(Lsn, String)>,
    #[serde(default = "first_life")]
    system_id: u64,
}

/// Log backups of one MiB each on timeline 1, one after the other in log and time. Each ends with a commit in the last
/// second of its time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeriesRow {
    start: Lsn,
    begins: Timestamp,
    every_seconds: u64,
    count: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryRow {
    timeline: TimelineId,
    ancestors: Vec<(TimelineId, Lsn)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    time: Option<String>,
    before: Option<String>,
    lsn: Option<Lsn>,
    snapshot: Option<String>,
    /// `earliest` or `latest`.
    end: Option<String>,
    timeline: Option<TimelineId>,
    system_id: Option<u64>,
    #[serde(default)]
    objective: Objective,
    plan: Option<Plan>,
    refusal: Option<String>,
    /// The whole explanation.
    explained: Option<String>,
}

/// What is not given is not compared.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    snapshots: Vec<String>,
    logs: Option<Vec<String>>,
    log_count: Option<usize>,
    /// `time` or `end of wal`.
    recovery: String,
    stop: Option<String>,
    timeline: Option<TimelineId>,
    histories: Option<Vec<String>>,
    /// The history file to make, since none is stored: its lines that are not empty, without the tabs.
    unstored_history: Option<Vec<String>>,
    idle_since: Option<String>,
    idle_until: Option<String>,
    faster_than: Option<String>,
    unreachable_from: Option<String>,
}

fn first_life() -> u64 {
    7
}

fn life(system_id: u64) -> Incarnation {
    Incarnation::new(SystemId::new(system_id), PostgresMajor::MIN)
}

fn time(text: &str) -> Timestamp {
    let full = if text.contains('T') { text.to_owned() } else { format!("2026-08-15T{text}Z") };
    full.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn wal(text: &str) -> WalRange {
    let (timeline, range) = text.split_once(": ").unwrap_or_else(|| panic!("{text} has no timeline"));
    let (start, end) = range.split_once("..").unwrap_or_else(|| panic!("{text} has no end"));
    WalRange::new(timeline.parse().unwrap(), start.parse().unwrap(), end.parse().unwrap()).unwrap()
}

fn shown(wal: WalRange) -> String {
    format!("{}: {}..{}", wal.timeline, wal.start, wal.end)
}

fn object(key: String, bytes: u64) -> StoredObject {
    StoredObject::new(key.parse().unwrap(), bytes)
}

impl SnapshotRow {
    fn artifact(&self) -> Artifact {
        let manifest = object(format!("snapshots/{}", self.id), 0);
        let (id, at) = (self.id.parse().unwrap(), time(&self.consistent_at));
        let life = life(self.system_id);
        let mut snapshot = Snapshot::full(id, life, wal(&self.wal), SegmentSize::MIN, at, manifest);
        snapshot.stored_bytes = self.stored_bytes;
        if let Some(parent) = &self.parent {
            snapshot.kind = SnapshotKind::Incremental { parent: parent.parse().unwrap() };
        }
        snapshot.into()
    }
}

impl LogRow {
    /// The number keeps the names of overlapping log backups apart.
    fn artifact(&self, number: usize) -> Artifact {
        let wal = wal(&self.wal);
        let directory = format!("log/{number}").parse().unwrap();
        let mut backup = LogBackup::new(life(self.system_id), wal, directory, wal.bytes());
        backup.max_commit_time = self.max_commit.as_deref().map(time);
        backup.complete_through = self.complete_through.as_deref().map(time);
        let mut index = CommitIndex::default();
        index.commits = self.index.iter().map(|(lsn, at)| IndexedCommit::new(*lsn, time(at))).collect();
        backup.index = (!self.index.is_empty()).then(|| Arc::new(index));
        backup.into()
    }
}

impl SeriesRow {
    fn artifacts(&self) -> impl Iterator<Item = Artifact> {
        const MIB: u64 = 1 << 20;
        (0..self.count).map(|number| {
            let start = self.start.saturating_add(number * MIB);
            let wal = WalRange::new(TimelineId::FIRST, start, start.saturating_add(MIB)).unwrap();
            let mut backup = LogBackup::new(life(first_life()), wal, "log/series".parse().unwrap(), MIB);
            let end = std::time::Duration::from_secs(self.every_seconds * (number + 1));
            backup.complete_through = Some(self.begins.saturating_add(end));
            backup.max_commit_time =
                Some(self.begins.saturating_add(end).saturating_sub(std::time::Duration::from_secs(1)));
            backup.into()
        })
    }
}

impl HistoryRow {
    fn artifact(&self) -> Artifact {
        let switch = |&(timeline, lsn): &(TimelineId, Lsn)| TimelineSwitch::new(timeline, lsn, "promoted");
        let history = TimelineHistory::new(self.timeline, self.ancestors.iter().map(switch).collect()).unwrap();
        StoredHistory::new(life(first_life()), history, object(format!("history/{}", self.timeline), 64)).into()
    }
}

impl Case {
    fn artifacts(&self) -> Vec<Artifact> {
        let snapshots = self.snapshot.iter().map(SnapshotRow::artifact);
        let logs = self.log.iter().enumerate().map(|(number, log)| log.artifact(number));
        let series = self.series.iter().flat_map(SeriesRow::artifacts);
        snapshots.chain(logs).chain(series).chain(self.history.iter().map(HistoryRow::artifact)).collect()
    }

    fn check(&self) {
        let catalog = match (Catalog::new(self.artifacts()), &self.catalog_error) {
            (Ok(catalog), None) => catalog,
            (Err(error), Some(expected)) => return assert_eq!(error.to_string(), *expected),
            (result, expected) => panic!("expected {expected:?}, got {result:?}"),
        };
        for (id, reason) in &self.unusable {
            assert_eq!(catalog.unusable(&id.parse().unwrap()).map(ToString::to_string).as_ref(), Some(reason), "{id}");
        }
        for (&timeline, expected) in &self.window {
            let window = recovery_window(&catalog, Branch::new(life(first_life()), timeline));
            let intervals: Vec<_> = window.intervals.iter().map(|i| [i.from, i.until]).collect();
            let expected: Vec<_> = expected.iter().map(|[from, until]| [time(from), time(until)]).collect();
            assert_eq!(intervals, expected, "the window of timeline {timeline}");
        }
        self.ask.iter().for_each(|ask| ask.check(&catalog));
    }
}

impl Ask {
    fn request(&self) -> RestoreRequest {
        let target = [
            self.time.as_deref().map(|at| Target::time(time(at))),
            self.before.as_deref().map(|at| Target::just_before(time(at))),
            self.lsn.map(Target::Lsn),
            self.snapshot.as_deref().map(|id| Target::Snapshot(id.parse().unwrap())),
            self.end.as_deref().map(|end| if end == "earliest" { Target::Earliest } else { Target::Latest }),
        ];
        let mut request = RestoreRequest::new(target.into_iter().flatten().next().expect("every case asks something"))
            .for_objective(self.objective);
        if let Some(timeline) = self.timeline {
            request = request.on_timeline(timeline);
        }
        if let Some(system_id) = self.system_id {
            request = request.of_incarnation(life(system_id));
        }
        request
    }

    fn check(&self, catalog: &Catalog) {
        let request = self.request();
        let asked = format!("{} {:?}", request.target, request.timeline);
        match (plan_restore(catalog, &request), &self.plan, &self.refusal) {
            (Ok(plan), Some(expected), None) => {
                expected.check(&plan, &asked);
                if let Some(explained) = &self.explained {
                    assert_eq!(plan.to_string().trim(), explained.trim(), "{asked}");
                }
            }
            (Err(error), None, Some(expected)) => assert_eq!(error.to_string(), *expected, "{asked}: {error:?}"),
            (Ok(plan), ..) => panic!("{asked} was to be refused: {plan}"),
            (Err(error), ..) => panic!("{asked} was to be planned: {error}"),
        }
    }
}

impl Plan {
    fn check(&self, plan: &RestorePlan, asked: &str) {
        let snapshots: Vec<_> = plan.snapshots().iter().map(|snapshot| snapshot.id.to_string()).collect();
        assert_eq!(snapshots, self.snapshots, "snapshots for {asked}: {plan}");
        let logs: Vec<_> = plan.logs().iter().map(|log| shown(log.needed)).collect();
        same(self.logs.as_ref(), &logs, "logs", asked);
        same(self.log_count.as_ref(), &logs.len(), "number of logs", asked);
        let recovery = match plan.recovery() {
            RecoveryTarget::Time { .. } => "time",
            RecoveryTarget::EndOfWal => "end of wal",
            _ => "unknown",
        };
        assert_eq!(recovery, self.recovery, "recovery for {asked}: {plan}");
        same(self.stop.as_ref(), &shown(plan.stop()), "stop", asked);
        same(self.timeline.as_ref(), &plan.timeline(), "timeline", asked);
        let histories: Vec<_> = plan.histories().iter().map(|history| history.key.to_string()).collect();
        same(self.histories.as_ref(), &histories, "histories", asked);
        let history = plan.unstored_history().map(|history| pitr::format::history::print(history).replace('\t', " "));
        let lines = |file: String| file.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(history.map(lines), self.unstored_history, "history to make, for {asked}");
        let (since, until) = match plan.answer() {
            Answer::IdleTail { last_commit, archived_until, .. } => (last_commit, Some(archived_until)),
            _ => (None, None),
        };
        assert_eq!(until, self.idle_until.as_deref().map(time), "idle until, for {asked}");
        same(self.idle_since.as_deref().map(time).map(Some).as_ref(), &since, "idle since", asked);
        let faster_than = match plan.choice() {
            SnapshotChoice::Better { than, .. } => Some(than.to_string()),
            _ => None,
        };
        assert_eq!(faster_than, self.faster_than, "faster than, for {asked}");
        assert_eq!(plan.unreachable_from().map(shown), self.unreachable_from, "unreachable, for {asked}");
    }
}

fn same<T: PartialEq + std::fmt::Debug>(expected: Option<&T>, actual: &T, what: &str, asked: &str) {
    if let Some(expected) = expected {
        assert_eq!(actual, expected, "{what} for {asked}");
    }
}

#[test]
fn every_case_comes_out_as_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/plans");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 25, "only {} cases", paths.len());
    let mut failed = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let case = read(&path);
        println!("{name}: {}", case.about);
        if std::panic::catch_unwind(|| case.check()).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

fn read(path: &Path) -> Case {
    let text = std::fs::read_to_string(path).unwrap();
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_refusal_is_a_value() {
    let empty = Catalog::new([]).unwrap();
    let refusal = plan_restore(&empty, &Target::Latest.into()).unwrap_err();
    assert_eq!(refusal, PlanError::NothingToRestore { snapshots: 0 });
}
