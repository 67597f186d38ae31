//! Planners that are wrong: what finds nothing wrong with one of them would find nothing at all.

use std::time::Duration;

use pitr::model::{Artifact, Catalog};
use pitr::plan::{Objective, PlanError, RestorePlan, RestoreRequest, Target, plan_restore};

use crate::case::Planner;
use crate::history::{About, check, of_seed};

/// Each with what it does wrong.
pub(crate) const WRONG: [(&str, Planner); 9] = [
    ("stops a second later", later),
    ("takes exclusive for inclusive", inclusive),
    ("forgets an objective", any_way),
    ("forgets the newest snapshot", older),
    ("forgets a log backup", forgetful),
    ("believes that a log backup holds what follows it", believing),
    ("knows of no commit", blind),
    ("believes all clocks", trusting),
    ("refuses", refusing),
];

/// Whether one of so many histories gives the planner away.
pub(crate) fn is_found_out(planner: Planner, histories: u64) -> bool {
    (0..histories).any(|seed| {
        let (steps, questions) = of_seed(seed, planner, About::Plans);
        check(&steps, &questions).is_err()
    })
}

type Planned = Result<RestorePlan, PlanError>;

fn later(catalog: &Catalog, request: &RestoreRequest) -> Planned {
    let mut request = request.clone();
    if let Target::Time { at, .. } = &mut request.target {
        *at = at.saturating_add(Duration::from_secs(1));
    }
    plan_restore(catalog, &request)
}

fn inclusive(catalog: &Catalog, request: &RestoreRequest) -> Planned {
    let mut request = request.clone();
    match &mut request.target {
        Target::Time { inclusive, .. } | Target::Xid { inclusive, .. } => *inclusive = true,
        _ => {}
    }
    plan_restore(catalog, &request)
}

fn any_way(catalog: &Catalog, request: &RestoreRequest) -> Planned {
    let other = match request.objective {
        Objective::RecoveryTime => Objective::Artifacts,
        _ => Objective::RecoveryTime,
    };
    plan_restore(catalog, &request.clone().for_objective(other))
}

fn older(catalog: &Catalog, request: &RestoreRequest) -> Planned {
    let newest = catalog.snapshots().max_by_key(|snapshot| snapshot.wal.end).map(|snapshot| snapshot.id.clone());
    changed(catalog, request, |artifact| match artifact {
        Artifact::Snapshot(snapshot) if Some(&snapshot.id) == newest.as_ref() => None,
        other => Some(other),
    })
}

fn forgetful(catalog: &Catalog, request: &RestoreRequest) -> Planned {
    let mut first = true;
    changed(catalog, request, |artifact| match artifact {
        Artifact::Log(_) if std::mem::take(&mut first) => None,
        other => Some(other),
    })
}

fn believing(catalog: &Catalog, request: &RestoreRequest) -> Planned {
    let mut ends: Vec<_> = catalog.branches().flat_map(|branch| catalog.logs(branch)).map(|log| log.end()).collect();
    ends.sort_unstable();
    changed(catalog, request, |artifact| match artifact {
        Artifact::Log(mut log) => {
            log.wal.end = ends.iter().copied().find(|end| *end > log.wal.end).unwrap_or(log.wal.end);
            Some(log.into())
        }
        other => Some(other),
    })
}

fn blind(catalog: &Catalog, request: &RestoreRequest) -> Planned {
    changed(catalog, request, |artifact| match artifact {
        Artifact::Log(mut log) => {
            (log.max_commit_time, log.index) = (None, None);
            Some(log.into())
        }
        other => Some(other),
    })
}

fn trusting(catalog: &Catalog, request: &RestoreRequest) -> Planned {
    changed(catalog, request, |artifact| match artifact {
        Artifact::Snapshot(mut snapshot) => {
            snapshot.role = pitr::model::ServerRole::Primary;
            Some((*snapshot).into())
        }
        other => Some(other),
    })
}

fn refusing(_: &Catalog, _: &RestoreRequest) -> Planned {
    Err(PlanError::NothingToRestore { snapshots: 0 })
}

/// Plans for another catalog.
fn changed(catalog: &Catalog, request: &RestoreRequest, change: impl FnMut(Artifact) -> Option<Artifact>) -> Planned {
    let snapshots = catalog.snapshots().cloned().map(Artifact::from);
    let logs = catalog.branches().flat_map(|branch| catalog.logs(branch)).map(|log| log.to_backup().into());
    let histories = catalog.branches().filter_map(|branch| {
        let (history, object) = (catalog.history(branch)?.clone(), catalog.history_object(branch)?.clone());
        Some(pitr::model::StoredHistory::new(branch.incarnation, history, object).into())
    });
    let artifacts: Vec<Artifact> = snapshots.chain(logs).chain(histories).collect();
    let other = Catalog::new(artifacts.into_iter().filter_map(change)).expect("it does not contradict itself");
    plan_restore(&other, request)
}
