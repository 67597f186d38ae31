//! The parts of an object: stored side by side, and made one by a single conditional request.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{MultipartId, ObjectStoreExt, PutMultipartOptions, PutPayload, PutResult};
use tokio::task::{JoinError, JoinSet};

use super::Store;
use super::error::failed;
use crate::model::ObjectKey;
use crate::port::{PortError, PortErrorKind, Version};

/// How many parts are on their way at a time, each of which is held in memory until it is there.
const IN_FLIGHT: usize = 4;
/// S3's limit.
const PARTS_MAX: usize = 10_000;

/// The parts of one object, some of them stored.
pub(super) struct Parts {
    store: Arc<Store>,
    key: ObjectKey,
    /// Where the parts become an object: under its name, or under a hidden one.
    path: Path,
    id: MultipartId,
    begun: usize,
    storing: JoinSet<Result<(usize, PartId), PortError>>,
    stored: BTreeMap<usize, PartId>,
}

impl Parts {
    pub(super) async fn begin(store: &Arc<Store>, key: &ObjectKey) -> Result<Self, PortError> {
        let path = if store.by_copy { store.hidden_path()? } else { store.path(key) };
        let mut options = PutMultipartOptions::default();
        if !store.service.tells_class_last() {
            options.attributes = store.classes.attributes(key);
        }
        // What is copied is not immutable before.
        if let Some(ask) = store.ask(key).filter(|_| !store.by_copy) {
            options.extensions.insert(ask);
        }
        let begin = || async {
            store.client.parts.create_multipart_opts(&path, options.clone()).await.map_err(storing(store, key))
        };
        let id = store.retrier.run(begin).await?;
        let (store, key) = (Arc::clone(store), key.clone());
        Ok(Self { store, key, path, id, begun: 0, storing: JoinSet::new(), stored: BTreeMap::new() })
    }

    /// Begins to store the next part, once few enough are under way.
    pub(super) async fn push(&mut self, payload: PutPayload) -> Result<(), PortError> {
        if self.begun == PARTS_MAX {
            let context = format!("{} is longer than {PARTS_MAX} parts, which is all that a store takes", self.key);
            return Err(PortError::new(PortErrorKind::Invalid, context));
        }
        while self.storing.len() >= IN_FLIGHT {
            self.join_one().await?;
        }
        self.storing.spawn(self.store_part(self.begun, payload));
        self.begun += 1;
        Ok(())
    }

    fn store_part(
        &self,
        index: usize,
        payload: PutPayload,
    ) -> impl Future<Output = Result<(usize, PartId), PortError>> + use<> {
        let (store, key, path, id) = (Arc::clone(&self.store), self.key.clone(), self.path.clone(), self.id.clone());
        async move {
            let attempt = || async {
                let stored = store.client.parts.put_part(&path, &id, index, payload.clone()).await;
                stored.map_err(storing(&store, &key))
            };
            Ok((index, store.retrier.run(attempt).await?))
        }
    }

    /// Makes the object of its parts, if there is none of its name.
    pub(super) async fn complete(&mut self) -> Result<Version, PortError> {
        while !self.storing.is_empty() {
            self.join_one().await?;
        }
        let parts: Vec<PartId> = self.stored.values().cloned().collect();
        let attempt = || async {
            let completed = self.store.client.completing.complete_multipart(&self.path, &self.id, parts.clone()).await;
            completed.map_err(storing(&self.store, &self.key))
        };
        let completed = self.store.retrier.begin().run_once(attempt).await?;
        self.name(completed).await
    }

    /// Gives the object its name, where it was not made under it.
    async fn name(&self, completed: PutResult) -> Result<Version, PortError> {
        let (store, named) = (&self.store, self.store.path(&self.key));
        if named == self.path {
            return store.version_of(&self.key, completed);
        }
        let copy = || async {
            store.client.objects.copy_if_not_exists(&self.path, &named).await.map_err(storing(store, &self.key))
        };
        let copied = store.retrier.begin().run_once(copy).await;
        // What is left is hidden.
        let _ = store.client.objects.delete(&self.path).await;
        copied?;
        if let Some(promise) = store.promise(&self.key) {
            store.retrier.run(|| store.renew(&self.key, promise)).await?;
        }
        store.head(&self.key).await?.version.ok_or_else(|| store.no_version(&self.key))
    }

    /// Frees what the store holds of the parts.
    pub(super) async fn abort(&mut self) -> Result<(), PortError> {
        self.storing.shutdown().await;
        let abort = || async {
            let aborted = self.store.client.parts.abort_multipart(&self.path, &self.id).await;
            aborted.map_err(failed(format!("cannot give up the upload of {} to {}", self.key, self.store.url)))
        };
        match self.store.retrier.run(abort).await {
            // It was completed after all, or cleaned away.
            Err(error) if error.kind() == PortErrorKind::NotFound => Ok(()),
            aborted => aborted,
        }
    }

    async fn join_one(&mut self) -> Result<(), PortError> {
        if let Some(joined) = self.storing.join_next().await {
            let (index, part) = joined.map_err(stopped)??;
            self.stored.insert(index, part);
        }
        Ok(())
    }
}

fn storing(store: &Store, key: &ObjectKey) -> impl FnOnce(object_store::Error) -> PortError + use<> {
    failed(format!("cannot store {key} in {}", store.url))
}

fn stopped(error: JoinError) -> PortError {
    PortError::new(PortErrorKind::Unavailable, "the runtime ended while a part was stored").caused_by(error)
}
