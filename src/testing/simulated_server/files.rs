//! The files of a simulated server.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{SimulatedServer, State, pause};
use crate::model::{FileEntry, FileStamp, Parameters, Tablespace};
use crate::port::{
    FileReader, PortError, SnapshotEnd, SnapshotEvent, SnapshotSource, SnapshotStart, SnapshotStream, SourceIdentity,
};
use crate::testing::entropy::SplitMix64;

/// What stands in the data directory and the tablespaces of a simulated server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerFiles {
    /// The tablespaces outside the data directory.
    pub tablespaces: Vec<Tablespace>,
    /// Directories, each after the one that it stands in.
    pub directories: Vec<FileEntry>,
    /// Files by path.
    pub files: BTreeMap<String, (FileEntry, Bytes)>,
    /// The server's own manifest of a base backup.
    pub manifest: Bytes,
    /// The stamp that was given last, if files are given to be read.
    stamp: Option<u64>,
    damaged: BTreeSet<(String, u32)>,
}

const TABLESPACES: [u32; 2] = [16_385, 16_390];
const DIRECTORIES: [&str; 10] = [
    "base",
    "base/1",
    "base/5",
    "global",
    "pg_tblspc",
    "pg_tblspc/16385",
    "pg_tblspc/16385/PG_15_202209061",
    "pg_tblspc/16390",
    "pg_tblspc/16390/PG_15_202209061",
    "pg_wal",
];
/// Some that are special, and how long they are.
const FILES: [(&str, u64); 8] = [
    ("PG_VERSION", 3),
    ("backup_label", 227),
    ("base/1/1259", (3 << 20) + 8192),
    ("base/1/2619", 0),
    ("base/1/2620", 1 << 20),
    ("global/pg_control", 8192),
    ("pg_tblspc/16385/PG_15_202209061/16386", 40_960),
    ("pg_tblspc/16390/PG_15_202209061/16391", 0),
];
const SMALL_FILES: u64 = 120;
const PAGE_BYTES: usize = 8192;

impl ServerFiles {
    pub(super) fn random(random: &mut SplitMix64) -> Self {
        let special = FILES.iter().map(|(path, bytes)| ((*path).to_owned(), *bytes));
        let small = (0..SMALL_FILES).map(|n| (format!("base/5/{}", 16_400 + n), random.next() % 9_000));
        let sizes: Vec<_> = special.chain(small).collect();
        Self::with(random, sizes)
    }

    /// So many files of so many bytes.
    pub(super) fn alike(random: &mut SplitMix64, count: u64, bytes: u64) -> Self {
        Self::with(random, (0..count).map(|n| (format!("base/5/{}", 16_400 + n), bytes)))
    }

    fn with(random: &mut SplitMix64, sizes: impl IntoIterator<Item = (String, u64)>) -> Self {
        let entry = |path: &str, bytes, mode| FileEntry::new(path, bytes, mode, 1_700_000_000);
        let mut file =
            |(path, bytes): (String, u64)| (path.clone(), (entry(&path, bytes, 0o600), content(random, bytes)));
        let files = sizes.into_iter().map(&mut file).collect();
        Self {
            tablespaces: TABLESPACES.map(|oid| Tablespace::new(oid, format!("/tablespaces/{oid}"))).to_vec(),
            directories: DIRECTORIES.map(|path| entry(path, 0, 0o700)).to_vec(),
            files,
            manifest: content(random, 5_000),
            stamp: None,
            damaged: BTreeSet::new(),
        }
    }

    pub(super) fn add_database(&mut self, random: &mut SplitMix64, directory: &str) {
        self.directories.push(FileEntry::new(directory, 0, 0o700, 1_700_000_000));
        for (name, bytes) in [("PG_VERSION", 3), ("pg_filenode.map", 512), ("1259", 100_000)] {
            self.set(&format!("{directory}/{name}"), content(random, bytes));
        }
    }

    /// From now on, files are given to be read where they lie, and have stamps.
    pub(super) fn stamp(&mut self) {
        self.stamp = Some(0);
        for (path, (_, content)) in self.files.clone() {
            self.set(&path, content);
        }
    }

    /// Changes the first page of the file `path`, but not its stamp.
    pub(super) fn change_secretly(&mut self, path: &str) {
        if let Some((_, content)) = self.files.get_mut(path) {
            let changed: Vec<u8> = content.iter().map(|byte| byte ^ 0x5A).collect();
            *content = changed.into();
        }
    }

    /// From now on, block `block` of the file `path` has a wrong checksum.
    pub(super) fn damage(&mut self, path: &str, block: u32) {
        self.damaged.insert((path.to_owned(), block));
    }

    /// Writes these pages of the file `path` anew.
    pub(super) fn change_pages(&mut self, path: &str, pages: &[usize]) {
        let Some((_, content)) = self.files.get(path) else { return };
        let mut bytes = content.to_vec();
        for page in pages {
            bytes.iter_mut().skip(page * PAGE_BYTES).take(PAGE_BYTES).for_each(|byte| *byte = byte.wrapping_add(1));
        }
        self.set(path, bytes.into());
    }

    /// Changes one file in `one_in`, as PostgreSQL does: pages are written, files grow, are truncated, come and go.
    pub(super) fn change(&mut self, random: &mut SplitMix64, one_in: u64) {
        for path in self.files.keys().cloned().collect::<Vec<_>>() {
            if random.next().is_multiple_of(one_in) {
                self.change_file(random, &path);
            }
        }
        let path = format!("base/5/{}", 100_000 + random.next() % 100_000);
        self.set(&path, content(random, 5_000));
    }

