//! Deleting many objects by one request.

use std::sync::Arc;

use futures::{StreamExt, stream};
use object_store::ObjectStore;
use object_store::path::Path;

use super::error::failed;
use crate::port::{PortError, PortErrorKind};

/// What deletes many objects by one request.
#[derive(Clone)]
pub(super) struct Bulk {
    objects: Arc<dyn ObjectStore>,
    /// How many, at most.
    keys_max: usize,
}

impl Bulk {
    pub(super) const fn new(objects: Arc<dyn ObjectStore>, keys_max: usize) -> Self {
        Self { objects, keys_max }
    }

    /// Deletes what lies at `paths` of the store `url`. What is missing is no error.
    pub(super) async fn delete(&self, url: &str, paths: &[Path]) -> Result<(), PortError> {
        for paths in paths.chunks(self.keys_max) {
            let paths: Vec<_> = paths.iter().cloned().map(Ok).collect();
            let count = paths.len();
            let mut deleted = self.objects.delete_stream(stream::iter(paths).boxed());
            while let Some(deleted) = deleted.next().await {
                match deleted.map_err(failed(format!("cannot delete one of {count} objects in {url}"))) {
                    Err(error) if error.kind() != PortErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
