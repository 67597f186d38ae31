//! Storages by their addresses.

use std::sync::Arc;

use super::MemoryStorage;
use crate::port::{Environment, PortError, PortErrorKind, Storage};

/// The storage at `url`, ready for use:
///
/// | address | storage | needs the feature |
/// |---|---|---|
/// | `memory:` | a new one in memory | |
/// | `file:///PATH` | the directory `/PATH`, which is made if it is missing | `local` |
/// | `s3://BUCKET/DIRECTORY` | Amazon S3, and what speaks as it does (`AWS_ENDPOINT`) | `cloud` |
/// | `az://CONTAINER/DIRECTORY` | Azure Blob Storage, of the account `AZURE_STORAGE_ACCOUNT_NAME` | `cloud` |
/// | `gs://BUCKET/DIRECTORY` | Google Cloud Storage | `cloud` |
///
/// The directory of a bucket may be left out. A path is taken as it stands: no character of it is escaped. The environment says the rest
/// of what a cloud needs to know (`CloudOptions`), and what fails there in passing is given up in time and tried again, by the default
/// `Timeouts` and `RetryPolicy`.
///
/// # Errors
/// [`PortErrorKind::Invalid`] if `url` is none of these, or its feature is missing; else the storage's own.
pub async fn open_storage(url: &str, environment: &Environment) -> Result<Arc<dyn Storage>, PortError> {
    match url.split_once(':') {
        Some(("memory", "")) => Ok(Arc::new(MemoryStorage::new(Arc::clone(&environment.clock)))),
        Some(("file", path)) if path.starts_with("///") => directory(&path[2..], environment).await,
        Some(("s3" | "az" | "gs", _)) => cloud(url, environment),
        _ => {
            let expected = "memory:, file:///PATH, s3://BUCKET, az://CONTAINER or gs://BUCKET";
            Err(PortError::new(PortErrorKind::Invalid, format!("the address of a storage must be one of {expected}")))
        }
    }
}

#[cfg(all(feature = "local", unix))]
async fn directory(path: &str, environment: &Environment) -> Result<Arc<dyn Storage>, PortError> {
    Ok(Arc::new(super::LocalStorage::open(path, Arc::clone(&environment.executor)).await?))
}

#[cfg(not(all(feature = "local", unix)))]
async fn directory(_: &str, _: &Environment) -> Result<Arc<dyn Storage>, PortError> {
    Err(missing("a directory", "local"))
}

#[cfg(feature = "cloud")]
fn cloud(url: &str, environment: &Environment) -> Result<Arc<dyn Storage>, PortError> {
    use super::{CloudOptions, CloudStorage, RetryPolicy, RetryStorage, TimeoutStorage, Timeouts};
    let storage = CloudStorage::open(url, &CloudOptions::new(), environment)?;
    let timed = TimeoutStorage::new(Arc::new(storage), Timeouts::default(), Arc::clone(&environment.clock));
    Ok(Arc::new(RetryStorage::new(Arc::new(timed), RetryPolicy::default(), environment.clone())))
}

#[cfg(not(feature = "cloud"))]
fn cloud(_: &str, _: &Environment) -> Result<Arc<dyn Storage>, PortError> {
    Err(missing("a storage in the cloud", "cloud"))
}

#[cfg(not(all(feature = "local", feature = "cloud", unix)))]
fn missing(what: &str, feature: &str) -> PortError {
    PortError::new(PortErrorKind::Invalid, format!("{what} needs pitr's feature `{feature}`"))
}
