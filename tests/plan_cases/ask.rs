//! The questions of a case, and the answers that are expected.

use std::fmt::Debug;
use std::time::Duration;

use pitr::model::{Branch, Catalog, Incarnation, Lsn, TimelineId, Timestamp, Xid};
use pitr::plan::{
    Answer, CostModel, Objective, PlanError, Point, RecoveryTarget, RestorePlan, RestoreRequest, SnapshotChoice,
    Target, explain_restore, plan_restore, recovery_window,
};
use serde::Deserialize;

use crate::case::Case;
use crate::rows::{Read, first_life, life, shown, time};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    time: Option<String>,
    before: Option<String>,
    lsn: Option<Lsn>,
    xid: Option<Xid>,
    before_xid: Option<Xid>,
    restore_point: Option<String>,
    snapshot: Option<String>,
    end: Option<End>,
    timeline: Option<TimelineId>,
    system_id: Option<u64>,
    major: Option<u32>,
    #[serde(default)]
    objective: Objective,
    costs: Option<Costs>,
    deleted_at: Option<String>,
    /// The log backups, by their `wal`, of which the index is loaded before this is asked, and stays so.
    #[serde(default)]
    pub(crate) load: Vec<String>,
    /// The same, of which the transactions are read.
    #[serde(default)]
    pub(crate) load_transactions: Vec<String>,
    plan: Option<Plan>,
    /// The whole refusal, in which log backups have their `wal` for a name.
    refusal: Option<String>,
    /// Of which kind the answer is: `Exact`, `IdleTail`, or the name of the refusal.
    answer: Option<String>,
    /// The whole explanation of the plan.
    explained: Option<String>,
    /// What is told of every snapshot that was considered, in order.
    considered: Option<Vec<String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    Earliest,
    Latest,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Costs {
    fetch_bytes_per_second: u64,
    replay_bytes_per_second: u64,
    object_latency_ms: u64,
}

/// What is not given is not compared, where nothing else is said.
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
    /// The keys of all objects, in the order in which they are needed: manifests, log backups, histories.
    keys: Option<Vec<String>>,
    /// The history file to make, since none is stored: its lines that are not empty, without the tabs. Always compared.
    unstored_history: Option<Vec<String>>,
    idle_since: Option<String>,
    /// Always compared.
    idle_until: Option<String>,
    /// The newest snapshot that would do, if another one is better. Always compared.
    better_than: Option<String>,
    /// Always compared.
    unreachable_from: Option<String>,
    bytes: Option<u64>,
    objects: Option<u64>,
}

impl Ask {
    fn target(&self) -> Target {
        let snapshot = |id: &str| Target::Snapshot(id.parse().unwrap());
        let end = |end: End| match end {
            End::Earliest => Target::Earliest,
            End::Latest => Target::Latest,
        };
        let targets = [
            self.time.as_deref().map(|at| Target::time(time(at))),
            self.before.as_deref().map(|at| Target::just_before(time(at))),
            self.lsn.map(Target::Lsn),
            self.xid.map(Target::xid),
            self.before_xid.map(Target::just_before_xid),
            self.restore_point.clone().map(Target::RestorePoint),
            self.snapshot.as_deref().map(snapshot),
            self.end.map(end),
        ];
        let mut asked = targets.into_iter().flatten();
        let target = asked.next().expect("every case asks something");
        assert_eq!(asked.next(), None, "one thing at a time");
        target
    }

    pub(crate) fn request(&self) -> RestoreRequest {
        let mut request = RestoreRequest::new(self.target()).for_objective(self.objective);
        if let Some(timeline) = self.timeline {
            request = request.on_timeline(timeline);
        }
        if let Some(incarnation) = self.incarnation() {
            request = request.of_incarnation(incarnation);
        }
        if let Some(costs) = self.costs {
            request = request.with_costs(costs.model());
        }
        if let Some(deleted_at) = &self.deleted_at {
            request = request.of_server_deleted_at(time(deleted_at));
        }
        request
    }

