//! Walks through a data directory and its tablespaces.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::data_directory::LOG;
use super::names::{self, Place, RelationFile};
use super::readable::{PageSettings, Pages, ReadableFile};
use super::stamp::Stamper;
use crate::adapter::pace::Pace;
use crate::model::{FileEntry, Tablespace};
use crate::port::{PortError, PortErrorKind, SnapshotEvent};

/// How many names are looked at in one go: as many files are open.
const NAMES_AT_A_TIME: usize = 64;
/// The most names that are reported as skipped.
const SKIPPED_MAX: usize = 1000;
/// How often a file is opened that is replaced by another all the time.
const ATTEMPTS: usize = 5;
/// What is in a backup of it; `summaries` since PostgreSQL 17.
const DIRECTORIES_OF_LOG: [&str; 2] = ["pg_wal/archive_status", "pg_wal/summaries"];

/// A walk that can be interrupted. Names are taken in order, so that a snapshot lists files as the one before did.
///
/// The names in one directory, and in those that it is in, are in memory.
#[derive(Debug)]
pub(super) struct Walk {
    root: PathBuf,
    tablespaces: Vec<Tablespace>,
    /// The only directory in a tablespace that is this server's.
    version: String,
    stamper: Stamper,
    pages: Option<PageSettings>,
    pace: Arc<Pace>,
    /// The directories that it is in, each in the one before it.
    open: Vec<Listing>,
    events: VecDeque<SnapshotEvent>,
    skipped: Vec<String>,
}

/// What is left of a directory.
#[derive(Debug)]
struct Listing {
    /// Relative to the data directory.
    path: String,
    place: Place,
    names: std::vec::IntoIter<String>,
    /// The numbers of relations that are unlogged.
    unlogged: BTreeSet<String>,
}

impl Walk {
    /// Begins at `root`, in whose tablespaces this server has the directory `version`. Blocks.
    pub(super) fn begin(
        root: PathBuf,
        version: String,
        stamper: Stamper,
        pages: Option<PageSettings>,
        pace: Arc<Pace>,
    ) -> Result<Self, PortError> {
        let (open, events, skipped) = (Vec::new(), VecDeque::new(), Vec::new());
        let tablespaces = tablespaces(&root)?;
        let mut walk = Self { root, tablespaces, version, stamper, pages, pace, open, events, skipped };
        walk.enter(String::new())?;
        Ok(walk)
    }

    /// The tablespaces outside the root.
    pub(super) fn tablespaces(&self) -> &[Tablespace] {
        &self.tablespaces
    }

    /// Whether it has been everywhere.
    pub(super) fn is_done(&self) -> bool {
        self.open.is_empty()
    }

    /// What was neither a file nor a directory.
    pub(super) fn into_skipped(self) -> Vec<String> {
        self.skipped
    }

    /// Goes on, and gives what was found: nothing, if that does not belong into a backup. Blocks.
    pub(super) fn go_on(mut self) -> Result<(Self, VecDeque<SnapshotEvent>), PortError> {
        for _ in 0..NAMES_AT_A_TIME {
            let Some(listing) = self.open.last_mut() else { break };
            match listing.next() {
                Some((path, name)) => self.visit(path, &name)?,
                None => drop(self.open.pop()),
            }
        }
        let events = std::mem::take(&mut self.events);
        Ok((self, events))
    }

    /// Visits what stands at `path`.
    fn visit(&mut self, path: String, name: &str) -> Result<(), PortError> {
        let Some(metadata) = self.look(&path, |path| fs::symlink_metadata(path))? else { return Ok(()) };
        let file_type = metadata.file_type();
        if file_type.is_file() {
            self.file(path, name, metadata)
        } else if file_type.is_dir() {
            self.directory(path, &metadata)
        } else if file_type.is_symlink() {
            self.link(path, name)
        } else {
            self.skip(path);
            Ok(())
        }
    }

    fn file(&mut self, path: String, name: &str, metadata: Metadata) -> Result<(), PortError> {
        let Some((file, metadata)) = self.open_file(&path, metadata)? else { return Ok(()) };
        let mut entry = entry(path.clone(), &metadata);
        entry.stamp = self.stamper.stamp(&metadata);
        let has_relations = self.open.last().is_some_and(|listing| listing.place.has_relations());
        let relation = RelationFile::parse(name).filter(|_| has_relations);
        let pages = self.pages.zip(relation).and_then(|(pages, file)| Pages::of_segment(pages, file.segment));
        let readable = ReadableFile { file, path, pages, pace: Arc::clone(&self.pace) };
        self.events.push_back(SnapshotEvent::Readable(entry, Arc::new(readable)));
        Ok(())
    }

    /// Opens the file that has this metadata; `None` if it vanished. What was opened is that and no link that took its place.
    fn open_file(&self, path: &str, mut metadata: Metadata) -> Result<Option<(File, Metadata)>, PortError> {
        for _ in 0..ATTEMPTS {
            let opened = self.look(path, |path| File::open(path).and_then(|file| Ok((file.metadata()?, file))))?;
            let Some((found, file)) = opened else { return Ok(None) };
            if (found.dev(), found.ino()) == (metadata.dev(), metadata.ino()) {
                return Ok(Some((file, found)));
            }
            match self.look(path, |path| fs::symlink_metadata(path))?.filter(Metadata::is_file) {
                Some(newer) => metadata = newer,
                None => return Ok(None),
            }
        }
        Err(PortError::new(PortErrorKind::Unavailable, format!("{path:?} is replaced by other files all the time")))
    }

