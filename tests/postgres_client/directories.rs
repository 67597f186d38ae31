//! Base backups of data directories, held against those that the server sends.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use pitr::adapter::postgres::{Checkpoint, DataDirectorySource, SnapshotSettings};
use pitr::format::backup_label::{BackupLabel, BackupOrigin};
use pitr::model::ServerRole;
use pitr::port::{PortErrorKind, SnapshotEvent, SnapshotSource};

use crate::snapshots::{
    Taken, damage, names_and_directories, names_of_pg_basebackup, take, timestamp, with_tablespaces,
};
use crate::support::{Cluster, command, oldest, run, timeline, versions};

#[tokio::test]
async fn a_backup_is_what_the_server_would_send() {
    for bin in versions() {
        let cluster = with_tablespaces(&bin);
        cluster.sql("create unlogged table unlogged as select 1 i");
        cluster.sql("create unlogged table unlogged_in_one tablespace one as select 1 i");
        cluster.sql("create sequence made_since_17; select pg_create_physical_replication_slot('slot', true)");
        cluster.sql("checkpoint");
        let mut session = with_temporary_table(&cluster);
        for (name, content) in [("pg_internal.init.1", "x"), ("base/5/pgsql_tmp1.0", "x"), ("kept", "my own")] {
            fs::write(cluster.data().join(name), content).unwrap();
        }
        let before = cluster.lsn("pg_current_wal_insert_lsn()");
        let mine = take(&cluster.directory_source()).await;
        let now = timestamp(&cluster);
        assert_eq!(mine.end.skipped, [""; 0]);
        assert!(mine.start.lsn >= before && mine.end.lsn > mine.start.lsn);
        assert!(mine.end.lsn <= cluster.lsn("pg_current_wal_flush_lsn()"));
        assert_eq!((mine.start.timeline, mine.end.timeline), (timeline(1), timeline(1)));
        assert!(mine.end.at <= now && now.duration_since(mine.end.at).as_secs() < 10);
        assert_eq!((mine.start.role, mine.damaged.len()), (ServerRole::Primary, 0));
        let label = BackupLabel::parse(&mine.files["backup_label"]).unwrap();
        assert_eq!((label.start_lsn, label.origin), (mine.start.lsn, BackupOrigin::Primary));

        let mut theirs = take(&cluster.source()).await;
        theirs.start.tablespaces.sort_by_key(|tablespace| tablespace.oid);
        assert_eq!(mine.start.tablespaces, theirs.start.tablespaces);
        assert_eq!(mine.files["tablespace_map"], theirs.files["tablespace_map"]);
        assert_eq!(names_and_directories(&mine), names_and_directories(&theirs));
        assert_eq!(changed(&mine, &theirs), BTreeSet::from(["backup_label", "global/pg_control"]));
        let sizes: u64 = mine.files.values().map(|contents| contents.len() as u64).sum();
        assert!(mine.start.bytes_estimate.abs_diff(sizes) < sizes / 10, "{} {sizes}", mine.start.bytes_estimate);
        if cluster.program("pg_basebackup").exists() {
            assert_eq!(names_and_directories(&mine), names_of_pg_basebackup(&cluster));
        }
        session.kill().unwrap();
        session.wait().unwrap();
    }
}

/// A session that keeps a temporary table.
fn with_temporary_table(cluster: &Cluster) -> Child {
    let sql = [
        "create temporary table t as select generate_series(1, 1000) i",
        "create index on t (i)",
        "select pg_sleep(600)",
    ];
    let session = cluster.psql().args(sql.iter().flat_map(|sql| ["-c", sql])).stderr(Stdio::null()).spawn().unwrap();
    let made = "select count(*) from pg_class where relpersistence = 't' and relkind = 'i'";
    wait_until(cluster, made, "1", "there is no temporary table");
    session
}

/// Waits until `sql` gives `expected`, for a minute; else fails, as `otherwise` says.
fn wait_until(cluster: &Cluster, sql: &str, expected: &str, otherwise: &str) {
    let given_up = Instant::now() + Duration::from_secs(60);
    while cluster.sql(sql) != expected {
        assert!(Instant::now() < given_up, "{otherwise}");
    }
}