    fn incarnation(&self) -> Option<Incarnation> {
        let first = first_life();
        let asked = self.system_id.is_some() || self.major.is_some();
        let (system_id, major) = (first.system_id.as_u64(), first.major.as_u32());
        asked.then(|| life(self.system_id.unwrap_or(system_id), self.major.unwrap_or(major)))
    }

    pub(crate) fn check(&self, case: &Case, catalog: &Catalog) {
        let request = self.request();
        let asked = format!("{} {:?}", request.target, request.timeline);
        let outcome = plan_restore(catalog, &request);
        match (&outcome, &self.plan, &self.refusal) {
            (Ok(plan), Some(expected), None) => {
                assert_eq!((plan.target(), plan.objective()), (&request.target, request.objective));
                expected.check(plan, &asked);
            }
            (Err(error), None, Some(expected)) => {
                assert_eq!(case.with_short_names(&error.to_string()), *expected, "{asked}: {error:?}");
            }
            (Err(_), None, None) | (Ok(_), None, None) if self.answer.is_some() => {}
            (Ok(plan), ..) => panic!("{asked} was to be refused: {plan}"),
            (Err(error), ..) => panic!("{asked} was to be planned: {error}"),
        }
        same(self.answer.as_ref(), &kind(&outcome), "kind of answer", &asked);
        if let Some(explained) = &self.explained {
            let plan = outcome.as_ref().expect("only a plan explains itself");
            assert_eq!(plan.to_string().trim(), explained.trim(), "{asked}");
        }
        self.check_explanation(case, catalog, &request, &outcome);
        self.check_window(catalog, &request, &outcome);
        check_neighbours(catalog, &request, &outcome);
    }

    /// What explains the outcome tells the same outcome.
    fn check_explanation(
        &self,
        case: &Case,
        catalog: &Catalog,
        request: &RestoreRequest,
        outcome: &Result<RestorePlan, PlanError>,
    ) {
        let explanation = match explain_restore(catalog, request) {
            Ok(explanation) => explanation,
            Err(error) => {
                assert_eq!(self.considered, None, "there is no explanation: {error}");
                return assert_eq!(Err(error), *outcome);
            }
        };
        assert_eq!(explanation.outcome, *outcome);
        let text = case.with_short_names(&explanation.to_string());
        let heading = match request.objective {
            Objective::Bytes => "considered, for the fewest bytes to fetch:",
            Objective::Artifacts => "considered, for the fewest objects to fetch:",
            _ => "considered, for the fastest recovery:",
        };
        let lines = text.lines().skip_while(|&line| line != heading).skip(1);
        let told: Vec<String> = lines.map(|line| line.trim_start().to_owned()).collect();
        same(self.considered.as_ref(), &told, "considered", &request.target.to_string());
    }

    /// An instant is in the window if and only if it has a plan.
    fn check_window(&self, catalog: &Catalog, request: &RestoreRequest, outcome: &Result<RestorePlan, PlanError>) {
        let Target::Time { at, inclusive: true, .. } = request.target else { return };
        let (None, Some(current)) = (request.deleted_at, catalog.current()) else { return };
        let incarnation = request.incarnation.unwrap_or(current.incarnation);
        let Some(timeline) = self.timeline.or_else(|| catalog.current_timeline(incarnation)) else { return };
        let window = recovery_window(catalog, Branch::new(incarnation, timeline));
        assert_eq!(window.contains(at), outcome.is_ok(), "{at} and the window {:?}", window.intervals);
    }
}

impl Costs {
    fn model(self) -> CostModel {
        let mut model = CostModel::default();
        model.fetch_bytes_per_second = self.fetch_bytes_per_second;
        model.replay_bytes_per_second = self.replay_bytes_per_second;
        model.object_latency = Duration::from_millis(self.object_latency_ms);
        model
    }
}

