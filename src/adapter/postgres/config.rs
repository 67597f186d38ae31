//! How to reach a server: the settings of a connection string, understood.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::conninfo::{ConnInfo, ConnInfoError, Password};

/// How to reach a server, and as whom: parsed from a connection string as libpq reads it, and checked.
///
/// | option | values |
/// |---|---|
/// | `host` | names, addresses, or directories of Unix sockets, several by commas: tried in order |
/// | `hostaddr` | addresses to use instead of resolving `host` |
/// | `port` | one for all, or one a host; 5432 |
/// | `user` | must be set |
/// | `password`, `passfile` | the password, or a file of passwords in libpq's format |
/// | `dbname` | plays no part in replication, but some proxies route by it; where SQL is spoken, `postgres` if not set |
/// | `sslmode` | `disable`, `allow`, `prefer` (default), `require`, `verify-ca`, `verify-full` |
/// | `sslrootcert` | a PEM file, or `system` |
/// | `sslcert`, `sslkey` | PEM files of the client's certificate and its unencrypted key |
/// | `channel_binding` | `disable`, `prefer` (default), `require` |
/// | `connect_timeout` | seconds for each address; 30 if not set, 0 for none |
/// | `keepalives`, `keepalives_idle`, `keepalives_interval`, `keepalives_count` | on; 30 s, 10 s and 6 if not set |
/// | `tcp_user_timeout` | milliseconds; Linux only |
/// | `target_session_attrs` | `any` (default), `read-write`, `read-only`, `primary`, `standby`, `prefer-standby` |
/// | `application_name`, `options` | told to the server; `pitr` if not set |
///
/// It differs from libpq where libpq looks around on its own: no files of the home directory and no environment are read
/// ([`ConnInfo::with_environment`] does on request), no certificate authority is assumed (`verify-…` needs `sslrootcert`),
/// and dead connections are noticed after minutes, not hours. Kerberos and encrypted keys are not supported.
///
/// Prints as a connection string without the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    conninfo: ConnInfo,
    pub(super) hosts: Vec<Host>,
    pub(super) user: String,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) keepalive: Option<Keepalive>,
    pub(super) tls: TlsConfig,
    pub(super) channel_binding: ChannelBinding,
    pub(super) session: TargetSession,
    /// Whether SQL is spoken beside replication commands.
    pub(super) speaks_sql: bool,
}

/// A place to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) address: HostAddress,
    pub(super) port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostAddress {
    /// The directory of a Unix socket.
    Directory(PathBuf),
    /// A name, or an address as text, and the address to use without asking for it.
    Name(String, Option<IpAddr>),
}

