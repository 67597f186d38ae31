//! Tasks as an operator reads them.

use std::fmt;

use super::{Changed, PostRestoreTask, SpecDifference};
use crate::model::Redundancy;

impl PostRestoreTask {
    /// The reason, as a sentence.
    #[must_use]
    pub const fn why(&self) -> &'static str {
        match self {
            Self::TakeFirstSnapshot => "Until then nothing of the new server can be restored.",
            Self::FirewallAndVnetRules { .. } => {
                "They are not copied from the original server, and users cannot connect without them."
            }
            Self::LoginsAndPermissions => {
                "Roles, passwords and permissions came with the data: they are those of the restored instant."
            }
            Self::ServerParameters { captured: Some(_) } => {
                "They were captured, but what was right for the original may be wrong here: none is set without being asked."
            }
            Self::ServerParameters { captured: None } => {
                "They were not captured, so the new server may run with others than the original."
            }
            Self::Difference(difference) => difference.why(),
            Self::HighAvailability => "The original server has a standby; a restored server is always single.",
            Self::ReadReplicas { .. } => "They go on following the original server.",
            Self::ConfigureAlerts => "They watch the original server, not the new one.",
            Self::RedirectClients { .. } => "The new server replaces the original, and has another name.",
        }
    }
}

impl fmt::Display for PostRestoreTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TakeFirstSnapshot => f.write_str("take the first snapshot of the new server, now"),
            Self::FirewallAndVnetRules { captured } => {
                f.write_str("put firewall and VNet rules in place")?;
                captured.as_ref().map_or(Ok(()), |rules| write!(f, "; {} were captured", rules.len()))
            }
            Self::LoginsAndPermissions => f.write_str("check logins, and permissions in the databases"),
            Self::ServerParameters { captured: None } => {
                f.write_str("compare the server parameters with the original's")
            }
            Self::ServerParameters { captured: Some(captured) } => {
                write!(
                    f,
                    "set the server parameters that are wanted, of: {}",
                    Listed(captured.iter().map(|(name, _)| name))
                )
            }
            Self::Difference(difference) => write!(f, "see whether this is meant: {difference}"),
            Self::HighAvailability => f.write_str("enable high availability, if it is wanted"),
            Self::ReadReplicas { of_source } => {
                write!(f, "make read replicas, if they are wanted: the original has {}", Listed(of_source.iter()))
            }
            Self::ConfigureAlerts => f.write_str("configure alerts, as appropriate"),
            Self::RedirectClients { from, to } => {
                write!(f, "redirect clients and their applications from {from} to {to}")
            }
        }
    }
}

struct Listed<I>(I);

impl<I: Iterator<Item: fmt::Display> + Clone> fmt::Display for Listed<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.clone().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{item}")?;
        }
        Ok(())
    }
}

impl SpecDifference {
    /// Why it matters, as a sentence.
    #[must_use]
    pub const fn why(&self) -> &'static str {
        match self {
            Self::Retention(Changed { source, restored }) if restored.days() < source.days() => {
                "The new server can be restored less far back than the original."
            }
            Self::Retention(_) => "The new server stores backups for longer, which may be charged.",
            Self::Redundancy(Changed { restored: Redundancy::Local, .. }) => {
                "Backups of the new server do not survive the loss of the zone that they are in."
            }
            Self::Redundancy(_) => "Backups of the new server stand in other places than the original's.",
            Self::Storage(Changed { source: 0, .. } | Changed { restored: 0, .. }) => {
                "Whether the data have room to grow, and how much backup storage is free, is not known."
            }
            Self::Storage(Changed { source, restored }) if *restored < *source => {
                "The data have less room to grow, and less backup storage is free."
            }
            Self::Storage(_) => "More storage is paid for than at the original.",
            Self::PricingTier(_) | Self::ComputeGeneration(_) | Self::VCores(_) => {
                "The new server may be slower or dearer than the original."
            }
            Self::Region(_) => "A restore stays in the region of its source, and of one server it is not known.",
            Self::Zone(_) => "Clients in the original's zone reach the new server across zones.",
        }
    }
}

impl fmt::Display for SpecDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retention(Changed { source, restored }) => {
                write!(f, "retention is {} days, was {}", restored.days(), source.days())
            }
            Self::Redundancy(Changed { source, restored }) => {
                write!(f, "redundancy is {}, was {}", redundancy(*restored), redundancy(*source))
            }
            Self::Storage(Changed { source, restored }) => {
                write!(f, "storage is {}, was {}", Bytes(*restored), Bytes(*source))
            }
            Self::PricingTier(changed) => write!(f, "pricing tier {}", Texts(changed)),
            Self::ComputeGeneration(changed) => write!(f, "compute generation {}", Texts(changed)),
            Self::VCores(Changed { source, restored }) => write!(f, "vCores are {restored}, were {source}"),
            Self::Region(changed) => write!(f, "region {}", Texts(changed)),
            Self::Zone(Changed { source, restored }) => {
                write!(f, "zone is {}, was {}", zone(restored.as_deref()), zone(source.as_deref()))
            }
        }
    }
}

fn redundancy(redundancy: Redundancy) -> &'static str {
    match redundancy {
        Redundancy::Local => "local",
        Redundancy::Zone => "zone",
    }
}

fn zone(zone: Option<&str>) -> &str {
    zone.unwrap_or("none")
}

struct Texts<'a>(&'a Changed<String>);

impl fmt::Display for Texts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |text: &'static str, given: &str| if given.is_empty() { text.to_owned() } else { given.to_owned() };
        let Changed { source, restored } = self.0;
        write!(f, "is {}, was {}", known("unknown", restored), known("unknown", source))
    }
}

struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("unknown") } else { write!(f, "{} bytes", self.0) }
    }
}
