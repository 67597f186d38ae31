//! Decoding archived log, from the start of any log backup on.

use super::error::{Error, Result};
use super::log_stream::{self, LogStream};
use super::server::ServerRepository;
use crate::format::log::LogFooter;
use crate::format::wal::{WalDecoder, WalIdentity, WalRecord, WalRecordDetail};
use crate::model::{
    Branch, Catalog, CommitIndex, LogBackup, LogRef, Lsn, TimelineHistory, TimelineId, TransactionEnd, WalRange, Xid,
};

/// A decoder at the beginning of some log.
pub(super) struct Decoding {
    pub(super) decoder: WalDecoder,
    /// Whether it knows where in a record it begins.
    pub(super) is_primed: bool,
}

/// How the timeline of `log` came to be; `None` if that is lost: then its pages cannot be judged.
pub(super) fn history(catalog: &Catalog, log: &LogBackup) -> Option<TimelineHistory> {
    let branch = Branch::new(log.incarnation, log.wal.timeline);
    let is_known = branch.timeline == TimelineId::FIRST || catalog.history_object(branch).is_some();
    catalog.history(branch).filter(|_| is_known).cloned()
}

/// A decoder of the log of `whose`, at `at`, primed if the log right before it is archived, whole.
///
/// Log before it that cannot be read is no obstacle: what follows is then verified from the next record on that begins on a page
/// of its own.
///
/// # Errors
/// If the storage cannot be read.
pub(super) async fn begin(
    server: &ServerRepository,
    whose: &WalIdentity,
    catalog: &Catalog,
    at: Lsn,
) -> Result<Decoding> {
    let primed = match primed(server, whose, catalog, at).await {
        Err(error) if error.is_of_object() => None,
        primed => primed?,
    };
    let is_primed = primed.as_ref().is_some_and(|decoder| decoder.resume_point().is_some());
    Ok(Decoding { decoder: primed.unwrap_or_else(|| WalDecoder::new(whose.clone(), at)), is_primed })
}

/// A decoder of the log of `whose`, at `at`, with the archived beginning of the record there already fed. `None` if nothing
/// is archived right before it.
///
/// # Errors
/// If the beginning cannot be read, or is damaged.
async fn primed(
    server: &ServerRepository,
    whose: &WalIdentity,
    catalog: &Catalog,
    at: Lsn,
) -> Result<Option<WalDecoder>> {
    if whose.history.begin() == at && at > Lsn::ZERO {
        return at_record(whose, at).map(Some);
    }
    let logs = || catalog.logs(Branch::new(whose.incarnation, whose.history.timeline()));
    let run = run_start(logs(), at);
    if run == at {
        return Ok(None);
    }
    let before = logs().filter(|log| run < log.end() && log.end() <= at);
    let last = before.max_by_key(|log| (log.end(), log.start())).map(LogRef::to_backup);
    let footer = match &last {
        Some(last) => Some(log_stream::read_footer(server, last).await?),
        None => None,
    };
    let resume = footer.as_ref().and_then(|footer| footer.resume_lsn).filter(|resume| *resume >= run);
    let mut decoder = match (resume, footer.and_then(|footer| footer.last_record_lsn)) {
        (Some(resume), Some(last)) => at_record(whose, resume)?.following(last),
        (Some(resume), None) => at_record(whose, resume)?,
        // The rest of a record that began before archiving did is still going on, or its beginning is there no more: all of
        // it must be passed over.
        (None, _) => WalDecoder::new(whose.clone(), run),
    };
    for log in logs().filter(|log| log.start() < at) {
        if log.end() > decoder.position() {
            feed(server, &mut decoder, log.to_backup(), at, |_| {}).await?;
        }
    }
    Ok((decoder.position() == at).then_some(decoder))
}

/// What lies where inside `log`, which `catalog` has: what its footer says, and every transaction that ends in it.
///
/// # Errors
/// If the log backup, or one before it in which a record begins that ends here, cannot be read or is damaged.
pub(super) async fn with_transactions(
    server: &ServerRepository,
    catalog: &Catalog,
    log: LogBackup,
) -> Result<CommitIndex> {
    let LogBackup { incarnation, wal: WalRange { timeline, start, end }, .. } = log;
    let footer = log_stream::read_footer(server, &log).await?;
    let history = catalog.history(Branch::new(incarnation, timeline)).cloned();
    let history = history.unwrap_or_else(|| TimelineHistory::root(timeline));
    let whose = WalIdentity::new(incarnation, footer.segment_size, history);
    let primed = primed(server, &whose, catalog, start).await?;
    let mut decoder = primed.unwrap_or_else(|| WalDecoder::new(whose, start));
    let mut ends = Vec::new();
    let footer = feed(server, &mut decoder, log, end, |record| ends.extend(end_of(&record))).await?;
    let mut index = footer.index;
    index.transactions = Some(ends);
    Ok(index)
}

/// The transaction that `record` ends, if it ends one.
fn end_of(record: &WalRecord) -> Option<TransactionEnd> {
    let (WalRecordDetail::Commit { xid, time } | WalRecordDetail::Abort { xid, time }) = record.detail else {
        return None;
    };
    Some(TransactionEnd::new(Xid::new(xid)?, record.end_lsn, time))
}

fn at_record(whose: &WalIdentity, lsn: Lsn) -> Result<WalDecoder> {
    WalDecoder::at_record(whose.clone(), lsn).map_err(|error| Error::corrupt("archived log", error))
}

/// Where the log begins that reaches `end` without a hole; `logs` are in order of their starts.
fn run_start<'a>(logs: impl DoubleEndedIterator<Item = LogRef<'a>>, end: Lsn) -> Lsn {
    let extend = |start: Lsn, log: LogRef<'_>| if log.end() >= start { start.min(log.start()) } else { start };
    logs.rev().filter(|log| log.start() < end).fold(end, extend)
}

/// Feeds what `log` has from the decoder's position on, up to `until`.
pub(super) async fn feed(
    server: &ServerRepository,
    decoder: &mut WalDecoder,
    log: LogBackup,
    until: Lsn,
    mut on_record: impl FnMut(WalRecord) + Send,
) -> Result<LogFooter> {
    let (mut lsn, name) = (log.wal.start, log.key());
    let mut stream = LogStream::open(server, log).await?;
    while let Some(bytes) = stream.next().await? {
        let end = lsn.saturating_add(bytes.len() as u64);
        let within = |lsn: u64| usize::try_from(lsn).map_or(bytes.len(), |bytes_before| bytes_before.min(bytes.len()));
        let (from, to) = (within(decoder.position().bytes_since(lsn)), within(until.bytes_since(lsn)));
        let new = bytes.get(from..to).unwrap_or_default();
        decoder.feed(new, &mut on_record).map_err(|error| Error::corrupt(&name, error))?;
        lsn = end;
    }
    stream.finish()
}
