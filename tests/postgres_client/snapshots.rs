//! Base backups, held against those of `pg_basebackup` and what the server's own manifest says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use bytes::Bytes;
use pitr::adapter::postgres::SnapshotSettings;
use pitr::format::backup_manifest::{ChecksumHasher, ManifestEvent, ManifestReader};
use pitr::model::{FileStamp, Lsn, ServerRole, Timestamp};
use pitr::port::{PortErrorKind, SnapshotEnd, SnapshotEvent, SnapshotSource, SnapshotStart};

use crate::support::{Cluster, command, oldest, run, timeline, versions};

/// What a backup brought: files with their contents, directories, the manifest.
pub(crate) struct Taken {
    pub(crate) start: SnapshotStart,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) stamps: BTreeMap<String, FileStamp>,
    pub(crate) directories: Vec<String>,
    pub(crate) manifest: Vec<u8>,
    /// Pages with wrong checksums.
    pub(crate) damaged: Vec<(String, u32)>,
    pub(crate) end: SnapshotEnd,
}

pub(crate) async fn take(source: &impl SnapshotSource) -> Taken {
    let mut stream = source.begin("it's a \"label\"").await.unwrap();
    let (mut files, mut directories, mut manifest) = (BTreeMap::new(), Vec::new(), Vec::new());
    let (mut stamps, mut damaged) = (BTreeMap::new(), Vec::new());
    let mut open: Option<(String, u64, Vec<u8>)> = None;
    loop {
        let event = stream.next().await.unwrap();
        let complete = open.take_if(|_| !matches!(event, Some(SnapshotEvent::Data(_))));
        if let Some((path, bytes, contents)) = complete {
            assert_eq!(contents.len() as u64, bytes, "{path}");
            assert!(files.insert(path, contents).is_none());
        }
        match event {
            Some(SnapshotEvent::Directory(entry)) => directories.push(entry.path),
            Some(SnapshotEvent::File(entry)) => open = Some((entry.path, entry.bytes, Vec::new())),
            Some(SnapshotEvent::Data(bytes)) => open.as_mut().unwrap().2.extend_from_slice(&bytes),
            Some(SnapshotEvent::Manifest(bytes)) => manifest.extend_from_slice(&bytes),
            Some(SnapshotEvent::Readable(entry, file)) => {
                let mut contents = vec![9; usize::try_from(entry.bytes).unwrap()];
                let pages = file.read_at(0, &mut contents).unwrap();
                damaged.extend(pages.into_iter().map(|page| (entry.path.clone(), page)));
                stamps.extend(entry.stamp.map(|stamp| (entry.path.clone(), stamp)));
                assert!(files.insert(entry.path, contents).is_none());
            }
            Some(event) => panic!("{event:?}"),
            None => break,
        }
    }
    let start = stream.start().clone();
    let end = stream.end().await.unwrap();
    for (entry, contents) in &end.files {
        assert_eq!(entry.bytes, contents.len() as u64);
        assert!(files.insert(entry.path.clone(), contents.to_vec()).is_none(), "{}", entry.path);
    }
    let identity = source.identify().await.unwrap();
    assert_eq!((start.incarnation, start.segment_size), (identity.incarnation, identity.segment_size));
    Taken { start, files, stamps, directories, manifest, damaged, end }
}

pub(crate) fn with_tablespaces(bin: &Path) -> Cluster {
    let cluster = Cluster::start(bin, &["archive_mode = on", "archive_command = 'false'"]);
    for name in ["one", "two"] {
        let place = cluster.path().join(format!("tablespace {name}"));
        run(command("mkdir").arg(&place));
        cluster.sql(&format!("create tablespace {name} location '{}'", place.display()));
        cluster.sql(&format!("create table in_{name} tablespace {name} as select generate_series(1, 50000) i"));
    }
    cluster.sql("create table empty ()");
    cluster
}

#[tokio::test]
async fn a_backup_is_what_its_manifest_and_pg_basebackup_say() {
    for bin in versions() {
        let cluster = with_tablespaces(&bin);
        let before = cluster.lsn("pg_current_wal_insert_lsn()");
        let taken = take(&cluster.source()).await;
        let now: Timestamp = timestamp(&cluster);

        assert!(taken.start.lsn >= before && taken.end.lsn > taken.start.lsn);
        assert!(taken.end.lsn <= cluster.lsn("pg_current_wal_flush_lsn()"));
        assert_eq!((taken.start.timeline, taken.end.timeline), (timeline(1), timeline(1)));
        assert_eq!(taken.start.role, ServerRole::Primary);
        assert!(taken.end.at <= now && now.duration_since(taken.end.at).as_secs() < 10, "{} {now}", taken.end.at);
        assert_eq!(taken.end.checksum_failures, 0);
        let sizes: u64 = taken.files.values().map(|contents| contents.len() as u64).sum();
        assert!(taken.start.bytes_estimate.abs_diff(sizes) < sizes / 10, "{} {sizes}", taken.start.bytes_estimate);
        let found = taken.start.tablespaces.iter().map(|tablespace| format!("{}|{}", tablespace.oid, tablespace.path));
        let listed = cluster.sql("select oid, pg_tablespace_location(oid) from pg_tablespace where oid > 10000");
        assert_eq!(found.collect::<BTreeSet<_>>(), listed.lines().map(str::to_owned).collect());

        let manifest = manifest_of(&taken.manifest);
        assert!(manifest.len() > 900);
        let hashed: BTreeMap<_, _> =
            taken.files.iter().map(|(path, contents)| (path.clone(), hash(contents))).collect();
        assert_eq!(hashed, manifest);
        assert!(String::from_utf8_lossy(&taken.files["backup_label"]).contains("LABEL: it's a \"label\""));
        if cluster.program("pg_basebackup").exists() {
            assert_eq!(names_and_directories(&taken), names_of_pg_basebackup(&cluster));
        }
    }
}

