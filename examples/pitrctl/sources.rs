//! How servers are reached, as the command line says it.

use pitr::adapter::postgres::{ConnInfo, PostgresServer};
use pitr::model::ServerSpec;

use crate::cli::SourceArgs;
use crate::exit::{Exit, Failure, Result};
use crate::shared::{invalid, server, tag};

impl SourceArgs {
    /// The server, to see whether it is there.
    pub(crate) fn server(&self) -> Result<PostgresServer> {
        let words: ConnInfo = self.source.parse().map_err(invalid)?;
        if words.clone().with("password", "").map_err(invalid)? != words {
            let never = "a password is not stored: leave it out, and put it in a password file where `serve` runs";
            return Err(Failure::new(Exit::Invalid, never));
        }
        Ok(server(&self.source, &self.slot)?)
    }

    /// Notes in `spec` how the server is reached. A server that is restored of it inherits that, but not under its own name.
    pub(crate) fn note(&self, spec: &mut ServerSpec) {
        let data = self.data.as_ref().map(|data| data.display().to_string());
        let tags = [("connection", Some(self.source.clone())), ("slot", Some(self.slot.clone())), ("data", data)];
        for (what, value) in tags {
            let tag = tag(what, &spec.name);
            match value {
                Some(value) => drop(spec.tags.insert(tag, value)),
                None => drop(spec.tags.remove(&tag)),
            }
        }
    }
}
