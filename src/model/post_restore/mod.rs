//! What is left to do after a restore, and why.

mod explain;

use serde::{Deserialize, Serialize};

use super::{Parameters, Redundancy, RetentionDays, ServerName};

/// Something to do after a restore. Prints as an operator would be told; [`PostRestoreTask::why`] says the reason.
///
/// The variants are in the order in which the tasks are best done: the new server is protected first, then made reachable and
/// right, and clients come last. Nothing of this is done by pitr but the first, by whoever runs its schedule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "task")]
#[non_exhaustive]
pub enum PostRestoreTask {
    /// Take the new server's first snapshot, at once.
    TakeFirstSnapshot,
    /// Put firewall and VNet rules in place.
    FirewallAndVnetRules {
        /// Those of the source at the restored instant; `None` if they were not captured.
        captured: Option<Vec<String>>,
    },
    /// See to it that logins and permissions in the databases are right.
    LoginsAndPermissions,
    /// Look through the server parameters, and set those that are wanted.
    ServerParameters {
        /// Those that were set at the restored instant, and are otherwise at the new server as far as that is known; `None` if they were not captured. Values
        /// can be confidential: printing the task shows names only.
        captured: Option<Parameters>,
    },
    /// Look at something that is not as it was at the source.
    Difference(SpecDifference),
    /// Add a standby, if it is wanted again.
    HighAvailability,
    /// Make read replicas of the new server, if they are wanted again.
    ReadReplicas {
        /// Those of the source.
        of_source: Vec<ServerName>,
    },
    /// Configure alerts.
    ConfigureAlerts,
    /// Redirect clients and their applications to the new server.
    RedirectClients {
        /// The original server.
        from: ServerName,
        /// The new server.
        to: ServerName,
    },
}

/// Something that a restore takes over from the source, but is different at the new server.
///
/// All of these can be changed after a restore, so they may be meant. That is for an operator to say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Changed<T> {
    /// At the source.
    pub source: T,
    /// At the new server.
    pub restored: T,
}