pub(crate) fn timestamp(cluster: &Cluster) -> Timestamp {
    let micros = cluster.sql("select (extract(epoch from clock_timestamp()) * 1000000)::bigint");
    Timestamp::from_unix_micros(micros.parse().unwrap()).unwrap()
}

fn hash(contents: &[u8]) -> (u64, String) {
    let mut hasher = ChecksumHasher::new("CRC32C".parse().unwrap());
    hasher.update(contents);
    (contents.len() as u64, hasher.finish().to_string())
}

fn manifest_of(manifest: &[u8]) -> BTreeMap<String, (u64, String)> {
    let mut reader = ManifestReader::new();
    let mut files = BTreeMap::new();
    for event in reader.feed(Bytes::copy_from_slice(manifest)) {
        if let ManifestEvent::File(file) = event.unwrap() {
            let checksum = file.checksum.to_string();
            files.insert(file.path.to_str().unwrap().to_owned(), (file.size, checksum));
        }
    }
    reader.finish().unwrap();
    files
}

pub(crate) fn names_and_directories(taken: &Taken) -> Vec<String> {
    let directories = taken.directories.iter().map(|path| format!("{path}/"));
    let mut names: Vec<_> = taken.files.keys().cloned().chain(directories).collect();
    names.sort();
    names
}

/// The same, of a backup by `pg_basebackup -Fp`, which adds the manifest, and makes the tablespaces' links itself instead of
/// asking for a map of them.
pub(crate) fn names_of_pg_basebackup(cluster: &Cluster) -> Vec<String> {
    // Without WAL it waits until the server has archived it.
    cluster.sql("alter system set archive_command = 'true'");
    cluster.sql("select pg_reload_conf()");
    let place = cluster.path().join("oracle");
    let moved = |name: &str| {
        let old = cluster.path().join(format!("tablespace {name}"));
        format!("{}={}", old.display(), cluster.path().join(format!("oracle {name}")).display())
    };
    cluster.pg_basebackup(&place, &["-Fp", "-X", "none", "--no-sync", "-T", &moved("one"), "-T", &moved("two")]);
    let mut names = Vec::new();
    walk(&place, "", &mut names);
    names.retain(|name| name != "backup_manifest");
    let link = |name: &String| name.starts_with("pg_tblspc/") && name.matches('/').count() == 2 && name.ends_with('/');
    names.retain(|name| !link(name));
    names.push("tablespace_map".to_owned());
    names.sort();
    names
}

fn walk(directory: &Path, below: &str, names: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{below}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            names.push(format!("{name}/"));
            walk(&path, &format!("{name}/"), names);
        } else {
            names.push(name);
        }
    }
}

#[tokio::test]
async fn wrong_checksums_are_counted_and_do_not_fail_the_backup() {
    for bin in versions() {
        for pages in [1_u64, 3] {
            let cluster = Cluster::start(&bin, &[]);
            cluster.sql("create table t as select generate_series(1, 5000) i; checkpoint");
            let path = cluster.data().join(cluster.sql("select pg_relation_filepath('t')"));
            for page in 0..pages {
                damage(&path, page * 8192 + 4000);
            }
            let taken = take(&cluster.source()).await;
            assert_eq!(taken.end.checksum_failures, pages);
            assert!(taken.end.lsn > Lsn::ZERO && !taken.manifest.is_empty());
        }
    }
}

pub(crate) fn damage(path: &Path, at: u64) {
    let mut file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
}

#[tokio::test]
async fn a_backup_that_is_dropped_or_refused_leaves_nothing_behind() {
    let cluster = Cluster::init(&oldest(), &[]);
    cluster.allow(&["local replication plain trust"]);
    cluster.up();
    cluster.sql("create role plain login");
    let mut settings = SnapshotSettings::default();
    settings.bytes_per_second_max = Some(1 << 20);
    let mut stream = cluster.source().with_snapshot_settings(settings).begin("slow").await.unwrap();
    assert!(stream.next().await.unwrap().is_some());
    let backups = "select count(*) from pg_stat_activity where backend_type = 'walsender'";
    assert_eq!(cluster.sql(backups), "1");
    drop(stream);
    let given_up = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while cluster.sql(backups) != "0" {
        assert!(std::time::Instant::now() < given_up, "the server goes on with the backup");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let refused = crate::support::server(&cluster.local("plain")).begin("refused").await.unwrap_err();
    assert_eq!(refused.kind(), PortErrorKind::Denied);
}

#[tokio::test]
async fn a_standby_says_that_it_is_one() {
    for bin in versions() {
        let cluster = Cluster::standby(&bin);
        let taken = take(&cluster.source()).await;
        assert_eq!(taken.start.role, ServerRole::Standby);
        assert!(taken.files.keys().any(|path| path.starts_with("base/")) && taken.end.lsn >= taken.start.lsn);
        cluster.promote();
        assert_eq!(take(&cluster.source()).await.start.role, ServerRole::Primary);
    }
}
