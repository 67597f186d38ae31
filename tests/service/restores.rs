//! Restores that make new servers.

use std::sync::Arc;

use bytes::Bytes;
use pitr::engine::{Error, ErrorKind};
use pitr::format::layout::ServerLayout;
use pitr::model::{
    Caller, Change, ConfigChange, ConfigUpdate, FollowUp, Parameters, PostRestoreTask, Redundancy, RestoreOutcome,
    RestoreRun, RestoreSpec, RetentionDays, ServerConfig, ServerSpec, SpecDifference, Target, Task,
};
use pitr::plan::PlanError;
use pitr::port::{PutMode, Storage};
use pitr::service::{Happening, ServiceSettings};
use pitr::testing::{MemoryProvisioner, Start};

use crate::stand::{DAY, HOUR, MINUTE, Stand, explain, name, settings, spec};

/// A server of which nothing is a default.
fn prod() -> ServerSpec {
    let mut prod = spec("prod");
    prod.pricing_tier = "GeneralPurpose".to_owned();
    prod.compute_generation = "Ddsv5".to_owned();
    (prod.v_cores, prod.storage_bytes) = (8, 250 << 30);
    (prod.region, prod.zone) = ("westeurope".to_owned(), Some("2".to_owned()));
    (prod.retention, prod.redundancy) = (RetentionDays::new(14).unwrap(), Redundancy::Zone);
    prod.high_availability = true;
    prod
}

/// The server `prod`, protected for an hour, and where new ones are made.
fn stand() -> (Stand, MemoryProvisioner) {
    stand_with(settings())
}

fn stand_with(settings: ServiceSettings) -> (Stand, MemoryProvisioner) {
    let made = MemoryProvisioner::new();
    let mut stand = Stand::with(settings.provisioner(Arc::new(made.clone())));
    let source = stand.create_as(prod());
    stand.begin();
    stand.live(30 * MINUTE);
    source.write(100_000);
    stand.live(30 * MINUTE);
    stand.seen();
    (stand, made)
}

fn order(stand: &mut Stand, as_name: &str, target: Target) -> Result<Result<ConfigChange, PlanError>, Error> {
    let caller = stand.caller();
    order_by(stand, &caller, RestoreSpec::new(name(as_name), target))
}

fn order_by(stand: &Stand, caller: &Caller, spec: RestoreSpec) -> Result<Result<ConfigChange, PlanError>, Error> {
    stand.finish(stand.service.restore(&name("prod"), caller, spec))
}

/// A restore to the latest point that is ordered, and the server that it will make, which can be reached then.
fn ordered(stand: &mut Stand, as_name: &str) -> ConfigChange {
    stand.run(as_name);
    order(stand, as_name, Target::Latest).unwrap().unwrap()
}

fn runs(stand: &Stand) -> Vec<RestoreRun> {
    let restores = stand.finish(stand.service.restores(&name("prod"))).unwrap();
    assert!(restores.unreadable.is_empty(), "{:?}", restores.unreadable);
    restores.runs
}

fn config(stand: &Stand, server: &str) -> ServerConfig {
    stand.status(server).config
}

fn is_protected(stand: &Stand, server: &str) -> bool {
    stand.finish(stand.service.servers()).unwrap().contains(&name(server))
}

fn cancel(stand: &mut Stand, restore: &ConfigChange) -> Result<ConfigChange, Error> {
    stand.change("prod", Change::CancelRestore { restore: restore.caller.request.clone() })
}

/// That it is there with everything that it should have, and that nothing is left of its making.
fn assert_made(stand: &Stand, made: &MemoryProvisioner, server: &str) -> Vec<FollowUp> {
    let run = runs(stand).pop().unwrap();
    let Some(RestoreOutcome::Made(new)) = run.outcome else { panic!("{:?}", run.outcome) };
    assert!(run.ended_at.is_some() && run.lease.is_none());
    assert_eq!(config(stand, "prod").restores, []);
    let place = made.place(&name(server)).unwrap();
    let restored = place.target.restored();
    assert!(place.runs && restored.ended && !restored.abandoned);
    let bytes: usize = restored.files.values().map(|(_, content)| content.len()).sum();
    assert_eq!(bytes as u64, run.route.unwrap().file_bytes);
    assert_eq!(config(stand, server).spec, single(prod(), server));
    new.tasks
}

