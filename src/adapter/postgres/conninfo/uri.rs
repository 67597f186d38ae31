//! URIs: `conninfo_uri_parse_options` of libpq.

use super::ConnInfoError;

type Settings = Vec<(String, String)>;

/// The settings in `rest`, a URI without its `postgresql://`:
/// `[user[:password]@][host[:port][,host[:port]…]][/dbname][?key=value[&key=value…]]`, everything percent-encoded.
pub(super) fn parse(rest: &str) -> Result<Settings, ConnInfoError> {
    let mut settings = Settings::new();
    let credentials = rest.split_once('@').filter(|(credentials, _)| !credentials.contains('/'));
    let rest = match credentials {
        Some((credentials, rest)) => {
            settings.extend(parse_credentials(credentials)?);
            rest
        }
        None => rest,
    };
    let (location, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, dbname) = location.split_once('/').unwrap_or((location, ""));
    settings.extend(parse_hosts(hosts)?);
    settings.push(("dbname".to_owned(), decode(dbname)?));
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        settings.push(parse_parameter(parameter)?);
    }
    Ok(settings)
}

fn parse_credentials(text: &str) -> Result<Settings, ConnInfoError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Ok(vec![("user".to_owned(), decode(user)?), ("password".to_owned(), decode(password)?)])
}

fn parse_hosts(text: &str) -> Result<Settings, ConnInfoError> {
    let hosts = text.split(',').map(split_port).collect::<Result<Vec<_>, _>>()?;
    let (hosts, ports): (Vec<_>, Vec<_>) = hosts.into_iter().unzip();
    // Lists of nothing but separators would otherwise be lists of so many empty names.
    let list =
        |parts: Vec<&str>| if parts.iter().all(|part| part.is_empty()) { String::new() } else { parts.join(",") };
    Ok(vec![("host".to_owned(), decode(&list(hosts))?), ("port".to_owned(), list(ports))])
}

/// A host, an IPv6 address freed from its brackets, and the port behind it.
fn split_port(text: &str) -> Result<(&str, &str), ConnInfoError> {
    let Some(address) = text.strip_prefix('[') else {
        return Ok(text.split_once(':').unwrap_or((text, "")));
    };
    let (address, port) = address.split_once(']').ok_or(ConnInfoError::Ipv6Brackets)?;
    match port.strip_prefix(':') {
        Some(port) => Ok((address, port)),
        None if port.is_empty() => Ok((address, "")),
        None => Err(ConnInfoError::Ipv6Brackets),
    }
}

fn parse_parameter(text: &str) -> Result<(String, String), ConnInfoError> {
    let (key, value) = text.split_once('=').ok_or(ConnInfoError::UriParameter)?;
    let (key, value) = (decode(key)?, decode(value)?);
    // What JDBC writes, and libpq understands.
    if (key.as_str(), value.as_str()) == ("ssl", "true") {
        return Ok(("sslmode".to_owned(), "require".to_owned()));
    }
    Ok((key, value))
}

fn decode(text: &str) -> Result<String, ConnInfoError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { decode_byte([bytes.next(), bytes.next()])? } else { byte });
    }
    String::from_utf8(decoded).map_err(|_| ConnInfoError::PercentEncoding)
}

fn decode_byte(digits: [Option<u8>; 2]) -> Result<u8, ConnInfoError> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let value = digit(digits[0]).zip(digit(digits[1])).map(|(high, low)| high * 16 + low);
    value.and_then(|value| u8::try_from(value).ok()).filter(|byte| *byte != 0).ok_or(ConnInfoError::PercentEncoding)
}
