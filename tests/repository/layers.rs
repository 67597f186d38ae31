//! What changes a little costs a little: only the pages that have changed are stored, as layers over those that have not.

use pitr::engine::{ErrorKind, FaultKind, SweepSettings};
use pitr::format::digest::{DigestKey, PageDigest};
use pitr::format::pack::{Content, PackIndex};
use pitr::format::seal::{FrameSize, Salt, ServerKey, WrappedKey, open, seal};
use pitr::model::{ObjectKey, Snapshot};
use pitr::plan::Target;
use pitr::port::KeyProvider;
use pitr::testing::{MemoryTarget, ServerFiles};

use crate::sharing::{DAY, assert_restores, assert_sound, day, faults, pack, sweep, verify};
use crate::stand::{Damage, inflict, read, write};
use crate::world::World;

const PAGE: u64 = 8192;
const FILE: &str = "base/5/16400";

/// A server with two files of 3 MiB and a bit, and a snapshot of it.
fn ready(seed: u64, is_stamped: bool) -> (World, Snapshot) {
    let world = World::new(seed);
    world.source.hold_files(2, (3 << 20) + 100);
    if is_stamped {
        world.source.stamp_files();
    }
    let taken = day(&world, u64::MAX);
    (world, taken)
}

/// Changes these pages of one of the files and takes a snapshot.
fn change(world: &World, pages: &[usize]) -> (Snapshot, ServerFiles) {
    world.source.change_pages(FILE, pages);
    let taken = world.take().unwrap().snapshot;
    let files = world.source.files();
    world.source.write(1_000);
    world.archive(|| u64::MAX);
    world.clock.advance(DAY);
    (taken, files)
}

#[test]
fn a_page_that_changes_costs_a_page() {
    for is_stamped in [false, true] {
        let (world, first) = ready(1, is_stamped);
        for pages in [&[7][..], &[0, 127, 128, 200], &[383, 384], &[]] {
            let (taken, files) = change(&world, pages);
            let (added, changed) = (taken.added_bytes(), pages.len() as u64 * PAGE);
            assert!(added + PAGE > changed && added < changed + PAGE, "{added} bytes for {pages:?}");
            assert_restores(&world, &taken.id, &files);
        }
        assert!(first.logical_bytes > 6 << 20);
        assert_sound(&world);
    }
}

/// However long the same extent changes a little, all of its snapshots restore, and it costs a little each time.
#[test]
fn layers_pile_up_and_become_one() {
    let (world, _) = ready(2, true);
    let (mut taken, mut added) = (Vec::new(), 0);
    for number in 0..50 {
        let (snapshot, files) = change(&world, &[(number * 37) % 128]);
        added += snapshot.added_bytes();
        taken.push((snapshot.id, files));
        if number % 5 == 0 {
            sweep(&world, SweepSettings::default());
        }
    }
    let catalog = world.catalog();
    let kept: Vec<_> = taken.iter().filter(|(id, _)| catalog.snapshot(id).is_some()).collect();
    assert!((8..16).contains(&kept.len()), "{} snapshots", kept.len());
    kept.iter().for_each(|(id, files)| assert_restores(&world, id, files));
    assert!(added < 50 * 12 * PAGE, "{added} bytes: an extent of 128 pages was stored often");
    assert_sound(&world);
}

/// Of what cannot be read, the pages are stored anew by the next snapshot, and no others.
#[test]
fn a_layer_that_is_lost_is_stored_again() {
    for damage in [Damage::Deleted, Damage::Truncated { bytes: 9_000 }] {
        let (world, _) = ready(3, false);
        let (second, _) = change(&world, &[5, 300]);
        change(&world, &[6]);
        let lost = pack(&world, &second);
        inflict(&world, &lost, &damage);
        let (fourth, files) = change(&world, &[7]);
        assert!(fourth.shares.iter().all(|share| share.snapshot != second.id), "{damage:?}");
        assert!(fourth.added_bytes() < 5 * PAGE, "{} bytes", fourth.added_bytes());
        assert_restores(&world, &fourth.id, &files);
        assert_eq!(faults(&verify(&world)), [&lost]);
    }
}

