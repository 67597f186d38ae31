//! Of what a store keeps immutable, all stays so that the window needs, for as long as it does; and not much longer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use pitr::engine::{SweepReport, Sweeper, Verifier};
use pitr::format::layout::{Permanence, ServerLayout, permanence_of};
use pitr::model::{Hold, ObjectKey, RetentionDays, SnapshotId, Timestamp};
use pitr::plan::Target;
use pitr::plan::retention::{Protections, RetentionPolicy, plan_retention};
use pitr::port::{
    Clock, ObjectMeta, ObjectRead, Operation, PortError, PortErrorKind, PutMode, Storage, StorageExt, Upload, Version,
};
use pitr::testing::{ManualClock, MemoryTarget};

use crate::sharing::DAY;
use crate::world::{World, explain};

/// For a retention of 7 days: 3 more, and what is shared is renewed every 4 days.
const PERIOD: Duration = DAY.saturating_mul(14);

/// A storage that keeps facts immutable, and remembers for how long.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    inner: Arc<dyn Storage>,
    clock: ManualClock,
    state: Arc<Mutex<State>>,
    /// What may not be destroyed, is only hidden, and `delete` succeeds.
    hides: bool,
}

#[derive(Debug, Default)]
struct State {
    until: BTreeMap<ObjectKey, Timestamp>,
    /// For how much longer what was deleted had been promised.
    surplus: Vec<(ObjectKey, Duration)>,
    /// What may not be renewed.
    refused: Option<ObjectKey>,
}

impl Keeper {
    /// One that hides what may not be destroyed.
    pub(crate) fn over(clock: &ManualClock, inner: Arc<dyn Storage>) -> Self {
        Self { inner, clock: clock.clone(), state: Arc::default(), hides: true }
    }

    /// One that refuses to delete what may not be destroyed.
    pub(crate) fn refusing(clock: &ManualClock, inner: Arc<dyn Storage>) -> Self {
        Self { hides: false, ..Self::over(clock, inner) }
    }

    fn promise(&self, key: &ObjectKey) {
        if permanence_of(key) != Permanence::Note {
            self.state.lock().unwrap().until.insert(key.clone(), self.clock.now().saturating_add(PERIOD));
        }
    }

    fn until(&self, key: &ObjectKey) -> Timestamp {
        self.state.lock().unwrap().until.get(key).copied().unwrap_or_else(|| panic!("{key} is not kept immutable"))
    }
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl Storage for Keeper {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        let version = self.inner.put(key, bytes, mode).await?;
        self.promise(key);
        Ok(version)
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        Ok(Box::new(Kept { inner: self.inner.upload(key).await?, keeper: self.clone(), key: key.clone() }))
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        self.inner.get(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        self.inner.head(key).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        self.inner.list(directory, after)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        let until = self.state.lock().unwrap().until.get(key).copied();
        if let Some(until) = until {
            if !self.hides && self.clock.now() < until {
                return Err(PortError::new(PortErrorKind::Denied, format!("{key} is immutable until {until}")));
            }
            let surplus = until.duration_since(self.clock.now());
            self.state.lock().unwrap().surplus.push((key.clone(), surplus));
        }
        self.inner.delete(key).await
    }

    fn immutable_for(&self) -> Option<Duration> {
        Some(PERIOD)
    }

    async fn renew(&self, key: &ObjectKey) -> Result<(), PortError> {
        if self.state.lock().unwrap().refused.as_ref() == Some(key) {
            return Err(PortError::new(PortErrorKind::Denied, "no permission"));
        }
        self.promise(key);
        Ok(())
    }
}

#[derive(Debug)]
struct Kept {
    inner: Box<dyn Upload>,
    keeper: Keeper,
    key: ObjectKey,
}

#[async_trait]
impl Upload for Kept {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<Version, PortError> {
        let version = self.inner.finish().await?;
        self.keeper.promise(&self.key);
        Ok(version)
    }

    async fn abort(self: Box<Self>) -> Result<(), PortError> {
        self.inner.abort().await
    }
}

/// A server in such a storage.
struct Life {
    world: World,
    keeper: Keeper,
    protections: Protections,
    day: u32,
    /// How much log it writes, twice a day.
    bytes: u64,
}

impl Life {
    fn new(hides: bool) -> Self {
        let mut keeper = None;
        let world = World::over(11, |clock, inner| {
            Arc::new(keeper.insert(Keeper { hides, ..Keeper::over(clock, inner) }).clone())
        });
        world.source.hold_files(40, 5_000);
        Self { world, keeper: keeper.unwrap(), protections: Protections::none(), day: 0, bytes: 20_000 }
    }

