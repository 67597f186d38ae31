//! What a server is: what a restore creates anew.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ParseError, PostgresMajor, ServerName};

/// How long every instant stays restorable: 7 (the default) to 35 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct RetentionDays(u8);

impl RetentionDays {
    /// The shortest retention, and the default.
    pub const MIN: Self = Self(7);
    /// The longest retention.
    pub const MAX: Self = Self(35);

    /// A retention of so many days.
    ///
    /// # Errors
    /// Outside 7 to 35.
    pub fn new(days: u8) -> Result<Self, ParseError> {
        let allowed = (Self::MIN.0..=Self::MAX.0).contains(&days);
        if allowed { Ok(Self(days)) } else { Err(ParseError::new("retention period", days, "7 to 35 days")) }
    }

    /// The number of days.
    #[must_use]
    pub const fn days(self) -> u8 {
        self.0
    }

    /// The same as a duration: a day has 24 hours, as everywhere in UTC.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(24 * 60 * 60) * u32::from(self.0)
    }
}

impl Default for RetentionDays {
    fn default() -> Self {
        Self::MIN
    }
}

impl TryFrom<u8> for RetentionDays {
    type Error = ParseError;

    fn try_from(days: u8) -> Result<Self, ParseError> {
        Self::new(days)
    }
}

impl From<RetentionDays> for u8 {
    fn from(retention: RetentionDays) -> Self {
        retention.0
    }
}

/// Where the copies of a backup stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Redundancy {
    /// In one storage.
    #[default]
    Local,
    /// In several zones of a region at once.
    Zone,
}

/// One protected server, as its owner configured it.
///
/// pitr gives no meaning to tier, generation, region, zone and tags: it keeps them, and offers them when the server is
/// restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServerSpec {
    /// The server's name.
    pub name: ServerName,
    /// The PostgreSQL that it runs.
    pub postgres: PostgresMajor,
    /// Such as `GeneralPurpose`.
    pub pricing_tier: String,
    /// Such as `Ddsv5`.
    pub compute_generation: String,
    /// The number of virtual cores; 0 if unknown.
    pub v_cores: u32,
    /// The provisioned storage in bytes, the free allowance of backup storage; 0 if unknown.
    pub storage_bytes: u64,
    /// Such as `westeurope`.
    pub region: String,
    /// The availability zone of the primary, if it has one.
    pub zone: Option<String>,
    /// Whether it has a standby. A restored server never has.
    pub high_availability: bool,
    /// How long every instant stays restorable.
    pub retention: RetentionDays,
    /// Where its backups' copies stand.
    pub redundancy: Redundancy,
    /// Whatever else its owner wants to be kept.
    pub tags: BTreeMap<String, String>,
}

impl ServerSpec {
    /// A server without further particulars: default retention, local redundancy, no high availability.
    #[must_use]
    pub fn new(name: ServerName, postgres: PostgresMajor) -> Self {
        Self {
            name,
            postgres,
            pricing_tier: String::new(),
            compute_generation: String::new(),
            v_cores: 0,
            storage_bytes: 0,
            region: String::new(),
            zone: None,
            high_availability: false,
            retention: RetentionDays::default(),
            redundancy: Redundancy::default(),
            tags: BTreeMap::new(),
        }
    }

    /// The server that a restore of this one creates: the same but for its name, and without a standby.
    #[must_use]
    pub fn restored_as(&self, name: ServerName) -> Self {
        Self { name, high_availability: false, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_is_seven_to_thirty_five_days() {
        assert_eq!(RetentionDays::default().days(), 7);
        assert!(RetentionDays::new(6).is_err());
        assert!(RetentionDays::new(36).is_err());
        assert!(serde_json::from_str::<RetentionDays>("40").is_err());
    }

    #[test]
    fn a_restored_server_is_the_same_without_a_standby() {
        let mut spec = ServerSpec::new("prod".parse().unwrap(), PostgresMajor::MIN);
        spec.high_availability = true;
        spec.zone = Some("2".to_owned());
        let restored = spec.restored_as("prod-restored".parse().unwrap());
        assert!(!restored.high_availability);
        assert_eq!((restored.zone, restored.retention), (spec.zone, spec.retention));
    }
}
