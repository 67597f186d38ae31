//! Names that begin with the time, so that they sort by age.

use super::error::{Context, Result};
use super::repository::ServerRepository;
use crate::model::Timestamp;

/// A new name, for something that begins at `time`; it ends at random.
pub(super) fn draw(server: &ServerRepository, time: Timestamp) -> Result<String> {
    let mut random = [0; 4];
    server.vault.entropy.fill(&mut random).context(|| "drawing a name")?;
    Ok(format!("{}-{:08x}", prefix(time), u32::from_be_bytes(random)))
}

/// What names begin with: `2026-11-23T21:09:08.000001Z` as `20261123T210908Z`.
pub(super) fn prefix(time: Timestamp) -> String {
    let text = time.to_string();
    let whole = text.split('.').next().unwrap_or_default();
    format!("{}Z", whole.replace(['-', ':'], ""))
}
