//! What is asked of a case, and what is to come of it.

use std::time::Duration;

use pitr::model::{Branch, Catalog, Hold, Lsn, ObjectKey, Period, RetentionDays, SnapshotId, TimelineId};
use pitr::plan::retention::{
    Protections, RetentionPlan, RetentionPolicy, RunningSnapshot, plan_retention, retention_change,
};
use pitr::plan::{RestoreRequest, Target, plan_restore};
use serde::Deserialize;

use crate::rows::{life, time};

/// What is not given is not compared, except for snapshots.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    now: String,
    #[serde(default = "seven")]
    days: u8,
    #[serde(default)]
    minimum: u32,
    #[serde(default)]
    sparse: Vec<(Period, u32)>,
    grace_hours: Option<u64>,
    #[serde(default)]
    hold: Vec<HoldRow>,
    #[serde(default)]
    lease: Vec<LeaseRow>,
    #[serde(default)]
    running: Vec<RunningRow>,

    /// Whether the next question is asked of what is left when this one's answer was obeyed.
    #[serde(default)]
    obeyed: bool,
    window_start: Option<String>,
    #[serde(default)]
    kept: Vec<String>,
    #[serde(default)]
    expired: Vec<String>,
    logs_kept: Option<Vec<String>>,
    logs_expired: Option<Vec<String>>,
    histories_kept: Option<Vec<String>>,
    histories_expired: Option<Vec<String>>,
    freed_bytes: Option<u64>,
    /// The whole explanation.
    explained: Option<String>,
    /// Instants that can be restored before and after.
    #[serde(default)]
    restorable: Vec<String>,
    /// Instants that can be restored before, but are given up.
    #[serde(default)]
    given_up: Vec<String>,
    change: Option<Change>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldRow {
    snapshot: String,
    name: String,
    until: Option<String>,
    released_at: Option<String>,
}

/// A lease on what it takes to restore this instant, planned on the catalog as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaseRow {
    holder: String,
    time: String,
    until: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RunningRow {
    timeline: TimelineId,
    start: Lsn,
    parent: Option<String>,
}

/// What comes of another number of days.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    days: u8,
    newly_expired_snapshots: Vec<String>,
    newly_kept_snapshots: Vec<String>,
    newly_freed_bytes: u64,
    earliest_before: String,
    earliest_after: String,
    promised_from: String,
}

const fn seven() -> u8 {
    7
}

fn policy(days: u8) -> RetentionPolicy {
    RetentionPolicy::new(RetentionDays::new(days).unwrap())
}

fn id(text: &str) -> SnapshotId {
    text.parse().unwrap()
}

impl Expected {
    fn policy(&self) -> RetentionPolicy {
        let mut policy = policy(self.days).with_minimum_snapshots(self.minimum);
        if let Some(hours) = self.grace_hours {
            policy = policy.with_release_grace(Duration::from_secs(hours * 3600));
        }
        self.sparse.iter().fold(policy, |policy, &(every, count)| policy.with_sparse(every, count))
    }

    fn protections(&self, catalog: &Catalog) -> Protections {
        let mut protections = Protections::none();
        for HoldRow { snapshot, name, until, released_at } in &self.hold {
            let mut hold = Hold::new(id(snapshot), name);
            hold.until = until.as_deref().map(time);
            hold.released_at = released_at.as_deref().map(time);
            protections = protections.with_hold(hold);
        }
        for LeaseRow { holder, time: at, until } in &self.lease {
            let plan = plan_restore(catalog, &Target::time(time(at)).into()).unwrap();
            protections = protections.with_lease(plan.lease(holder, time(until)));
        }
        for RunningRow { timeline, start, parent } in &self.running {
            let branch = Branch::new(life(7), *timeline);
            protections = protections.with_running(RunningSnapshot::new(branch, *start, parent.as_deref().map(id)));
        }
        protections
    }

