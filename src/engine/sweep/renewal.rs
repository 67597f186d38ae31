//! Renewing what the store promised: of what is needed for longer than it was made immutable for.
//!
//! What is stored is immutable for as long as the store was told, which should be the retention and more. Two things need it for longer: packs that
//! later snapshots share, and what is kept beyond its time, as by a hold, for want of later snapshots, or since the retention was raised.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::TryStreamExt;

use super::Sweep;
use crate::engine::error::{Context, Error, ErrorKind, Result};
use crate::engine::inventory::{READS_IN_FLIGHT, blame};
use crate::engine::manifest;
use crate::engine::repository::ServerRepository;
use crate::format::layout::{DataPart, Permanence, ServerLayout, permanence_of};
use crate::format::manifest::PackId;
use crate::format::record::Renewal;
use crate::model::{Artifact, Catalog, ObjectKey, RetentionDays, Snapshot, SnapshotId, Timestamp};
use crate::plan::retention::RetentionPlan;
use crate::port::{ObjectMeta, PortErrorKind, PutMode};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Beyond the retention: for a day between snapshots, a day between sweeps, and one for whichever comes late.
const MARGIN: Duration = DAY.saturating_mul(3);

/// Which promises are due.
struct Due {
    now: Timestamp,
    /// When those that were due were renewed; `None` if they never were.
    renewed: Option<Timestamp>,
    /// How long they last for, beyond what is `needed`: so often they are renewed.
    step: Duration,
    /// For how long an object that is in use should be immutable.
    needed: Duration,
    /// What is not needed any more, but still there.
    left: BTreeSet<ObjectKey>,
    /// What the latest snapshot uses, and those that are kept beyond their time; `None` if that is not known.
    packs: Option<BTreeSet<PackId>>,
}

impl Sweep<'_> {
    /// Renews the promises that are due, if the store makes any.
    pub(super) async fn renew(&mut self, catalog: &Catalog, plan: &RetentionPlan) -> Result<()> {
        let server = &self.sweeper.server;
        let Some(period) = server.vault.storage.immutable_for() else { return Ok(()) };
        let (now, name) = (server.clock.now(), server.layout.renewal());
        let (renewed, mode) = last(server, &name).await?;
        let needed = needed(server.spec().await?.retention);
        let step = period.saturating_sub(needed).max(DAY);
        let renewed = renewed.filter(|renewed| *renewed <= now);
        let mut due = Due { now, renewed, step, needed, left: std::mem::take(&mut self.left), packs: None };
        due.packs = packs(server, &due.users(catalog, plan)).await?;
        self.renew_due(&due).await?;
        if !self.report.not_renewed.is_empty() {
            return Ok(());
        }
        match self.sweeper.server.write_record(&name, &Renewal::new(now), mode).await {
            // Another sweep was faster.
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            _ => Ok(()),
        }
    }

    async fn renew_due(&mut self, due: &Due) -> Result<()> {
        let server = &self.sweeper.server;
        let (directory, storage) = (server.layout.root(), &*server.vault.storage);
        let listed = storage.list(Some(directory), None).try_filter_map(|object| {
            let is_due = due.is_due(&server.layout, &object);
            async move { Ok(is_due.then_some(object.key)) }
        });
        let renewed = listed.map_ok(|key| async move { Ok((storage.renew(&key).await, key)) });
        let mut renewed = std::pin::pin!(renewed.try_buffer_unordered(READS_IN_FLIGHT));
        while let Some((renewed, key)) = renewed.try_next().await.context(|| format!("listing {directory}"))? {
            match renewed {
                Ok(()) => self.report.renewed += 1,
                Err(error) if error.kind() == PortErrorKind::Denied => {
                    self.report.not_renewed.push((key, Error::from(error)));
                }
                Err(error) => return Err(error).context(|| format!("renewing {key}")),
            }
        }
        Ok(())
    }
}

/// For how long an object that is in use should be immutable.
fn needed(retention: RetentionDays) -> Duration {
    DAY.saturating_mul(u32::from(retention.days())).saturating_add(MARGIN)
}

/// When promises were renewed last, and how to note that they were. A note that is damaged is as good as none.
async fn last(server: &ServerRepository, name: &ObjectKey) -> Result<(Option<Timestamp>, PutMode)> {
    match server.find_record::<Renewal>(name).await {
        Ok(Some((renewal, mode))) => Ok((Some(renewal.at), mode)),
        Ok(None) => Ok((None, PutMode::Create)),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok((None, PutMode::Overwrite)),
        Err(error) => Err(error),
    }
}

/// The packs that these snapshots use; `None` if a manifest cannot be read.
async fn packs(server: &ServerRepository, users: &[&Snapshot]) -> Result<Option<BTreeSet<PackId>>> {
    let mut packs = BTreeSet::new();
    for snapshot in users {
        let name = snapshot.manifest.key.clone();
        match blame(name, manifest::read(server, snapshot).await)? {
            Ok(manifest) => packs.extend(manifest.packs.iter().map(|pack| pack.id.clone())),
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(packs))
}

impl Due {
    /// The latest snapshot, and those that are kept beyond their time.
    fn users<'a>(&self, catalog: &'a Catalog, plan: &RetentionPlan) -> Vec<&'a Snapshot> {
        let expired: BTreeSet<SnapshotId> = plan.expired().filter_map(|artifact| id(artifact)).collect();
        let kept = || catalog.snapshots().filter(|snapshot| !expired.contains(&snapshot.id));
        let latest = kept().max_by_key(|snapshot| snapshot.consistent_at);
        let is_latest = |snapshot: &&Snapshot| latest.is_some_and(|latest| latest.id == snapshot.id);
        kept().filter(|snapshot| is_latest(snapshot) || self.is_overdue(snapshot.consistent_at)).collect()
    }

    /// Whether what was made at `made` is kept beyond its time.
    fn is_overdue(&self, made: Timestamp) -> bool {
        made.saturating_add(self.needed) < self.now
    }

    fn is_due(&self, layout: &ServerLayout, object: &ObjectMeta) -> bool {
        self.is_in_use(layout, object) && self.is_time(object.modified)
    }

    fn is_in_use(&self, layout: &ServerLayout, object: &ObjectMeta) -> bool {
        let data = layout.parse_data(&object.key);
        match (permanence_of(&object.key), data.map(|entry| (entry.snapshot, entry.part))) {
            (Permanence::Note, _) => false,
            (Permanence::State, _) => true,
            (Permanence::Fact, _) if self.left.contains(&object.key) => false,
            (Permanence::Fact, Some((snapshot, DataPart::Pack(number)))) => {
                self.packs.as_ref().is_none_or(|packs| packs.contains(&PackId::new(snapshot, number)))
            }
            (Permanence::Fact, _) => self.renewed.is_none() || self.is_overdue(object.modified),
        }
    }

    /// Whether another step has passed since promises were renewed, of all those from when the object was made. So nobody need remember when each
    /// was renewed.
    fn is_time(&self, made: Timestamp) -> bool {
        let steps = |at: Timestamp| at.duration_since(made).as_micros() / self.step.as_micros();
        self.renewed.is_none_or(|renewed| steps(renewed) < steps(self.now))
    }
}

fn id(artifact: Artifact) -> Option<SnapshotId> {
    match artifact {
        Artifact::Snapshot(snapshot) => Some(snapshot.id),
        _ => None,
    }
}
