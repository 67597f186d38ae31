//! Reads what PostgreSQL's own `pg_basebackup` writes, and compares with what PostgreSQL and `tar` say about it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use pitr::format::backup_label::{BackupLabel, BackupOrigin};
use pitr::format::backup_manifest::{
    ChecksumAlgorithm, ChecksumHasher, FileChecksum, ManifestError, ManifestEvent, ManifestReader, ManifestVersion,
};
use pitr::format::tablespace_map::TablespaceMap;
use pitr::format::tar::{TarEvent, TarHeader, TarKind, TarReader};
use pitr::model::{Timestamp, WalRange};
use tempfile::TempDir;

const TABLESPACE: &str = "odd \\ path\\\nof a tablespace";

#[test]
fn a_backup_as_tar_is_what_its_manifest_says() {
    let server = Server::start();
    for algorithm in ["NONE", "CRC32C", "SHA224", "SHA256", "SHA384", "SHA512"] {
        let backup = server.backup(&["-Ft", "-X", "none", "--manifest-checksums", algorithm]);
        let algorithm = algorithm.parse().unwrap();
        let oid = server.query("select oid from pg_tablespace where spcname = 'odd'");

        let base = read_archive(&backup.join("base.tar"), algorithm);
        let tablespace = read_archive(&backup.join(format!("{oid}.tar")), algorithm);
        let manifest = read_manifest(&backup);
        let below = format!("pg_tblspc/{oid}/");
        let archived: Files = files(&base, "").chain(files(&tablespace, &below)).collect();
        assert!(archived.len() > 900 && archived.keys().any(|path| path.starts_with(below.as_bytes())));
        assert_eq!(archived, manifest.files);

        let label = check_label(contents(&base, "backup_label"));
        assert_eq!(label.start_lsn, manifest.wal.start);
        let map = contents(&base, "tablespace_map");
        let parsed = TablespaceMap::parse(map).unwrap();
        assert_eq!(parsed.to_bytes(), map);
        assert_eq!(parsed.path(oid.parse().unwrap()).unwrap(), server.tablespace().to_str().unwrap());
    }
}

#[test]
fn a_backup_as_files_is_what_its_manifest_says() {
    let server = Server::start();
    let (old, new) = (server.tablespace(), server.dir.path().join("moved"));
    let mapping = format!("{}={}", old.display(), new.display());
    let backup = server.backup(&["-Fp", "--manifest-force-encode", "-T", &mapping]);
    let manifest = read_manifest(&backup);
    for (path, (size, checksum)) in &manifest.files {
        let contents = fs::read(backup.join(std::str::from_utf8(path).unwrap())).unwrap();
        assert_eq!((contents.len() as u64, hash(checksum.algorithm(), &contents)), (*size, *checksum));
    }
    assert!(manifest.files.len() > 900);
    let label = check_label(&fs::read(backup.join("backup_label")).unwrap());
    assert_eq!((label.start_timeline, label.start_lsn), (manifest.wal.timeline, manifest.wal.start));
    server.run("pg_verifybackup", &[backup.to_str().unwrap()]);

    let path = backup.join("backup_manifest");
    let edited = fs::read_to_string(&path).unwrap().replacen("\"Size\": 8192", "\"Size\": 8193", 1);
    let mut reader = ManifestReader::new();
    let error = reader.feed(edited.into()).find_map(Result::err).unwrap();
    assert!(matches!(error, ManifestError::Checksum { .. }), "{error}");
}

#[test]
fn archives_of_gnu_tar_with_links_and_long_paths() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("data").join("d".repeat(90)).join("e".repeat(90));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), vec![7; 1000]).unwrap();
    fs::write(dir.path().join("data/empty"), "").unwrap();
    std::os::unix::fs::symlink("/srv/some where", dir.path().join("data/link")).unwrap();
    let archive = dir.path().join("data.tar");
    succeed(Command::new("tar").args(["--format=ustar", "-cf"]).arg(&archive).arg("-C").arg(dir.path()).arg("data"));
    let members = read_archive(&archive, ChecksumAlgorithm::Sha256);
    assert_eq!(members.len(), 6);
    let kinds = |kind: &TarKind| members.iter().filter(|member| member.header.kind == *kind).count();
    assert_eq!((kinds(&TarKind::File), kinds(&TarKind::Directory)), (2, 3));
}