/// The files that differ.
fn changed<'t>(one: &'t Taken, other: &Taken) -> BTreeSet<&'t str> {
    let files = one.files.iter().filter(|(path, content)| other.files[*path] != **content);
    files.map(|(path, _)| path.as_str()).collect()
}

#[tokio::test]
async fn stamps_stay_where_nothing_changes() {
    let cluster = with_tablespaces(&oldest());
    cluster.sql("checkpoint");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let first = take(&cluster.directory_source()).await;
    cluster.sql("update in_one set i = i where i = 1");
    cluster.sql("checkpoint");
    let changed = cluster.sql("select pg_relation_filepath('in_one')");
    let second = take(&cluster.directory_source()).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let third = take(&cluster.directory_source()).await;
    assert!(first.stamps.len() > 900, "{}", first.stamps.len());
    assert!(first.stamps.contains_key(&changed) && !second.stamps.contains_key(&changed), "it changed just now");
    assert_ne!(first.stamps[&changed], third.stamps[&changed]);
    for (path, stamp) in &first.stamps {
        if third.stamps.get(path) == Some(stamp) {
            assert_eq!(first.files[path], third.files[path], "{path}");
        }
    }
    let same = first.stamps.iter().filter(|(path, stamp)| third.stamps.get(*path) == Some(stamp)).count();
    assert!(same > 880, "only {same} files are known to be the same");
}

#[tokio::test]
async fn pages_with_wrong_checksums_are_named() {
    for bin in versions() {
        let cluster = with_tablespaces(&bin);
        cluster.sql("create table t as select generate_series(1, 5000) i; checkpoint");
        for table in ["t", "in_two"] {
            let path = cluster.sql(&format!("select pg_relation_filepath('{table}')"));
            damage(&cluster.data().join(&path), 2 * 8192 + 4000);
            damage(&cluster.data().join(&path), 3 * 8192 + 8191);
            let mut damaged = take(&cluster.directory_source()).await.damaged;
            damaged.retain(|(damaged, _)| *damaged == path);
            assert_eq!(damaged, [(path.clone(), 2), (path, 3)]);
        }
    }
}

#[tokio::test]
async fn where_pages_have_no_checksums_none_is_wrong() {
    let cluster = Cluster::init(&oldest(), &[]);
    run(command(cluster.program("pg_checksums")).args(["--disable", "-D"]).arg(cluster.data()));
    cluster.up();
    cluster.sql("create table t as select generate_series(1, 5000) i");
    cluster.sql("checkpoint");
    damage(&cluster.data().join(cluster.sql("select pg_relation_filepath('t')")), 4000);
    assert_eq!(take(&cluster.directory_source()).await.damaged, []);
}

#[tokio::test]
async fn a_standby_is_read_too() {
    for bin in versions() {
        let cluster = Cluster::standby(&bin);
        let taken = take(&cluster.directory_source()).await;
        assert_eq!(taken.start.role, ServerRole::Standby);
        let label = BackupLabel::parse(&taken.files["backup_label"]).unwrap();
        assert_eq!((label.start_lsn, label.origin), (taken.start.lsn, BackupOrigin::Standby));
        assert!(taken.end.lsn >= taken.start.lsn && taken.files.contains_key("global/pg_control"));
    }
}

/// Nothing says when a write is done: only what has not changed for long is known to be whole, on a primary and on a standby.
#[tokio::test]
async fn what_has_not_settled_has_no_stamp() {
    for cluster in [Cluster::start(&oldest(), &[]), Cluster::standby(&oldest())] {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert!(take(&cluster.directory_source()).await.stamps.len() > 900);
        let unless_set = DataDirectorySource::new(cluster.local("postgres").parse().unwrap(), cluster.data());
        assert_eq!(take(&unless_set).await.stamps.len(), 0);
    }
}

