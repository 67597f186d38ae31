//! The planner's model of recovery, held against what PostgreSQL really does, on an eventful history.
//!
//! Every plan for hundreds of requests is held against PostgreSQL's rules and the log as `pg_waldump` shows it. Some of each
//! kind are really restored. And what is refused is tried all the same, without pitr: PostgreSQL fails.

mod asked;
mod restored;
mod story;
mod truth;

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use pitr::model::{Lsn, Snapshot, TimelineId};
use pitr::plan::{Answer, Objective, PlanError, RecoveryTarget, RestorePlan, RestoreRequest, Target};

use self::asked::{requests, spread};
use self::restored::{really, refusals_are_right};
use self::story::{Story, play, timeline};
use self::truth::Past;
use super::stand::chain;

const OBJECTIVES: [Objective; 3] = [Objective::RecoveryTime, Objective::Bytes, Objective::Artifacts];
const RESTORES_AT_A_TIME: usize = 4;
/// The resolution of time.
const TICK: Duration = Duration::from_micros(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_15_does_what_every_plan_says() {
    let mut story = play(15).await;
    hold_all_against_the_rules(&mut story).await;
    let spread = spread(&story).into_iter().enumerate();
    let spread = spread.map(|(number, request)| request.for_objective(OBJECTIVES[number % 3])).collect();
    restore_all(&mut story, spread).await;
    refusals_are_right(&mut story).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_18_does_what_every_plan_says() {
    let mut story = play(18).await;
    hold_all_against_the_rules(&mut story).await;
    let spread = spread(&story).into_iter().step_by(4).collect();
    restore_all(&mut story, spread).await;
}

/// Really restores everything that is asked for, some at a time.
async fn restore_all(story: &mut Story, requests: Vec<RestoreRequest>) {
    let mut plans = Vec::new();
    for request in requests {
        let plan = story.plan(&request).await.unwrap_or_else(|error| panic!("{request:?}: {error}"));
        hold_against_the_rules(story, &plan);
        plans.push((plan, story.stand.place()));
    }
    let story = &*story;
    let restores = stream::iter(plans).map(|(plan, data)| really(story, plan, data));
    restores.buffer_unordered(RESTORES_AT_A_TIME).collect::<()>().await;
}

impl Story {
    async fn plan(&mut self, request: &RestoreRequest) -> Result<RestorePlan, PlanError> {
        let planned = self.stand.server.plan(&mut self.catalog, request).await;
        planned.unwrap_or_else(|error| panic!("{request:?}: {}", chain(&error)))
    }

    /// What PostgreSQL replays if it recovers to the target of `plan`, as `plan` says it to start: how many records of which
    /// past. If there is nothing to stop before, what is archived.
    fn replayed(&self, plan: &RestorePlan) -> (Arc<Past>, usize) {
        let (past, snapshot) = (self.past(plan.requested_timeline()), plan.snapshot());
        let meant = past.replayed(plan.target(), snapshot.wal.start, snapshot.wal.end);
        let archived = past.0.partition_point(|record| record.end_lsn <= plan.stop().end);
        (past, meant.unwrap_or(archived))
    }
}

async fn hold_all_against_the_rules(story: &mut Story) {
    let (mut planned, mut refused) = (0, 0);
    for timeline in [1, 2, 3].map(timeline) {
        for (number, target) in requests(story, timeline).into_iter().enumerate() {
            let request = RestoreRequest::new(target).on_timeline(timeline).for_objective(OBJECTIVES[number % 3]);
            match story.plan(&request).await {
                Ok(plan) => {
                    planned += 1;
                    hold_against_the_rules(story, &plan);
                }
                Err(error) => {
                    refused += 1;
                    assert_cannot_be_reached(story, &request, timeline, &error);
                }
            }
        }
    }
    assert!(planned > 300 && refused > 30, "{planned} plans, {refused} refusals");
}

/// Recovery ends where the plan says.
fn hold_against_the_rules(story: &Story, plan: &RestorePlan) {
    let (past, replayed) = story.replayed(plan);
    let (stop, next) = (plan.stop(), past.0.get(replayed));
    let why = || format!("{plan}\nnext: {next:?}, stop: {stop}");
    if let RecoveryTarget::Time { .. } = plan.recovery() {
        let first_after = next.unwrap_or_else(|| panic!("no commit to stop before\n{}", why()));
        assert!(stop.start < first_after.end_lsn && first_after.end_lsn <= stop.end, "{}", why());
        assert_eq!(plan.timeline(), first_after.timeline, "{}", why());
    } else {
        assert!(past.0[replayed - 1].end_lsn <= stop.end, "{}", why());
        assert!(next.is_none_or(|next| next.end_lsn > stop.end), "{}", why());
        assert_eq!(plan.timeline(), past.0[replayed - 1].timeline, "{}", why());
    }
    if *plan.target() == Target::Latest || matches!(plan.answer(), Answer::IdleTail { .. }) {
        assert!(past.0[replayed..].iter().all(|record| record.end().is_none()), "{}", why());
    }
    assert!(plan.snapshot().wal.end <= stop.end, "{}", why());
    let gap = story.hole;
    assert!(plan.logs().iter().all(|log| log.needed.end <= gap.start || gap.end <= log.needed.start), "{}", why());
}

/// No snapshot serves the target by PostgreSQL's rules.
fn assert_cannot_be_reached(story: &Story, request: &RestoreRequest, timeline: TimelineId, error: &PlanError) {
    let why = |snapshot: &Snapshot| format!("{request:?}: {error}\n{snapshot:?}");
    if let Target::Snapshot(id) = &request.target {
        let snapshot = story.snapshots.iter().find(|snapshot| snapshot.id == *id).unwrap();
        assert!(!is_on(story, snapshot, timeline), "{}", why(snapshot));
        return;
    }
    let past = story.past(timeline);
    for snapshot in story.snapshots.iter().filter(|snapshot| is_on(story, snapshot, timeline)) {
        let replayed = past.replayed(&request.target, snapshot.wal.start, snapshot.wal.end);
        let Some((replayed, next)) = replayed.and_then(|replayed| Some((replayed, past.0.get(replayed)?))) else {
            continue;
        };
        let (at_end, early) = match &request.target {
            Target::Time { at, inclusive, .. } => {
                let limit = if *inclusive { *at } else { at.saturating_sub(TICK) };
                (next.end_lsn, next.lsn < snapshot.wal.end || limit <= snapshot.consistent_at)
            }
            _ => {
                (past.0[replayed.max(1) - 1].end_lsn, replayed == 0 || past.0[replayed - 1].end_lsn < snapshot.wal.end)
            }
        };
        let first =
            Lsn::new(snapshot.wal.start.as_u64() / snapshot.segment_size.bytes() * snapshot.segment_size.bytes());
        let whole = story.hole.end <= first || at_end <= story.hole.start;
        assert!(early || !whole, "{}", why(snapshot));
    }
}

fn is_on(story: &Story, snapshot: &Snapshot, timeline: TimelineId) -> bool {
    story.histories[&timeline]
        .stretches()
        .any(|(number, _, end)| number == snapshot.wal.timeline && end.is_none_or(|end| snapshot.wal.end <= end))
}
