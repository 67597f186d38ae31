//! From a [`Config`] to a [`Connection`]: hosts, addresses, encryption and startup, in libpq's order.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::auth;
use super::config::{Config, Host, HostAddress, Keepalive, SslMode, TargetSession};
use super::connection::{Address, Connection, Endpoint, Socket};
use super::message::{Message, ProtocolError};
use super::server_error::ServerError;
use super::tls::{self, Binding};
use crate::port::{PortError, PortErrorKind};

/// Connects to the first host of `config` that can be reached and is what is asked for.
///
/// As in libpq, a host that refuses the credentials ends the search.
pub(super) async fn connect(config: &Config) -> Result<Connection, PortError> {
    let mut failure = PortError::new(PortErrorKind::Invalid, "no host to connect to");
    for wanted in wanted(config.session) {
        for host in &config.hosts {
            match connect_host(config, host, *wanted).await {
                Err(error) if error.kind() == PortErrorKind::Denied => return Err(error),
                Err(error) => failure = error,
                connected => return connected,
            }
        }
    }
    Err(failure)
}

/// Connects to `endpoint` and nowhere else.
pub(super) async fn connect_to(config: &Config, endpoint: &Endpoint) -> Result<Connection, PortError> {
    let connected = connect_encrypted(config, endpoint);
    let Some(time_max) = config.connect_timeout else { return connected.await };
    timeout(time_max, connected).await.unwrap_or_else(|_| {
        let context = format!("no connection within {} s to the {endpoint}", time_max.as_secs());
        Err(PortError::new(PortErrorKind::Unavailable, context))
    })
}

/// What a session may be, one wish after the other.
fn wanted(session: TargetSession) -> &'static [TargetSession] {
    match session {
        TargetSession::Any => &[TargetSession::Any],
        TargetSession::ReadWrite => &[TargetSession::ReadWrite],
        TargetSession::ReadOnly => &[TargetSession::ReadOnly],
        TargetSession::Primary => &[TargetSession::Primary],
        TargetSession::Standby => &[TargetSession::Standby],
        TargetSession::PreferStandby => &[TargetSession::Standby, TargetSession::Any],
    }
}

