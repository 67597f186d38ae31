//! Restores over a server that is there already.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use pitr::adapter::postgres::{DataDirectory, InitOptions, LocalServer, StopMode};
use pitr::engine::{ErrorKind, Observer, Progress, Restore, RestoreSettings};
use pitr::model::Snapshot;
use pitr::plan::{RestorePlan, RestoreRequest, Target};
use pitr::port::{RestoreOutline, RestoreTarget};
use tokio_postgres::Client;

use crate::stand::{Stand, connect, directory_for_servers, owned, succeed};

const ROWS: &str = "SELECT count(*), coalesce(sum(hashtext(big::text)), 0) FROM big";

/// A server with a tablespace, two snapshots of it, and what was in it then.
struct Scene {
    stand: Stand,
    states: [(Snapshot, [i64; 2]); 2],
}

async fn play(major: u32) -> Scene {
    let mut stand = Stand::new(major, &InitOptions::default()).await;
    stand.archive();
    let client = stand.client().await;
    let place = directory_for_servers(&stand.scratch.path().join("space"));
    for sql in [
        &format!("CREATE TABLESPACE space LOCATION '{place}'"),
        "CREATE TABLE big AS SELECT n, md5(n::text) AS word FROM generate_series(1, 300000) n",
        "CREATE TABLE aside TABLESPACE space AS SELECT n FROM generate_series(1, 100000) n",
        "CREATE TABLE doomed AS SELECT n FROM generate_series(1, 1000) n",
    ] {
        client.batch_execute(sql).await.unwrap();
    }
    let first = (stand.snapshot_of_directory().await, rows(&client).await);
    for sql in ["UPDATE big SET word = 'new' WHERE n < 1000", "DROP TABLE doomed", "CREATE TABLE late AS SELECT 1 AS n"]
    {
        client.batch_execute(sql).await.unwrap();
    }
    let second = (stand.snapshot().await, rows(&client).await);
    stand.wait_all_archived().await;
    stand.stop_archiving().await;
    Scene { stand, states: [first, second] }
}

/// What is in the table `big`.
pub(crate) async fn rows(client: &Client) -> [i64; 2] {
    let row = client.query_one(ROWS, &[]).await.unwrap();
    [row.get(0), row.get(1)]
}

impl Scene {
    async fn plan(&self, snapshot: &Snapshot) -> RestorePlan {
        let request = RestoreRequest::new(Target::Snapshot(snapshot.id.clone()));
        self.stand.server.plan(&mut self.stand.catalog().await, &request).await.unwrap().unwrap()
    }

    /// Restores `snapshot` over what is in `data`, which is then what it was.
    async fn restore_over(&self, data: &Path, state: &(Snapshot, [i64; 2])) {
        self.restore_into(data, state, |target| target).await;
    }

