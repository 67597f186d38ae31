//! What some zone is known to lack.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::ObjectKey;

/// The objects that are not in every zone as they should be, as far as this process has seen.
#[derive(Debug, Default)]
pub(super) struct Behind(Mutex<Objects>);

#[derive(Debug, Default)]
struct Objects {
    keys: BTreeSet<ObjectKey>,
    /// There were more than are remembered.
    has_more: bool,
}

/// More are not remembered one by one.
const KEYS_MAX: usize = 10_000;

impl Behind {
    /// Remembers `key`.
    pub(super) fn add(&self, key: &ObjectKey) {
        let mut objects = self.objects();
        if objects.keys.len() < KEYS_MAX {
            objects.keys.insert(key.clone());
        } else {
            objects.has_more = true;
        }
    }

    /// Takes out all that is remembered; `None` if that is not all.
    pub(super) fn take(&self) -> Option<BTreeSet<ObjectKey>> {
        let objects = std::mem::take(&mut *self.objects());
        (!objects.has_more).then_some(objects.keys)
    }

    /// How many are remembered.
    pub(super) fn count(&self) -> usize {
        self.objects().keys.len()
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
