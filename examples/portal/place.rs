//! The repository.

use std::path::Path;
use std::sync::Arc;

use pitr::adapter::{KeyFile, LocalStorage, open_storage, system};
use pitr::engine::Repository;
use pitr::port::Storage;

use crate::Result;

pub(crate) async fn open(place: &str, key: &Path) -> Result<Repository> {
    let storage: Arc<dyn Storage> = match place.contains("://") {
        true => open_storage(place, &system()).await?,
        false if !Path::new(place).exists() => return Err(format!("there is no repository in {place}").into()),
        false => Arc::new(LocalStorage::open(place, system().executor).await?),
    };
    let keys = KeyFile::open(key, system().entropy)?;
    Ok(Repository::new(storage, Arc::new(keys), system()))
}

/// What nobody guesses: hexadecimal digits.
pub(crate) fn secret() -> Result<String> {
    let mut bytes = [0; 16];
    system().entropy.fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