/// The points that a refusal offers can be restored if they are asked for in the same way, and so can the branches.
fn check_neighbours(catalog: &Catalog, request: &RestoreRequest, outcome: &Result<RestorePlan, PlanError>) {
    let Err(refusal) = outcome else { return };
    let points: Vec<Point> = match refusal {
        PlanError::TooEarly { earliest, .. } => vec![*earliest],
        PlanError::TooLate { latest, .. } => vec![*latest],
        PlanError::InGap { previous, next, .. }
        | PlanError::InSnapshot { previous, next, .. }
        | PlanError::Unknown { previous, next, .. } => previous.iter().chain(next).copied().collect(),
        PlanError::AfterDeletion { latest, .. } => latest.iter().copied().collect(),
        _ => Vec::new(),
    };
    for point in points {
        let mut request = request.clone();
        request.target = match (point, &request.target) {
            (Point::Time(at), Target::Time { inclusive: false, .. }) => Target::just_before(at),
            (Point::Time(at), _) => Target::time(at),
            (Point::Lsn(lsn), _) => Target::Lsn(lsn),
            _ => panic!("a point of a new kind: {point}"),
        };
        let planned = plan_restore(catalog, &request);
        assert!(planned.is_ok(), "{point} is offered and refused: {planned:?}");
    }
    if let PlanError::WrongBranch { candidates, .. } = refusal {
        for candidate in candidates {
            let request = request.clone().of_incarnation(candidate.incarnation).on_timeline(candidate.timeline);
            let planned = plan_restore(catalog, &request);
            assert!(planned.is_ok(), "{candidate} is offered and refuses: {planned:?}");
        }
    }
}

/// The name of the answer or refusal.
fn kind(outcome: &Result<RestorePlan, PlanError>) -> String {
    let shown = match outcome {
        Ok(plan) => format!("{:?}", plan.answer()),
        Err(refusal) => format!("{refusal:?}"),
    };
    shown.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
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
        self.check_histories(plan, asked);
        self.check_idle(plan, asked);
        let better_than = match plan.choice() {
            SnapshotChoice::Better { than, .. } => Some(than.to_string()),
            _ => None,
        };
        assert_eq!(better_than, self.better_than, "better than, for {asked}");
        assert_eq!(plan.unreachable_from().map(shown), self.unreachable_from, "unreachable, for {asked}");
        same(self.bytes.as_ref(), &plan.cost().bytes_to_fetch, "bytes", asked);
        same(self.objects.as_ref(), &plan.cost().objects, "objects", asked);
    }

    fn check_histories(&self, plan: &RestorePlan, asked: &str) {
        let histories: Vec<_> = plan.histories().iter().map(|history| history.key.to_string()).collect();
        same(self.histories.as_ref(), &histories, "histories", asked);
        let history = plan.unstored_history().map(|history| pitr::format::history::print(history).replace('\t', " "));
        let lines = |file: String| file.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(history.map(lines), self.unstored_history, "history to make, for {asked}");
        let manifests = plan.snapshots().iter().map(|snapshot| snapshot.manifest.key.to_string());
        let logs = plan.logs().iter().map(|log| log.backup.key().to_string());
        same(self.keys.as_ref(), &manifests.chain(logs).chain(histories).collect(), "keys", asked);
    }

    fn check_idle(&self, plan: &RestorePlan, asked: &str) {
        let (since, until): (Option<Timestamp>, _) = match plan.answer() {
            Answer::IdleTail { last_commit, archived_until, .. } => (last_commit, Some(archived_until)),
            _ => (None, None),
        };
        assert_eq!(until, self.idle_until.as_deref().map(time), "idle until, for {asked}");
        same(self.idle_since.as_deref().map(time).map(Some).as_ref(), &since, "idle since", asked);
    }
}

fn same<T: PartialEq + Debug>(expected: Option<&T>, actual: &T, what: &str, asked: &str) {
    if let Some(expected) = expected {
        assert_eq!(actual, expected, "{what} for {asked}");
    }
}

impl Ask {
    /// What is to be loaded before this is asked.
    pub(crate) fn loads(&self) -> impl Iterator<Item = (&str, Read)> {
        let indexes = self.load.iter().map(|wal| (wal.as_str(), Read::Index));
        indexes.chain(self.load_transactions.iter().map(|wal| (wal.as_str(), Read::Transactions)))
    }
}
