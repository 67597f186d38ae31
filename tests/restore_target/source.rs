//! A server to restore: its files as a base backup has them, its log, and moments to go back to.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use pitr::adapter::postgres::{DataDirectory, InitOptions, LocalServer, OsUser, PgInstall, RunningServer, StopMode};
use pitr::model::{
    FileEntry, Incarnation, Lsn, PostgresMajor, SegmentSize, SystemId, Tablespace, TimelineId, Timestamp,
};
use pitr::plan::RecoveryTarget;
use pitr::port::{RecoverySettings, RestoreOutline, RestoreTarget};
use tokio_postgres::{Client, NoTls};

/// Rows are written one a step; each step fills about one segment.
pub(crate) const STEPS: i64 = 8;
/// How many steps were made before the backup began.
const STEPS_BEFORE_BACKUP: i64 = 2;

/// Every PostgreSQL to test with: the one that `PITR_PG_BIN` names, or all that are found, and at least one.
pub(crate) fn installs() -> Vec<PgInstall> {
    if let Some(bin) = std::env::var_os("PITR_PG_BIN") {
        return vec![PgInstall::at(bin).expect("PITR_PG_BIN names the directory of PostgreSQL's programs")];
    }
    let majors = (15..=18).filter_map(|major| PostgresMajor::new(major).ok());
    let found: Vec<_> = majors.filter_map(|major| PgInstall::discover(Some(major)).ok()).collect();
    assert!(!found.is_empty(), "no PostgreSQL 15 to 18: run scripts/setup-postgres, or set PITR_PG_BIN");
    found
}

/// A directory that the user who runs servers can reach, removed when dropped.
pub(crate) struct Room(tempfile::TempDir);

impl Room {
    pub(crate) fn new() -> Self {
        let room = tempfile::Builder::new().prefix("pitr-test-").tempdir().unwrap();
        fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self(room)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A moment of the source: after the step of that number had been committed, and before the next began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) at: Timestamp,
    pub(crate) lsn: Lsn,
}

#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) install: PgInstall,
    pub(crate) copy: PathBuf,
    pub(crate) tablespaces: Vec<Tablespace>,
    pub(crate) moments: Vec<Moment>,
    /// The segments since the backup began, with their bytes; the last is cut where the log ended.
    pub(crate) segments: Vec<(String, Bytes)>,
}

impl Source {
    /// Makes the server in `room`, with a tablespace, and stops it when all is collected.
    pub(crate) async fn make(install: &PgInstall, room: &Room) -> Self {
        let (data, space, copy) = (room.path("source"), room.path("source-space"), room.path("copy"));
        private_directory(&space);
        let server = LocalServer::new(install.clone(), &data).setting("wal_keep_size", "1GB").setting("fsync", "off");
        let megabyte = SegmentSize::new(1 << 20).unwrap();
        let mut options = InitOptions::default();
        options.segment_size = megabyte;
        server.init(&options).await.unwrap();
        let running = server.start().await.unwrap();
        let client = connect(&running).await;
        client.batch_execute(&format!("CREATE TABLESPACE fast LOCATION '{}'", space.display())).await.unwrap();
        client.batch_execute("CREATE TABLE t (step bigint, filler text) TABLESPACE fast").await.unwrap();
        let mut moments = vec![moment(&client).await];
        for step in 1..=STEPS_BEFORE_BACKUP {
            moments.push(make_step(&client, step).await);
        }
        let first = back_up(&client, &data, &copy).await;
        for step in STEPS_BEFORE_BACKUP + 1..=STEPS {
            moments.push(make_step(&client, step).await);
        }
        let end = moments.last().unwrap().lsn;
        let tablespaces = tablespaces(&client).await;
        running.stop(StopMode::Immediate).await.unwrap();
        let segments = segments(&data.join("pg_wal"), &first, end);
        Self { install: install.clone(), copy, tablespaces, moments, segments }
    }

    /// The same source whose log ends at `end`.
    pub(crate) fn cut(&self, end: Lsn) -> Self {
        let mut segments = self.segments.clone();
        let name = segment_name(end);
        segments.retain(|(segment, _)| *segment <= name);
        let (_, last) = segments.last_mut().unwrap();
        last.truncate(usize::try_from(end.as_u64() % (1 << 20)).unwrap());
        Self { segments, ..self.clone() }
    }

    pub(crate) fn settings(&self, target: RecoveryTarget) -> RecoverySettings {
        settings(target, self.segments.iter().map(|(name, _)| name.clone()).collect())
    }

    /// Stages every segment from the one of this number on, until recovery wants no more, and says that it was all.
    pub(crate) async fn feed(&self, target: &DataDirectory, from: usize, pause: Duration) {
        for (name, bytes) in self.segments.iter().skip(from) {
            if !stage(target, name, bytes).await {
                return;
            }
            tokio::time::sleep(pause).await;
        }
        target.end_of_wal().await.unwrap();
    }
}

pub(crate) fn settings(target: RecoveryTarget, segments: Vec<String>) -> RecoverySettings {
    RecoverySettings::new(target, TimelineId::FIRST, SegmentSize::new(1 << 20).unwrap(), segments)
}

/// For a target that does not ask whose place it is.
pub(crate) fn any_server() -> Incarnation {
    Incarnation::new(SystemId::new(1), PostgresMajor::MIN)
}

