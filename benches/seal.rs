//! How fast objects are sealed and opened, by frame size, on one core.

use std::hint::black_box;

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Nonce};
use bytes::BytesMut;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pitr::format::seal::{self, FramePosition, FrameSize, ObjectOpener, ObjectSealer, Opener, Salt, Sealer, ServerKey};
use pitr::model::ObjectKey;

const FRAME_SIZES: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, 1 << 20];
/// What a ranged read or a part of an upload has.
const PART: usize = 8 << 20;

fn key() -> ServerKey {
    ServerKey::new([7; 32])
}

fn name() -> ObjectKey {
    "servers/prod/packs/0123456789abcdef".parse().expect("a key")
}

/// The cipher alone, in place: what sealing can approach at best.
fn cipher(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("aes-256-gcm alone");
    let cipher = Aes256Gcm::new(&[7; 32].into());
    for size in FRAME_SIZES {
        let mut buffer = vec![42; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| cipher.encrypt_inout_detached(&Nonce::default(), &[], black_box(&mut buffer[..]).into()));
        });
    }
}

/// Frames one by one, into a buffer that is used again.
fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frames");
    for size in FRAME_SIZES {
        let frame_size = FrameSize::new(size).expect("a frame size");
        let sealer = ObjectSealer::new(&key(), &name(), Salt::new([1; 32]), frame_size);
        let opener = ObjectOpener::from_header(key(), &name(), sealer.header()).expect("its header");
        let (position, plaintext) = (FramePosition::inner(0), vec![42; size]);
        let sealed = sealer.seal_frame(position, &plaintext).expect("a full frame");
        let mut out = BytesMut::new();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("seal", size), |bencher| {
            bencher.iter(|| {
                out.clear();
                sealer.seal_frame_into(position, black_box(&plaintext), &mut out)
            });
        });
        group.bench_function(BenchmarkId::new("open", size), |bencher| {
            bencher.iter(|| {
                out.clear();
                opener.open_frame_into(position, black_box(&sealed), &mut out)
            });
        });
    }
}

/// A part of an object in one chunk, into new memory.
fn streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("streams");
    let plaintext = vec![42; PART];
    group.throughput(Throughput::Bytes(PART as u64));
    for size in FRAME_SIZES {
        let frame_size = FrameSize::new(size).expect("a frame size");
        let sealed = seal::seal(&key(), &name(), Salt::new([1; 32]), frame_size, &plaintext).expect("sealed");
        group.bench_function(BenchmarkId::new("seal", size), |bencher| {
            bencher.iter(|| {
                let mut sealer = Sealer::new(&key(), &name(), Salt::new([1; 32]), frame_size);
                (sealer.seal(black_box(&plaintext)), sealer.finish())
            });
        });
        group.bench_function(BenchmarkId::new("open", size), |bencher| {
            bencher.iter(|| Opener::new(key(), &name()).open(black_box(&sealed)));
        });
    }
}

/// A record of a catalog: what deriving keys costs.
fn records(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record of 1 KiB");
    let (key, name, plaintext) = (key(), name(), [42; 1024]);
    let seal = || seal::seal(&key, &name, Salt::new([1; 32]), FrameSize::default(), black_box(&plaintext));
    let sealed = seal().expect("sealed");
    group.bench_function("seal", |bencher| bencher.iter(seal));
    group.bench_function("open", |bencher| bencher.iter(|| seal::open(&key, &name, black_box(&sealed))));
}

criterion_group!(benches, cipher, frames, streams, records);
criterion_main!(benches);