    fn directory(&mut self, path: String, metadata: &Metadata) -> Result<(), PortError> {
        self.events.push_back(SnapshotEvent::Directory(entry(path.clone(), metadata)));
        if path == LOG {
            return self.directories_of_log();
        }
        if names::is_content_left_out(&path) { Ok(()) } else { self.enter(path) }
    }

    /// Log is not in a backup, but the directories that PostgreSQL expects are.
    fn directories_of_log(&mut self) -> Result<(), PortError> {
        for path in DIRECTORIES_OF_LOG {
            if let Some(metadata) = self.look(path, |path| fs::metadata(path))?.filter(Metadata::is_dir) {
                self.events.push_back(SnapshotEvent::Directory(entry(path.to_owned(), &metadata)));
            }
        }
        Ok(())
    }

    /// Follows a symbolic link if PostgreSQL does.
    fn link(&mut self, path: String, name: &str) -> Result<(), PortError> {
        let in_tablespaces = self.open.last().is_some_and(|listing| listing.place == Place::Tablespaces);
        if in_tablespaces {
            // One that was made meanwhile shows when the backup ends.
            if self.tablespaces.iter().any(|tablespace| tablespace.oid.to_string() == name) {
                self.open.push(Listing::new(path, vec![self.version.clone()]));
            }
            return Ok(());
        }
        if path != LOG && !names::is_content_left_out(&path) {
            self.skip(path);
            return Ok(());
        }
        match self.look(&path, |path| fs::metadata(path))?.filter(Metadata::is_dir) {
            Some(metadata) => self.directory(path, &metadata),
            None => Ok(()),
        }
    }

    /// Goes on in the directory `path`.
    fn enter(&mut self, path: String) -> Result<(), PortError> {
        let names = self.look(&path, |path| fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect())?;
        let names: Vec<OsString> = names.unwrap_or_default();
        let no_text = |name: OsString| {
            let context = format!("in {path:?} of the data directory is a file whose name is no UTF-8: {name:?}");
            PortError::new(PortErrorKind::Invalid, context)
        };
        let names = names.into_iter().map(|name| name.into_string().map_err(no_text)).collect::<Result<_, _>>()?;
        self.open.push(Listing::new(path, names));
        Ok(())
    }

    fn skip(&mut self, path: String) {
        if self.skipped.len() < SKIPPED_MAX {
            self.skipped.push(path);
        }
    }

    /// Does something with what stands at `path`; `None` if it has vanished.
    fn look<T>(&self, path: &str, look: impl FnOnce(&Path) -> io::Result<T>) -> Result<Option<T>, PortError> {
        let place = self.root.join(path);
        match look(&place) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == ErrorKind::NotFound && !path.is_empty() => Ok(None),
            Err(error) => Err(PortError::io(format!("cannot read {}", place.display()), error)),
        }
    }
}

impl Listing {
    fn new(path: String, mut names: Vec<String>) -> Self {
        names.sort_unstable();
        let place = Place::of(&path);
        let files = names.iter().filter_map(|name| RelationFile::parse(name));
        let unlogged = files.filter(|file| file.is_init).map(|file| file.number.to_owned()).collect();
        Self { path, place, names: names.into_iter(), unlogged }
    }

    /// The next path that may be in a backup, and its last part.
    fn next(&mut self) -> Option<(String, String)> {
        loop {
            let name = self.names.next()?;
            let path = if self.path.is_empty() { name.clone() } else { format!("{}/{name}", self.path) };
            let is_lost = self.place == Place::Database && self.is_lost(&name);
            if !is_lost && !names::is_left_out(&path, &name) {
                return Some((path, name));
            }
        }
    }

    /// Whether `name` is of a relation that does not survive a crash.
    fn is_lost(&self, name: &str) -> bool {
        let is_unlogged = |file: RelationFile<'_>| !file.is_init && self.unlogged.contains(file.number);
        names::is_temporary_relation(name) || RelationFile::parse(name).is_some_and(is_unlogged)
    }
}

/// The tablespaces to which links lead, as the server itself finds them: in `pg_tablespace` is only what is committed
/// (`do_pg_backup_start` in `src/backend/access/transam/xlog.c`).
fn tablespaces(root: &Path) -> Result<Vec<Tablespace>, PortError> {
    let links = root.join("pg_tblspc");
    let failed = |error| PortError::io(format!("cannot read {}", links.display()), error);
    let mut tablespaces = Vec::new();
    for link in fs::read_dir(&links).map_err(failed)? {
        let link = link.map_err(failed)?;
        let oid = link.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(oid) = oid.filter(|_| link.file_type().is_ok_and(|found| found.is_symlink())) {
            tablespaces.push(Tablespace::new(oid, place(&link.path())?));
        }
    }
    tablespaces.sort_by_key(|tablespace| tablespace.oid);
    Ok(tablespaces)
}

fn place(link: &Path) -> Result<String, PortError> {
    let place = fs::read_link(link).map_err(|error| PortError::io(format!("cannot read {}", link.display()), error))?;
    place.into_os_string().into_string().map_err(|place| {
        let context = format!("{} leads to a place whose name is no UTF-8: {place:?}", link.display());
        PortError::new(PortErrorKind::Invalid, context)
    })
}

/// A file or directory with this metadata.
pub(super) fn entry(path: String, metadata: &Metadata) -> FileEntry {
    let bytes = if metadata.is_dir() { 0 } else { metadata.len() };
    FileEntry::new(path, bytes, metadata.permissions().mode() & 0o7777, metadata.mtime())
}