/// That nothing is left of it, and why.
fn assert_undone(stand: &Stand, made: &MemoryProvisioner, server: &str) -> RestoreOutcome {
    let run = runs(stand).pop().unwrap();
    assert!(run.ended_at.is_some() && run.lease.is_none(), "{run:?}");
    assert_eq!(config(stand, "prod").restores, []);
    assert!(made.place(&name(server)).is_none());
    assert!(!is_protected(stand, server));
    run.outcome.unwrap()
}

fn single(mut spec: ServerSpec, as_name: &str) -> ServerSpec {
    (spec.name, spec.high_availability) = (name(as_name), false);
    spec
}

#[test]
fn a_restore_makes_a_new_server_that_is_what_the_original_is_but_single() {
    let (mut stand, made) = stand_with(settings().lease(MINUTE));
    ordered(&mut stand, "prod-2");
    stand.live(10 * MINUTE);
    let tasks = assert_made(&stand, &made, "prod-2");
    let done: Vec<_> = tasks.iter().filter(|task| task.is_done).map(|task| task.task.clone()).collect();
    assert_eq!(done, [PostRestoreTask::TakeFirstSnapshot], "and the rest is listed");
    assert!(tasks.iter().any(|task| task.task == PostRestoreTask::HighAvailability));
    // It is protected from the beginning on.
    assert_eq!(stand.restore_points("prod-2").snapshots.len(), 1);
    let seen = stand.seen();
    let happened = |is_it: fn(&Happening) -> bool| seen.iter().any(|(.., what)| is_it(what));
    assert!(happened(
        |what| matches!(what, Happening::Restoring(_, progress) if progress.bytes == progress.bytes_total)
    ));
    assert!(happened(|what| matches!(what, Happening::Restored(run) if run.ended_at.is_some())));
    let new = seen.iter().filter(|(_, server, _)| *server == name("prod-2"));
    let snapshot = new.filter_map(|(at, _, what)| match what {
        Happening::Done(outcome) if outcome.task() == Task::Snapshot => Some(*at),
        _ => None,
    });
    let created = stand.status("prod-2").created_at;
    assert!(snapshot.clone().next().unwrap().duration_since(created) < MINUTE, "at once");
}

#[test]
fn every_kind_of_point_can_be_restored_as_a_new_server() {
    let (mut stand, made) = stand();
    let status = stand.status("prod");
    let instant = status.earliest.unwrap().saturating_add(20 * MINUTE);
    let snapshot = stand.restore_points("prod").snapshots[0].id.clone();
    let targets = [Target::Earliest, Target::Latest, Target::time(instant), Target::Snapshot(snapshot)];
    for (number, target) in targets.into_iter().enumerate() {
        let server = format!("prod-{number}");
        stand.run(&server);
        order(&mut stand, &server, target.clone()).unwrap().unwrap();
        stand.live(10 * MINUTE);
        assert_made(&stand, &made, &server);
        let run = runs(&stand).pop().unwrap();
        assert_eq!(run.order.spec.target, target);
        let log_bytes = run.route.unwrap().log_bytes;
        let is_snapshot = matches!(target, Target::Earliest | Target::Snapshot(_));
        assert_eq!(log_bytes < 100_000, is_snapshot, "{target}: {log_bytes}");
    }
    let beyond = order(&mut stand, "prod-9", Target::time(instant.saturating_add(DAY))).unwrap();
    assert!(matches!(beyond, Err(PlanError::TooLate { .. })), "{beyond:?}");
    assert_eq!(config(&stand, "prod").restores, [], "nothing was ordered");
}

