//! What a worker knows of the others.

use std::collections::BTreeMap;
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

/// What a look found that there is to do.
pub(super) enum News {
    /// Somebody was never seen before.
    Unknown(WorkerId),
    /// Somebody was silent for too long, whose heartbeat still has this version.
    Silent(WorkerId, Version),
}

impl Peers {
    /// Takes in the heartbeats that a look between `begun` and `ended` listed, and their versions. Those who are not among them have left, or
    /// somebody else ended them.
    ///
    /// If that is long after the last look, as this worker stood still, or could not reach the storage, nobody is blamed for a silence: the others
    /// may not have reached it either.
    pub(super) fn look(
        &mut self,
        listed: BTreeMap<WorkerId, Version>,
        begun: Duration,
        ended: Duration,
        beat: Duration,
    ) -> Vec<News> {
        let is_late = self.looked.is_some_and(|looked| begun.saturating_sub(looked) > beat * 2);
        if is_late {
            self.seen.values_mut().for_each(|sighting| sighting.since = ended);
        }
        self.looked = Some(ended);
        self.seen.retain(|id, _| listed.contains_key(id));
        listed.into_iter().filter_map(|(id, version)| self.see(id, version, begun, ended)).collect()
    }

    fn see(&mut self, id: WorkerId, version: Version, begun: Duration, ended: Duration) -> Option<News> {
        match self.seen.get_mut(&id) {
            None => Some(News::Unknown(id)),
            Some(sighting) if sighting.version != version => {
                (sighting.version, sighting.since) = (version, ended);
                None
            }
            Some(sighting) if begun.saturating_sub(sighting.since) < sighting.patience => None,
            Some(_) => Some(News::Silent(id, version)),
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

    pub(super) fn knows(&self, id: &WorkerId) -> bool {
        self.seen.contains_key(id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &WorkerId> {
        self.seen.keys()
    }
}