/// Path to size and checksum.
type Files = BTreeMap<Vec<u8>, (u64, FileChecksum)>;

struct Manifest {
    files: Files,
    wal: WalRange,
}

fn read_manifest(backup: &Path) -> Manifest {
    let (mut reader, mut files, mut ranges) = (ManifestReader::new(), Files::new(), Vec::new());
    for chunk in fs::read(backup.join("backup_manifest")).unwrap().chunks(1000) {
        for event in reader.feed(Bytes::copy_from_slice(chunk)) {
            match event.unwrap() {
                ManifestEvent::Start { version, system_id, .. } => {
                    assert_eq!(version == ManifestVersion::V1, system_id.is_none());
                }
                ManifestEvent::File(file) => {
                    assert_eq!(files.insert(file.path.as_bytes().to_vec(), (file.size, file.checksum)), None);
                }
                ManifestEvent::WalRange(range) => ranges.push(range),
                other => panic!("{other:?}"),
            }
        }
    }
    reader.finish().unwrap();
    assert_eq!(ranges.len(), 1);
    Manifest { files, wal: ranges[0] }
}

struct Member {
    header: TarHeader,
    contents: Vec<u8>,
    checksum: FileChecksum,
}

/// The members of an archive, which are those that `tar` lists.
fn read_archive(path: &Path, algorithm: ChecksumAlgorithm) -> Vec<Member> {
    let (mut reader, mut members) = (TarReader::new(), Vec::new());
    let mut contents = Vec::new();
    for chunk in fs::read(path).unwrap().chunks(65_537) {
        for event in reader.feed(Bytes::copy_from_slice(chunk)) {
            match event.unwrap() {
                TarEvent::Member(header) => {
                    members.push(Member { header, contents: vec![], checksum: FileChecksum::None })
                }
                TarEvent::Data(data) => contents.extend_from_slice(&data),
                TarEvent::MemberEnd => {
                    let member = members.last_mut().unwrap();
                    member.checksum = hash(algorithm, &contents);
                    member.contents = std::mem::take(&mut contents);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    reader.finish().unwrap();
    assert!(members.iter().all(|member| member.header.size == member.contents.len() as u64));
    let ours: Vec<_> = members.iter().map(|member| listed(&member.header)).collect();
    assert_eq!(ours, listing(path));
    members
}

/// What `tar` lists, with single spaces.
fn listing(path: &Path) -> Vec<String> {
    let mut tar = Command::new("tar");
    tar.args(["--list", "--verbose", "--numeric-owner", "--full-time", "--utc", "--file"]).arg(path);
    let lines = succeed(&mut tar);
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ./", " ");
    lines.lines().map(line).collect()
}

fn listed(header: &TarHeader) -> String {
    let (kind, end) = match &header.kind {
        TarKind::File => ('-', String::new()),
        TarKind::Directory => ('d', "/".to_owned()),
        TarKind::Symlink { target, .. } => ('l', format!(" -> {}", std::str::from_utf8(target).unwrap())),
        other => panic!("{other:?}"),
    };
    let bit = |bit: u32| if header.mode >> bit & 1 == 1 { b"xwr"[bit as usize % 3].into() } else { '-' };
    let permissions: String = (0..9).rev().map(bit).collect();
    let modified = Timestamp::from_unix_micros(header.mtime * 1_000_000).unwrap().to_string();
    let (day, time) = (&modified[..10], &modified[11..19]);
    let TarHeader { path, size, uid, gid, .. } = header;
    format!("{kind}{permissions} {uid}/{gid} {size} {day} {time} {path}{end}")
}

fn files(members: &[Member], below: &str) -> impl Iterator<Item = (Vec<u8>, (u64, FileChecksum))> {
    let of = |member: &Member| {
        ([below.as_bytes(), member.header.path.as_bytes()].concat(), (member.header.size, member.checksum))
    };
    members.iter().filter(|member| member.header.kind == TarKind::File).map(of)
}

fn contents<'a>(members: &'a [Member], path: &str) -> &'a [u8] {
    &members.iter().find(|member| member.header.path.to_str() == Some(path)).unwrap().contents
}

fn hash(algorithm: ChecksumAlgorithm, contents: &[u8]) -> FileChecksum {
    let mut hasher = ChecksumHasher::new(algorithm);
    hasher.update(contents);
    hasher.finish()
}

fn check_label(file: &[u8]) -> BackupLabel {
    let label = BackupLabel::parse(file).unwrap();
    assert_eq!(label.to_bytes(), file);
    assert_eq!((label.origin, label.label.as_ref()), (BackupOrigin::Primary, "nightly é".as_bytes()));
    assert!(label.start_lsn <= label.checkpoint_lsn);
    label
}

/// A running server with a tablespace whose path is odd; stopped when dropped.
struct Server {
    dir: TempDir,
    bin: PathBuf,
}

impl Server {
    fn start() -> Self {
        let server = Self { dir: tempfile::tempdir().unwrap(), bin: bin() };
        fs::create_dir(server.tablespace()).unwrap();
        if is_root() {
            succeed(Command::new("chown").args(["-R", "postgres"]).arg(server.dir.path()));
        }
        let (data, log) = (server.path("data"), server.path("log"));
        server.run("initdb", &["-D", &data, "-A", "trust", "-U", "postgres"]);
        let options = format!("-c listen_addresses='' -c fsync=off -k {}", server.dir.path().display());
        server.run("pg_ctl", &["-D", &data, "-l", &log, "-o", &options, "-w", "start"]);
        server.query(&format!("create tablespace odd location '{}'", server.tablespace().display()));
        server.query("create table t tablespace odd as select generate_series(1, 10000)");
        server
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn tablespace(&self) -> PathBuf {
        self.dir.path().join(TABLESPACE)
    }

    fn query(&self, sql: &str) -> String {
        self.run("psql", &["-h", &self.path(""), "-U", "postgres", "-XAtqc", sql]).trim().to_owned()
    }

    /// A new base backup, taken with these options.
    fn backup(&self, options: &[&str]) -> PathBuf {
        let taken = fs::read_dir(self.dir.path()).unwrap().count();
        let backup = self.dir.path().join(format!("backup{taken}"));
        let socket = self.path("");
        let target = ["-h", &socket, "-U", "postgres", "-c", "fast", "-l", "nightly é", "-D", backup.to_str().unwrap()];
        self.run("pg_basebackup", &[&target, options].concat());
        backup
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        succeed(self.program(program).args(arguments))
    }

    /// One of PostgreSQL's programs, which refuse to be root.
    fn program(&self, name: &str) -> Command {
        let program = self.bin.join(name);
        let mut command = Command::new(if is_root() { Path::new("runuser") } else { &program });
        if is_root() {
            command.args(["-u", "postgres", "--"]).arg(&program);
        }
        command.current_dir(self.dir.path());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Not asserted: while a failed test unwinds, the server may not be there.
        let _ = self.program("pg_ctl").args(["-D", &self.path("data"), "-m", "immediate", "stop"]).output();
    }
}

/// Where PostgreSQL's programs are: `PITR_PG_BIN`, or the newest that Debian's packages installed.
fn bin() -> PathBuf {
    let installed = || {
        let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed, or PITR_PG_BIN says where");
        versions.map(|version| version.unwrap().path().join("bin")).max().expect("a version of PostgreSQL is installed")
    };
    std::env::var_os("PITR_PG_BIN").map_or_else(installed, PathBuf::from)
}

fn is_root() -> bool {
    succeed(Command::new("id").arg("-u")).trim() == "0"
}

/// Runs a program that must succeed, and gives what it printed.
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