/// Its record is in the log before the backup, but it is in no catalog that can be read yet.
#[tokio::test]
async fn a_tablespace_that_is_not_committed_is_read() {
    let cluster = Cluster::start(&oldest(), &["synchronous_standby_names = nobody"]);
    let place = cluster.path().join("late");
    run(command("mkdir").arg(&place));
    let create = format!("create tablespace late location '{}'", place.display());
    let mut session = cluster.psql().args(["-c", &create]).stderr(Stdio::null()).spawn().unwrap();
    let waits = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
    wait_until(&cluster, waits, "1", "nobody waits for the standby");
    assert_eq!(cluster.sql("select count(*) from pg_tablespace where spcname = 'late'"), "0");
    let (mine, theirs) = (take(&cluster.directory_source()).await, take(&cluster.source()).await);
    assert_eq!(mine.start.tablespaces.len(), 1);
    assert_eq!(mine.start.tablespaces, theirs.start.tablespaces);
    assert_eq!(mine.files["tablespace_map"], theirs.files["tablespace_map"]);
    assert_eq!(names_and_directories(&mine), names_and_directories(&theirs));
    session.kill().unwrap();
    session.wait().unwrap();
}

#[tokio::test]
async fn links_are_followed_where_postgresql_does() {
    let cluster = Cluster::init(&oldest(), &[]);
    let moved = cluster.path().join("moved");
    for directory in ["pg_wal", "pg_stat_tmp"] {
        let place = moved.join(directory);
        run(command("mkdir").arg("-p").arg(&moved));
        run(command("mv").arg(cluster.data().join(directory)).arg(&place));
        symlink(&place, cluster.data().join(directory)).unwrap();
    }
    cluster.up();
    symlink("/etc/hostname", cluster.data().join("base/1/link")).unwrap();
    run(command("mkfifo").arg(cluster.data().join("fifo")));
    let mine = take(&cluster.directory_source()).await;
    assert_eq!(mine.end.skipped, ["base/1/link", "fifo"]);
    let mut theirs = take(&cluster.source()).await;
    assert_eq!(theirs.files.remove("tablespace_map").unwrap(), b"", "the manual asks for none that is empty");
    assert_eq!(names_and_directories(&mine), names_and_directories(&theirs));
}

#[tokio::test]
async fn the_directory_of_another_server_is_refused() {
    let (cluster, other) = (Cluster::start(&oldest(), &[]), Cluster::start(&oldest(), &[]));
    let refused = async |directory: &std::path::Path| {
        let source = DataDirectorySource::new(cluster.local("postgres").parse().unwrap(), directory);
        let error = source.begin("refused").await.unwrap_err();
        (error.kind(), error.to_string())
    };
    let (kind, message) = refused(&other.data()).await;
    assert_eq!(kind, PortErrorKind::Invalid, "{message}");
    assert!(message.contains("port"), "{message}");

    let copy = cluster.path().join("copy");
    run(command("cp").arg("-a").args([&cluster.data(), &copy]));
    cluster.sql("create table t as select generate_series(1, 1000)");
    let (kind, message) = refused(&copy).await;
    assert_eq!(kind, PortErrorKind::Invalid, "{message}");
    assert!(message.contains("it is a copy"), "{message}");

    // A standby at the same port as its primary.
    cluster.down("fast");
    run(command("touch").arg(cluster.data().join("standby.signal")));
    cluster.up();
    let (kind, message) = refused(&copy).await;
    assert_eq!(kind, PortErrorKind::Invalid, "{message}");
    assert!(message.contains("InProduction"), "{message}");

    fs::remove_file(copy.join("postmaster.pid")).unwrap();
    let (kind, message) = refused(&copy).await;
    assert_eq!(kind, PortErrorKind::NotFound, "{message}");
    assert!(message.contains("no server runs in"), "{message}");
    let (kind, message) = refused(&cluster.path().join("nowhere")).await;
    assert_eq!(kind, PortErrorKind::NotFound, "{message}");
}

#[tokio::test]
async fn whoever_may_not_back_up_is_refused() {
    let cluster = Cluster::start(&oldest(), &[]);
    cluster.sql("create role plain login replication");
    let source = |role| DataDirectorySource::new(cluster.local(role).parse().unwrap(), cluster.data());
    assert_eq!(source("plain").begin("refused").await.unwrap_err().kind(), PortErrorKind::Denied);
    cluster.sql("grant execute on function pg_backup_start, pg_backup_stop to plain");
    assert!(take(&source("plain")).await.files.len() > 900);
}

