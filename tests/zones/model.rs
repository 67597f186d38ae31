//! Whatever becomes of messages, zones and writers: each object behaves as in a single storage.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pitr::adapter::{ThreadPool, Zone, ZoneSettings, ZoneStorage};
use pitr::model::ObjectKey;
use pitr::port::{Environment, PortErrorKind, PutMode, Storage, StorageExt, Version};
use pitr::testing::{ManualClock, SeededEntropy};

use super::history::{Answered, Asked, Event, is_linearizable};
use super::network::{BEGIN, Network, Remote};

const BYTES_MAX: usize = 4 << 20;

/// What one seed leads to: the same each time.
struct World {
    seed: u64,
    network: Network,
    clock: ManualClock,
    zones: Vec<Remote>,
    /// What happened to each object.
    histories: Vec<Mutex<Vec<Event>>>,
    /// A content that is longer than a record may be.
    length: usize,
}

#[derive(Clone, Copy)]
struct Plan {
    zones: usize,
    objects: usize,
    clients: usize,
    operations: u64,
    repairs: u64,
    /// So many messages in a thousand are lost.
    lost: u64,
    /// A zone comes or goes once in so many steps.
    weather: u64,
    length: usize,
}

fn key(object: usize) -> ObjectKey {
    format!("objects/{object}").parse().unwrap()
}

impl World {
    fn new(seed: u64, plan: Plan) -> Self {
        let clock = ManualClock::new(BEGIN);
        let network = Network::new(seed, plan.zones, &clock);
        let zones = (0..plan.zones).map(|zone| Remote::new(&network, zone)).collect();
        let histories = (0..plan.objects).map(|_| Mutex::default()).collect();
        Self { seed, network, clock, zones, histories, length: plan.length }
    }

    /// The zones as process `number` sees them.
    async fn open(&self, number: usize) -> ZoneStorage {
        let environment = Environment::new(
            Arc::new(self.clock.clone()),
            Arc::new(SeededEntropy::new(self.seed.wrapping_mul(1000) + number as u64)),
            Arc::new(ThreadPool::default()),
        );
        let zone = |(at, zone): (usize, &Remote)| Zone::new(&format!("z{at}"), Arc::new(zone.clone())).unwrap();
        loop {
            let zones: Vec<_> = self.zones.iter().enumerate().map(zone).collect();
            // Time may pass by chance, and an answer be late.
            if let Ok(storage) = ZoneStorage::open(zones, ZoneSettings::default(), environment.clone()).await {
                return storage;
            }
        }
    }

    fn content(&self, number: u64) -> Vec<u8> {
        number.to_le_bytes().into_iter().cycle().take(self.length).collect()
    }

    /// Reads the object, and says in which version it is.
    async fn read(&self, storage: &ZoneStorage, object: usize) -> Option<(u64, Version)> {
        let begun = self.network.time();
        let found = storage.find(&key(object), BYTES_MAX).await;
        let number = |bytes: &[u8]| {
            let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            assert_eq!(bytes, self.content(number), "torn");
            number
        };
        let read = found.map(|found| found.map(|(bytes, meta)| (number(&bytes), meta.version.unwrap())));
        let answered = match &read {
            Ok(content) => Answered::Read(content.as_ref().map(|(number, _)| *number)),
            Err(error) => {
                assert_eq!(error.kind(), PortErrorKind::Unavailable, "{error:?}");
                Answered::Unknown
            }
        };
        self.note(object, Asked::Read, answered, begun);
        read.ok().flatten()
    }

    fn note(&self, object: usize, asked: Asked, answered: Answered, begun: u64) {
        let ended = self.network.time();
        self.histories[object].lock().unwrap().push(Event { asked, answered, begun, ended });
    }

    async fn write(&self, storage: &ZoneStorage, object: usize, asked: Asked, version: Option<Version>) {
        let (key, begun) = (key(object), self.network.time());
        let put = |new, mode| storage.put(&key, self.content(new).into(), mode);
        let done = match asked {
            Asked::Create(new) => put(new, PutMode::Create).await.map(drop),
            Asked::Overwrite(new) => put(new, PutMode::Overwrite).await.map(drop),
            Asked::Update(_, new) => put(new, PutMode::Update(version.unwrap())).await.map(drop),
            Asked::Delete => storage.delete(&key).await,
            Asked::Read => unreachable!("it is no write"),
        };
        let answered = match done.map_err(|error| error.kind()) {
            Ok(()) => Answered::Done,
            Err(PortErrorKind::Conflict) => Answered::Conflict,
            Err(PortErrorKind::Unavailable) => Answered::Unknown,
            Err(other) => panic!("{asked:?} ended as {other:?}"),
        };
        self.note(object, asked, answered, begun);
    }

    /// A process that reads and writes.
    async fn client(&self, number: u64, storage: &ZoneStorage, operations: u64) {
        for operation in 0..operations {
            let (object, choice) = self.network.state(|random| (random.index(self.histories.len()), random.below(10)));
            let new = number * 1_000_000 + operation;
            match choice {
                0..3 => self.write(storage, object, Asked::Create(new), None).await,
                3 => self.write(storage, object, Asked::Overwrite(new), None).await,
                4..6 => self.write(storage, object, Asked::Delete, None).await,
                6..8 => {
                    if let Some((old, version)) = self.read(storage, object).await {
                        self.write(storage, object, Asked::Update(old, new), Some(version)).await;
                    }
                }
                _ => drop(self.read(storage, object).await),
            }
        }
    }

