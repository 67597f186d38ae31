//! Verifying log backups.

use futures::stream::{self, BoxStream, StreamExt};

use super::{Examined, Place, Verification, VerifyDepth};
use crate::engine::decoding::{self, Decoding};
use crate::engine::error::{Error, Result};
use crate::engine::index_builder::IndexBuilder;
use crate::engine::log_stream;
use crate::format::log::LogFooter;
use crate::format::wal::WalIdentity;
use crate::model::{Branch, Catalog, LogBackup, ObjectKey, RestorePoint, Timestamp, XidRange};

/// How many log backups are decoded one after another: each run begins with the end of what is before it.
const RUN: usize = 16;

/// What follows from the log itself.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    records: u64,
    max_commit_time: Option<Timestamp>,
    restore_points: Vec<RestorePoint>,
    xids: Option<XidRange>,
}

/// A log backup says of its log what is not so.
#[derive(Debug, thiserror::Error)]
#[error("it says that its log has {told:?}, but that has {found:?}")]
struct Contradiction {
    told: Facts,
    found: Facts,
}

impl Verification {
    /// Verifies all log backups, branch by branch, in order of the log.
    pub(super) fn logs<'a>(&'a self, catalog: &'a Catalog) -> BoxStream<'a, Result<Vec<Examined>>> {
        let runs = catalog.branches().flat_map(|branch| self.log_runs(catalog, branch));
        stream::iter(runs).map(|run| self.log_run(catalog, run)).buffered(self.in_flight()).boxed()
    }

    fn log_runs<'a>(
        &'a self,
        catalog: &'a Catalog,
        branch: Branch,
    ) -> impl Iterator<Item = Vec<LogBackup>> + Send + 'a {
        let mut logs = catalog.logs(branch).filter(move |log| self.is_due(&Place::Log(branch, log.start(), log.end())));
        std::iter::from_fn(move || {
            let run: Vec<_> = logs.by_ref().take(RUN).map(|log| log.to_backup()).collect();
            (!run.is_empty()).then_some(run)
        })
    }

    async fn log_run(&self, catalog: &Catalog, run: Vec<LogBackup>) -> Result<Vec<Examined>> {
        let mut examined = Vec::new();
        let mut decoding = None;
        for log in run {
            let object = log.object();
            let read = match self.depth {
                VerifyDepth::Quick => log_stream::read_footer(&self.server, &log).await,
                VerifyDepth::Full => self.read_log(catalog, &mut decoding, log).await,
            };
            let (log, footer) = Examined::of(object, read)?;
            examined.push(Examined { missing: footer.and_then(|footer| self.missing(catalog, &footer)), ..log });
        }
        Ok(examined)
    }

    /// The log backup before the one with this `footer`, if it is not there.
    fn missing(&self, catalog: &Catalog, footer: &LogFooter) -> Option<LogBackup> {
        let previous = self.server.layout.parse_log(footer.previous.as_ref()?)?;
        (!catalog.has_log(&previous)).then_some(previous)
    }

    async fn read_log(&self, catalog: &Catalog, carried: &mut Option<Decoding>, log: LogBackup) -> Result<LogFooter> {
        // Where it is unknown how the timeline began, its pages cannot be judged.
        let Some(history) = decoding::history(catalog, &log) else {
            return log_stream::read_whole(&self.server, log).await;
        };
        let here = carried.take().filter(|decoding| decoding.decoder.position() == log.wal.start);
        let mut decoding = match here {
            Some(decoding) => decoding,
            None => {
                let segment_size = log_stream::read_footer(&self.server, &log).await?.segment_size;
                let whose = WalIdentity::new(log.incarnation, segment_size, history);
                decoding::begin(&self.server, &whose, catalog, log.wal.start).await?
            }
        };
        let mut index = IndexBuilder::default();
        let (name, max_commit_time, end) = (log.key(), log.max_commit_time, log.wal.end);
        let footer = decoding::feed(&self.server, &mut decoding.decoder, log, end, |record| index.add(record)).await?;
        if decoding.is_primed && footer.previous.is_some() {
            check(&name, max_commit_time, &footer, index)?;
        }
        decoding.is_primed = decoding.decoder.resume_point().is_some();
        *carried = Some(decoding);
        Ok(footer)
    }
}

/// Compares what a log backup says of its log with what was found in that.
fn check(name: &ObjectKey, max_commit_time: Option<Timestamp>, footer: &LogFooter, index: IndexBuilder) -> Result<()> {
    let told = Facts {
        records: footer.records,
        max_commit_time,
        restore_points: footer.index.restore_points.clone(),
        xids: footer.index.xids,
    };
    let found_time = index.max_time();
    let (records, index) = index.finish();
    let found = Facts { records, max_commit_time: found_time, restore_points: index.restore_points, xids: index.xids };
    if told == found { Ok(()) } else { Err(Error::corrupt(name, Contradiction { told, found })) }
}