    /// A day passes, with its snapshot unless that fails, and its sweep.
    fn live(&mut self, takes_snapshot: bool) -> SweepReport {
        let world = &self.world;
        world.source.write(self.bytes);
        world.archive(|| u64::MAX);
        world.source.change_files(20);
        if takes_snapshot {
            world.take().unwrap();
        }
        world.source.write(self.bytes);
        world.archive(|| u64::MAX);
        if self.day == 30 {
            world.source.promote(3_000);
        }
        world.clock.advance(DAY);
        self.day += 1;
        self.sweep()
    }

    fn sweep(&self) -> SweepReport {
        let (world, policy) = (&self.world, RetentionPolicy::new(RetentionDays::MIN));
        let plan = plan_retention(&world.catalog(), &policy, &self.protections, world.now());
        world.finish(Sweeper::new(&world.server).run(&plan)).unwrap_or_else(|error| panic!("{}", explain(&error)))
    }

    fn stored(&self) -> BTreeSet<ObjectKey> {
        let listed = self.world.finish(self.world.storage.list_all(None)).unwrap();
        listed.into_iter().map(|object| object.key).collect()
    }

    /// The facts that a restore of the snapshot needs, but for log; each snapshot has one pack.
    fn needs(&self, id: &SnapshotId) -> Vec<ObjectKey> {
        let (layout, catalog, stored) =
            (ServerLayout::new(self.world.server.name()), self.world.catalog(), self.stored());
        let snapshot = catalog.snapshot(id).unwrap();
        let owners = snapshot.shares.iter().map(|share| &share.snapshot).chain([id]);
        let packs = owners.map(|id| layout.pack(id, 0)).filter(|pack| stored.contains(pack));
        packs.chain([layout.snapshot(snapshot.incarnation, id), layout.manifest(id), layout.key()]).collect()
    }

