//! Test restores in memory.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::MemoryTarget;
use crate::model::Trial;
use crate::port::{PortError, PortErrorKind, RestoreTarget, Scratch, ScratchPlace};

/// A scratch place in memory. There is no PostgreSQL, unless it is said what one would find.
#[derive(Clone, Debug, Default)]
pub struct MemoryScratch {
    trial: Option<Result<Trial, String>>,
    restored: Arc<Mutex<Option<MemoryTarget>>>,
}

impl MemoryScratch {
    /// A place without PostgreSQL.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A place in which PostgreSQL finds this, or does not come up, for the given reason.
    #[must_use]
    pub fn with_postgres(trial: Result<Trial, String>) -> Self {
        Self { trial: Some(trial), ..Self::default() }
    }

    /// What was restored and not cleared.
    #[must_use]
    pub fn restored(&self) -> Option<MemoryTarget> {
        self.restored.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, target: Option<MemoryTarget>) {
        *self.restored.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }
}

#[async_trait]
impl Scratch for MemoryScratch {
    async fn prepare(&self) -> Result<Box<dyn ScratchPlace>, PortError> {
        let target = MemoryTarget::new();
        self.set(Some(target.clone()));
        Ok(Box::new(MemoryPlace { scratch: self.clone(), target }))
    }
}

#[derive(Debug)]
struct MemoryPlace {
    scratch: MemoryScratch,
    target: MemoryTarget,
}

#[async_trait]
impl ScratchPlace for MemoryPlace {
    fn target(&self) -> Arc<dyn RestoreTarget> {
        Arc::new(self.target.clone())
    }

    fn has_postgres(&self) -> bool {
        self.scratch.trial.is_some()
    }

    async fn try_out(&self) -> Result<Trial, PortError> {
        let missing = Err("there is no PostgreSQL".to_owned());
        let trial = self.scratch.trial.clone().unwrap_or(missing);
        trial.map_err(|reason| PortError::new(PortErrorKind::Invalid, reason))
    }

    async fn clear(self: Box<Self>) -> Result<(), PortError> {
        self.scratch.set(None);
        Ok(())
    }
}
