//! Verifying the data of snapshots.

use futures::future;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::contents::Data;
use super::{Examined, Place, Verification, VerifyDepth};
use crate::engine::error::{Error, Result};
use crate::engine::manifest_stream::ManifestStream;
use crate::engine::packs::{Packs, Run, runs};
use crate::format::layout::DataPart;
use crate::format::manifest::{self, END_BYTES_MAX, ManifestEnd};
use crate::model::{ObjectKey, Snapshot, StoredObject};

/// How many runs of blocks of one pack are read at a time.
const RUNS_IN_FLIGHT: usize = 2;

/// A snapshot, and what was listed of its data.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) data: &'a Data,
}

/// A pack has other bytes than those of its blocks.
#[derive(Debug, thiserror::Error)]
#[error("it has {found} bytes, its blocks {expected}")]
struct Length {
    expected: u64,
    found: u64,
}

impl Verification {
    /// Verifies the manifest of a snapshot, then its packs in order.
    pub(super) fn snapshot<'a>(&'a self, stored: Stored<'a>) -> BoxStream<'a, Result<Examined>> {
        let packs = move |(manifest, end): (Examined, Option<ManifestEnd>)| {
            let told = self.is_due(&stored.place(DataPart::Manifest)).then_some(Ok(manifest));
            stream::iter(told).chain(self.packs(stored, end))
        };
        stream::once(self.manifest(stored.snapshot)).map_ok(packs).try_flatten().boxed()
    }

    async fn manifest(&self, snapshot: &Snapshot) -> Result<(Examined, Option<ManifestEnd>)> {
        let read = match self.depth {
            VerifyDepth::Quick => self.manifest_end(&snapshot.manifest.key).await,
            VerifyDepth::Full => match ManifestStream::of(&self.server, snapshot).await {
                Ok((_, lines)) => lines.counts().await,
                Err(error) => Err(error),
            },
        };
        Examined::of(snapshot.manifest.clone(), read)
    }

    async fn manifest_end(&self, name: &ObjectKey) -> Result<ManifestEnd> {
        let manifest = self.server.vault.open(name).await?;
        let tail = manifest.bytes().saturating_sub(END_BYTES_MAX)..manifest.bytes();
        let end = manifest.read(tail, |tail| manifest::end(&tail)).await?;
        end.map_err(|error| Error::corrupt(name, error))
    }

    /// The packs that a manifest with this `end` tells of. If that is damaged, nobody knows which there should be, nor what is in
    /// them, but of those that are there it can be told whether they are whole.
    fn packs<'a>(&'a self, stored: Stored<'a>, end: Option<ManifestEnd>) -> BoxStream<'a, Result<Examined>> {
        match (end, self.depth) {
            (Some(_), VerifyDepth::Full) => self.packs_by_block(stored),
            (Some(end), VerifyDepth::Quick) => {
                self.whole_packs(stored, (0..=u32::MAX).take_while(move |&number| u64::from(number) < end.packs))
            }
            (None, _) => self.whole_packs(stored, stored.data.keys().filter_map(|part| part.pack())),
        }
    }

    fn whole_packs<'a>(
        &'a self,
        stored: Stored<'a>,
        numbers: impl Iterator<Item = u32> + Send + 'a,
    ) -> BoxStream<'a, Result<Examined>> {
        let due = numbers.filter(move |&number| self.is_due(&stored.place(DataPart::Pack(number))));
        let examined = due.map(move |number| async move {
            let object = self.pack_object(stored, number);
            let read = match self.depth {
                VerifyDepth::Quick => self.check_end(&object.key).await,
                VerifyDepth::Full => self.check_frames(&object.key).await,
            };
            Ok(Examined::of(object, read)?.0)
        });
        stream::iter(examined).buffered(self.in_flight()).boxed()
    }

    async fn check_end(&self, name: &ObjectKey) -> Result<()> {
        self.server.vault.open(name).await?.check_end().await
    }

    async fn check_frames(&self, name: &ObjectKey) -> Result<()> {
        let mut frames = self.server.vault.stream(name).await?;
        while frames.next().await?.is_some() {}
        Ok(())
    }

    fn packs_by_block<'a>(&'a self, stored: Stored<'a>) -> BoxStream<'a, Result<Examined>> {
        let packs = Packs::new(self.server.clone(), stored.snapshot.id.clone());
        let listed = stream::once(PackStream::open(self, stored.snapshot)).try_flatten();
        let due = move |pack: &Result<Pack>| {
            future::ready(pack.as_ref().map_or(true, |pack| self.is_due(&stored.place(DataPart::Pack(pack.number)))))
        };
        let examined = listed.filter(due).map(move |pack| {
            let packs = packs.clone();
            async move {
                let (object, read) = match pack {
                    Ok(pack) => (self.pack_object(stored, pack.number), check_blocks(&packs, pack).await),
                    // It was sound a moment ago.
                    Err(error) => (stored.snapshot.manifest.clone(), Err(error)),
                };
                Ok(Examined::of(object, read)?.0)
            }
        });
        examined.buffered(self.server.vault.executor.parallelism().get()).boxed()
    }

    fn pack_object(&self, stored: Stored<'_>, number: u32) -> StoredObject {
        let bytes = stored.data.get(&DataPart::Pack(number)).copied();
        StoredObject::new(self.server.layout.pack(&stored.snapshot.id, number), bytes.unwrap_or(0))
    }
}

impl Stored<'_> {
    fn place(&self, part: DataPart) -> Place {
        Place::Data(self.snapshot.id.clone(), part)
    }
}

/// A pack, and the blocks that are in it by the manifest.
struct Pack {
    number: u32,
    runs: Vec<Run>,
}

async fn check_blocks(packs: &Packs, pack: Pack) -> Result<()> {
    let found = packs.pack(pack.number).await?.bytes();
    let expected = pack.runs.last().map_or(0, |run| run.range.end);
    if found != expected {
        return Err(Error::corrupt(packs.key(pack.number), Length { expected, found }));
    }
    let fetched = stream::iter(pack.runs).map(|run| packs.fetch(run)).buffer_unordered(RUNS_IN_FLIGHT);
    fetched.try_for_each(|_| future::ready(Ok(()))).await
}

/// The packs of a snapshot, one after another, as its manifest tells them.
struct PackStream {
    manifest: ManifestStream,
    runs: std::vec::IntoIter<Run>,
    begun: Option<Pack>,
}

impl PackStream {
    async fn open(verification: &Verification, snapshot: &Snapshot) -> Result<BoxStream<'static, Result<Pack>>> {
        let (_, manifest) = ManifestStream::of(&verification.server, snapshot).await?;
        let packs = Self { manifest, runs: Vec::new().into_iter(), begun: None };
        Ok(stream::try_unfold(packs, |mut packs| async move { Ok(packs.next().await?.map(|pack| (pack, packs))) })
            .boxed())
    }

    async fn next(&mut self) -> Result<Option<Pack>> {
        loop {
            if let Some(run) = self.runs.next() {
                if let Some(complete) = self.add(run) {
                    return Ok(Some(complete));
                }
            } else if let Some(group) = self.manifest.next_group().await? {
                self.runs = runs(&group.files).into_iter();
            } else {
                return Ok(self.begun.take());
            }
        }
    }

    /// Takes the next run; gives the pack that is complete by that.
    fn add(&mut self, run: Run) -> Option<Pack> {
        match &mut self.begun {
            Some(pack) if pack.number == run.pack => {
                pack.runs.push(run);
                None
            }
            begun => begun.replace(Pack { number: run.pack, runs: vec![run] }),
        }
    }
}