/// When TCP tells that the other side is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keepalive {
    pub(super) idle: Duration,
    pub(super) interval: Duration,
    pub(super) count: u32,
    pub(super) user_timeout: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsConfig {
    pub(super) mode: SslMode,
    pub(super) roots: Option<Roots>,
    pub(super) certificate: Option<ClientCertificate>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Roots {
    System,
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientCertificate {
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetSession {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

const SSL_MODES: [(&str, SslMode); 6] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

const CHANNEL_BINDINGS: [(&str, ChannelBinding); 3] =
    [("disable", ChannelBinding::Disable), ("prefer", ChannelBinding::Prefer), ("require", ChannelBinding::Require)];

const TARGET_SESSIONS: [(&str, TargetSession); 6] = [
    ("any", TargetSession::Any),
    ("read-write", TargetSession::ReadWrite),
    ("read-only", TargetSession::ReadOnly),
    ("primary", TargetSession::Primary),
    ("standby", TargetSession::Standby),
    ("prefer-standby", TargetSession::PreferStandby),
];

impl Config {
    /// The settings that this was made from.
    #[must_use]
    pub fn conninfo(&self) -> &ConnInfo {
        &self.conninfo
    }

    /// The same server, to which SQL can be spoken too: by a connection to a database (`replication=database`).
    pub(super) fn with_sql(self) -> Self {
        Self { speaks_sql: true, ..self }
    }

    pub(super) fn password(&self) -> Option<&Password> {
        self.conninfo.password()
    }

    pub(super) fn application_name(&self) -> &str {
        self.conninfo.value("application_name").unwrap_or("pitr")
    }
}

impl TryFrom<ConnInfo> for Config {
    type Error = ConnInfoError;

    fn try_from(conninfo: ConnInfo) -> Result<Self, ConnInfoError> {
        let choose = Chooser(&conninfo);
        let expected = "disable, prefer or require";
        let channel_binding = choose.among("channel_binding", &CHANNEL_BINDINGS, ChannelBinding::Prefer, expected)?;
        let expected = "any, read-write, read-only, primary, standby or prefer-standby";
        let session = choose.among("target_session_attrs", &TARGET_SESSIONS, TargetSession::Any, expected)?;
        let connect_timeout = choose.number("connect_timeout", 30)?;
        Ok(Self {
            hosts: hosts(&conninfo)?,
            user: conninfo.value("user").ok_or(ConnInfoError::Missing { key: "user" })?.to_owned(),
            connect_timeout: (connect_timeout > 0).then(|| Duration::from_secs(connect_timeout.into())),
            keepalive: choose.keepalive()?,
            tls: choose.tls()?,
            channel_binding,
            session,
            speaks_sql: false,
            conninfo,
        })
    }
}

impl FromStr for Config {
    type Err = ConnInfoError;

    fn from_str(text: &str) -> Result<Self, ConnInfoError> {
        text.parse::<ConnInfo>()?.try_into()
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.conninfo, f)
    }
}

/// The i-th host goes with the i-th address and the i-th port; one port may go with all.
fn hosts(conninfo: &ConnInfo) -> Result<Vec<Host>, ConnInfoError> {
    let list = |key| conninfo.value(key).map(|text| text.split(',').collect::<Vec<_>>());
    let (names, addresses) = (list("host"), list("hostaddr"));
    let count = names.as_ref().or(addresses.as_ref()).map(Vec::len).ok_or(ConnInfoError::Missing { key: "host" })?;
    let names = names.unwrap_or_else(|| vec![""; count]);
    let addresses = addresses.unwrap_or_else(|| vec![""; count]);
    let mut ports = list("port").unwrap_or_else(|| vec![""]);
    if let [port] = ports[..] {
        ports = vec![port; count];
    }
    if (names.len(), addresses.len(), ports.len()) != (count, count, count) {
        return Err(ConnInfoError::HostLists);
    }
    names.into_iter().zip(addresses).zip(ports).map(|((name, address), port)| host(name, address, port)).collect()
}

fn host(name: &str, address: &str, port: &str) -> Result<Host, ConnInfoError> {
    let expected = "ports from 1 to 65535";
    let port = if port.is_empty() { Some(5432) } else { port.trim().parse().ok().filter(|port| *port > 0) };
    let port = port.ok_or(ConnInfoError::Value { key: "port", expected })?;
    let ip = || address.parse().map_err(|_| ConnInfoError::Value { key: "hostaddr", expected: "IP addresses" });
    let ip: Option<IpAddr> = if address.is_empty() { None } else { Some(ip()?) };
    let address = match (name, ip) {
        ("", None) => return Err(ConnInfoError::Missing { key: "host" }),
        ("", Some(ip)) => HostAddress::Name(ip.to_string(), Some(ip)),
        (name, None) if name.starts_with('/') => HostAddress::Directory(name.into()),
        (name, ip) => HostAddress::Name(name.to_owned(), ip),
    };
    Ok(Host { address, port })
}

/// Reads single options.
struct Chooser<'a>(&'a ConnInfo);

impl Chooser<'_> {
    fn among<T: Copy>(
        &self,
        key: &'static str,
        values: &[(&str, T)],
        default: T,
        expected: &'static str,
    ) -> Result<T, ConnInfoError> {
        let Some(text) = self.0.value(key) else { return Ok(default) };
        let found = values.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        found.ok_or(ConnInfoError::Value { key, expected })
    }

    fn number(&self, key: &'static str, default: u32) -> Result<u32, ConnInfoError> {
        let Some(text) = self.0.value(key) else { return Ok(default) };
        let expected = "a number that is not negative";
        text.trim().parse().map_err(|_| ConnInfoError::Value { key, expected })
    }

    fn keepalive(&self) -> Result<Option<Keepalive>, ConnInfoError> {
        // As in libpq, 0 means the default.
        let or = |number: u32, default: u32| if number == 0 { default } else { number };
        let seconds = |key, default| self.number(key, 0).map(|n| Duration::from_secs(or(n, default).into()));
        let user_timeout = self.number("tcp_user_timeout", 0)?;
        let keepalive = Keepalive {
            idle: seconds("keepalives_idle", 30)?,
            interval: seconds("keepalives_interval", 10)?,
            count: or(self.number("keepalives_count", 0)?, 6),
            user_timeout: (user_timeout > 0).then(|| Duration::from_millis(user_timeout.into())),
        };
        Ok((self.number("keepalives", 1)? != 0).then_some(keepalive))
    }

    fn tls(&self) -> Result<TlsConfig, ConnInfoError> {
        let roots = self.0.value("sslrootcert").map(|text| match text {
            "system" => Roots::System,
            path => Roots::File(path.into()),
        });
        let system = roots == Some(Roots::System);
        let default = if system { SslMode::VerifyFull } else { SslMode::Prefer };
        let expected = "disable, allow, prefer, require, verify-ca or verify-full";
        let mode = self.among("sslmode", &SSL_MODES, default, expected)?;
        if system && mode != SslMode::VerifyFull {
            // Anybody can have a certificate of a public authority: without the name it proves nothing.
            let expected = "verify-full, because sslrootcert is system";
            return Err(ConnInfoError::Value { key: "sslmode", expected });
        }
        if mode >= SslMode::VerifyCa && roots.is_none() {
            return Err(ConnInfoError::Missing { key: "sslrootcert" });
        }
        Ok(TlsConfig { mode, roots, certificate: self.certificate()? })
    }

    fn certificate(&self) -> Result<Option<ClientCertificate>, ConnInfoError> {
        match (self.0.value("sslcert"), self.0.value("sslkey")) {
            (None, None) => Ok(None),
            (Some(chain), Some(key)) => Ok(Some(ClientCertificate { chain: chain.into(), key: key.into() })),
            (Some(_), None) => Err(ConnInfoError::Missing { key: "sslkey" }),
            (None, Some(_)) => Err(ConnInfoError::Missing { key: "sslcert" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn hosts_addresses_and_ports_go_together() {
        let hosts = config("user=u host=/run/pg,db.example,::1 hostaddr=,10.0.0.1, port=1,2,").hosts;
        let name = |name: &str, ip: Option<&str>| HostAddress::Name(name.into(), ip.map(|ip| ip.parse().unwrap()));
        let expected = [
            Host { address: HostAddress::Directory("/run/pg".into()), port: 1 },
            Host { address: name("db.example", Some("10.0.0.1")), port: 2 },
            Host { address: name("::1", None), port: 5432 },
        ];
        assert_eq!(hosts, expected);
        let ports = |text: &str| config(text).hosts.iter().map(|host| host.port).collect::<Vec<_>>();
        assert_eq!(ports("postgresql://u@a,b:7/"), [5432, 7]);
        assert_eq!(ports("user=u host=a,b port=7"), [7, 7]);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        use ConnInfoError::{HostLists, Missing};
        let refused = |text: &str| text.parse::<Config>().unwrap_err();
        assert_eq!(refused("host=h"), Missing { key: "user" });
        assert_eq!(refused("user=u"), Missing { key: "host" });
        assert_eq!(refused("user=u host=a,"), Missing { key: "host" });
        assert_eq!(refused("user=u host=a,b port=1,2,3"), HostLists);
        assert_eq!(refused("user=u host=a,b hostaddr=::1"), HostLists);
        assert_eq!(refused("user=u host=h sslmode=verify-ca"), Missing { key: "sslrootcert" });
        assert_eq!(refused("user=u host=h sslcert=c"), Missing { key: "sslkey" });
        for option in ["port=0", "port=65536", "sslmode=maybe", "sslmode=require sslrootcert=system", "hostaddr=x"] {
            let error = refused(&format!("user=u host=h {option}"));
            assert!(matches!(error, ConnInfoError::Value { .. }), "{option}: {error}");
        }
    }

    #[test]
    fn the_systems_authorities_imply_verification() {
        assert_eq!(config("user=u host=h sslrootcert=system").tls.mode, SslMode::VerifyFull);
        assert_eq!(config("user=u host=h").tls.mode, SslMode::Prefer);
    }
}
