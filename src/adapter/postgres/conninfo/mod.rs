//! Connection strings, as libpq reads and writes them.
//!
//! The grammar is that of "Connection Strings" in the manual (`src/interfaces/libpq/fe-connect.c`): `key=value` pairs, or a
//! URI. What the values mean is [`Config`](super::Config)'s business.

mod key_value;
mod password;
mod uri;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

pub(super) use password::Password;

/// The keys that pitr knows, with the environment variable that libpq would take each from. `password` stands apart.
const SETTINGS: [(&str, Option<&str>); 22] = [
    ("application_name", Some("PGAPPNAME")),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("dbname", Some("PGDATABASE")),
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("keepalives", None),
    ("keepalives_count", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("options", Some("PGOPTIONS")),
    ("passfile", Some("PGPASSFILE")),
    ("port", Some("PGPORT")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslkey", Some("PGSSLKEY")),
    ("sslmode", Some("PGSSLMODE")),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("tcp_user_timeout", None),
    ("user", Some("PGUSER")),
    // Both are what a replication connection has anyway; strings that were made for other tools may say so.
    ("client_encoding", None),
    ("replication", None),
];

const PASSWORD: &str = "password";

/// The settings of a connection string, by key. An empty value counts as not set, as in libpq.
///
/// Prints as `key=value` pairs that parse to the same settings, without the password; `Debug` does not show it either.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnInfo {
    values: BTreeMap<&'static str, String>,
    password: Option<Password>,
}

/// Why a text is no connection string. Never repeats a value: it may be, or be a part of, a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnInfoError {
    /// A key that libpq does not know, or pitr does not support.
    #[error("unknown or unsupported connection option {key:?}")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A key without `=`.
    #[error("missing \"=\" after the connection option that begins at byte {at}")]
    MissingEquals {
        /// Where the key begins.
        at: usize,
    },
    /// A quoted value that does not end.
    #[error("the quoted value that begins at byte {at} of the connection string does not end")]
    UnterminatedQuote {
        /// Where the quote stands.
        at: usize,
    },
    /// A `%` that is not followed by two hexadecimal digits, or stands for a zero byte or for no UTF-8.
    #[error("a percent-encoding in the connection URI is invalid")]
    PercentEncoding,
    /// A parameter of a URI without `=`.
    #[error("a parameter of the connection URI has no \"=\"")]
    UriParameter,
    /// An IPv6 address in a URI without its closing bracket, or with something behind it.
    #[error("an IPv6 address in the connection URI must stand in brackets: [::1]")]
    Ipv6Brackets,
    /// A value that is not one of those that the key can have.
    #[error("invalid value of the connection option {key:?}: expected {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// What its values are.
        expected: &'static str,
    },
    /// A setting without which nothing can be connected to. libpq has defaults for these; a library should be told.
    #[error("the connection option {key:?} is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// Lists of hosts, addresses and ports of different lengths.
    #[error("the lists of hosts, host addresses and ports must have the same length")]
    HostLists,
}

impl ConnInfo {
    /// No settings at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of `key`, if it is set; the password cannot be asked for.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// These settings with `key` set to `value`; an empty `value` takes it away.
    ///
    /// # Errors
    /// [`ConnInfoError::UnknownKey`].
    pub fn with(mut self, key: &str, value: &str) -> Result<Self, ConnInfoError> {
        self.set(key, value)?;
        Ok(self)
    }

    /// These settings, and for each that is not set the value of its environment variable (`PGHOST`, `PGUSER`, …), if it is
    /// among `variables`. A program passes [`std::env::vars`]; pitr never reads the environment by itself.
    #[must_use]
    pub fn with_environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        for (variable, value) in variables {
            if value.is_empty() {
                continue;
            }
            if variable == "PGPASSWORD" {
                self.password.get_or_insert_with(|| Password::new(&value));
            } else if let Some((key, _)) = SETTINGS.iter().find(|(_, name)| *name == Some(variable.as_str())) {
                self.values.entry(key).or_insert(value);
            }
        }
        self
    }

    pub(super) fn password(&self) -> Option<&Password> {
        self.password.as_ref()
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), ConnInfoError> {
        if key == PASSWORD {
            self.password = (!value.is_empty()).then(|| Password::new(value));
            return Ok(());
        }
        let known = SETTINGS.iter().find(|(name, _)| *name == key);
        let (key, _) = known.ok_or_else(|| ConnInfoError::UnknownKey { key: key.to_owned() })?;
        if value.is_empty() {
            self.values.remove(key);
        } else {
            self.values.insert(key, value.to_owned());
        }
        Ok(())
    }
}

impl FromStr for ConnInfo {
    type Err = ConnInfoError;

    fn from_str(text: &str) -> Result<Self, ConnInfoError> {
        let uri = ["postgresql://", "postgres://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let settings = match uri {
            Some(rest) => uri::parse(rest)?,
            None => key_value::parse(text)?,
        };
        let mut conninfo = Self::default();
        for (key, value) in settings {
            conninfo.set(&key, &value)?;
        }
        Ok(conninfo)
    }
}

impl fmt::Display for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.values.iter().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(f, "{separator}{key}={}", key_value::quoted(value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
