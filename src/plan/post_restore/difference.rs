//! What of a restored server is not as it was at the source, and may be so.

use crate::model::{Changed, ServerSpec, SpecDifference};

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
