//! Who we are: passwords, MD5, SCRAM.

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, ScramSha256};
use postgres_protocol::message::frontend;

use super::config::{ChannelBinding, Config};
use super::connection::{Address, Connection};
use super::conninfo::Password;
use super::message::{Authentication, Message, ProtocolError};
use super::passfile;
use super::tls::Binding;
use crate::port::{PortError, PortErrorKind};

const DOING: &str = "authentication";

/// Proves to the server who we are, in whatever way it asks for, as libpq does.
///
/// With SCRAM the server proves itself, too; if the connection has TLS, the proof is bound to it.
pub(super) async fn authenticate(
    connection: &mut Connection,
    config: &Config,
    binding: &Binding,
) -> Result<(), PortError> {
    let mut bound = false;
    loop {
        match next(connection).await? {
            Authentication::Ok if bound || config.channel_binding != ChannelBinding::Require => return Ok(()),
            Authentication::Ok => return Err(denied(connection, "channel binding is required, and was not done")),
            Authentication::CleartextPassword => {
                let password = password(connection, config).await?;
                connection.send(|buffer| frontend::password_message(password.reveal(), buffer)).await?;
            }
            Authentication::Md5Password(salt) => {
                let password = password(connection, config).await?;
                let hash = md5_hash(config.user.as_bytes(), password.reveal(), salt);
                connection.send(|buffer| frontend::password_message(hash.as_bytes(), buffer)).await?;
            }
            Authentication::Sasl(mechanisms) => bound = scram(connection, config, binding, &mechanisms).await?,
            Authentication::SaslContinue(_) | Authentication::SaslFinal(_) => return Err(unasked(connection)),
            Authentication::Unsupported(code) => {
                let context = format!("the server asks for authentication method {code}, which is not supported");
                return Err(denied(connection, &context));
            }
        }
    }
}

/// RFC 5802 and 7677. Returns whether it was bound to the TLS connection.
async fn scram(
    connection: &mut Connection,
    config: &Config,
    binding: &Binding,
    mechanisms: &[String],
) -> Result<bool, PortError> {
    let offered = |mechanism: &str| mechanisms.iter().any(|offered| offered == mechanism);
    let end_point = match binding {
        Binding::EndPoint(digest) if config.channel_binding != ChannelBinding::Disable => Some(digest.clone()),
        _ => None,
    };
    let (mechanism, channel_binding, bound) = match end_point {
        Some(digest) if offered(sasl::SCRAM_SHA_256_PLUS) => {
            (sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(digest), true)
        }
        // Says that we could have: if the server could, too, somebody in the middle has hidden it, and the server refuses.
        Some(_) => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested(), false),
        None => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported(), false),
    };
    if !offered(mechanism) {
        return Err(denied(connection, "the server offers no SASL mechanism that is supported"));
    }
    if !bound && config.channel_binding == ChannelBinding::Require {
        return Err(denied(connection, "channel binding is required, and the server does not offer it"));
    }
    let password = password(connection, config).await?;
    let mut scram = ScramSha256::new(password.reveal(), channel_binding);
    connection.send(|buffer| frontend::sasl_initial_response(mechanism, scram.message(), buffer)).await?;
    let Authentication::SaslContinue(challenge) = next(connection).await? else { return Err(unasked(connection)) };
    scram.update(&challenge).map_err(|error| failed(connection, error))?;
    connection.send(|buffer| frontend::sasl_response(scram.message(), buffer)).await?;
    let Authentication::SaslFinal(proof) = next(connection).await? else { return Err(unasked(connection)) };
    scram.finish(&proof).map_err(|error| failed(connection, error))?;
    Ok(bound)
}

async fn next(connection: &mut Connection) -> Result<Authentication, PortError> {
    match connection.receive(DOING).await? {
        Message::Authentication(authentication) => Ok(authentication),
        _ => Err(unasked(connection)),
    }
}

async fn password(connection: &Connection, config: &Config) -> Result<Password, PortError> {
    if let Some(password) = config.password() {
        return Ok(password.clone());
    }
    let found = match config.conninfo().value("passfile") {
        Some(path) => passfile::find(path, connection.endpoint(), config).await?,
        None => None,
    };
    found.ok_or_else(|| denied(connection, "the server asks for a password, and none is set"))
}

fn unasked(connection: &Connection) -> PortError {
    connection.confused(ProtocolError("no authentication where it was due"))
}

fn denied(connection: &Connection, why: &str) -> PortError {
    PortError::new(PortErrorKind::Denied, format!("{DOING} failed on the {}: {why}", connection.endpoint()))
}

fn failed(connection: &Connection, error: std::io::Error) -> PortError {
    denied(connection, "the server does not prove that it knows the password").caused_by(error)
}

/// The port of a connection, as password files name it.
pub(super) fn port_of(address: &Address) -> String {
    match address {
        Address::Tcp(address) => address.port().to_string(),
        Address::Unix(path) => path.extension().unwrap_or_default().to_string_lossy().into_owned(),
    }
}
