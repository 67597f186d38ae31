//! Planning with what has to be read for it.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};

use super::decoding;
use super::error::{Error, ErrorKind, Result};
use super::inventory::{READS_IN_FLIGHT, Unreadable, blame};
use super::log_stream;
use super::server::ServerRepository;
use crate::model::{Catalog, CommitIndex, LogBackup, ObjectKey};
use crate::plan::{Need, PlanError, RestorePlan, RestoreRequest, plan_restore};

/// How many log backups are read for one plan: as many as five weeks make with the default cadence.
const READS_MAX: usize = 10_080;
/// How many transactions are read for one plan; they take 24 bytes each.
const TRANSACTIONS_MAX: usize = 8 << 20;
/// How many log backups are decoded at a time.
const DECODED_IN_FLIGHT: usize = 4;

impl ServerRepository {
    /// Plans `request` on `catalog`, this server's [inventory](Self::inventory).
    ///
    /// Where [`plan_restore`] needs to know more of some log backups ([`PlanError::Unknown`]), reads that and plans again: commit
    /// indexes, a few kilobytes each, and to find a transaction also the log of those that it may have ended in. What was
    /// read stays in the catalog. The inner result is that of the planner.
    ///
    /// For one plan at most 10 080 log backups and about 8 million transactions are read. If that does not tell, the refusal
    /// stays [`PlanError::Unknown`]; called again with the same catalog, it goes on there.
    ///
    /// # Errors
    /// If the plan depends on an object that is damaged or missing, which is named; or if the storage cannot be read. What was
    /// read before is in the catalog all the same.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "plan", skip_all, fields(server = %self.name())))]
    pub async fn plan(
        &self,
        catalog: &mut Catalog,
        request: &RestoreRequest,
    ) -> Result<Result<RestorePlan, PlanError>> {
        let mut reading = Reading::default();
        loop {
            match plan_restore(catalog, request) {
                Err(PlanError::Unknown { needs, .. }) if !reading.is_exhausted() => {
                    reading.some_of(needs, self, catalog).await?;
                }
                planned => return Ok(planned),
            }
        }
    }
}

/// What was read for one plan. Each round reads something that was not read before, so there is an end.
#[derive(Debug, Default)]
struct Reading {
    logs: usize,
    transactions: usize,
    /// Why what could not be read could not.
    unreadable: BTreeMap<ObjectKey, Error>,
}

impl Reading {
    fn is_exhausted(&self) -> bool {
        self.logs >= READS_MAX || self.transactions >= TRANSACTIONS_MAX
    }

    /// Reads the first of `needs`, which may be enough. What cannot be read is no obstacle until nothing else would help.
    async fn some_of(&mut self, mut needs: Vec<Need>, server: &ServerRepository, catalog: &mut Catalog) -> Result<()> {
        let given_up = needs.iter().map(|need| need.log().key()).find(|key| self.unreadable.contains_key(key));
        needs.retain(|need| !self.unreadable.contains_key(&need.log().key()));
        if needs.is_empty() {
            let error = given_up.and_then(|key| self.unreadable.remove(&key));
            let nothing = || Error::new(ErrorKind::InvalidInput, "the plan needs something, but does not say what");
            return Err(error.unwrap_or_else(nothing));
        }
        needs.truncate(READS_IN_FLIGHT);
        self.logs += needs.len();
        for read in fulfil(needs, server, catalog).await? {
            match read {
                Ok((log, index)) => self.load(&log, index, catalog)?,
                Err((key, error)) => drop(self.unreadable.insert(key, error)),
            }
        }
        Ok(())
    }

    fn load(&mut self, log: &LogBackup, index: CommitIndex, catalog: &mut Catalog) -> Result<()> {
        self.transactions += index.transactions.as_ref().map_or(0, Vec::len);
        let foreign = || Error::new(ErrorKind::InvalidInput, format!("{} is not in the catalog", log.key()));
        if catalog.load_index(log, index) { Ok(()) } else { Err(foreign()) }
    }
}

/// A log backup and what is in it; or which one cannot be read, and why.
type Read = Result<(LogBackup, CommitIndex), Unreadable>;

async fn fulfil(needs: Vec<Need>, server: &ServerRepository, catalog: &Catalog) -> Result<Vec<Read>> {
    let decodes = needs.iter().any(|need| matches!(need, Need::Transactions(_)));
    let in_flight = if decodes { DECODED_IN_FLIGHT } else { READS_IN_FLIGHT };
    let read = stream::iter(needs).map(|need| async {
        let (log, read) = match need {
            Need::Index(log) => {
                let footer = log_stream::read_footer(server, &log).await;
                (log, footer.map(|footer| footer.index))
            }
            Need::Transactions(log) => (log.clone(), decoding::with_transactions(server, catalog, log).await),
        };
        blame(log.key(), read.map(|index| (log, index)))
    });
    read.buffered(in_flight).try_collect().await
}
