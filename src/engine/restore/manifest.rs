//! Reading the manifest of a snapshot.

use std::collections::VecDeque;

use crate::engine::error::{Error, Result};
use crate::engine::vault::{Vault, VaultStream};
use crate::format::manifest::{ManifestLine, ManifestReader};
use crate::model::ObjectKey;

/// The lines of a manifest, as they are fetched.
pub(super) struct ManifestStream {
    name: ObjectKey,
    sealed: VaultStream,
    reader: ManifestReader,
    lines: VecDeque<ManifestLine>,
}

impl ManifestStream {
    pub(super) async fn open(vault: &Vault, name: &ObjectKey) -> Result<Self> {
        let sealed = vault.stream(name).await?;
        Ok(Self { name: name.clone(), sealed, reader: ManifestReader::new(), lines: VecDeque::new() })
    }

    /// The next line; `None` once the manifest was read whole and proved to be complete.
    pub(super) async fn next(&mut self) -> Result<Option<ManifestLine>> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(Some(line));
            }
            let damaged = |error| Error::corrupt(&self.name, error);
            match self.sealed.next().await? {
                Some(plain) => self.lines.extend(self.reader.feed(&plain).map_err(damaged)?),
                None => return std::mem::take(&mut self.reader).finish().map(|_| None).map_err(damaged),
            }
        }
    }
}
