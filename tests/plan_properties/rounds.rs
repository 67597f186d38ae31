//! How often something must be read before it is known where a transaction ended, if there are many log backups.

use std::time::Duration;

use pitr::model::{
    Catalog, CommitIndex, Incarnation, IndexedCommit, LogBackup, Lsn, PostgresMajor, SegmentSize, Snapshot,
    StoredObject, SystemId, TimelineId, Timestamp, TransactionEnd, WalRange, Xid, XidRange,
};
use pitr::plan::{Need, PlanError, RestoreRequest, Target, plan_restore};

use crate::random::Random;

const LOG: u64 = 1 << 20;
const RECORD: u64 = 1 << 10;
/// Transactions in each log backup.
const EACH: u64 = 8;
/// How far a transaction can end out of turn.
const WINDOW: u64 = 20;

/// A server's log, in so many log backups, of which nothing was read: transactions end near where their IDs say.
pub(crate) struct Many {
    logs: Vec<Vec<TransactionEnd>>,
}

impl Many {
    pub(crate) fn new(random: &mut Random, count: u64) -> Self {
        // Each ends within a window of its turn, and the counter goes round.
        let mut turns: Vec<(u64, u64)> = (0..count * EACH).map(|n| (n + random.below(WINDOW), n)).collect();
        turns.sort_unstable();
        let end = |(place, &(_, number)): (usize, &(u64, u64))| {
            let place = place as u64;
            let lsn = Lsn::new((1 + place / EACH) * LOG + (1 + place % EACH) * RECORD);
            TransactionEnd::new(xid(number), lsn, second(place))
        };
        let ends: Vec<TransactionEnd> = turns.iter().enumerate().map(end).collect();
        Self { logs: ends.chunks(usize::try_from(EACH).expect("small")).map(<[_]>::to_vec).collect() }
    }

    /// Every transaction.
    pub(crate) fn ends(&self) -> impl Iterator<Item = TransactionEnd> + '_ {
        self.logs.iter().flatten().copied()
    }

    pub(crate) fn catalog(&self) -> Catalog {
        let manifest = StoredObject::new("snapshot".parse().expect("a key"), 1);
        let wal = WalRange::new(TimelineId::FIRST, Lsn::new(LOG), Lsn::new(LOG)).expect("in order");
        let id = "s".parse().expect("an ID");
        let snapshot = Snapshot::full(id, incarnation(), wal, SegmentSize::MIN, second(0), manifest);
        let logs = self.logs.iter().enumerate().map(|(number, ends)| {
            let start = (1 + number as u64) * LOG;
            let wal = WalRange::new(TimelineId::FIRST, Lsn::new(start), Lsn::new(start + LOG)).expect("in order");
            let mut log = LogBackup::new(incarnation(), wal, "log".parse().expect("a key"), LOG);
            log.max_commit_time = ends.iter().map(|end| end.time).max();
            log.into()
        });
        Catalog::new(logs.chain([snapshot.into()])).expect("it does not contradict itself")
    }

    /// How often something is read until the answer is known, and what that is.
    pub(crate) fn rounds(&self, target: &Target) -> (u32, Result<Lsn, PlanError>) {
        let mut catalog = self.catalog();
        for round in 0.. {
            let needs = match plan_restore(&catalog, &RestoreRequest::new(target.clone())) {
                Err(PlanError::Unknown { needs, .. }) => needs,
                planned => return (round, planned.map(|plan| plan.stop().end)),
            };
            for need in &needs {
                let number = need.log().wal.start.as_u64() / LOG - 1;
                let ends = &self.logs[usize::try_from(number).expect("small")];
                let index = index(ends, matches!(need, Need::Transactions(_)));
                assert!(catalog.load_index(need.log(), index), "{need} is not there");
            }
        }
        unreachable!("rounds are counted for ever")
    }
}

fn index(ends: &[TransactionEnd], transactions: bool) -> CommitIndex {
    let mut index = CommitIndex::default();
    index.commits = ends.last().map(|end| IndexedCommit::new(end.end_lsn, end.time)).into_iter().collect();
    index.xids = ends.iter().fold(None, |range: Option<XidRange>, end| {
        Some(range.map_or_else(|| XidRange::of(end.xid), |range| range.with(end.xid)))
    });
    index.transactions = transactions.then(|| ends.to_vec());
    index
}

/// The transaction that is assigned after so many others.
pub(crate) fn xid(number: u64) -> Xid {
    let first = u64::from(u32::MAX) - 500;
    let id = first + number;
    let id = if id > u64::from(u32::MAX) { id - u64::from(u32::MAX) - 1 + u64::from(Xid::FIRST.as_u32()) } else { id };
    Xid::new(u32::try_from(id).expect("it went round")).expect("a user's")
}

fn incarnation() -> Incarnation {
    Incarnation::new(SystemId::new(7), PostgresMajor::MIN)
}

fn second(number: u64) -> Timestamp {
    Timestamp::UNIX_EPOCH.saturating_add(Duration::from_secs(number))
}
