//! What the server's clock proves: no commit may contradict it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use pitr::adapter::postgres::StreamSettings;
use pitr::model::{Lsn, Timestamp};
use pitr::port::WalEvent;

use crate::support::{Cluster, follow, versions};

const COMMITTERS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn no_commit_contradicts_an_observation() {
    for bin in versions() {
        let cluster = Cluster::start(&bin, &["track_commit_timestamp = on", "fsync = on", "wal_keep_size = 1GB"]);
        cluster.sql("create table t (i int)");
        let mut settings = StreamSettings::default();
        settings.observe_interval = Duration::from_millis(100);
        let source = cluster.source().with_stream_settings(settings);
        let (mut stream, start) = follow(&source).await;

        let mut committers: Vec<_> = (0..COMMITTERS).map(|number| committer(&cluster, number)).collect();
        let mut observations = Vec::new();
        let mut log_end = start;
        let given_up = Instant::now() + Duration::from_secs(60);
        let mut idle_until = None;
        // While they commit, and then on the idle server.
        while idle_until.is_none_or(|until| Instant::now() < until) {
            assert!(Instant::now() < given_up, "the committers do not come to an end");
            match stream.next(Duration::from_millis(50)).await.unwrap() {
                WalEvent::Data { bytes, .. } => log_end = log_end.saturating_add(bytes.len() as u64),
                WalEvent::Observed { flush_lsn, at, .. } => {
                    assert!(flush_lsn <= log_end, "its data were given before");
                    observations.push((flush_lsn, at, idle_until.is_some()));
                }
                WalEvent::Idle => {}
                event => panic!("{event:?}"),
            }
            if idle_until.is_none() && committers.iter_mut().all(|child| child.try_wait().unwrap().is_some()) {
                idle_until = Some(Instant::now() + Duration::from_secs(4));
            }
        }
        let commits = commits(&cluster, start);
        let busy = observations.iter().filter(|(_, _, idle)| !idle).count();
        println!("{} commits, {} observations, {busy} of them under load", commits.len(), observations.len());
        assert!(commits.len() >= 1000 && busy >= 10 && observations.len() - busy >= 20);
        for (flush_lsn, at, _) in &observations {
            let missed = commits.iter().find(|(lsn, time)| time <= at && lsn > flush_lsn);
            assert_eq!(missed, None, "observed {at} up to {flush_lsn}");
        }
        // And they are worth something: the idle server is known beyond its last commit.
        let last = commits.iter().map(|(_, time)| *time).max().unwrap();
        assert!(observations.last().unwrap().1 > last);
    }
}

/// Commits for some seconds, every other transaction asynchronously.
fn committer(cluster: &Cluster, number: usize) -> std::process::Child {
    let sql = format!(
        "do $$ begin for i in 1..400 loop insert into t values ({number}); commit;
             perform set_config('synchronous_commit', case i % 2 when 0 then 'on' else 'off' end, false);
             commit; perform pg_sleep(0.005); end loop; end $$"
    );
    cluster.psql().args(["-c", &sql]).current_dir("/").stdout(Stdio::null()).spawn().unwrap()
}

/// All commits after `start`, with the positions where their records end.
fn commits(cluster: &Cluster, start: Lsn) -> Vec<(Lsn, Timestamp)> {
    let end = cluster.lsn("pg_current_wal_flush_lsn()");
    cluster.sql("create extension pg_walinspect");
    let listed = cluster.sql(&format!(
        "set timezone = 'UTC'; select end_lsn, description from pg_get_wal_records_info('{start}', '{end}')
         where resource_manager = 'Transaction' and record_type = 'COMMIT'"
    ));
    let lines = listed.lines().map(|line| line.split_once('|').unwrap());
    lines.map(|(lsn, description)| (lsn.parse().unwrap(), time_of(description))).collect()
}

/// `2026-11-23 21:09:08.123456+00; …`
fn time_of(description: &str) -> Timestamp {
    let (time, _) = description.split_once("+00").unwrap_or_else(|| panic!("{description:?}"));
    format!("{}Z", time.replacen(' ', "T", 1)).parse().unwrap()
}
