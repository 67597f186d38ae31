//! What three zones cost a processor, beside their requests: all of them in memory.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::TryStreamExt;
use futures::executor::block_on;
use pitr::adapter::{MemoryStorage, SystemClock, Zone, ZoneSettings, ZoneStorage, system};
use pitr::model::ObjectKey;
use pitr::port::{PutMode, Storage, StorageExt};

const OBJECTS: usize = 10_000;

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new(Arc::new(SystemClock::new())))
}

/// One storage, and three zones.
fn storages() -> [(&'static str, Arc<dyn Storage>); 2] {
    let zones = ["a", "b", "c"].map(|name| Zone::new(name, memory()).expect("a name"));
    let zones = block_on(ZoneStorage::open(zones, ZoneSettings::default(), system())).expect("zones in memory");
    [("one storage", memory()), ("three zones", Arc::new(zones))]
}

fn key(number: usize) -> ObjectKey {
    format!("objects/{number:08}").parse().expect("a key")
}

fn objects(criterion: &mut Criterion) {
    for (name, storage) in storages() {
        let mut group = criterion.benchmark_group(name);
        let content = Bytes::from(vec![7; 1000]);
        let mut number = OBJECTS;
        let put = |number, mode| block_on(storage.put(&key(number), content.clone(), mode)).expect("a put");
        for number in 0..OBJECTS {
            put(number, PutMode::Create);
        }
        group.bench_function("replace 1 kB", |bencher| bencher.iter(|| put(0, PutMode::Overwrite)));
        group.bench_function("read 1 kB", |bencher| {
            bencher.iter(|| block_on(storage.find(black_box(&key(1)), 1000)).expect("a read"));
        });
        group.throughput(Throughput::Elements(OBJECTS as u64));
        group.bench_function("list 10,000", |bencher| {
            bencher
                .iter(|| block_on(storage.list(None, None).try_fold(0, async |sum, _| Ok(sum + 1))).expect("a list"));
        });
        group.finish();
        let mut group = criterion.benchmark_group(name);
        group.bench_function("create 1 kB", |bencher| {
            bencher.iter(|| {
                number += 1;
                put(number, PutMode::Create)
            });
        });
    }
}

criterion_group!(benches, objects);
criterion_main!(benches);
