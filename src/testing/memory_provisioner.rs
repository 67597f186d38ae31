//! New servers in memory.

use std::collections::{BTreeMap, VecDeque};
use std::future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::MemoryTarget;
use crate::model::{NewServer, Parameters, PostRestoreTask, RequestId, ServerName, ServerSpec};
use crate::port::{Claim, PortError, PortErrorKind, Provisioned, Provisioner, RestoreTarget};

/// Makes new servers in memory, which accept writes as soon as they are started, unless it is told otherwise. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct MemoryProvisioner(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    places: BTreeMap<ServerName, Place>,
    starts: VecDeque<Start>,
    failing_discards: u32,
    performs: bool,
    stands_still: bool,
    parameters: Option<Parameters>,
}

/// A server that was made, or is being made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Place {
    /// The restore that claims it.
    pub restore: RequestId,
    /// What it is.
    pub spec: ServerSpec,
    /// What was restored there, the last time.
    pub target: MemoryTarget,
    /// Whether it runs.
    pub runs: bool,
    /// How often it was asked for.
    pub visits: u32,
}

/// How a server starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// It never gets ready.
    Hangs,
    /// It cannot be started just now.
    Unavailable,
    /// It does not come up with what was restored.
    Fails,
}

impl MemoryProvisioner {
    /// Nothing was made yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How the next servers start that are started, one after the other.
    pub fn start_as(&self, starts: impl IntoIterator<Item = Start>) {
        self.state().starts.extend(starts);
    }

    /// Lets the next `count` attempts to remove a server fail.
    pub fn fail_discards(&self, count: u32) {
        self.state().failing_discards = count;
    }

    /// Whether it does what can be done after a restore.
    pub fn perform_tasks(&self, performs: bool) {
        self.state().performs = performs;
    }

    /// What new servers run with.
    pub fn run_with(&self, parameters: Parameters) {
        self.state().parameters = Some(parameters);
    }

    /// Whether it stands still, and gives nobody a place.
    pub fn stand_still(&self, stands_still: bool) {
        self.state().stands_still = stands_still;
    }

    /// What there is of the server `name`.
    #[must_use]
    pub fn place(&self, name: &ServerName) -> Option<Place> {
        self.state().places.get(name).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Provisioner for MemoryProvisioner {
    async fn provision(&self, claim: &Claim, spec: &ServerSpec) -> Result<Box<dyn Provisioned>, PortError> {
        if self.state().stands_still {
            future::pending::<()>().await;
        }
        let mut state = self.state();
        let target = match state.places.get(&claim.name) {
            Some(place) if place.restore != claim.restore => {
                return Err(PortError::new(PortErrorKind::Conflict, format!("{} is there already", claim.name)));
            }
            Some(place) => {
                let files = place.target.restored().files;
                MemoryTarget::over(files.into_iter().map(|(path, (_, bytes))| (path, bytes)).collect())
            }
            None => MemoryTarget::new(),
        };
        let visits = state.places.get(&claim.name).map_or(0, |place| place.visits) + 1;
        let (restore, spec) = (claim.restore.clone(), spec.clone());
        let place = Place { restore, spec, target: target.clone(), runs: false, visits };
        state.places.insert(claim.name.clone(), place);
        Ok(Box::new(InMemory { provisioner: self.clone(), name: claim.name.clone(), target }))
    }

    async fn discard(&self, claim: &Claim) -> Result<(), PortError> {
        let mut state = self.state();
        if state.failing_discards > 0 {
            state.failing_discards -= 1;
            return Err(PortError::new(PortErrorKind::Unavailable, "it cannot be removed just now"));
        }
        if state.places.get(&claim.name).is_some_and(|place| place.restore == claim.restore) {
            state.places.remove(&claim.name);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct InMemory {
    provisioner: MemoryProvisioner,
    name: ServerName,
    target: MemoryTarget,
}

#[async_trait]
impl Provisioned for InMemory {
    fn target(&self) -> Arc<dyn RestoreTarget> {
        Arc::new(self.target.clone())
    }

    async fn start(&self) -> Result<NewServer, PortError> {
        let start = self.provisioner.state().starts.pop_front();
        match start {
            Some(Start::Hangs) => future::pending().await,
            Some(Start::Unavailable) => Err(PortError::new(PortErrorKind::Unavailable, "no machine is free")),
            Some(Start::Fails) => Err(PortError::new(PortErrorKind::Invalid, "the server did not come up")),
            None => {
                let mut state = self.provisioner.state();
                let gone = || PortError::new(PortErrorKind::Invalid, "its place is not there any more");
                state.places.get_mut(&self.name).ok_or_else(gone)?.runs = true;
                let mut server = NewServer::new(format!("memory:{}", self.name));
                server.parameters.clone_from(&state.parameters);
                Ok(server)
            }
        }
    }

    async fn perform(&self, task: &PostRestoreTask) -> Result<bool, PortError> {
        Ok(self.provisioner.state().performs && *task == PostRestoreTask::ConfigureAlerts)
    }
}
