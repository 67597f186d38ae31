//! The restores of one server that are going on.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{AbortHandle, Abortable, BoxFuture};
use futures::stream::FuturesUnordered;

use super::restore::Job;
use super::work::Workplace;
use crate::model::{OrderPhase, RequestId, RestoreOrder};
use crate::port::Provisioner;

/// Those that are going on here.
#[derive(Default)]
pub(super) struct Restores {
    /// Each gives its name when it is over, or was given up.
    pub(super) going: FuturesUnordered<BoxFuture<'static, RequestId>>,
    /// With what was decided of them when they were begun.
    begun: BTreeMap<RequestId, (OrderPhase, AbortHandle)>,
}

impl Restores {
    /// Begins those that were ordered, and gives up those that were cancelled; these are begun anew then, to be undone.
    pub(super) fn heed(&mut self, place: &Workplace) {
        let Some(provisioner) = &place.service.0.settings.provisioner else { return };
        for order in &place.config.restores {
            match self.begun.get(&order.id) {
                None => self.begin(place, order, provisioner),
                Some((OrderPhase::Ordered, abort)) if matches!(order.phase, OrderPhase::Cancelled { .. }) => {
                    abort.abort();
                }
                Some(_) => {}
            }
        }
    }

    fn begin(&mut self, place: &Workplace, order: &RestoreOrder, provisioner: &Arc<dyn Provisioner>) {
        let job = Job::new(place.clone(), order.clone(), Arc::clone(provisioner));
        let (abort, registration) = AbortHandle::new_pair();
        let (id, phase) = (order.id.clone(), order.phase.clone());
        self.begun.insert(id.clone(), (phase, abort));
        self.going.push(Abortable::new(job.run(), registration).map(move |_| id).boxed());
    }

    /// That one is over, or was given up.
    pub(super) fn note(&mut self, id: &RequestId) {
        self.begun.remove(id);
    }

    /// Gives all up, for somebody else to go on with.
    pub(super) fn leave(&mut self) {
        *self = Self::default();
    }
}
