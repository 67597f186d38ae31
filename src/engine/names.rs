//! Names that begin with the time, so that they sort by age.

use super::error::{Context, Result};
use crate::model::Timestamp;
use crate::port::Entropy;

/// A new name, for something that begins at `time`; it ends at random.
pub(super) fn draw(entropy: &dyn Entropy, time: Timestamp) -> Result<String> {
    let mut random = [0; 4];
    entropy.fill(&mut random).context(|| "drawing a name")?;
    Ok(format!("{}-{:08x}", prefix(time), u32::from_be_bytes(random)))
}

/// What names begin with: `2026-11-23T21:09:08.000001Z` as `20261123T210908Z`.
pub(super) fn prefix(time: Timestamp) -> String {
    let text = time.to_string();
    let whole = text.split('.').next().unwrap_or_default();
    format!("{}Z", whole.replace(['-', ':'], ""))
}
