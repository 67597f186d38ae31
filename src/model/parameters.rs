//! Server parameters.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Parameters of a PostgreSQL server, by name, with their values as `SHOW` prints them. Values can be confidential: `Debug` prints names only.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the parameter `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Names and values, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Those that are otherwise in `others`, or not there.
    #[must_use]
    pub fn not_in(&self, others: &Self) -> Self {
        self.iter().filter(|(name, value)| others.get(name) != Some(value)).collect()
    }

    /// How long all of them are, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(parameters: I) -> Self {
        Self(parameters.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_but_not_printed() {
        let source: Parameters =
            [("work_mem", "8MB"), ("archive_mode", "on"), ("primary_conninfo", "secret")].into_iter().collect();
        let restored: Parameters = [("work_mem", "8MB"), ("archive_mode", "off"), ("jit", "off")].into_iter().collect();
        assert_eq!(
            source.not_in(&restored).iter().collect::<Vec<_>>(),
            [("archive_mode", "on"), ("primary_conninfo", "secret")]
        );
        assert!(source.not_in(&source).is_empty());
        assert_eq!(format!("{source:?}"), r#"{"archive_mode", "primary_conninfo", "work_mem"}"#);
        assert_eq!(restored.bytes(), "work_mem8MBarchive_modeoffjitoff".len());
        assert_eq!(serde_json::to_string(&restored).unwrap(), r#"{"archive_mode":"off","jit":"off","work_mem":"8MB"}"#);
    }
}
