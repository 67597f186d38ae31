//! How far restores are, as this process sees them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use pitr::engine::Progress;
use pitr::model::RequestId;
use pitr::service::{BackupService, Happening};

/// The last progress of each restore that goes on here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live(Arc<Mutex<BTreeMap<RequestId, Progress>>>);

impl Live {
    /// Of the restores of `service`, from now on.
    pub(crate) fn of(service: &BackupService) -> Self {
        let (live, mut events) = (Self::default(), service.subscribe());
        let told = live.clone();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                told.note(event.what);
            }
        });
        live
    }

    fn note(&self, what: Happening) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match what {
            Happening::Restoring(restore, progress) => drop(known.insert(restore, progress)),
            Happening::Restored(run) => drop(known.remove(&run.order.id)),
            _ => {}
        }
    }

    /// How far the restore is, if it goes on here.
    pub(crate) fn progress(&self, restore: &RequestId) -> Option<Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(restore).copied()
    }
}
