//! Where backups are.

use std::path::Path;
use std::sync::Arc;

use pitr::adapter::{LocalStorage, open_storage, system};
use pitr::port::{PortError, Storage};

/// The storage at `place`: a directory, or an address.
pub(crate) async fn storage(place: &str) -> Result<Arc<dyn Storage>, PortError> {
    Ok(match directory(place) {
        Some(directory) => Arc::new(LocalStorage::open(directory, system().executor).await?),
        None => open_storage(place, &system()).await?,
    })
}

/// The directory, if that is what `place` is.
pub(crate) fn directory(place: &str) -> Option<&Path> {
    match place.split_once("://") {
        None => Some(Path::new(place)),
        Some(("file", path)) => Some(Path::new(path)),
        Some(_) => None,
    }
}

/// What nobody guesses, and nothing else is called: hexadecimal digits.
pub(crate) fn secret() -> Result<String, PortError> {
    let mut bytes = [0; 16];
    system().entropy.fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