async fn connect_host(config: &Config, host: &Host, wanted: TargetSession) -> Result<Connection, PortError> {
    let mut failure = PortError::new(PortErrorKind::Unavailable, "the host has no address");
    for endpoint in endpoints(host).await? {
        match connect_to(config, &endpoint).await {
            Ok(connection) if is_wanted(&connection, wanted) => return Ok(connection),
            Ok(connection) => {
                let context = format!("the {endpoint} is not what target_session_attrs asks for");
                connection.close().await;
                failure = PortError::new(PortErrorKind::Unavailable, context);
            }
            Err(error) if error.kind() == PortErrorKind::Denied => return Err(error),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn is_wanted(connection: &Connection, wanted: TargetSession) -> bool {
    let primary = connection.is_primary();
    let writable = primary && connection.parameter("default_transaction_read_only") != Some("on");
    match wanted {
        TargetSession::Any | TargetSession::PreferStandby => true,
        TargetSession::ReadWrite => writable,
        TargetSession::ReadOnly => !writable,
        TargetSession::Primary => primary,
        TargetSession::Standby => !primary,
    }
}

async fn endpoints(host: &Host) -> Result<Vec<Endpoint>, PortError> {
    let addresses = match &host.address {
        HostAddress::Directory(directory) => {
            vec![Address::Unix(directory.join(format!(".s.PGSQL.{}", host.port)))]
        }
        HostAddress::Name(_, Some(ip)) => vec![Address::Tcp(SocketAddr::new(*ip, host.port))],
        HostAddress::Name(name, None) => {
            let found = tokio::net::lookup_host((name.as_str(), host.port)).await;
            let failed = |error| {
                PortError::new(PortErrorKind::Unavailable, format!("cannot find the address of host {name:?}"))
                    .caused_by(error)
            };
            found.map_err(failed)?.map(Address::Tcp).collect()
        }
    };
    let name = match &host.address {
        HostAddress::Directory(_) => String::new(),
        HostAddress::Name(name, _) => name.clone(),
    };
    Ok(addresses.into_iter().map(|address| Endpoint { name: name.clone(), address }).collect())
}

/// How a connection is protected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encryption {
    No,
    IfOffered,
    Required,
}

/// What is tried for each `sslmode`, in order. On a Unix socket there is nothing to protect.
fn encryptions(mode: SslMode, address: &Address) -> &'static [Encryption] {
    match (mode, address) {
        (_, Address::Unix(_)) | (SslMode::Disable, _) => &[Encryption::No],
        (SslMode::Allow, _) => &[Encryption::No, Encryption::Required],
        (SslMode::Prefer, _) => &[Encryption::IfOffered, Encryption::No],
        (SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull, _) => &[Encryption::Required],
    }
}

async fn connect_encrypted(config: &Config, endpoint: &Endpoint) -> Result<Connection, PortError> {
    let (first, rest) =
        encryptions(config.tls.mode, &endpoint.address).split_first().expect("every mode has one attempt at least");
    let mut connected = start_session(config, endpoint, *first).await;
    for encryption in rest {
        match connected {
            Err(error) if may_help(&error) => connected = start_session(config, endpoint, *encryption).await,
            connected => return connected,
        }
    }
    connected
}

/// Whether the server refused because of the kind of connection: `pg_hba.conf` has no line for it, or TLS failed.
fn may_help(error: &PortError) -> bool {
    let source = std::error::Error::source(error);
    let refused = source.and_then(|source| source.downcast_ref::<ServerError>());
    refused.is_some_and(|refused| refused.code == "28000") || tls::is_handshake_failure(error)
}

async fn start_session(config: &Config, endpoint: &Endpoint, encryption: Encryption) -> Result<Connection, PortError> {
    let (socket, binding) = open(config, endpoint, encryption).await?;
    let mut connection = Connection::new(socket, endpoint.clone());
    connection.send(|buffer| frontend::startup_message(startup(config), buffer)).await?;
    auth::authenticate(&mut connection, config, &binding).await?;
    connection.authenticated();
    match connection.receive("the start of a session").await? {
        Message::ReadyForQuery => Ok(connection),
        _ => Err(connection.confused(ProtocolError("no session where one was due"))),
    }
}

fn startup(config: &Config) -> impl Iterator<Item = (&str, &str)> + Send {
    let optional = |name, key| config.conninfo().value(key).map(|value| (name, value));
    let (replication, database) = if config.speaks_sql { ("database", Some("postgres")) } else { ("true", None) };
    let always = [
        ("user", config.user.as_str()),
        ("replication", replication),
        ("application_name", config.application_name()),
        ("client_encoding", "UTF8"),
    ];
    let database = optional("database", "dbname").or_else(|| database.map(|name| ("database", name)));
    always.into_iter().chain(database).chain(optional("options", "options"))
}

async fn open(
    config: &Config,
    endpoint: &Endpoint,
    encryption: Encryption,
) -> Result<(Box<dyn Socket>, Binding), PortError> {
    let failed = |error| {
        PortError::new(PortErrorKind::Unavailable, format!("cannot connect to the {endpoint}")).caused_by(error)
    };
    let address = match &endpoint.address {
        Address::Unix(path) => {
            let socket = UnixStream::connect(path).await.map_err(failed)?;
            return Ok((Box::new(socket), Binding::NotEncrypted));
        }
        Address::Tcp(address) => address,
    };
    let mut socket = TcpStream::connect(address).await.map_err(failed)?;
    tune(&socket, config.keepalive.as_ref()).map_err(failed)?;
    if encryption == Encryption::No {
        return Ok((Box::new(socket), Binding::NotEncrypted));
    }
    if offers_tls(&mut socket, endpoint).await? {
        return tls::secure(&config.tls, socket, endpoint).await;
    }
    if encryption == Encryption::Required {
        let context = format!("sslmode asks for TLS, which is not offered by the {endpoint}");
        return Err(PortError::new(PortErrorKind::Denied, context));
    }
    Ok((Box::new(socket), Binding::NotEncrypted))
}

/// Asks whether the server speaks TLS.
///
/// Exactly one byte is read: whatever else somebody in the middle injected before the handshake goes into it and breaks it
/// (CVE-2021-23222).
async fn offers_tls(socket: &mut TcpStream, endpoint: &Endpoint) -> Result<bool, PortError> {
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    let answer = async {
        socket.write_all(&request).await?;
        socket.read_u8().await
    };
    let failed = |error| {
        PortError::new(PortErrorKind::Unavailable, format!("cannot ask for TLS at the {endpoint}")).caused_by(error)
    };
    match answer.await.map_err(failed)? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        // The server is out of memory or of processes, or no PostgreSQL. Its words are not to be trusted.
        _ => Err(PortError::new(PortErrorKind::Unavailable, format!("no answer about TLS from the {endpoint}"))),
    }
}

fn tune(socket: &TcpStream, keepalive: Option<&Keepalive>) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let Some(keepalive) = keepalive else { return Ok(()) };
    let socket = SockRef::from(socket);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(keepalive.user_timeout)?;
    socket.set_tcp_keepalive(&tcp_keepalive(keepalive.idle, keepalive.interval, keepalive.count))
}

#[cfg(unix)]
fn tcp_keepalive(idle: Duration, interval: Duration, count: u32) -> TcpKeepalive {
    TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(count)
}