/// Writes the copy of a server into `target`, all but the commit.
pub(crate) async fn write_files(copy: &Path, tablespaces: &[Tablespace], target: &DataDirectory) {
    target.prepare(&RestoreOutline::new(any_server(), tablespaces)).await.unwrap();
    for entry in entries(copy) {
        let path = copy.join(&entry.path);
        if path.is_dir() {
            target.directory(&entry).await.unwrap();
        } else {
            let mut writer = target.file(&entry).await.unwrap();
            for piece in fs::read(path).unwrap().chunks(300_000) {
                writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            writer.finish().await.unwrap();
        }
    }
}

/// Stages a segment; false if recovery wants no more.
pub(crate) async fn stage(target: &DataDirectory, name: &str, bytes: &Bytes) -> bool {
    let Some(mut writer) = target.segment(name).await.unwrap() else { return false };
    writer.write(bytes.clone()).await.unwrap();
    writer.finish().await.unwrap();
    true
}

pub(crate) async fn connect(server: &RunningServer) -> Client {
    let (client, connection) = tokio_postgres::connect(&server.connection_string(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A target directory, owned by the user who runs servers.
pub(crate) fn data_directory(path: PathBuf) -> DataDirectory {
    match OsUser::for_servers().unwrap() {
        Some(user) => DataDirectory::new(path).owner(user),
        None => DataDirectory::new(path),
    }
}

fn private_directory(path: &Path) {
    fs::create_dir(path).unwrap();
    if let Some(user) = OsUser::for_servers().unwrap() {
        std::os::unix::fs::chown(path, Some(user.uid()), Some(user.gid())).unwrap();
    }
}

async fn make_step(client: &Client, step: i64) -> Moment {
    // Random text does not compress, so that it fills the log.
    let insert = "INSERT INTO t SELECT $1, string_agg(gen_random_uuid()::text, '') FROM generate_series(1, 25000)";
    client.execute(insert, &[&step]).await.unwrap();
    moment(client).await
}

async fn moment(client: &Client) -> Moment {
    let question =
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, pg_current_wal_insert_lsn()::text";
    let row = client.query_one(question, &[]).await.unwrap();
    let lsn: String = row.get(1);
    // The next commit comes after the time that was read, not at it.
    tokio::time::sleep(Duration::from_millis(2)).await;
    Moment { at: Timestamp::from_unix_micros(row.get(0)).unwrap(), lsn: lsn.parse().unwrap() }
}

/// Copies `data` as a base backup, and returns the name of the first segment that it needs.
async fn back_up(client: &Client, data: &Path, copy: &Path) -> String {
    let start = "SELECT pg_walfile_name(pg_backup_start('test', true))";
    let first = client.query_one(start, &[]).await.unwrap().get(0);
    copy_tree(data, copy);
    let stop = "SELECT labelfile, spcmapfile FROM pg_backup_stop(false)";
    let row = client.query_one(stop, &[]).await.unwrap();
    fs::write(copy.join("backup_label"), row.get::<_, &str>(0)).unwrap();
    fs::write(copy.join("tablespace_map"), row.get::<_, &str>(1)).unwrap();
    first
}

/// Follows the links of tablespaces. What vanishes meanwhile needs no copy.
fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        let (from, to) = (from.join(&name), to.join(&name));
        match fs::metadata(&from) {
            Ok(meta) if meta.is_dir() => copy_tree(&from, &to),
            Ok(meta) if meta.is_file() => drop(fs::copy(&from, &to)),
            _ => {}
        }
    }
}

async fn tablespaces(client: &Client) -> Vec<Tablespace> {
    let question = "SELECT oid, pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'";
    let rows = client.query(question, &[]).await.unwrap();
    rows.iter().map(|row| Tablespace::new(row.get(0), row.get::<_, String>(1))).collect()
}

fn segment_name(end: Lsn) -> String {
    let number = end.as_u64() >> 20;
    format!("00000001{:08X}{:08X}", number >> 12, number & 0xFFF)
}

/// What lies in `pg_wal` from the segment `first` to the position `end`, in segments of 1 MiB.
fn segments(pg_wal: &Path, first: &str, end: Lsn) -> Vec<(String, Bytes)> {
    let names = fs::read_dir(pg_wal).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let last = segment_name(end);
    let mut names: Vec<String> = names.filter(|name| name.len() == 24).collect();
    names.retain(|name| name.as_str() >= first && *name <= last);
    names.sort_unstable();
    let length = |name: &str| if name == last { end.as_u64() % (1 << 20) } else { 1 << 20 };
    let read = |name: String| {
        let mut bytes = fs::read(pg_wal.join(&name)).unwrap();
        bytes.truncate(usize::try_from(length(&name)).unwrap());
        (name, bytes.into())
    };
    names.into_iter().map(read).collect()
}

/// All directories and files below `root`, a directory before what lies in it.
fn entries(root: &Path) -> Vec<FileEntry> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::metadata(&path).unwrap();
            let bytes = if meta.is_dir() { 0 } else { meta.len() };
            let relative = path.strip_prefix(root).unwrap().to_str().unwrap();
            found.push(FileEntry::new(relative, bytes, meta.mode() & 0o777, meta.mtime()));
            if meta.is_dir() {
                directories.push(path);
            }
        }
    }
    found
}
