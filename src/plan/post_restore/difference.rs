//! What of a restored server is not as it was at the source, and may be so.

use serde::Serialize;

use crate::model::{Redundancy, RetentionDays, ServerSpec};

/// Something that a restore takes over from the source, but is different at the new server.
///
/// All of these can be changed after a restore, so they may be meant. That is for an operator to say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "what")]
#[non_exhaustive]
pub enum SpecDifference {
    /// How long every instant stays restorable.
    Retention(Changed<RetentionDays>),
    /// Where the copies of backups stand.
    Redundancy(Changed<Redundancy>),
    /// The provisioned storage in bytes; 0 if unknown.
    Storage(Changed<u64>),
    /// The pricing tier.
    PricingTier(Changed<String>),
    /// The compute generation.
    ComputeGeneration(Changed<String>),
    /// The number of virtual cores; 0 if unknown.
    VCores(Changed<u32>),
    /// The region, which is not known of one of them.
    Region(Changed<String>),
    /// The availability zone.
    Zone(Changed<Option<String>>),
}

/// What something was, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Changed<T> {
    /// At the source.
    pub source: T,
    /// At the new server.
    pub restored: T,
}

/// In the order of [`SpecDifference`].
pub(super) fn differences(source: &ServerSpec, restored: &ServerSpec) -> Vec<SpecDifference> {
    let (from, to) = (source, restored);
    let found = [
        changed(&from.retention, &to.retention).map(SpecDifference::Retention),
        changed(&from.redundancy, &to.redundancy).map(SpecDifference::Redundancy),
        changed(&from.storage_bytes, &to.storage_bytes).map(SpecDifference::Storage),
        changed(&from.pricing_tier, &to.pricing_tier).map(SpecDifference::PricingTier),
        changed(&from.compute_generation, &to.compute_generation).map(SpecDifference::ComputeGeneration),
        changed(&from.v_cores, &to.v_cores).map(SpecDifference::VCores),
        changed(&from.region, &to.region).map(SpecDifference::Region),
        changed(&from.zone, &to.zone).map(SpecDifference::Zone),
    ];
    found.into_iter().flatten().collect()
}

fn changed<T: Clone + PartialEq>(source: &T, restored: &T) -> Option<Changed<T>> {
    (source != restored).then(|| Changed { source: source.clone(), restored: restored.clone() })
}
