//! Verifying: reads what is stored, and says what is not as it was written, and what that costs.

mod contents;
mod findings;
mod logs;
mod manifests;
mod packs;
mod report;

use futures::TryStreamExt;

use self::contents::Contents;
use self::findings::Findings;
use self::manifests::ReadManifest;
use self::packs::PackUsers;
pub use self::report::{Cost, Fault, FaultKind, VerifyReport};
use super::error::{Error, ErrorKind, Result};
use super::inventory::{READS_IN_FLIGHT, blame};
use super::progress::Observer;
use super::repository::Repository;
use super::server::ServerRepository;
use crate::format::layout::{DataEntry, DataPart, ServerLayout};
use crate::format::manifest::PackId;
use crate::model::{Branch, LogBackup, Lsn, ObjectKey, ServerName, SnapshotId, StoredObject};

/// How thoroughly a server is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyDepth {
    /// Every object is there, is what its name says, and ends where it should: manifests are read, of all others the header and the last
    /// frame.
    Quick,
    /// Every byte is read: every frame authenticated, every block compared with its digest, all log decoded.
    #[default]
    Full,
}

/// How a server is verified.
#[derive(Clone, Debug, Default)]
pub struct VerifySettings {
    depth: VerifyDepth,
    from: Option<ObjectKey>,
    observer: Observer<VerifyProgress>,
}

impl VerifySettings {
    /// How thoroughly; [`VerifyDepth::Full`] by default.
    #[must_use]
    pub fn depth(self, depth: VerifyDepth) -> Self {
        Self { depth, ..self }
    }

    /// Begins at `object`, the last that an interrupted run told of ([`VerifyProgress::object`]), or where it was. The report is of
    /// what comes from there on, and of the catalog. What was stored since, but comes before it, is left to the next run.
    #[must_use]
    pub fn from(self, object: ObjectKey) -> Self {
        Self { from: Some(object), ..self }
    }

    /// Who is told of progress: after each log backup, manifest and pack, in the order in which they are verified.
    #[must_use]
    pub fn observer(self, observer: Observer<VerifyProgress>) -> Self {
        Self { observer, ..self }
    }
}

/// How far a verification has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// The object that was verified last, whatever was found: where an interrupted run goes on.
    pub object: ObjectKey,
    /// How many log backups, manifests and packs were verified.
    pub objects: u64,
    /// The bytes that they take.
    pub bytes: u64,
}

/// Verifies one server.
///
/// Nothing is written, and nothing stands in the way of an archiver, a snapshot, or a deletion that go on meanwhile. Memory is
/// bounded, but for the catalog and the names of packs. How many bytes a second are read is the storage's to limit: give it a repository
/// over a `LimitStorage`.
///
/// What is found is exact: of two objects that were swapped both are told, of a pack that is damaged the pack, not the manifest. An
/// object that is missing is known by what names it:
///
/// | what | is named by |
/// |---|---|
/// | a log backup | the one that begins where it ends. The newest is named by none, and of several in a row the last one is |
/// | a snapshot's record | its manifest |
/// | a manifest | the snapshot's record |
/// | a pack | the manifests of all snapshots that use it |
/// | a timeline's history | the log and the snapshots of the timeline |
#[derive(Debug)]
pub struct Verifier {
    repository: Repository,
    name: ServerName,
    settings: VerifySettings,
}

impl Verifier {
    /// Verifies the server `name` of `repository`.
    #[must_use]
    pub fn new(repository: &Repository, name: &ServerName) -> Self {
        Self { repository: repository.clone(), name: name.clone(), settings: VerifySettings::default() }
    }

    /// With these settings.
    #[must_use]
    pub fn settings(self, settings: VerifySettings) -> Self {
        Self { settings, ..self }
    }

