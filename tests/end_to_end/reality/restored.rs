//! What PostgreSQL really does: with a plan, and where there is none.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pitr::adapter::postgres::{DataDirectory, LocalServer, LocalServerError, RecoveryStop};
use pitr::engine::Restore;
use pitr::format::wal_name::WalFileName;
use pitr::model::{Lsn, SegmentNumber, SegmentSize, Snapshot, TimelineId, Timestamp, Xid};
use pitr::plan::{Answer, PlanError, RecoveryTarget, RestorePlan, Target};

use super::story::{Story, history_of, timeline};
use super::truth::Record;
use crate::ledger;
use crate::stand::{Restored, owned};

/// Restores by `plan` into `data`: PostgreSQL ends where the plan says, with the rows that it should.
pub(super) async fn really(story: &Story, plan: RestorePlan, data: PathBuf) {
    let (past, replayed) = story.replayed(&plan);
    let restored = story.stand.execute(plan, data).await;
    let Restored { plan, recovered, .. } = &restored;
    let why = format!("{plan}\n{recovered:?}");

    let expected = ledger::expected(story.ledger(plan.requested_timeline()), &past.committed(replayed));
    let found = ledger::rows(&restored.client().await).await;
    assert_eq!(found.len(), expected.len(), "{why}");
    assert_eq!(found, expected, "{why}");

    let last = &past.0[replayed - 1];
    let (stop, read) = match plan.recovery() {
        RecoveryTarget::Time { .. } => {
            let next = &past.0[replayed];
            let (xid, at) = next.end().unwrap();
            (RecoveryStop::BeforeTransaction { xid, at }, next)
        }
        _ => (RecoveryStop::EndOfWal, last),
    };
    assert_eq!(recovered.stop, stop, "{why}");
    // A snapshot can be of a server that wrote nothing after its checkpoint: then there is nothing to replay.
    let replays = read.lsn > plan.snapshot().wal.start;
    assert_eq!(recovered.last_record, replays.then_some(read.lsn), "{why}");
    // The new timeline goes on where the last record ends, and is a child of the one that the plan names.
    let history = history_of(&restored.data.join("pg_wal"), recovered.timeline);
    let parent = history.ancestors().last().unwrap();
    assert_eq!((parent.timeline, parent.switch), (plan.timeline(), last.end_lsn), "{why}");
    restored.discard().await;
}

/// What is refused, PostgreSQL cannot do either; and what pitr does in another way, it could not have done.
pub(super) async fn refusals_are_right(story: &mut Story) {
    let archive = archive_without_the_hole(story);
    let [first, behind, _, last] = story.snapshots.clone();
    let past = story.past(timeline(3));
    let commits = |from: Lsn, to: Lsn| -> Vec<Timestamp> {
        past.ends().filter(|(end, ..)| from <= end.lsn && end.end_lsn <= to).map(|(.., at)| at).collect()
    };
    let failed = "recovery ended before configured recovery target was reached";

    let missing = commits(story.hole.start, story.hole.end);
    let in_gap = missing[missing.len() / 2];
    let error = story.plan(&Target::time(in_gap).into()).await.unwrap_err();
    assert!(matches!(&error, PlanError::InGap { missing, .. } if *missing == story.hole), "{error}");
    ask(story, &archive, &first, &[("recovery_target_time", &text(in_gap))], failed).await;

    let during = commits(behind.wal.start, behind.wal.end);
    let inconsistent = *during.iter().rfind(|at| **at < behind.consistent_at).expect("it was taken under load");
    let before = inconsistent.saturating_sub(super::TICK);
    let error = story.plan(&Target::time(before).into()).await.unwrap_err();
    assert!(matches!(&error, PlanError::InSnapshot { snapshot, .. } if *snapshot == behind.id), "{error}");
    let too_early = "requested recovery stop point is before consistent recovery point";
    ask(story, &archive, &behind, &[("recovery_target_time", &text(before))], too_early).await;

    // Only transactions end, and their subtransactions with them.
    let sub = Xid::new(story.subtransaction).unwrap();
    let error = story.plan(&Target::xid(sub).into()).await.unwrap_err();
    assert!(matches!(error, PlanError::NotFound { .. }), "{error}");
    ask(story, &archive, &last, &[("recovery_target_xid", &sub.to_string())], failed).await;

    // Where pitr asks for the end of the log, since there is nothing to stop before.
    let end = commits(last.wal.end, Lsn::MAX).into_iter().max().unwrap();
    let idle = end.saturating_add(std::time::Duration::from_millis(50));
    let plan = story.plan(&Target::time(idle).into()).await.unwrap();
    assert!(matches!(plan.answer(), Answer::IdleTail { .. }), "{plan}");
    ask(story, &archive, &last, &[("recovery_target_time", &text(idle))], failed).await;

    // PostgreSQL would take the first that it meets. What is lost is nowhere.
    let archived = |record: &&Record| record.end_lsn <= story.hole.start || story.hole.end < record.end_lsn;
    let twice = past.0.iter().filter(|record| record.is_point("twice")).filter(archived).map(|record| record.end_lsn);
    let twice: Vec<_> = twice.collect();
    assert!(twice.len() >= 3);
    let error = story.plan(&Target::RestorePoint("twice".to_owned()).into()).await.unwrap_err();
    let PlanError::Ambiguous { at, .. } = error else { panic!("{error}") };
    assert_eq!(at.into_iter().map(|(lsn, _)| lsn).collect::<Vec<_>>(), twice);
}