    /// A process that repairs what others leave.
    async fn repair(&self, storage: &ZoneStorage, times: u64) {
        for _ in 0..times {
            drop(storage.repair().await);
        }
    }

    /// Clients and a repair, side by side, in bad weather.
    fn storm(&self, first: u64, plan: Plan, storages: &[ZoneStorage]) {
        self.network.lose(plan.lost);
        let mut clients: Vec<Client<'_>> = Vec::new();
        for (number, storage) in (first..).zip(&storages[1..]) {
            clients.push(Box::pin(self.client(number, storage, plan.operations)));
        }
        clients.push(Box::pin(self.repair(&storages[0], plan.repairs)));
        let zones = self.zones.len();
        let come_and_go = |network: &Network| {
            let (happens, zone, leaves) =
                network.state(|random| (random.one_in(plan.weather), random.index(zones), random.one_in(2)));
            if happens {
                network.set_away(zone, leaves);
            }
        };
        self.network.run(clients, come_and_go);
        self.calm();
    }

    /// Everything arrives, and all zones are there.
    fn calm(&self) {
        self.network.drain();
        self.network.lose(0);
        (0..self.zones.len()).for_each(|zone| self.network.set_away(zone, false));
    }

    fn run<T: Send>(&self, future: impl Future<Output = T> + Send) -> T {
        let mut result = None;
        let keep = async { result = Some(future.await) };
        self.network.run(vec![Box::pin(keep)], |_| {});
        result.unwrap()
    }

    /// Reads what is left, as one who comes later, with one zone away after the other.
    fn check(&self) {
        let storage = self.run(self.open(99));
        for away in 0..=self.zones.len() {
            (0..self.zones.len()).for_each(|zone| self.network.set_away(zone, zone == away && self.zones.len() > 2));
            self.clock.advance(Duration::from_secs(3600));
            for object in 0..self.histories.len() {
                self.run(self.read(&storage, object));
            }
        }
        for (object, history) in self.histories.iter().enumerate() {
            let history = history.lock().unwrap();
            assert!(is_linearizable(&history), "seed {}, object {object}: {history:#?}", self.seed);
        }
    }
}

type Client<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// How many operations ended so: as asked, in conflict, or nobody knows how.
#[derive(Debug, Default)]
struct Ends {
    done: u64,
    conflicts: u64,
    unknown: u64,
}

/// Three clients and a repair; and if the number of the seed is even, again after days, after which deletions are forgotten; and if it
/// can be divided by four, with a zone that was emptied meanwhile; by eight, and once more.
fn one_seed(seed: u64, plan: Plan, ends: &mut Ends) {
    let world = World::new(seed, plan);
    let storages: Vec<_> = (0..=plan.clients).map(|number| world.run(world.open(number))).collect();
    world.storm(1, plan, &storages);
    if seed.is_multiple_of(2) {
        world.clock.advance(Duration::from_secs(3 * 24 * 60 * 60));
        if seed.is_multiple_of(4) {
            world.zones[usize::try_from(seed / 4).unwrap() % plan.zones].empty();
        }
        world.storm(50, plan, &storages);
    }
    if seed.is_multiple_of(8) {
        // What a repair left half done is ended. Fewer operations, as long histories take very long to check.
        world.clock.advance(Duration::from_secs(3 * 24 * 60 * 60));
        world.storm(70, Plan { operations: 2, ..plan }, &storages);
    }
    world.check();
    for history in &world.histories {
        for event in &*history.lock().unwrap() {
            match event.answered {
                Answered::Done | Answered::Read(_) => ends.done += 1,
                Answered::Conflict => ends.conflicts += 1,
                Answered::Unknown => ends.unknown += 1,
            }
        }
    }
}

fn many_seeds(usual: u64, plan: Plan) {
    // More, if the environment says so.
    let seeds = std::env::var("PITR_SEEDS").map_or(usual, |seeds| seeds.parse().unwrap());
    let mut ends = Ends::default();
    (0..seeds).for_each(|seed| one_seed(seed, plan, &mut ends));
    // Neither so bad that nothing gets done, nor so good that nothing goes wrong.
    let all = ends.done + ends.conflicts + ends.unknown;
    assert!(ends.done > all / 2 && ends.conflicts > all / 50 && ends.unknown > all / 50, "{ends:?}");
}

const PLAN: Plan =
    Plan { zones: 3, objects: 2, clients: 3, operations: 8, repairs: 2, lost: 50, weather: 300, length: 8 };

#[test]
fn objects_behave_as_in_one_storage() {
    many_seeds(4000, PLAN);
}

#[test]
fn an_object_that_everybody_wants_does_too() {
    many_seeds(1000, Plan { objects: 1, clients: 4, operations: 6, lost: 20, ..PLAN });
}

#[test]
fn five_zones_do_too() {
    many_seeds(1000, Plan { zones: 5, lost: 100, weather: 100, ..PLAN });
}

#[test]
fn contents_that_stand_apart_do_too() {
    many_seeds(40, Plan { length: (1 << 20) + 8, objects: 1, operations: 5, ..PLAN });
}