    /// Verifies it. What is wrong is no error, but in the report.
    ///
    /// # Errors
    /// If it cannot be told what is wrong: the storage cannot be read, or the key provider refuses its key
    /// ([`ErrorKind::Denied`]). [`ErrorKind::NotFound`] if no such server is protected.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "verify", skip_all, fields(server = %self.name)))]
    pub async fn run(self) -> Result<VerifyReport> {
        let Self { repository, name, settings } = self;
        let layout = ServerLayout::new(&name);
        let server = match blame(layout.key(), repository.unlock(&name).await)? {
            Ok(server) => match repository.deletion_of(&server).await? {
                Some(deletion) => return Err(Error::deleted(&name, deletion)),
                None => server,
            },
            Err((_, error)) if error.kind() == ErrorKind::NotFound && !repository.knows(&name).await? => {
                return Err(error);
            }
            Err((_, error)) => {
                let lock = repository.lock_of(&name).await;
                return Ok(VerifyReport::locked(settings.depth, layout, lock, error));
            }
        };
        let from = settings.from.as_ref().map(|object| Place::of(&layout, object)).transpose()?;
        Verification { server, depth: settings.depth, from }.run(&settings.observer).await
    }
}

/// Where in the order of verification an object comes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Log(Branch, Lsn, Lsn),
    Manifest(SnapshotId),
    Pack(PackId),
}

impl Place {
    fn of(layout: &ServerLayout, object: &ObjectKey) -> Result<Self> {
        match layout.parse_data(object) {
            Some(DataEntry { snapshot, part: DataPart::Manifest, .. }) => return Ok(Self::Manifest(snapshot)),
            Some(DataEntry { snapshot, part: DataPart::Pack(number), .. }) => {
                return Ok(Self::Pack(PackId::new(snapshot, number)));
            }
            _ => {}
        }
        let unfit = || {
            let context = format!("{object} is no log backup, manifest or pack of the server to begin with");
            Error::new(ErrorKind::InvalidInput, context)
        };
        let LogBackup { incarnation, wal, .. } = layout.parse_log(object).ok_or_else(unfit)?;
        Ok(Self::Log(Branch::new(incarnation, wal.timeline), wal.start, wal.end))
    }
}

/// What verifying an object gave.
#[derive(Debug)]
struct Examined {
    object: StoredObject,
    fault: Option<Error>,
    /// The log backup before it, if it is one and names one that is not there.
    missing: Option<LogBackup>,
}

impl Examined {
    /// What `read` gave of `object`, and that itself if it is sound.
    fn of<T>(object: StoredObject, read: Result<T>) -> Result<(Self, Option<T>)> {
        let (sound, fault) = match blame(object.key.clone(), read)? {
            Ok(sound) => (Some(sound), None),
            Err((_, error)) => (None, Some(error)),
        };
        Ok((Self { object, fault, missing: None }, sound))
    }
}

/// A verification of a server whose key was opened.
struct Verification {
    server: ServerRepository,
    depth: VerifyDepth,
    from: Option<Place>,
}

impl Verification {
    async fn run(&self, observer: &Observer<VerifyProgress>) -> Result<VerifyReport> {
        let contents = Contents::read(&self.server).await?;
        let catalog = &contents.inventory.catalog;
        let (mut findings, mut users) = (Findings::new(&self.server), PackUsers::new(&self.server.layout));
        let mut logs = self.logs(catalog);
        while let Some(run) = logs.try_next().await? {
            run.into_iter().for_each(|log| observer.tell(&findings.add(log)));
        }
        drop(logs);
        let mut manifests = self.manifests(catalog);
        while let Some(ReadManifest { snapshot, examined, manifest }) = manifests.try_next().await? {
            examined.into_iter().for_each(|examined| observer.tell(&findings.add(examined)));
            users.add(snapshot, manifest.as_ref(), contents.data_of(&snapshot.id));
        }
        drop(manifests);
        let mut packs = self.packs(&users, &contents);
        while let Some(pack) = packs.try_next().await? {
            observer.tell(&findings.add(pack));
        }
        drop(packs);
        findings.judge(self.depth, contents, &users).await
    }

    fn is_due(&self, place: &Place) -> bool {
        self.from.as_ref().is_none_or(|from| from <= place)
    }

    fn in_flight(&self) -> usize {
        match self.depth {
            VerifyDepth::Quick => READS_IN_FLIGHT,
            VerifyDepth::Full => self.server.vault.executor.parallelism().get() * 2,
        }
    }
}