fn text(at: Timestamp) -> String {
    at.to_string().replace('T', " ").replace('Z', "+00")
}

/// The source's own segments, but for what was lost: PostgreSQL finds zeros there.
fn archive_without_the_hole(story: &Story) -> PathBuf {
    let archive = story.stand.scratch.path().join("archive");
    fs::create_dir(&archive).unwrap();
    let size = story.snapshots[0].segment_size;
    for timeline in [1, 2, 3].map(timeline) {
        for entry in fs::read_dir(story.pg_wal(timeline)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.path().is_dir() || archive.join(&name).exists() {
                continue;
            }
            let mut bytes = fs::read(entry.path()).unwrap();
            if let Ok(WalFileName::Segment { timeline: TimelineId::FIRST, segment }) = WalFileName::parse(&name, size) {
                forget(&mut bytes, segment, size, story);
            }
            fs::write(archive.join(&name), bytes).unwrap();
            fs::set_permissions(archive.join(&name), fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
    archive
}

fn forget(bytes: &mut [u8], segment: SegmentNumber, size: SegmentSize, story: &Story) {
    let start = segment.start(size);
    let within = |lsn: Lsn| usize::try_from(lsn.bytes_since(start)).unwrap().min(bytes.len());
    let (from, to) = (within(story.hole.start), within(story.hole.end));
    bytes[from..to].fill(0);
}

/// Lets PostgreSQL itself recover from `snapshot` with what is in `archive`; it must fail, and say why.
async fn ask(story: &mut Story, archive: &Path, snapshot: &Snapshot, settings: &[(&str, &str)], why: &str) {
    let plan = story.plan(&Target::Snapshot(snapshot.id.clone()).into()).await.unwrap();
    let data = story.stand.place();
    let target = Arc::new(owned(DataDirectory::new(&data)));
    drop(Restore::new(&story.stand.server, plan, target).run().await.unwrap());
    let mut lines = format!("restore_command = 'cp {}/%f %p'\nrecovery_target_timeline = '3'\n", archive.display());
    for (name, value) in settings {
        lines.push_str(&format!("{name} = '{value}'\n"));
    }
    let mut file = fs::OpenOptions::new().append(true).open(data.join("postgresql.auto.conf")).unwrap();
    file.write_all(lines.as_bytes()).unwrap();
    match LocalServer::new(story.stand.install.clone(), &data).setting("fsync", "off").start().await {
        Err(LocalServerError::Ended { tail, .. }) => assert!(tail.contains(why), "{settings:?}: {tail}"),
        other => panic!("{settings:?}: {other:?}"),
    }
    fs::remove_dir_all(&data).unwrap();
}