#[test]
fn what_the_source_was_at_the_restored_instant_is_compared() {
    let (mut stand, made) = stand();
    let before = stand.status("prod").latest.unwrap();
    stand.live(HOUR);
    let mut update = ConfigUpdate::new();
    (update.v_cores, update.storage_bytes) = (Some(16), Some(500 << 30));
    stand.change("prod", Change::Configure(Box::new(update))).unwrap();
    stand.run("prod-2");
    let caller = stand.caller();
    let spec = RestoreSpec::new(name("prod-2"), Target::time(before)).replacing_original();
    order_by(&stand, &caller, spec).unwrap().unwrap();
    made.perform_tasks(true);
    stand.live(10 * MINUTE);
    let new = config(&stand, "prod-2").spec;
    assert_eq!((new.v_cores, new.storage_bytes), (16, 500 << 30), "as the source is now");
    let Some(RestoreOutcome::Made(new)) = runs(&stand).pop().unwrap().outcome else { panic!() };
    let differences = new.tasks.iter().filter_map(|task| match &task.task {
        PostRestoreTask::Difference(SpecDifference::VCores(changed)) => Some((changed.source, changed.restored)),
        _ => None,
    });
    assert_eq!(differences.collect::<Vec<_>>(), [(8, 16)]);
    let done = |task: &PostRestoreTask| new.tasks.iter().find(|found| found.task == *task).unwrap().is_done;
    assert!(done(&PostRestoreTask::ConfigureAlerts), "the provisioner can do that");
    let redirect = PostRestoreTask::RedirectClients { from: name("prod"), to: name("prod-2") };
    assert!(!done(&redirect) && new.tasks.last().unwrap().task == redirect);
}

fn parameters<const N: usize>(parameters: [(&str, &str); N]) -> Parameters {
    parameters.into_iter().collect()
}

/// What of the parameters is left to set, if anything is to be looked at.
fn parameters_to_set(stand: &Stand) -> Option<Option<Parameters>> {
    let Some(RestoreOutcome::Made(new)) = runs(stand).pop().unwrap().outcome else { panic!() };
    new.tasks.into_iter().find_map(|task| match task.task {
        PostRestoreTask::ServerParameters { captured } => Some(captured),
        _ => None,
    })
}

#[test]
fn parameters_of_the_restored_instant_are_offered_as_far_as_the_new_server_has_others() {
    let (mut stand, made) = stand();
    ordered(&mut stand, "prod-2");
    stand.live(10 * MINUTE);
    assert_eq!(parameters_to_set(&stand), Some(None), "nobody knows them");

    let source = stand.source("prod");
    let earlier = parameters([("work_mem", "4MB"), ("jit", "on")]);
    for parameters in [earlier.clone(), earlier, parameters([("work_mem", "64MB"), ("jit", "on")])] {
        source.run_with(parameters);
        stand.change("prod", Change::RequestSnapshot).unwrap();
        source.write(50_000);
        stand.live(HOUR);
    }
    let changes = stand.finish(stand.service.changes(&name("prod"))).unwrap().changes;
    let noted: Vec<_> = changes.iter().filter(|change| matches!(change.change, Change::NoteParameters(_))).collect();
    assert_eq!(noted.len(), 2, "what has not changed is not noted again");
    let before = noted[1].at.saturating_sub(10 * MINUTE);

    made.run_with(parameters([("jit", "on"), ("work_mem", "64MB")]));
    stand.run("prod-3");
    order(&mut stand, "prod-3", Target::time(before)).unwrap().unwrap();
    stand.live(10 * MINUTE);
    assert_eq!(parameters_to_set(&stand), Some(Some(parameters([("work_mem", "4MB")]))));
    assert_eq!(config(&stand, "prod-3").parameters, None, "they are its own to have");
    ordered(&mut stand, "prod-4");
    stand.live(10 * MINUTE);
    assert_eq!(parameters_to_set(&stand), None, "all are as they were");
}

#[test]
fn the_name_of_the_new_server_must_be_new() {
    let (mut stand, made) = stand();
    stand.create("other");
    for taken in ["prod", "other"] {
        let refused = order(&mut stand, taken, Target::Latest).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{}", explain(&refused));
    }
    made.stand_still(true);
    ordered(&mut stand, "prod-2");
    stand.live(MINUTE);
    let refused = order(&mut stand, "prod-2", Target::Latest).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{}", explain(&refused));

    // Somebody protects a server of this name before it is there.
    made.stand_still(false);
    stand.end();
    stand.create("prod-2");
    stand.begin();
    stand.live(3 * HOUR);
    let run = runs(&stand).pop().unwrap();
    assert!(matches!(run.outcome, Some(RestoreOutcome::Failed(reason)) if reason.contains("is protected")));
    assert!(made.place(&name("prod-2")).is_none());

    // Elsewhere it is a name that was never protected here: what has it is not touched.
    ordered(&mut stand, "prod-3");
    stand.live(10 * MINUTE);
    assert_made(&stand, &made, "prod-3");
    stand.change("prod-3", Change::Delete).unwrap();
    stand.live(2 * DAY);
    assert!(!is_protected(&stand, "prod-3"));
    ordered(&mut stand, "prod-3");
    stand.live(10 * MINUTE);
    let run = runs(&stand).pop().unwrap();
    assert!(matches!(run.outcome, Some(RestoreOutcome::Failed(reason)) if reason.contains("there already")));
    assert!(made.place(&name("prod-3")).unwrap().runs);
}