    fn change_file(&mut self, random: &mut SplitMix64, path: &str) {
        let Some((_, content)) = self.files.get(path) else { return };
        let mut bytes = content.to_vec();
        match random.next() % 8 {
            0 => drop(self.files.remove(path)),
            1 => self.set(path, [&bytes, &self::content(random, 200_000)[..]].concat().into()),
            2 => self.set(path, content.slice(..content.len() / 2)),
            _ => {
                let page = usize::try_from(random.next() % bytes.len().div_ceil(PAGE_BYTES).max(1) as u64);
                let page = page.expect("simulated files are short") * PAGE_BYTES;
                bytes.iter_mut().skip(page).take(PAGE_BYTES).for_each(|byte| *byte ^= 0x5A);
                self.set(path, bytes.into());
            }
        }
    }

    fn set(&mut self, path: &str, content: Bytes) {
        let mut entry = FileEntry::new(path, content.len() as u64, 0o600, 1_700_000_000);
        if let Some(stamp) = &mut self.stamp {
            *stamp += 1;
            entry.stamp = Some(FileStamp::new(stamp.to_be_bytes()));
        }
        self.files.insert(path.to_owned(), (entry, content));
    }

    /// What a base backup brings: files to be read, and how much was is added to `read`; or messages of any length.
    fn events(&self, random: &mut SplitMix64, read: &Arc<AtomicU64>) -> VecDeque<SnapshotEvent> {
        let mut events: VecDeque<_> = self.directories.iter().cloned().map(SnapshotEvent::Directory).collect();
        if self.stamp.is_some() {
            events.extend(self.files.values().map(|(entry, content)| {
                let damaged = self.damaged.iter().filter(|(path, _)| *path == entry.path).map(|(_, block)| *block);
                let (content, read) = (content.clone(), Arc::clone(read));
                let file = SimulatedFile { content, damaged: damaged.collect(), read };
                SnapshotEvent::Readable(entry.clone(), Arc::new(file))
            }));
            return events;
        }
        for (entry, content) in self.files.values() {
            events.push_back(SnapshotEvent::File(entry.clone()));
            events.extend(messages(content.clone(), random).map(SnapshotEvent::Data));
        }
        events.extend(messages(self.manifest.clone(), random).map(SnapshotEvent::Manifest));
        events
    }
}

/// A file that is read where it lies.
#[derive(Debug)]
struct SimulatedFile {
    content: Bytes,
    damaged: Vec<u32>,
    read: Arc<AtomicU64>,
}

impl FileReader for SimulatedFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<Vec<u32>, PortError> {
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(self.content.len());
        let content = &self.content[begin..self.content.len().min(begin + buffer.len())];
        buffer.fill(0);
        buffer[..content.len()].copy_from_slice(content);
        let pages = begin / PAGE_BYTES..(begin + buffer.len()).div_ceil(PAGE_BYTES);
        let is_here = |block: &u32| usize::try_from(*block).is_ok_and(|block| pages.contains(&block));
        Ok(self.damaged.iter().copied().filter(is_here).collect())
    }
}

/// Bytes of which half repeat, so that they compress, but not to nothing.
fn content(random: &mut SplitMix64, bytes: u64) -> Bytes {
    let words = (0..bytes.div_ceil(16)).flat_map(|word| [random.next().to_le_bytes(), (word / 512).to_le_bytes()]);
    let content: Vec<u8> = words.flatten().collect();
    Bytes::from(content).split_to(usize::try_from(bytes).expect("simulated files are short"))
}

fn messages(mut content: Bytes, random: &mut SplitMix64) -> impl Iterator<Item = Bytes> + '_ {
    std::iter::from_fn(move || {
        let length = usize::try_from(1 + random.next() % (400 << 10)).expect("messages are short");
        (!content.is_empty()).then(|| content.split_to(length.min(content.len())))
    })
}

#[async_trait]
impl SnapshotSource for SimulatedServer {
    async fn identify(&self) -> Result<SourceIdentity, PortError> {
        pause().await;
        let mut state = self.state();
        state.connection()?;
        Ok(state.identity())
    }

    async fn begin(&self, _label: &str) -> Result<Box<dyn SnapshotStream>, PortError> {
        pause().await;
        let mut state = self.state();
        state.connection()?;
        let SourceIdentity { incarnation, segment_size, timeline, flush_lsn } = state.identity();
        let mut start = SnapshotStart::new(incarnation, segment_size, timeline, flush_lsn);
        start.tablespaces = state.files.tablespaces.clone();
        start.bytes_estimate = state.files.files.values().map(|(entry, _)| entry.bytes).sum();
        let State { files, random, read, .. } = &mut *state;
        let events = files.events(random, read);
        Ok(Box::new(SimulatedBackup { server: self.clone(), start, events }))
    }

    async fn parameters(&self) -> Result<Option<Parameters>, PortError> {
        let mut state = self.state();
        state.connection()?;
        Ok(state.parameters.clone())
    }
}

#[derive(Debug)]
struct SimulatedBackup {
    server: SimulatedServer,
    start: SnapshotStart,
    events: VecDeque<SnapshotEvent>,
}

#[async_trait]
impl SnapshotStream for SimulatedBackup {
    fn start(&self) -> &SnapshotStart {
        &self.start
    }

    async fn next(&mut self) -> Result<Option<SnapshotEvent>, PortError> {
        pause().await;
        let mut state = self.server.state();
        state.connection()?;
        let event = self.events.pop_front();
        if event.is_some() {
            state.live();
        }
        Ok(event)
    }

    async fn end(self: Box<Self>) -> Result<SnapshotEnd, PortError> {
        pause().await;
        let mut state = self.server.state();
        state.connection()?;
        let lsn = state.log.backup_end();
        state.wake();
        state.pass(Duration::from_millis(1));
        Ok(SnapshotEnd::new(lsn, state.log.current(), state.now()))
    }
}
