//! A restore that ends in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use crate::model::{FileEntry, Tablespace, TimelineId};
use crate::port::{FileReader, FileWriter, PortError, PortErrorKind, RecoverySettings, RestoreOutline, RestoreTarget};

/// A restore target that keeps everything in memory, and refuses calls out of order. Clones share what was restored.
#[derive(Clone, Debug, Default)]
pub struct MemoryTarget {
    restored: Arc<Mutex<RestoredServer>>,
    /// What was there before, by path.
    standing: Arc<BTreeMap<String, Bytes>>,
}

/// What a [`MemoryTarget`] was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoredServer {
    /// The tablespaces, once the target is prepared.
    pub tablespaces: Option<Vec<Tablespace>>,
    /// Directories by path.
    pub directories: BTreeMap<String, FileEntry>,
    /// Finished files by path.
    pub files: BTreeMap<String, (FileEntry, Bytes)>,
    /// History files.
    pub histories: BTreeMap<TimelineId, Bytes>,
    /// What recovery was told, once the files are committed.
    pub recovery: Option<RecoverySettings>,
    /// Finished segments by name, without the zeros at their ends.
    pub segments: BTreeMap<String, Bytes>,
    /// Whether the end of the log was said.
    pub ended: bool,
    /// Whether the log was abandoned before its end was said.
    pub abandoned: bool,
    /// The bytes of files that were written.
    pub bytes_written: u64,
}

impl MemoryTarget {
    /// An empty place.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A place in which these files stand, by path, over which it restores.
    #[must_use]
    pub fn over(standing: BTreeMap<String, Bytes>) -> Self {
        Self { standing: Arc::new(standing), ..Self::default() }
    }

    /// What was restored so far.
    #[must_use]
    pub fn restored(&self) -> RestoredServer {
        self.server().clone()
    }

    fn server(&self) -> MutexGuard<'_, RestoredServer> {
        self.restored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self, kind: Kind, bytes_promised: Option<u64>) -> Box<dyn FileWriter> {
        Box::new(MemoryWriter { target: self.clone(), kind, bytes_promised, bytes: BytesMut::new() })
    }
}

impl RestoredServer {
    /// Files come after `prepare` and before `commit`, each after the directory that it stands in.
    fn check_entry(&self, entry: &FileEntry) -> Result<(), PortError> {
        let parent = entry.path.rsplit_once('/').map(|(parent, _)| parent);
        demand(self.tablespaces.is_some(), || format!("{} came before the target was prepared", entry.path))?;
        demand(self.recovery.is_none(), || format!("{} came after the files were committed", entry.path))?;
        let missing = || format!("{} came before its directory", entry.path);
        demand(parent.is_none_or(|parent| self.directories.contains_key(parent)), missing)
    }
}

fn demand(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), PortError> {
    if holds { Ok(()) } else { Err(PortError::new(PortErrorKind::Invalid, otherwise())) }
}

#[async_trait]
impl RestoreTarget for MemoryTarget {
    async fn prepare(&self, outline: &RestoreOutline) -> Result<(), PortError> {
        let mut server = self.server();
        if server.tablespaces.is_some() {
            return Err(PortError::new(PortErrorKind::Conflict, "this memory holds a server already"));
        }
        server.tablespaces = Some(outline.tablespaces.clone());
        Ok(())
    }

    async fn directory(&self, entry: &FileEntry) -> Result<(), PortError> {
        let mut server = self.server();
        server.check_entry(entry)?;
        server.directories.insert(entry.path.clone(), entry.clone());
        Ok(())
    }

    async fn standing(&self, entry: &FileEntry) -> Result<Option<Arc<dyn FileReader>>, PortError> {
        self.server().check_entry(entry)?;
        let content = self.standing.get(&entry.path).cloned();
        Ok(content.map(|content| Arc::new(MemoryFile(content)) as Arc<dyn FileReader>))
    }

