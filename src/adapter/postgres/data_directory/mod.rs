//! A data directory as the target of a restore.

mod access;
mod draft;
mod layout;
mod output;
mod possession;
mod postmaster;
mod settings;
mod staging;
mod standing;
mod writer;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;

use self::access::Access;
use self::draft::{Draft, Opening, replace_file};
pub(super) use self::layout::{CONTROL, LOG, MARKER, STAGING};
use self::layout::{CONTROL_WAITING, Layout, Place};
use self::staging::{Expected, Staging};
use self::standing::{Standing, StandingFile};
use self::writer::RestoredFile;
use super::OsUser;
use super::disk::{self, blocking, failed};
use crate::model::{FileEntry, Incarnation, Tablespace, TimelineId};
use crate::port::{FileReader, FileWriter, PortError, PortErrorKind, RecoverySettings, RestoreOutline, RestoreTarget};

/// What PostgreSQL does not start without, for servers that keep their configuration elsewhere, as Debian's do.
const CONFIGURATION: [(&str, &str); 3] = [
    ("postgresql.conf", "# pitr: the backup had no postgresql.conf: all defaults\n"),
    (
        "pg_hba.conf",
        "# pitr: the backup had no pg_hba.conf: each user of this machine as himself\nlocal all all peer\n",
    ),
    ("pg_ident.conf", ""),
];

/// A page costs recovery about ten times as much to read as a restore to write through the page cache, and a byte of log stands for a byte of
/// pages or so: what has less log than this share of its files, is written past it.
const LOG_SHARE_OF_CACHED: u64 = 16;
const AUTO_CONF: &str = "postgresql.auto.conf";

/// Writes a server into a data directory, and stages its log while it recovers.
///
/// - The directory, and those of its tablespaces and of its log, must be empty or absent unless it restores over a [delta](Self::delta); they get
///   mode 0700, or 0750 if the group may read the source, and, if [`owner`](Self::owner) is set, that owner.
/// - A tablespace goes where [`tablespace`](Self::tablespace) says, else into the sibling directory
///   `<data directory>-tablespaces/<oid>`. It is never restored in its old place, which may be in use by the source.
/// - What belongs to the running source (`postmaster.pid`, replication slots, `pg_wal`, other recoveries) is left out.
/// - Large files are written past the page cache, if their file system can and there is little log to replay. Each file is synced when it is finished. [`commit`](RestoreTarget::commit) syncs the directories and renames
///   `global/pg_control` in place at last.
/// - `postgresql.auto.conf` keeps its lines; two blocks are added. One is for the recovery alone. The other detaches the
///   server from its source and stays: no archiving, no primary, no synchronous standbys, no workers for subscriptions,
///   no file of the source for its process ID and, where `postgresql.conf` itself names them, none for access rules.
/// - The log is staged in `pitr_wal` inside the data directory. PostgreSQL takes segments from there without a copy, unless its log
///   [lies on another file system](Self::wal_directory). It waits for a
///   segment that is not staged yet, as long as this value lives; if it is dropped, or its process dies, or the log is
///   [`abandon`](RestoreTarget::abandon)ed, before [`end_of_wal`](RestoreTarget::end_of_wal), PostgreSQL stops with an error and does not take it for the end of the log.
/// - A recovery that is interrupted may be started again while this value lives, or after the end was declared.
///
/// Its methods must be awaited inside a tokio runtime, on whose blocking threads files are written: a wait for the disk
/// then never takes a thread from the ciphers that feed it.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    tablespaces: BTreeMap<u32, PathBuf>,
    log: Option<PathBuf>,
    owner: Option<OsUser>,
    segments_ahead: Option<NonZeroUsize>,
    restores_over: bool,
    prepared: OnceLock<Arc<Prepared>>,
}

#[derive(Debug)]
struct Prepared {
    layout: Layout,
    owner: Option<OsUser>,
    /// The server over which it is restored.
    standing: Option<Standing>,
    staging: Staging,
    /// Whether recovery will soon read what is written.
    is_cached: bool,
    expected: OnceLock<Expected>,
}

