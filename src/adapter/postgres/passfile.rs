//! Files of passwords, as libpq reads them (section "The Password File" of the manual).

use zeroize::Zeroizing;

use super::auth::port_of;
use super::config::Config;
use super::connection::{Address, Endpoint};
use super::conninfo::Password;
use crate::port::{PortError, PortErrorKind};

/// The password of the first line of the file that fits the connection.
///
/// # Errors
/// If the file cannot be read, or, as in libpq, others than its owner could read it.
pub(super) async fn find(path: &str, endpoint: &Endpoint, config: &Config) -> Result<Option<Password>, PortError> {
    let failed = |error| PortError::io(format!("cannot read the password file {path}"), error);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = tokio::fs::metadata(path).await.map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            let context = format!("the password file {path} can be read by others: its mode must be 0600 or less");
            return Err(PortError::new(PortErrorKind::Denied, context));
        }
    }
    let text = Zeroizing::new(tokio::fs::read(path).await.map_err(failed)?);
    let host = match &endpoint.address {
        Address::Tcp(_) => endpoint.name.clone(),
        Address::Unix(path) => path.parent().unwrap_or(path).to_string_lossy().into_owned(),
    };
    let port = port_of(&endpoint.address);
    Ok(lookup(&String::from_utf8_lossy(&text), [&host, &port, "replication", &config.user]))
}

/// Lines are `hostname:port:database:username:password`; `*` fits everything, and `\` takes `:` or `\` literally. For a
/// replication connection the database is `replication`.
fn lookup(text: &str, wanted: [&str; 4]) -> Option<Password> {
    let fits = |line: &&str| {
        let fields = fields(line);
        let pattern = fields.iter().take(4).zip(wanted);
        fields.len() == 5 && pattern.into_iter().all(|(field, wanted)| ["*", wanted].contains(&field.as_str()))
    };
    let line = text.lines().filter(|line| !line.starts_with('#')).find(fits)?;
    fields(line).pop().map(|password| Password::new(&password))
}

fn fields(line: &str) -> Vec<Zeroizing<String>> {
    let mut fields = vec![Zeroizing::new(String::new())];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let separates = c == ':' && fields.len() < 5;
        let literal = if c == '\\' { chars.next() } else { Some(c) };
        match fields.last_mut() {
            Some(field) if !separates => field.extend(literal),
            _ => fields.push(Zeroizing::new(String::new())),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_counts() {
        let text = "# comment\ndb:5432:*:alice:one\ndb:*:replication:alice:t\\:w\\\\o\n*:*:*:*:three\nbroken";
        let found = |wanted| lookup(text, wanted).map(|password| password.reveal().to_vec());
        assert_eq!(found(["db", "5432", "replication", "alice"]), Some(b"one".to_vec()));
        assert_eq!(found(["db", "5433", "replication", "alice"]), Some(b"t:w\\o".to_vec()));
        assert_eq!(found(["other", "5433", "replication", "bob"]), Some(b"three".to_vec()));
        assert_eq!(lookup("a:b:c:d", ["a", "b", "c", "d"]).map(|_| ()), None);
    }
}
