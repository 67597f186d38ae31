//! Whatever is in a catalog: plans are whole and in order, windows tell what can be planned, and refusals offer what can be.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use pitr::model::{Catalog, Lsn, Timestamp};
use pitr::plan::{
    Objective, PlanError, Point, RestorePlan, RestoreRequest, SvgOptions, Target, explain_restore, plan_restore,
    recovery_window, timeline_svg,
};
use pitr_fuzz::{Artifacts, xid};

#[derive(Arbitrary, Debug)]
struct Input {
    artifacts: Artifacts,
    lsn: u64,
    xid: u8,
    objective: u8,
}

libfuzzer_sys::fuzz_target!(|input: Input| {
    let Some(catalog) = input.artifacts.catalog() else { return };
    let again = Catalog::new(catalog.artifacts()).expect("it was a catalog before");
    let objective = [Objective::RecoveryTime, Objective::Bytes, Objective::Artifacts][usize::from(input.objective % 3)];
    let targets = [
        Target::Earliest,
        Target::Latest,
        Target::Lsn(Lsn::new(input.lsn % (40 << 18))),
        Target::xid(xid(input.xid)),
        Target::just_before_xid(xid(input.xid)),
        Target::RestorePoint("one".to_owned()),
        Target::Snapshot("s0".parse().expect("an ID")),
    ];
    for branch in catalog.branches() {
        let request = |target: Target| {
            let request = RestoreRequest::new(target).of_incarnation(branch.incarnation).on_timeline(branch.timeline);
            request.for_objective(objective)
        };
        let window = recovery_window(&catalog, branch);
        let plan = |at: Timestamp| plan_restore(&catalog, &request(Target::time(at)));
        for at in input.artifacts.instants() {
            let planned = plan(at);
            assert_eq!(window.contains(at), planned.is_ok(), "{at}: {planned:?}, {window:?}");
            match &planned {
                Ok(plan) => check(plan),
                Err(refusal) => offered(refusal).for_each(|at| assert!(plan(at).is_ok(), "{refusal}")),
            }
            assert_eq!(planned, plan_restore(&again, &request(Target::time(at))));
        }
        for target in &targets {
            let planned = plan_restore(&catalog, &request(target.clone()));
            planned.iter().for_each(check);
            let drawn = planned.as_ref().map_or(SvgOptions::default(), |plan| SvgOptions::default().plan(plan));
            assert!(timeline_svg(&catalog, drawn).ends_with("</svg>"));
            if let Ok(explained) = explain_restore(&catalog, &request(target.clone())) {
                assert!(!explained.to_string().is_empty());
                assert_eq!(explained.outcome, planned);
            }
        }
    }
});

/// What is staged is one stretch of log, from a segment's start to the stop.
fn check(plan: &RestorePlan) {
    assert!(!plan.to_string().is_empty());
    let mut at = None;
    for log in plan.logs() {
        assert!(at.is_none_or(|at| at == log.needed.start), "{plan}");
        let held = log.backup.wal;
        assert!(held.timeline == log.needed.timeline && held.start <= log.needed.start && log.needed.end <= held.end);
        at = Some(log.needed.end);
    }
    assert!(at.is_none_or(|at| at >= plan.stop().end), "{plan}");
    assert!(plan.stop().end >= plan.snapshot().wal.end, "{plan}");
}

/// The instants that a refusal says can be restored.
fn offered(refusal: &PlanError) -> impl Iterator<Item = Timestamp> {
    let points = match refusal {
        PlanError::TooEarly { earliest, .. } => [Some(*earliest), None],
        PlanError::TooLate { latest, .. } => [Some(*latest), None],
        PlanError::InGap { previous, next, .. }
        | PlanError::InSnapshot { previous, next, .. }
        | PlanError::Unknown { previous, next, .. } => [*previous, *next],
        _ => [None, None],
    };
    points.into_iter().flatten().filter_map(|point| match point {
        Point::Time(at) => Some(at),
        _ => None,
    })
}