impl DataDirectory {
    /// The data directory at `path`. Nothing is touched before [`prepare`](RestoreTarget::prepare).
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            tablespaces: BTreeMap::new(),
            log: None,
            owner: None,
            segments_ahead: None,
            restores_over: false,
            prepared: OnceLock::new(),
        }
    }

    /// Restores tablespace `oid` in the directory `path`.
    #[must_use]
    pub fn tablespace(mut self, oid: u32, path: impl Into<PathBuf>) -> Self {
        self.tablespaces.insert(oid, path.into());
        self
    }

    /// Makes `pg_wal` a link to the directory `path`: for a disk of its own. Unless set, it is a directory like any other, also where the
    /// source, or what stands there, has a link.
    #[must_use]
    pub fn wal_directory(self, path: impl Into<PathBuf>) -> Self {
        Self { log: Some(path.into()), ..self }
    }

    /// Gives everything to `user`: for a process that runs as root, as which PostgreSQL refuses to start.
    #[must_use]
    pub fn owner(self, user: OsUser) -> Self {
        Self { owner: Some(user), ..self }
    }

    /// Stages up to `count` segments that recovery has not taken yet; unless set, as many as have 256 MiB, but at
    /// least 2.
    #[must_use]
    pub fn segments_ahead(self, count: NonZeroUsize) -> Self {
        Self { segments_ahead: Some(count), ..self }
    }

    /// Restores over what the server left in the directory, if it left something: of files that are there, only what differs is fetched
    /// and written; what is not in the snapshot is removed, also server logs and the configuration.
    ///
    /// The directory must be empty, or that of the same server by its system identifier, and have no `postmaster.pid`, as it does while a server
    /// runs there; else nothing is touched. An interrupted restore can be repeated, but not started. Files that have several names (hard links)
    /// are written anew, so that what another directory has of them stays. The directories of tablespaces and of the log must be empty, or stand
    /// where the links of the data directory lead to and [`tablespace`](Self::tablespace) and [`wal_directory`](Self::wal_directory) say. All other
    /// links are removed, not followed: of a copy, they may lead to what is another server's.
    ///
    /// What else may write there, must not meanwhile; a server that is started is refused, or does not find its `pg_control`.
    #[must_use]
    pub fn delta(self) -> Self {
        Self { restores_over: true, ..self }
    }

    /// Tidies up after a recovery: removes its settings from `postgresql.auto.conf`, and what is left of the staged log.
    /// Settings that detach the server from its source stay. May be called on a new value for the same path.
    ///
    /// Nobody should run `ALTER SYSTEM` meanwhile.
    ///
    /// # Errors
    /// [`Conflict`](PortErrorKind::Conflict) if recovery has not ended; nothing was touched then.
    pub async fn finish_recovery(&self) -> Result<(), PortError> {
        let root = self.path.clone();
        blocking(move || finish_recovery(&root)).await
    }

    fn layout(&self, tablespaces: &[Tablespace]) -> Result<Layout, PortError> {
        let absolute = |path: &Path| std::path::absolute(path).map_err(failed("make absolute", path));
        let root = absolute(&self.path)?;
        let mut sibling = root.clone().into_os_string();
        sibling.push("-tablespaces");
        let place = |oid: u32| match self.tablespaces.get(&oid) {
            Some(path) => absolute(path),
            None => Ok(Path::new(&sibling).join(oid.to_string())),
        };
        let places = tablespaces.iter().map(|tablespace| Ok((tablespace.oid, place(tablespace.oid)?)));
        let tablespaces = places.collect::<Result<_, PortError>>()?;
        let log = self.log.as_deref().map(absolute).transpose()?;
        Ok(Layout { root, tablespaces, log })
    }

    fn prepared(&self) -> Result<&Arc<Prepared>, PortError> {
        let context = || format!("{} was not prepared for a restore", self.path.display());
        self.prepared.get().ok_or_else(|| PortError::new(PortErrorKind::Invalid, context()))
    }
}

#[async_trait]
impl RestoreTarget for DataDirectory {
    async fn prepare(&self, outline: &RestoreOutline) -> Result<(), PortError> {
        let (layout, owner, ahead) = (self.layout(&outline.tablespaces)?, self.owner, self.segments_ahead);
        let over = self.restores_over.then_some(outline.incarnation);
        let mut prepared = blocking(move || Prepared::create(layout, over, owner, ahead)).await?;
        prepared.is_cached = outline.log_bytes > outline.file_bytes / LOG_SHARE_OF_CACHED;
        let twice = || PortError::new(PortErrorKind::Conflict, "the data directory is prepared already");
        self.prepared.set(Arc::new(prepared)).map_err(|_| twice())
    }