#[test]
fn a_request_that_is_made_again_makes_nothing_more() {
    let (mut stand, made) = stand();
    let (caller, spec) = (stand.caller(), RestoreSpec::new(name("prod-2"), Target::Latest));
    stand.run("prod-2");
    let first = order_by(&stand, &caller, spec.clone()).unwrap().unwrap();
    assert_eq!(order_by(&stand, &caller, spec.clone()).unwrap().unwrap(), first);
    stand.live(10 * MINUTE);
    assert_made(&stand, &made, "prod-2");
    assert_eq!(order_by(&stand, &caller, spec.clone()).unwrap().unwrap(), first, "also when it is over");
    stand.live(10 * MINUTE);
    assert_eq!((runs(&stand).len(), made.place(&name("prod-2")).unwrap().visits), (1, 1));
    let other = order_by(&stand, &caller, spec.replacing_original()).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::InvalidInput, "{}", explain(&other));
}

#[test]
fn a_restore_can_be_cancelled_until_its_server_is_there() {
    let mut cancelled = 0;
    for steps in 0.. {
        let (mut stand, made) = stand();
        let restore = ordered(&mut stand, "prod-2");
        stand.work(steps);
        let refused = cancel(&mut stand, &restore);
        stand.live(3 * HOUR);
        let Err(refused) = refused else {
            assert_eq!(assert_undone(&stand, &made, "prod-2"), RestoreOutcome::Cancelled, "after {steps} steps");
            cancelled += 1;
            continue;
        };
        assert_made(&stand, &made, "prod-2");
        if refused.kind() == ErrorKind::NotFound {
            break;
        }
        assert!(explain(&refused).contains("delete it instead"), "{}", explain(&refused));
    }
    assert!(cancelled > 10, "{cancelled}");
}

#[test]
fn whoever_goes_on_after_a_crash_ends_what_was_begun() {
    for steps in 0.. {
        let (mut stand, made) = stand();
        ordered(&mut stand, "prod-2");
        stand.work(steps);
        let was_over = config(&stand, "prod").restores.is_empty();
        stand.kill();
        stand.begin();
        stand.live(4 * HOUR);
        assert_made(&stand, &made, "prod-2");
        if was_over {
            break;
        }
    }
}

#[test]
fn a_damaged_record_of_a_restore_costs_time_and_nothing_else() {
    let mut damaged = 0;
    for steps in 0.. {
        let (mut stand, made) = stand();
        ordered(&mut stand, "prod-2");
        stand.work(steps);
        stand.kill();
        let was_over = config(&stand, "prod").restores.is_empty();
        let restores = ServerLayout::new(&name("prod")).restores();
        for record in stand.objects("prod").into_iter().filter(|object| object.is_below(&restores) && !was_over) {
            stand.finish(stand.storage.put(&record, Bytes::from_static(b"damaged"), PutMode::Overwrite)).unwrap();
            damaged += 1;
        }
        stand.begin();
        stand.live(4 * HOUR);
        let Some(RestoreOutcome::Made(_)) = runs(&stand).pop().unwrap().outcome else { panic!("after {steps} steps") };
        assert!(made.place(&name("prod-2")).unwrap().runs && is_protected(&stand, "prod-2"));
        assert_eq!(config(&stand, "prod").restores, []);
        if was_over {
            break;
        }
    }
    assert!(damaged > 5, "{damaged}");
}

