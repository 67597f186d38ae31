//! What was stored in the past, of which the catalog does not tell any more.

use super::error::{ErrorKind, Result};
use super::server::ServerRepository;
use super::sweep::RECORD_AGE_MAX;
use crate::model::{Catalog, DayUsage, Timestamp, UsageLog};
use crate::plan::usage::{StoredBytes, UsageHistory};
use crate::port::PutMode;

impl ServerRepository {
    /// What was stored on each UTC day, oldest first, until now: as `catalog`, this server's [inventory](Self::inventory), tells, and what was noted before
    /// something was deleted. Those of more than 400 days ago are forgotten.
    ///
    /// # Errors
    /// If the storage cannot be read, or what was noted is damaged, or a newer version's.
    pub async fn usage_by_day(&self, catalog: &Catalog) -> Result<Vec<DayUsage>> {
        let found = self.find_record(&self.layout.usage()).await?;
        Ok(self.continued(found.map(|(log, _)| log).unwrap_or_default(), catalog).days)
    }

    /// Notes what was stored until now, of which `catalog` tells: before anything of that is deleted, or made into something else. Begins anew if what was noted is damaged, and leaves
    /// alone what a newer version has noted.
    pub(super) async fn note_usage(&self, catalog: &Catalog) -> Result<()> {
        let name = self.layout.usage();
        loop {
            let (log, mode) = match self.find_record(&name).await {
                Err(error) if error.kind() == ErrorKind::Corrupt => (UsageLog::default(), PutMode::Overwrite),
                Err(error) if error.kind() == ErrorKind::InvalidInput => return Ok(()),
                found => found?.unwrap_or_else(|| (UsageLog::default(), PutMode::Create)),
            };
            match self.write_record(&name, &self.continued(log, catalog), mode).await {
                // Somebody else who deletes noted it meanwhile: so this ends.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                written => return written.map(drop),
            }
        }
    }

    /// `log`, and what `catalog` tells of what came after it. Nothing was deleted since then.
    fn continued(&self, log: UsageLog, catalog: &Catalog) -> UsageLog {
        let (stored, now): (Vec<_>, _) = (StoredBytes::of(catalog).collect(), self.clock.now());
        // Of some it is not known since when they are there.
        let first = || stored.iter().map(|stored| stored.stored_at).filter(|at| *at > Timestamp::MIN).min();
        let from = log.until().or_else(first).unwrap_or(now).max(now.saturating_sub(RECORD_AGE_MAX));
        log.followed_by(UsageHistory::new(stored.iter().copied()).by_day(from..now.max(from)), RECORD_AGE_MAX)
    }
}