    /// Gives the catalog that the next question is asked of.
    pub(crate) fn check(&self, catalog: &Catalog) -> Catalog {
        let (policy, protections, now) = (self.policy(), self.protections(catalog), time(&self.now));
        let plan = plan_retention(catalog, &policy, &protections, now);
        self.compare(&plan);
        assert_eq!(plan.check(catalog), Ok(()), "{plan}");
        assert_eq!(plan.is_empty(), plan.expired().next().is_none(), "{plan}");
        let all: u64 = catalog.artifacts().map(|artifact| artifact.stored_bytes()).sum();
        assert_eq!(plan.kept_bytes() + plan.freed_bytes(), all, "{plan}");
        let remaining = plan.remaining(catalog).unwrap();
        let restorable = |catalog: &Catalog, at: &str| {
            let everywhere = catalog.branches().map(|branch| {
                let request = RestoreRequest::new(Target::time(time(at)));
                request.of_incarnation(branch.incarnation).on_timeline(branch.timeline)
            });
            everywhere.map(|request| plan_restore(catalog, &request)).filter_map(Result::ok).map(|p| p.stop()).collect()
        };
        for at in &self.restorable {
            let before: Vec<_> = restorable(catalog, at);
            assert!(!before.is_empty(), "{at} cannot be restored");
            assert_eq!(restorable(&remaining, at), before, "{at} can be restored no more");
        }
        for at in &self.given_up {
            assert!(!restorable(catalog, at).is_empty(), "{at} cannot be restored");
            assert!(restorable(&remaining, at).is_empty(), "{at} can still be restored");
        }
        if let Some(change) = &self.change {
            change.check(catalog, &policy, &protections, self);
        }
        if self.obeyed { remaining } else { catalog.clone() }
    }

    fn compare(&self, plan: &RetentionPlan) {
        let kept = plan.kept_snapshots.iter().map(|kept| (kept.id.to_string(), kept.reason.to_string()));
        let expired = plan.expired_snapshots.iter().map(|e| (e.snapshot.id.to_string(), e.reason.to_string()));
        assert_eq!(runs(kept.collect()), self.kept, "snapshots that are kept: {plan}");
        assert_eq!(runs(expired.collect()), self.expired, "snapshots that expire: {plan}");
        let logs = plan.kept_logs.iter().map(|kept| {
            let timeline = kept.branch.timeline;
            format!("{timeline}: {}..{} ({}): {}", kept.start, kept.end, kept.count, kept.reason)
        });
        same(self.logs_kept.as_ref(), logs.collect(), "log that is kept", plan);
        let logs = plan.expired_logs.iter();
        let logs = logs.map(|expired| format!("{} ({}): {}", expired.branch, expired.logs.len(), expired.reason));
        same(self.logs_expired.as_ref(), logs.collect(), "log that expires", plan);
        let histories = plan.kept_histories.iter().map(|kept| format!("{}: {}", kept.object.key, kept.reason));
        same(self.histories_kept.as_ref(), histories.collect(), "histories that are kept", plan);
        let histories = plan.expired_histories.iter();
        let histories = histories.map(|expired| format!("{}: {}", expired.history.object.key, expired.reason));
        same(self.histories_expired.as_ref(), histories.collect(), "histories that expire", plan);
        if let Some(window_start) = &self.window_start {
            assert_eq!(plan.window_start(), Some(time(window_start)), "{plan}");
        }
        if let Some(explained) = &self.explained {
            assert_eq!(plan.to_string().trim(), explained.trim());
        }
        if let Some(freed_bytes) = self.freed_bytes {
            assert_eq!(plan.freed_bytes(), freed_bytes, "{plan}");
        }
    }
}

impl Change {
    fn check(&self, catalog: &Catalog, old: &RetentionPolicy, protections: &Protections, asked: &Expected) {
        let change = retention_change(catalog, old, &policy(self.days), protections, time(&asked.now));
        let snapshots = |keys: &[ObjectKey]| -> Vec<String> {
            let ids = keys.iter().filter_map(|key| key.as_str().strip_prefix("snapshots/"));
            ids.map(str::to_owned).collect()
        };
        assert_eq!(snapshots(&change.newly_expired), self.newly_expired_snapshots);
        assert_eq!(snapshots(&change.newly_kept), self.newly_kept_snapshots);
        assert_eq!(change.newly_freed_bytes, self.newly_freed_bytes);
        assert_eq!(change.earliest_before, Some(time(&self.earliest_before)));
        assert_eq!(change.earliest_after, Some(time(&self.earliest_after)));
        assert_eq!(change.promised_from, Some(time(&self.promised_from)));
    }
}

fn runs(mut reasons: Vec<(String, String)>) -> Vec<String> {
    reasons.sort();
    let runs = reasons.chunk_by(|(_, one), (_, other)| one == other);
    let told = runs.map(|run| match run {
        [(id, reason)] => format!("{id}: {reason}"),
        [(first, reason), .., (last, _)] => format!("{first}..{last}: {reason}"),
        [] => String::new(),
    });
    told.collect()
}

fn same(expected: Option<&Vec<String>>, actual: Vec<String>, what: &str, plan: &RetentionPlan) {
    if let Some(expected) = expected {
        assert_eq!(&actual, expected, "{what}: {plan}");
    }
}