    async fn file(&self, entry: &FileEntry) -> Result<Box<dyn FileWriter>, PortError> {
        self.server().check_entry(entry)?;
        Ok(self.writer(Kind::File(entry.clone()), Some(entry.bytes)))
    }

    async fn history(&self, timeline: TimelineId, content: Bytes) -> Result<(), PortError> {
        self.server().histories.insert(timeline, content);
        Ok(())
    }

    async fn commit(&self, recovery: &RecoverySettings) -> Result<(), PortError> {
        let mut server = self.server();
        demand(server.tablespaces.is_some(), || "committed before it was prepared".to_owned())?;
        demand(server.recovery.is_none(), || "committed twice".to_owned())?;
        server.recovery = Some(recovery.clone());
        Ok(())
    }

    async fn segment(&self, name: &str) -> Result<Option<Box<dyn FileWriter>>, PortError> {
        let server = self.server();
        let recovery = server.recovery.as_ref();
        let bytes_max = recovery.map(|recovery| recovery.segment_size.bytes());
        let due = recovery.and_then(|recovery| recovery.segments.get(server.segments.len()));
        demand(due.is_some_and(|due| due == name), || format!("segment {name} came where {due:?} was due"))?;
        drop(server);
        Ok(Some(self.writer(Kind::Segment(name.to_owned()), bytes_max)))
    }

    async fn end_of_wal(&self) -> Result<(), PortError> {
        self.server().ended = true;
        Ok(())
    }

    fn abandon(&self) {
        let mut server = self.server();
        server.abandoned |= !server.ended;
    }
}

#[derive(Debug)]
struct MemoryFile(Bytes);

impl FileReader for MemoryFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<Vec<u32>, PortError> {
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let content = self.0[begin..].get(..buffer.len());
        let beyond = || PortError::new(PortErrorKind::Invalid, "the file is shorter");
        buffer.copy_from_slice(content.ok_or_else(beyond)?);
        Ok(Vec::new())
    }
}

#[derive(Debug)]
enum Kind {
    File(FileEntry),
    Segment(String),
}

#[derive(Debug)]
struct MemoryWriter {
    target: MemoryTarget,
    kind: Kind,
    bytes_promised: Option<u64>,
    bytes: BytesMut,
}

#[async_trait]
impl FileWriter for MemoryWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        if let Kind::File(_) = self.kind {
            self.target.server().bytes_written += bytes.len() as u64;
        }
        self.append(&bytes)
    }

    async fn zeros(&mut self, bytes: u64) -> Result<(), PortError> {
        self.append(&vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)])
    }

    async fn keep(&mut self, bytes: u64) -> Result<(), PortError> {
        let Kind::File(entry) = &self.kind else { return demand(false, || "a segment stands nowhere".to_owned()) };
        let standing = self.target.standing.get(&entry.path).cloned().unwrap_or_default();
        let end = self.bytes.len().saturating_add(usize::try_from(bytes).unwrap_or(usize::MAX));
        let kept = standing.get(self.bytes.len()..end).map(<[u8]>::to_vec);
        demand(kept.is_some(), || format!("{} is kept, but does not stand", entry.path))?;
        self.append(&kept.unwrap_or_default())
    }

    async fn finish(self: Box<Self>) -> Result<(), PortError> {
        self.end()
    }
}

impl MemoryWriter {
    fn append(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        self.bytes.extend_from_slice(bytes);
        let fits = self.bytes_promised.is_none_or(|promised| self.bytes.len() as u64 <= promised);
        demand(fits, || format!("{:?} is too long", self.kind))
    }

    fn end(self) -> Result<(), PortError> {
        let (bytes, mut server) = (self.bytes.freeze(), self.target.server());
        match self.kind {
            Kind::File(entry) => {
                demand(bytes.len() as u64 == entry.bytes, || format!("{} is too short", entry.path))?;
                server.files.insert(entry.path.clone(), (entry, bytes));
            }
            Kind::Segment(name) => {
                server.segments.insert(name, bytes);
            }
        }
        Ok(())
    }
}