/// What a role may not exceed in its own sessions, a backup may: also with its checkpoint, spread over seconds, in a transaction of its own.
#[tokio::test]
async fn a_backup_may_take_its_time() {
    for bin in versions() {
        let cluster = Cluster::start(&bin, &["checkpoint_timeout = 30s", "checkpoint_completion_target = 0.1"]);
        let known = "select name from pg_settings where name in ('statement_timeout', 'lock_timeout', \
            'idle_session_timeout', 'transaction_timeout')";
        let limits = cluster.sql(known);
        for limit in limits.lines() {
            cluster.sql(&format!("alter role postgres set {limit} = '1s'"));
        }
        cluster.sql("checkpoint");
        cluster.sql("create table t as select generate_series(1, 50000) i");
        let mut settings = SnapshotSettings::default();
        settings.checkpoint = Checkpoint::Spread;
        let begun = Instant::now();
        let mut stream = cluster.directory_source().with_settings(settings).begin("slow").await.unwrap();
        assert!(begun.elapsed() > Duration::from_millis(1500), "the checkpoint was too fast: {:?}", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(1500)).await;
        while stream.next().await.unwrap().is_some() {}
        stream.end().await.unwrap();
    }
}

/// What was read is of a standby, and how far it must be replayed is no longer known.
#[tokio::test]
async fn a_promotion_ends_a_backup() {
    for bin in versions() {
        let cluster = Cluster::standby(&bin);
        let mut stream = cluster.directory_source().begin("promoted").await.unwrap();
        assert!(stream.next().await.unwrap().is_some());
        cluster.promote();
        while stream.next().await.unwrap().is_some() {}
        let error = stream.end().await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("the standby was promoted during online backup"), "{error}: {cause}");
        assert!(take(&cluster.directory_source()).await.start.role == ServerRole::Primary, "the next one is taken");
    }
}

#[tokio::test]
async fn a_backup_that_is_dropped_ends_on_the_server() {
    let cluster = Cluster::start(&oldest(), &[]);
    let mut stream = cluster.directory_source().begin("dropped").await.unwrap();
    assert!(stream.next().await.unwrap().is_some());
    let backups = "select count(*) from pg_stat_activity where backend_type = 'walsender'";
    assert_eq!(cluster.sql(backups), "1");
    drop(stream);
    let given_up = Instant::now() + Duration::from_secs(20);
    while cluster.sql(backups) != "0" {
        assert!(Instant::now() < given_up, "the server goes on with the backup");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn no_more_is_read_than_allowed() {
    let cluster = Cluster::start(&oldest(), &[]);
    let mut settings = SnapshotSettings::default();
    settings.bytes_per_second_max = Some(1 << 20);
    let mut stream = cluster.directory_source().with_settings(settings).begin("slow").await.unwrap();
    let (begun, mut read) = (Instant::now(), 0);
    while read < 3 << 20 {
        if let Some(SnapshotEvent::Readable(entry, file)) = stream.next().await.unwrap() {
            let mut content = vec![0; usize::try_from(entry.bytes).unwrap()];
            file.admit(content.len()).await;
            file.read_at(0, &mut content).unwrap();
            read += content.len();
        }
    }
    assert!(begun.elapsed() > Duration::from_millis(1500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn files_come_and_go_while_they_are_read() {
    for bin in versions() {
        let cluster = with_tablespaces(&bin);
        let churn = "do $$ begin for n in 1..60 loop execute format('create table churn_%s as select generate_series(1, 20000) i', n); \
                     commit; if n > 5 then execute format('drop table churn_%s', n - 5); commit; \
                     execute format('truncate churn_%s', n - 3); commit; end if; end loop; end $$";
        let mut session = cluster.psql().args(["-c", churn]).spawn().unwrap();
        let mut taken = 0;
        while session.try_wait().unwrap().is_none() || taken == 0 {
            assert!(take(&cluster.directory_source()).await.files.len() > 900);
            taken += 1;
        }
        assert!(session.wait().unwrap().success());
    }
}
