//! Deleting objects, many at once.

use futures::{StreamExt, TryStreamExt, stream};

use super::error::{Context, Error, Result};
use super::inventory::READS_IN_FLIGHT;
use crate::model::StoredObject;
use crate::port::{PortErrorKind, Storage};

/// How many objects are deleted at a time: as many as S3 takes by one request.
pub(super) const DELETED_AT_A_TIME: usize = 1000;

/// What became of an object that was to be deleted: why it was refused, if it was.
pub(super) type Deletion = (StoredObject, Option<Error>);

/// Deletes these at once. If any is refused, each by itself tells which.
pub(super) async fn delete_all(storage: &dyn Storage, objects: &[StoredObject]) -> Result<Vec<Deletion>> {
    let keys: Vec<_> = objects.iter().map(|object| object.key.clone()).collect();
    match storage.delete_all(&keys).await {
        Ok(()) => Ok(objects.iter().map(|object| (object.clone(), None)).collect()),
        Err(error) if matches!(error.kind(), PortErrorKind::Denied | PortErrorKind::Invalid) => {
            let deletions = stream::iter(objects.to_vec()).map(|object| delete_one(storage, object));
            deletions.buffer_unordered(READS_IN_FLIGHT).try_collect().await
        }
        Err(error) => Err(error).context(|| format!("deleting {} objects", objects.len())),
    }
}

async fn delete_one(storage: &dyn Storage, object: StoredObject) -> Result<Deletion> {
    match storage.delete(&object.key).await {
        Err(error) if error.kind() == PortErrorKind::Denied => Ok((object, Some(Error::from(error)))),
        Err(error) => Err(error).context(|| format!("deleting {}", object.key)),
        Ok(()) => Ok((object, None)),
    }
}