    /// Whoever steals the credentials now takes no instant from the window before its time: not one object can be destroyed that an instant needs, until
    /// the retention has passed since that instant.
    fn assert_promised(&self) {
        let now = self.world.now();
        for days_ago in 0..7 {
            let instant = now.saturating_sub(days_ago * DAY + Duration::from_secs(3600));
            let window = pitr::plan::recovery_window(&self.world.catalog(), self.world.catalog().current().unwrap());
            if !window.intervals.iter().any(|interval| interval.from <= instant && instant <= interval.until) {
                continue;
            }
            let plan = self.world.plan(Target::time(instant));
            let logs = plan.logs().iter().map(|log| log.backup.key());
            let needed = logs.chain(plan.histories().iter().map(|history| history.key.clone()));
            for key in needed.chain(self.needs(&plan.snapshot().id)) {
                let until = self.keeper.until(&key);
                assert!(
                    instant.saturating_add(7 * DAY) <= until,
                    "day {}: {instant} needs {key} until {until}",
                    self.day
                );
            }
        }
    }
}

#[test]
fn whoever_has_the_credentials_takes_nothing_from_the_window() {
    let mut life = Life::new(true);
    // Several segments a day: log of the same segment is needed for as long as the latest.
    life.bytes = 1_200_000;
    let mut renewed = Vec::new();
    for _ in 0..60 {
        let report = life.live(true);
        assert_eq!(report.immutability_missing, Duration::ZERO);
        renewed.push(report.renewed);
        life.assert_promised();
    }
    // The packs of today's data are renewed every fourth day, not daily; nothing else is.
    assert!(renewed[20..].iter().sum::<u64>() > 100, "{renewed:?}");
    let requests = life.world.storage.count(Operation::Renew);
    let packs = life.stored().iter().filter(|key| key.as_str().contains("/pack-")).count() as u64;
    assert!(requests < 60 / 4 * packs * 2, "{requests} renewals of some {packs} packs");
    // What has expired is not kept for long: for 3 days of margin, and the 4 of a step.
    let state = life.keeper.state.lock().unwrap();
    let longest = state.surplus.iter().max_by_key(|(_, surplus)| *surplus).unwrap();
    assert!(state.surplus.len() > 100 && longest.1 <= 7 * DAY, "{longest:?}");
}

/// A week without snapshots, a snapshot that is held for months, and sweeps that fail every third day.
#[test]
fn what_is_kept_beyond_its_time_is_renewed() {
    let mut life = Life::new(true);
    for day in 0..60 {
        life.live(!(15..22).contains(&day));
        if day == 5 {
            let held = life.world.catalog().snapshots().last().unwrap().id.clone();
            life.protections = Protections::none().with_hold(Hold::new(held, "for the auditors"));
        }
        life.assert_promised();
    }
    let [held] = &*life.protections.holds else { panic!("one hold") };
    let catalog = life.world.catalog();
    let snapshot = catalog.snapshot(&held.snapshot).unwrap();
    let logs = catalog.logs(snapshot.branch()).filter(|log| log.wal().start < snapshot.wal.end);
    let logs: Vec<ObjectKey> = logs.map(|log| log.key()).collect();
    assert!(!logs.is_empty());
    for key in life.needs(&held.snapshot).into_iter().chain(logs) {
        let left = life.keeper.until(&key).duration_since(life.world.now());
        assert!(left >= 9 * DAY, "{key} is kept for {left:?} only");
    }
}

/// A clock that was ahead once, and a manifest that nobody can read.
#[test]
fn what_is_not_known_is_renewed() {
    let mut life = Life::new(true);
    let ahead = |life: &Life| {
        let now = life.world.now();
        life.world.clock.set(now.saturating_add(300 * DAY));
        life.sweep();
        life.world.clock.set(now);
    };
    for day in 0..30 {
        life.live(true);
        if day == 10 {
            ahead(&life);
            // Nobody tells in years to come that it was promised for so long.
            life.keeper.state.lock().unwrap().until.values_mut().for_each(|until| {
                *until = (*until).min(life.world.now().saturating_add(9 * DAY));
            });
        }
        life.assert_promised();
    }
    let latest = life.world.catalog().snapshots().max_by_key(|snapshot| snapshot.consistent_at).unwrap().clone();
    let packs: Vec<_> = life.needs(&latest.id).into_iter().filter(|key| key.as_str().contains("/pack-")).collect();
    life.world.finish(life.keeper.put(&latest.manifest.key, "damage".into(), PutMode::Overwrite)).unwrap();
    for _ in 0..6 {
        life.live(false);
    }
    for key in packs {
        let left = life.keeper.until(&key).duration_since(life.world.now());
        assert!(left >= 9 * DAY, "{key} is kept for {left:?} only");
    }
}

/// Where what expired cannot be hidden either, it goes when its time is over.
#[test]
fn what_cannot_be_deleted_yet_is_deleted_later() {
    let mut life = Life::new(false);
    let mut refused = 0;
    for _ in 0..60 {
        refused += life.live(true).refused.len();
        life.assert_promised();
    }
    assert!(refused > 100);
    let now = life.world.now();
    let logs = life.world.catalog();
    let oldest = logs.snapshots().map(|snapshot| snapshot.consistent_at).min().unwrap();
    assert!(now.duration_since(oldest) <= PERIOD + 2 * DAY, "{oldest} is still there at {now}");
    life.world.restore(&life.world.plan(Target::Latest), &MemoryTarget::new()).unwrap();
    let report = life.world.finish(Verifier::new(&life.world.repository, life.world.server.name()).run()).unwrap();
    assert!(report.is_sound(), "{:?}", report.faults);
}

/// What may not be renewed is told, and tried again.
#[test]
fn a_promise_that_is_refused_is_told() {
    let mut life = Life::new(true);
    for _ in 0..3 {
        life.live(true);
    }
    let key = ServerLayout::new(life.world.server.name()).key();
    life.keeper.state.lock().unwrap().refused = Some(key.clone());
    let refused: Vec<ObjectKey> = (0..6).flat_map(|_| life.live(true).not_renewed).map(|(key, _)| key).collect();
    assert!(refused.len() > 2 && refused.iter().all(|refused| *refused == key), "{refused:?}");
    life.keeper.state.lock().unwrap().refused = None;
    assert!(life.live(true).not_renewed.is_empty());
    life.assert_promised();
    assert_eq!(life.sweep().renewed, 0, "nothing is due twice");
}

/// What was stored before the store was told to keep anything is kept from the first sweep on, and so is all after a note that is damaged.
#[test]
fn what_nothing_was_promised_for_is_renewed() {
    let mut life = Life::new(true);
    for _ in 0..3 {
        life.live(true);
    }
    let note = ServerLayout::new(life.world.server.name()).renewal();
    let forget = || life.keeper.state.lock().unwrap().until.clear();
    for damage in [None, Some("damage")] {
        forget();
        match damage {
            None => life.world.finish(life.keeper.delete(&note)).unwrap(),
            Some(damage) => drop(life.world.finish(life.keeper.put(&note, damage.into(), PutMode::Overwrite)).unwrap()),
        }
        life.sweep();
        life.assert_promised();
        let facts = life.stored().into_iter().filter(|key| permanence_of(key) != Permanence::Note);
        assert!(facts.map(|key| life.keeper.until(&key)).all(|until| until == life.world.now().saturating_add(PERIOD)));
    }
}