    async fn restore_into(
        &self,
        data: &Path,
        (snapshot, state): &(Snapshot, [i64; 2]),
        with: impl FnOnce(DataDirectory) -> DataDirectory,
    ) {
        let target = Arc::new(with(owned(DataDirectory::new(data)).delta()));
        let feed = Restore::new(&self.stand.server, self.plan(snapshot).await, target.clone()).run().await.unwrap();
        let local = LocalServer::new(self.stand.install.clone(), data).setting("fsync", "off");
        let (server, fed) = tokio::join!(local.start(), feed.run());
        let (server, ()) = (server.unwrap(), fed.unwrap());
        target.finish_recovery().await.unwrap();
        let client = connect(&server.connection_string()).await;
        assert_eq!(rows(&client).await, *state);
        let aside: i64 = client.query_one("SELECT count(*) FROM aside", &[]).await.unwrap().get(0);
        assert_eq!(aside, 100_000);
        // What it does afterwards is not in any snapshot.
        for sql in ["CREATE TABLE IF NOT EXISTS after AS SELECT 1 AS n", "UPDATE big SET n = n WHERE n % 1000 = 0"] {
            client.batch_execute(sql).await.unwrap();
        }
        server.stop(StopMode::Fast).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_set_back_and_forth() {
    let scene = play(18).await;
    let data = scene.stand.scratch.path().join("set-back");
    let [first, second] = &scene.states;
    scene.restore_over(&data, first).await;
    for name in ["stray", "base/5/99999", "pg_wal/000000010000000000000099", "standby.signal"] {
        fs::write(data.join(name), "not of the snapshot").unwrap();
    }
    symlink("/etc/hostname", data.join("base/link")).unwrap();
    let shared = succeed(Command::new("find").arg(data.join("base")).args(["-name", "1259"]));
    let shared = PathBuf::from(shared.lines().last().unwrap());
    let elsewhere = scene.stand.scratch.path().join("shared");
    fs::hard_link(&shared, &elsewhere).unwrap();
    let content = fs::read(&elsewhere).unwrap();
    let spaces = PathBuf::from(format!("{}-tablespaces", data.display()));
    let other_version = fs::read_dir(&spaces).unwrap().next().unwrap().unwrap().path().join("PG_99_999999999/5");
    fs::create_dir_all(&other_version).unwrap();
    fs::write(other_version.join("1"), "of a server of another version").unwrap();
    fs::create_dir_all(data.join("lost/and/found")).unwrap();
    let untouched = data.join("base/1/1255");
    let before = (fs::read(&untouched).unwrap(), fs::metadata(&untouched).unwrap().ino());
    for state in [second, first, first] {
        scene.restore_over(&data, state).await;
        for gone in ["stray", "base/link", "lost", "standby.signal", "pitr_restore", "pitr_wal"] {
            assert!(fs::symlink_metadata(data.join(gone)).is_err(), "{gone} is still there");
        }
    }
    assert_eq!(before, (fs::read(&untouched).unwrap(), fs::metadata(&untouched).unwrap().ino()));
    assert!(Path::new("/etc/hostname").exists() && other_version.join("1").exists());
    assert_eq!(fs::read(&elsewhere).unwrap(), content, "what another directory has of a file was changed");
    assert_eq!(fs::metadata(&shared).unwrap().nlink(), 1);
}

/// A copy of a data directory leads by its links to what is the original's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_of_a_copy_lead_to_nothing_that_is_lost() {
    let scene = play(15).await;
    let [first, second] = &scene.states;
    let data = scene.stand.scratch.path().join("copy");
    scene.restore_over(&data, first).await;
    let elsewhere = |name: &str| {
        let directory = PathBuf::from(directory_for_servers(&scene.stand.scratch.path().join(name)));
        fs::write(directory.join("00000001"), "of the original").unwrap();
        directory
    };
    let (log, version) = (elsewhere("log-elsewhere"), elsewhere("version-elsewhere"));
    fs::remove_dir_all(data.join("pg_wal")).unwrap();
    symlink(&log, data.join("pg_wal")).unwrap();
    let space = fs::read_dir(format!("{}-tablespaces", data.display())).unwrap().next().unwrap().unwrap().path();
    let own = fs::read_dir(&space).unwrap().next().unwrap().unwrap().path();
    fs::remove_dir_all(&own).unwrap();
    symlink(&version, &own).unwrap();
    // To open a pipe would wait for ever.
    let pipe = data.join("base/1/1255");
    fs::remove_file(&pipe).unwrap();
    succeed(Command::new("mkfifo").arg(&pipe));
    scene.restore_over(&data, second).await;
    for directory in [log, version] {
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "{}", directory.display());
    }
    assert!(data.join("pg_wal").symlink_metadata().unwrap().is_dir());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_may_have_a_disk_of_its_own() {
    let scene = play(15).await;
    let [first, second] = &scene.states;
    let data = scene.stand.scratch.path().join("two-disks");
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    let is_other = |place: &&str| device(Path::new(place)) != device(scene.stand.scratch.path());
    let place = ["/dev/shm", "/var/tmp"].into_iter().find(is_other).expect("there are two file systems");
    let disk = tempfile::tempdir_in(place).unwrap();
    let log = PathBuf::from(directory_for_servers(&disk.path().join("disk")));
    for state in [first, second] {
        scene.restore_into(&data, state, |target| target.wal_directory(log.join("pg_wal"))).await;
        assert_eq!(fs::read_link(data.join("pg_wal")).unwrap(), log.join("pg_wal"));
        assert!(fs::read_dir(log.join("pg_wal")).unwrap().count() > 1);
    }
    scene.restore_over(&data, first).await;
    assert!(data.join("pg_wal").symlink_metadata().unwrap().is_dir(), "it was not asked for any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_the_servers_or_runs_is_not_touched() {
    let scene = play(15).await;
    let [first, second] = &scene.states;
    let refused = async |data: &Path, why: &str| {
        let before = succeed(Command::new("find").arg(data).args(["-printf", "%p %s %T@\n"]));
        let target = Arc::new(owned(DataDirectory::new(data)).delta());
        let error = Restore::new(&scene.stand.server, scene.plan(&first.0).await, target).run().await.unwrap_err();
        let text = crate::stand::chain(&error);
        assert_eq!(error.kind(), ErrorKind::Conflict, "{text}");
        assert!(text.contains(why), "{text}");
        assert_eq!(before, succeed(Command::new("find").arg(data).args(["-printf", "%p %s %T@\n"])));
    };
    let scratch = scene.stand.scratch.path();
    refused(&scratch.join("source"), "stop its server before").await;

    let other = scratch.join("other");
    LocalServer::new(scene.stand.install.clone(), &other).init(&InitOptions::default()).await.unwrap();
    refused(&other, "that of server").await;
    let papers = scratch.join("papers");
    fs::create_dir(&papers).unwrap();
    fs::write(papers.join("thesis"), "").unwrap();
    refused(&papers, "no data directory").await;

    // One that is whole stays so while its tablespace is somebody else's.
    let data = scratch.join("restored");
    scene.restore_over(&data, second).await;
    let space = PathBuf::from(format!("{}-tablespaces", data.display()));
    let oid = fs::read_dir(&space).unwrap().next().unwrap().unwrap().file_name();
    let link = data.join("pg_tblspc").join(oid);
    fs::remove_file(&link).unwrap();
    refused(&data, "neither empty nor where").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_one_does_not_start_and_is_repeated() {
    let scene = play(15).await;
    let [first, second] = &scene.states;
    let data = scene.stand.scratch.path().join("interrupted");
    scene.restore_over(&data, first).await;
    let plan = scene.plan(&second.0).await;
    let target = owned(DataDirectory::new(&data)).delta();
    let manifest_tablespaces = scene.tablespaces().await;
    target.prepare(&RestoreOutline::new(second.0.incarnation, manifest_tablespaces)).await.unwrap();
    // A second one meanwhile is refused.
    let other = Arc::new(owned(DataDirectory::new(&data)).delta());
    let error = Restore::new(&scene.stand.server, plan, other).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    drop(target);
    scene.require_unfit(&data).await;
    scene.restore_over(&data, second).await;

    // In the middle of writing; over what stands, and where nothing stood.
    let empty = scene.stand.scratch.path().join("nothing");
    for (data, state) in [(&data, first), (&empty, first)] {
        for files in [1, 300, 900] {
            scene.interrupt(data, &state.0, files).await;
            scene.require_unfit(data).await;
        }
        scene.restore_over(data, state).await;
    }
}

impl Scene {
    async fn require_unfit(&self, data: &Path) {
        let local = LocalServer::new(self.stand.install.clone(), data);
        assert!(local.start().await.is_err(), "half of it was started");
    }

    /// Gives up a restore of `snapshot` when it has written so many files.
    async fn interrupt(&self, data: &Path, snapshot: &Snapshot, files: u64) {
        let (reached, mut waits) = tokio::sync::mpsc::unbounded_channel();
        let observer = Observer::new(move |progress: &Progress| {
            if progress.files >= files {
                let _ = reached.send(());
            }
        });
        let target = Arc::new(owned(DataDirectory::new(data)).delta());
        let restore = Restore::new(&self.stand.server, self.plan(snapshot).await, target)
            .settings(RestoreSettings::default().observer(observer));
        tokio::select! {
            biased;
            _ = waits.recv() => {}
            done = restore.run() => panic!("it has fewer files: {done:?}"),
        }
    }
}

impl Scene {
    async fn tablespaces(&self) -> Vec<pitr::model::Tablespace> {
        let sql = "SELECT oid, pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'space'";
        let row = self.stand.client().await.query_one(sql, &[]).await.unwrap();
        vec![pitr::model::Tablespace::new(row.get(0), row.get::<_, String>(1))]
    }
}
