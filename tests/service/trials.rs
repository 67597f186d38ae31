//! Servers are restored on trial, as their schedules say.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pitr::model::{Change, ConfigUpdate, ObjectKey, RestoreProof, ScheduleSettings, Task, Timestamp, Trial};
use pitr::plan::health::{Finding, Status};
use pitr::port::{PortError, PortErrorKind, RestoreTarget, Scratch, ScratchPlace};
use pitr::service::{Happening, Outcome};
use pitr::testing::MemoryScratch;

use crate::stand::{DAY, HOUR, Stand, explain, name, settings};

/// A place in memory for one test restore at a time, which may stand still.
#[derive(Clone, Debug, Default)]
struct Place {
    memory: MemoryScratch,
    is_taken: Arc<AtomicBool>,
    stands_still: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Taken(Box<dyn ScratchPlace>, Arc<AtomicBool>);

#[async_trait]
impl Scratch for Place {
    async fn prepare(&self) -> Result<Box<dyn ScratchPlace>, PortError> {
        if self.stands_still.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.is_taken.swap(true, Ordering::Relaxed) {
            return Err(PortError::new(PortErrorKind::Conflict, "another test restore is made there"));
        }
        Ok(Box::new(Taken(self.memory.prepare().await?, Arc::clone(&self.is_taken))))
    }
}

#[async_trait]
impl ScratchPlace for Taken {
    fn target(&self) -> Arc<dyn RestoreTarget> {
        self.0.target()
    }

    fn has_postgres(&self) -> bool {
        self.0.has_postgres()
    }

    async fn try_out(&self) -> Result<Trial, PortError> {
        self.0.try_out().await
    }

    async fn clear(self: Box<Self>) -> Result<(), PortError> {
        self.1.store(false, Ordering::Relaxed);
        self.0.clear().await
    }
}

fn tested(every: Duration) -> Change {
    let mut schedule = ScheduleSettings::default();
    schedule.test_restore_every = Some(every);
    Change::Configure(Box::new(ConfigUpdate::new().schedule(schedule)))
}

/// The servers `names`, each of which is to be restored on trial every day.
fn stand(place: Option<&Place>, names: &[&str]) -> Stand {
    let settings = match place {
        Some(place) => settings().scratch(Arc::new(place.clone())),
        None => settings(),
    };
    let mut stand = Stand::with(settings);
    for name in names {
        stand.create(name);
        stand.change(name, tested(DAY)).unwrap();
    }
    stand.begin();
    stand.live(HOUR);
    stand
}

fn proofs(stand: &Stand, server: &str) -> Vec<RestoreProof> {
    let proofs = async { stand.service.repository().server(&name(server)).await?.proofs().await };
    stand.finish(proofs).unwrap().proofs
}

/// What it came to, in order.
fn told(stand: &mut Stand) -> Vec<Result<RestoreProof, String>> {
    let told = stand.seen().into_iter().filter_map(|(.., what)| match what {
        Happening::Done(outcome) => match &*outcome {
            Outcome::TestRestore(proof) => Some(Ok(proof.clone())),
            _ => None,
        },
        Happening::Failed(Task::TestRestore, error) => Some(Err(explain(&*error))),
        _ => None,
    });
    told.collect()
}

#[test]
fn random_instants_are_restored_as_often_as_is_wanted() {
    let place = Place::default();
    let mut stand = stand(Some(&place), &["prod"]);
    stand.days(10);
    let told: Vec<_> = told(&mut stand).into_iter().map(Result::unwrap).collect();
    assert_eq!(told, proofs(&stand, "prod"), "each is on record");
    assert!((9..=10).contains(&told.len()), "{}", told.len());
    assert!(told.iter().all(|proof| proof.failure.is_none()), "{told:?}");
    let instants: BTreeSet<Timestamp> = told.iter().map(|proof| proof.instant).collect();
    assert_eq!(instants.len(), told.len());
    assert_eq!(stand.status("prod").health.status, Status::Green);
    assert!(place.memory.restored().is_none(), "nothing is left");
}

#[test]
fn one_that_fails_is_an_alarm_until_the_next_one() {
    let place = Place { memory: MemoryScratch::with_postgres(Err("no room".to_owned())), ..Place::default() };
    let mut failing = stand(Some(&place), &["prod"]);
    failing.days(2);
    let health = failing.status("prod").health;
    assert!(matches!(&health.findings[..], [Finding::NotProven { why, .. }] if why.contains("no room")), "{health}");
    assert_eq!(health.status, Status::Red);
    failing.end();
    let healed = failing.another(settings().scratch(Arc::new(Place::default())));
    failing.begin_by(healed);
    failing.days(2);
    assert_eq!(failing.status("prod").health.status, Status::Green);
}

#[test]
fn who_has_no_place_leaves_it_to_others() {
    let mut stand = stand(None, &["prod"]);
    stand.days(1);
    assert_eq!(stand.status("prod").health.status, Status::Green);
    stand.days(2);
    assert!(told(&mut stand).is_empty());
    let health = stand.status("prod").health;
    assert!(matches!(health.findings[..], [Finding::NeverProven { .. }]), "{health}");
    let with = stand.another(settings().scratch(Arc::new(Place::default())));
    stand.end();
    stand.begin_by(with);
    stand.days(1);
    assert_eq!(stand.status("prod").health.status, Status::Green);
}

#[test]
fn servers_take_turns_in_the_place() {
    let (place, names) = (Place::default(), ["a", "b", "c", "d", "e"]);
    let mut stand = stand(Some(&place), &names);
    stand.days(3);
    for outcome in told(&mut stand) {
        assert_eq!(outcome.unwrap().failure, None);
    }
    for name in names {
        assert!(proofs(&stand, name).len() >= 2, "{name}");
    }
}

#[test]
fn what_a_test_restore_reads_stays_until_it_is_over() {
    let place = Place::default();
    let mut stand = stand(Some(&place), &["prod"]);
    place.stands_still.store(true, Ordering::Relaxed);
    // One begins while there is only one snapshot.
    stand.change("prod", tested(HOUR)).unwrap();
    stand.source("prod").write(1 << 20);
    stand.days(1);
    let oldest = |stand: &Stand| -> ObjectKey { stand.restore_points("prod").snapshots[0].manifest.key.clone() };
    let read = oldest(&stand);
    stand.days(19);
    assert_eq!(oldest(&stand), read, "whichever instant it was, it needs the only snapshot of the first day");
    assert!(told(&mut stand).is_empty());
    // It is given up with its process; what it read is of no more use.
    stand.kill();
    place.stands_still.store(false, Ordering::Relaxed);
    stand.begin();
    stand.days(2);
    assert_ne!(oldest(&stand), read);
    assert!(told(&mut stand).into_iter().all(|outcome| outcome.unwrap().failure.is_none()));
}