    async fn directory(&self, entry: &FileEntry) -> Result<(), PortError> {
        let prepared = self.prepared()?;
        let Place::At(path) = prepared.layout.place(&entry.path)? else { return Ok(()) };
        let (mode, prepared) = (Access::like(entry.mode).directory, Arc::clone(prepared));
        blocking(move || {
            prepared.standing.as_ref().map_or(Ok(()), |standing| standing.directory(&path))?;
            disk::make_directory(&path, mode, prepared.owner)
        })
        .await
    }

    async fn standing(&self, entry: &FileEntry) -> Result<Option<Arc<dyn FileReader>>, PortError> {
        let prepared = Arc::clone(self.prepared()?);
        let Place::At(path) = prepared.layout.place(&entry.path)? else { return Ok(None) };
        if prepared.standing.is_none() {
            return Ok(None);
        }
        let file = blocking(move || Ok(StandingFile::open(path))).await?;
        Ok(file.map(|file| Arc::new(file) as Arc<dyn FileReader>))
    }

    async fn file(&self, entry: &FileEntry) -> Result<Box<dyn FileWriter>, PortError> {
        let prepared = self.prepared()?;
        let draft = match prepared.layout.place(&entry.path)? {
            Place::At(path) => Some(prepared.draft(path, 0o600 | entry.mode & 0o740).await?),
            Place::Nowhere => None,
        };
        Ok(Box::new(RestoredFile::new(entry.path.clone(), entry.bytes, draft)))
    }

    async fn history(&self, timeline: TimelineId, content: Bytes) -> Result<(), PortError> {
        self.prepared()?.staging.history(timeline, content).await
    }

    async fn commit(&self, recovery: &RecoverySettings) -> Result<(), PortError> {
        let (prepared, recovery) = (Arc::clone(self.prepared()?), recovery.clone());
        blocking(move || prepared.commit(&recovery)).await
    }

    async fn segment(&self, name: &str) -> Result<Option<Box<dyn FileWriter>>, PortError> {
        let prepared = self.prepared()?;
        let early = || PortError::new(PortErrorKind::Invalid, "segments are staged after the commit");
        let expected = prepared.expected.get().ok_or_else(early)?;
        let segment = prepared.staging.segment(name, expected).await?;
        Ok(segment.map(|segment| Box::new(segment) as Box<dyn FileWriter>))
    }

    async fn end_of_wal(&self) -> Result<(), PortError> {
        self.prepared()?.staging.end().await
    }

    fn abandon(&self) {
        if let Some(prepared) = self.prepared.get() {
            prepared.staging.abandon();
        }
    }
}

impl Prepared {
    /// Takes possession of the directories of `layout`, in which the server `over` may stand.
    fn create(
        layout: Layout,
        over: Option<Incarnation>,
        owner: Option<OsUser>,
        ahead: Option<NonZeroUsize>,
    ) -> Result<Self, PortError> {
        layout.check()?;
        match over {
            Some(server) => possession::check(&layout, server.system_id)?,
            None => layout.directories().try_for_each(require_empty)?,
        }
        let root = &layout.root;
        if !root.exists() {
            make_with_parents(root, owner)?;
        }
        let standing = over.map(|server| Standing::take(&layout, server)).transpose()?;
        make_with_parents(root, owner)?;
        let staging = Staging::create(root, owner, ahead)?;
        disk::make_directory(&root.join("pg_tblspc"), 0o700, owner)?;
        for (link, directory) in layout.links() {
            make_with_parents(directory, owner)?;
            if !link.is_symlink() {
                std::os::unix::fs::symlink(directory, &link).map_err(failed("link", &link))?;
            }
        }
        Ok(Self { layout, owner, standing, staging, is_cached: true, expected: OnceLock::new() })
    }

