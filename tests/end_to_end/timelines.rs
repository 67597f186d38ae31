//! Promotions to timelines 2 and 3, with restores on both sides of each switch.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use pitr::adapter::postgres::{InitOptions, StopMode};
use pitr::format::history;
use pitr::model::{TimelineId, Timestamp};
use pitr::plan::{RestoreRequest, Target};

use super::ledger::{self, End, Load};
use super::stand::{Stand, identity, now, source_of};

/// What happened on one timeline: an instant in the middle of its load, and one after it.
struct Chapter {
    timeline: TimelineId,
    middle: Timestamp,
    end: Timestamp,
}

pub(crate) async fn restart_as_standby(stand: &mut Stand) {
    stand.source.take().unwrap().stop(StopMode::Fast).await.unwrap();
    fs::write(stand.scratch.path().join("source/standby.signal"), "").unwrap();
    stand.source = Some(stand.local.start().await.unwrap());
}

pub(crate) async fn promote_standby(stand: &Stand) {
    let promoted: bool = stand.client().await.query_one("SELECT pg_promote()", &[]).await.unwrap().get(0);
    assert!(promoted);
}

/// Restarts the source as a standby, and lets the archiver follow it there.
pub(crate) async fn become_standby(stand: &mut Stand) {
    stand.stop_archiving().await;
    restart_as_standby(stand).await;
    stand.postgres = source_of(stand.source.as_ref().unwrap()).into();
    stand.archive();
}

/// And promotes it under the archiver's eyes.
async fn promote(stand: &mut Stand) {
    become_standby(stand).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    promote_standby(stand).await;
}

async fn chapter(stand: &Stand, ledger: &mut BTreeMap<u32, i64>) -> Chapter {
    let load = Load::start(stand, 4).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (_, middle) = ledger::position(stand).await;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    ledger.extend(load.stop().await);
    let timeline = identity(stand).await.timeline;
    let (_, end) = ledger::position(stand).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stand.wait_all_archived().await;
    Chapter { timeline, middle, end }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_of_every_switch_are_restored() {
    let mut stand = Stand::new(15, &InitOptions::default()).await;
    stand.client().await.batch_execute(ledger::TABLES).await.unwrap();
    let (begin, _) = ledger::position(&stand).await;
    stand.archive();
    stand.snapshot().await;
    let mut ledger = BTreeMap::new();
    let first = chapter(&stand, &mut ledger).await;
    promote(&mut stand).await;
    let second = chapter(&stand, &mut ledger).await;
    promote(&mut stand).await;
    stand.snapshot().await;
    let third = chapter(&stand, &mut ledger).await;
    assert_eq!([&first, &second, &third].map(|chapter| chapter.timeline.as_u32()), [1, 2, 3]);

    let identity = identity(&stand).await;
    let pg_wal = stand.scratch.path().join("source/pg_wal");
    let file = fs::read(pg_wal.join("00000003.history")).unwrap();
    let history = history::parse(third.timeline, &file).unwrap();
    let (end, _) = now(&stand.client().await).await;
    let ends = ledger::ends(&pg_wal, identity, &history, begin, end);
    ledger::check_against_server(&stand.client().await, &ledger, &ends).await;

    for chapter in [&first, &second, &third] {
        for at in [chapter.middle, chapter.end] {
            check(&mut stand, RestoreRequest::new(Target::time(at)), &ledger, &ends, at).await;
        }
        // The same instants are reached on the timeline that they happened on.
        let request = RestoreRequest::new(Target::time(chapter.middle)).on_timeline(chapter.timeline);
        check(&mut stand, request, &ledger, &ends, chapter.middle).await;
    }
    // On the first timeline too, whose child the second one is: a new server takes no number that its source had.
    let request = RestoreRequest::new(Target::time(first.middle)).on_timeline(first.timeline);
    let restored = stand.restore(&request).await;
    assert_eq!(restored.recovered.timeline.as_u32(), 4);
    restored.discard().await;
    let latest = stand.restore(&RestoreRequest::new(Target::Latest)).await;
    assert_eq!(ledger::rows(&latest.client().await).await, ledger);
    assert!(latest.recovered.timeline > third.timeline, "it writes a timeline of its own");
    assert_eq!(stand.faults().await, []);
}

async fn check(stand: &mut Stand, request: RestoreRequest, ledger: &BTreeMap<u32, i64>, ends: &[End], at: Timestamp) {
    let restored = stand.restore(&request).await;
    let found = ledger::rows(&restored.client().await).await;
    let expected = ledger::expected(ledger, &ledger::by_time(ends, at));
    assert_eq!(found.len(), expected.len(), "{}\n{:?}", restored.plan, restored.recovered);
    assert_eq!(found, expected);
    restored.discard().await;
}
