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
    /// `None` once the manifest was read whole.
    reader: Option<ManifestReader>,
    lines: VecDeque<ManifestLine>,
}

impl ManifestStream {
    pub(super) async fn open(vault: &Vault, name: &ObjectKey) -> Result<Self> {
        let sealed = vault.stream(name).await?;
        Ok(Self { name: name.clone(), sealed, reader: Some(ManifestReader::new()), lines: VecDeque::new() })
    }

    /// The next line; `None` once the manifest was read whole and proved to be complete.
    pub(super) async fn next(&mut self) -> Result<Option<ManifestLine>> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(Some(line));
            }
            let Some(mut reader) = self.reader.take() else { return Ok(None) };
            let damaged = |error| Error::corrupt(&self.name, error);
            match self.sealed.next().await? {
                Some(plain) => {
                    self.lines.extend(reader.feed(&plain).map_err(damaged)?);
                    self.reader = Some(reader);
                }
                None => {
                    reader.finish().map_err(damaged)?;
                }
            }
        }
    }
}