    /// A file to be written at `path`.
    async fn draft(self: &Arc<Self>, path: PathBuf, mode: u32) -> Result<Draft, PortError> {
        if self.standing.is_none() {
            return Ok(Draft::new(path, mode, self.owner, Opening::New).cached(self.is_cached));
        }
        let prepared = Arc::clone(self);
        blocking(move || {
            prepared.standing.as_ref().map_or(Ok(()), |standing| standing.file(&path))?;
            Ok(Draft::new(path, mode, prepared.owner, Opening::Over).cached(prepared.is_cached))
        })
        .await
    }

    fn commit(&self, recovery: &RecoverySettings) -> Result<(), PortError> {
        let root = &self.layout.root;
        let (waiting, control) = (root.join(CONTROL_WAITING), root.join(CONTROL));
        fs::metadata(&waiting).map_err(failed("find what will be", &control))?;
        self.standing.as_ref().map_or(Ok(()), |standing| standing.remove_rest(&self.layout))?;
        let access = Access::of(root)?;
        let expected = self.staging.expect(recovery, access)?;
        self.grant(access)?;
        self.configure(recovery, access)?;
        self.layout.directories().try_for_each(disk::sync_directories)?;
        // Performed last: what was aborted before cannot be started.
        disk::rename(&waiting, &control)?;
        disk::sync_directory(&root.join("global"))?;
        self.standing.as_ref().map_or(Ok(()), |standing| standing.release(&self.layout))?;
        let twice = || PortError::new(PortErrorKind::Conflict, "the data directory is committed already");
        self.expected.set(expected).map_err(|_| twice())
    }

    /// To the directories that no entry is of; most were made before it was known who may read them.
    fn grant(&self, access: Access) -> Result<(), PortError> {
        let own = [LOG, "pg_tblspc"].map(|name| self.layout.root.join(name));
        let mut directories = own.iter().map(PathBuf::as_path).chain(self.layout.directories());
        directories.try_for_each(|directory| disk::make_directory(directory, access.directory, self.owner))
    }

    fn configure(&self, recovery: &RecoverySettings, access: Access) -> Result<(), PortError> {
        let root = &self.layout.root;
        for (name, content) in CONFIGURATION {
            let path = root.join(name);
            if !path.try_exists().map_err(failed("look for", &path))? {
                replace_file(&path, content.as_bytes(), access.file, self.owner)?;
            }
        }
        let auto_conf = root.join(AUTO_CONF);
        let own_files =
            settings::own_access_files(&disk::read_if_any(&root.join("postgresql.conf"))?.unwrap_or_default(), root)?;
        let content =
            settings::with_recovery(&disk::read_if_any(&auto_conf)?.unwrap_or_default(), &own_files, recovery);
        replace_file(&auto_conf, &content, access.file, self.owner)?;
        replace_file(&root.join("recovery.signal"), b"", access.file, self.owner)
    }
}

fn require_empty(directory: &Path) -> Result<(), PortError> {
    if disk::is_empty_or_absent(directory)? {
        return Ok(());
    }
    let context = format!("{} is not an empty directory: restore elsewhere", directory.display());
    Err(PortError::new(PortErrorKind::Conflict, context))
}

fn finish_recovery(root: &Path) -> Result<(), PortError> {
    if !staging::has_recovered(root)? {
        let context = format!("the server in {} has not ended its recovery", root.display());
        return Err(PortError::new(PortErrorKind::Conflict, context));
    }
    let auto_conf = root.join(AUTO_CONF);
    let owner = OsUser::owning(root).map_err(failed("look at", root))?;
    replace_file(
        &auto_conf,
        &settings::without_recovery(&disk::read_if_any(&auto_conf)?.unwrap_or_default()),
        Access::of(root)?.file,
        Some(owner),
    )?;
    staging::remove(root)?;
    disk::remove_if_any(&root.join(MARKER))?;
    disk::sync_directory(root)
}

/// Makes a directory, durably; parents that have to be made belong to `owner` too, who must be able to pass through them.
fn make_with_parents(path: &Path, owner: Option<OsUser>) -> Result<(), PortError> {
    if path.exists() {
        return disk::make_directory(path, 0o700, owner);
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent.filter(|parent| !parent.exists()) {
        make_with_parents(parent, owner)?;
    }
    disk::make_directory(path, 0o700, owner)?;
    parent.map_or(Ok(()), disk::sync_directory)
}