/// Who has the server's key, and uses it to write what no pitr writes.
struct Insider<'a> {
    world: &'a World,
    key: ServerKey,
    digests: DigestKey,
}

impl<'a> Insider<'a> {
    fn new(world: &'a World) -> Self {
        let name = world.server.name();
        let wrapped = read(world, &pitr::format::layout::ServerLayout::new(name).key());
        let key = world.finish(world.keys.unwrap(name, &WrappedKey::parse(&wrapped).unwrap())).unwrap();
        Self { world, digests: key.digest_key(), key }
    }

    fn open(&self, name: &ObjectKey) -> Vec<u8> {
        open(self.key.clone(), name, &read(self.world, name)).unwrap().to_vec()
    }

    fn store(&self, name: &ObjectKey, plain: &[u8]) {
        write(self.world, name, seal(&self.key, name, Salt::new([9; 32]), FrameSize::default(), plain).unwrap());
    }

    /// Writes `to` for `from`, which is as long, in the only part of the manifest that the pack `name` holds; gives the part's digests
    /// before and after.
    fn forge(&self, name: &ObjectKey, from: &str, to: &str) -> (String, String) {
        let mut plain = self.open(name);
        let index = PackIndex::parse(plain.len() as u64, &plain).unwrap();
        let part = *index.entries().iter().find(|entry| entry.content == Content::Part).unwrap();
        let begin = usize::try_from(part.offset).unwrap();
        let text = &mut plain[begin..begin + part.stored_bytes as usize];
        let forged = String::from_utf8(text.to_vec()).unwrap().replace(from, to);
        assert!(forged.as_bytes() != text, "{from} is not there");
        text.copy_from_slice(forged.as_bytes());
        let pages: Vec<PageDigest> = self.digests.pages(forged.as_bytes());
        let before = self.digests.of_pages(index.pages(&part)).to_string();
        let index = self.with_pages(&index, part.offset, &pages);
        plain.truncate(usize::try_from(index.blocks_bytes()).unwrap());
        self.store(name, &[&plain[..], &index.to_bytes()].concat());
        (before, self.digests.of_pages(&pages).to_string())
    }

    fn with_pages(&self, index: &PackIndex, offset: u64, pages: &[PageDigest]) -> PackIndex {
        let mut changed = PackIndex::default();
        for entry in index.entries() {
            let pages = if entry.offset == offset { pages } else { index.pages(entry) };
            changed.push(entry.content, entry.plain_bytes, entry.stored_bytes, entry.codec, pages.iter().copied());
        }
        changed
    }
}

/// A manifest that says of an extent what its layers are not is noticed without reading these, and by whoever restores.
#[test]
fn layers_that_make_up_something_else_are_noticed() {
    let (world, _) = ready(4, false);
    let (taken, _) = change(&world, &[5, 300]);
    let insider = Insider::new(&world);
    let packs = pack(&world, &taken);
    let text = String::from_utf8_lossy(&insider.open(&packs)).into_owned();
    let digest = text.split("\"digest\":\"").nth(1).unwrap().split('"').next().unwrap();
    let other: String = digest.chars().rev().collect();
    let digest_of = |digest: &str| format!("\"digest\":\"{digest}\"");
    let (before, after) = insider.forge(&packs, &digest_of(digest), &digest_of(&other));
    let manifest = String::from_utf8(insider.open(&taken.manifest.key)).unwrap();
    insider.store(&taken.manifest.key, manifest.replace(&before, &after).as_bytes());

    let report = verify(&world);
    let [fault] = &report.faults[..] else { panic!("{:?}", report.faults) };
    assert_eq!((&fault.object, fault.kind), (&taken.manifest.key, FaultKind::Damaged));
    assert!(
        fault.to_string().contains("make up another one") || format!("{fault:?}").contains("make up another one"),
        "{fault:?}"
    );
    let error = world.restore(&world.plan(Target::Snapshot(taken.id)), &MemoryTarget::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