#[test]
fn a_note_that_comes_late_is_gone_on_with() {
    let layout = ServerLayout::new(&name("prod"));
    for steps in 0..20 {
        let (mut stand, made) = stand();
        made.start_as([Start::Hangs]);
        ordered(&mut stand, "prod-2");
        stand.live(MINUTE);
        let record = stand.objects("prod").into_iter().find(|object| layout.parse_restore(object).is_some()).unwrap();
        let noted = stand.content(&record);
        stand.kill();
        stand.begin();
        // Until the dead one's lease is over.
        stand.live(HOUR);
        stand.work(steps);
        stand.finish(stand.storage.put(&record, noted, PutMode::Overwrite)).unwrap();
        stand.live(4 * HOUR);
        let run = runs(&stand).pop().unwrap();
        assert!(made.place(&name("prod-2")).unwrap().runs && is_protected(&stand, "prod-2"), "{steps}: {run:?}");
        assert_eq!(config(&stand, "prod").restores, []);
    }
}

#[test]
fn a_server_that_was_half_restored_is_not_restored_from_the_beginning() {
    let (mut stand, made) = stand();
    made.start_as([Start::Hangs]);
    ordered(&mut stand, "prod-2");
    stand.live(10 * MINUTE);
    assert!(made.place(&name("prod-2")).unwrap().target.restored().bytes_written > 0);
    stand.kill();
    stand.begin();
    stand.live(4 * HOUR);
    assert_made(&stand, &made, "prod-2");
    let place = made.place(&name("prod-2")).unwrap();
    assert_eq!((place.visits, place.target.restored().bytes_written), (2, 0), "what stood there was right");
}

#[test]
fn a_restore_that_fails_leaves_nothing_half_made() {
    let (mut stand, made) = stand();
    made.start_as([Start::Fails]);
    made.fail_discards(3);
    ordered(&mut stand, "prod-2");
    stand.live(10 * MINUTE);
    let RestoreOutcome::Failed(reason) = assert_undone(&stand, &made, "prod-2") else { panic!() };
    assert!(reason.contains("did not come up"), "{reason}");

    // What fails in passing is tried again, but not for ever.
    made.start_as([Start::Unavailable; 4]);
    ordered(&mut stand, "prod-2");
    stand.live(HOUR);
    assert_made(&stand, &made, "prod-2");
    assert_eq!(runs(&stand).pop().unwrap().failures, 4);
    made.start_as([Start::Unavailable; 5]);
    ordered(&mut stand, "prod-3");
    stand.live(HOUR);
    let RestoreOutcome::Failed(reason) = assert_undone(&stand, &made, "prod-3") else { panic!() };
    assert!(reason.contains("no machine is free"), "{reason}");
}

#[test]
fn what_a_restore_reads_stays_until_it_is_over() {
    let (mut stand, made) = stand();
    made.stand_still(true);
    stand.run("prod-2");
    let instant = stand.status("prod").earliest.unwrap().saturating_add(30 * MINUTE);
    order(&mut stand, "prod-2", Target::time(instant)).unwrap().unwrap();
    stand.live(HOUR);
    let lease = runs(&stand)[0].lease.clone().unwrap();
    stand.source("prod").write(40 << 20);
    stand.days(26);
    let points = stand.restore_points("prod");
    let [kept, window] = &*points.windows[0].intervals else { panic!("{:?}", points.windows[0].intervals) };
    assert!(kept.from <= instant && instant <= kept.until && window.from > instant.saturating_add(10 * DAY));
    assert!(points.snapshots.iter().any(|snapshot| snapshot.id == lease.snapshots[0]));
    let refused = stand.change("prod", Change::Delete).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{}", explain(&refused));

    made.stand_still(false);
    stand.kill();
    stand.begin();
    stand.live(4 * HOUR);
    assert_made(&stand, &made, "prod-2");
    stand.days(2);
    let points = stand.restore_points("prod");
    assert!(points.snapshots.iter().all(|snapshot| snapshot.id != lease.snapshots[0]), "then it expires");
    stand.change("prod", Change::Delete).unwrap();
}

#[test]
fn whoever_has_no_provisioner_leaves_restores_to_others() {
    let (mut stand, made) = stand();
    stand.end();
    let without = stand.another(settings());
    stand.begin_by(without);
    ordered(&mut stand, "prod-2");
    stand.live(3 * HOUR);
    assert!(made.place(&name("prod-2")).is_none());
    assert_eq!(runs(&stand), [RestoreRun::new(config(&stand, "prod").restores[0].clone())]);
    stand.kill();
    stand.begin();
    stand.live(4 * HOUR);
    assert_made(&stand, &made, "prod-2");
}
