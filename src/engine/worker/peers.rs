//! What a worker knows of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::pulse::Times;
use crate::model::WorkerId;
use crate::port::Version;

/// The others who live, as far as is known.
///
/// A worker is dead when its heartbeat did not change for its patience, by one's own clock: whatever theirs says.
#[derive(Debug, Default)]
pub(super) struct Peers {
    seen: BTreeMap<WorkerId, Sighting>,
    /// When the last look ended.
    looked: Option<Duration>,
}

#[derive(Debug)]
struct Sighting {
    version: Version,
    /// When it was first seen in that version.
    since: Duration,
    patience: Duration,
}

/// What a look made of a worker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// It was never seen before.
    New,
    Alive,
    /// It was silent for too long.
    Silent,
}

impl Peers {
    /// A look began and ended at these moments. If that is long after the last one, as this worker stood still, or could not reach the storage,
    /// nobody is blamed for a silence: the others may not have reached it either.
    pub(super) fn look(&mut self, begun: Duration, ended: Duration, beat: Duration) {
        let is_late = self.looked.is_some_and(|looked| begun.saturating_sub(looked) > beat * 2);
        if is_late {
            self.seen.values_mut().for_each(|sighting| sighting.since = ended);
        }
        self.looked = Some(ended);
    }

    /// The heartbeat of `id` has this version, by a listing between `begun` and `ended`.
    pub(super) fn see(&mut self, id: &WorkerId, version: &Version, begun: Duration, ended: Duration) -> Sight {
        match self.seen.get_mut(id) {
            None => Sight::New,
            Some(sighting) if sighting.version != *version => {
                (sighting.version, sighting.since) = (version.clone(), ended);
                Sight::Alive
            }
            Some(sighting) if begun.saturating_sub(sighting.since) < sighting.patience => Sight::Alive,
            Some(_) => Sight::Silent,
        }
    }

    /// Meets `id`, whose heartbeat had this version at the moment `at`, and whose leases last so long.
    pub(super) fn meet(&mut self, id: WorkerId, version: Version, at: Duration, lease: Duration) {
        let patience = Times::of(lease).patience;
        self.seen.insert(id, Sighting { version, since: at, patience });
    }

    pub(super) fn forget(&mut self, id: &WorkerId) {
        self.seen.remove(id);
    }

    /// Forgets those who are not among `listed`: they have left, or somebody else ended them.
    pub(super) fn retain(&mut self, listed: &BTreeSet<WorkerId>) {
        self.seen.retain(|id, _| listed.contains(id));
    }

    pub(super) fn knows(&self, id: &WorkerId) -> bool {
        self.seen.contains_key(id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &WorkerId> {
        self.seen.keys()
    }
}
