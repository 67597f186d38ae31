//! Changes of a server: holds, locks, pauses, deletion; and who made them.

use std::fmt::{self, Display};

use pitr::model::{Change, ConfigChange, ServerName};
use serde::Serialize;
use serde_json::json;

use super::{confirm, say_done};
use crate::cli::{Consent, HoldArgs, HoldCommand, LockCommand};
use crate::exit::Result;
use crate::world::World;

pub(crate) async fn hold(world: &World, command: HoldCommand) -> Result<()> {
    let (server, change) = match command {
        HoldCommand::Place { hold: HoldArgs { server, snapshot, name }, until } => {
            (server, Change::PlaceHold { snapshot, name, until })
        }
        HoldCommand::Release { hold: HoldArgs { server, snapshot, name } } => {
            (server, Change::ReleaseHold { snapshot, name })
        }
        HoldCommand::List { server } => {
            let holds = world.server(&server).await?.config().await?.holds;
            let told = holds.iter().map(|hold| {
                let until = hold.until.map_or_else(String::new, |until| format!(", until {until}"));
                let released = hold.released_at.map_or_else(String::new, |at| format!(", released at {at}"));
                format!("{} {:?}{until}{released}", hold.snapshot, hold.name)
            });
            return say_done(world.output, lines(told), json!({ "holds": holds }));
        }
    };
    make(world, &server, change).await
}

pub(crate) async fn lock(world: &World, command: LockCommand) -> Result<()> {
    let (server, change) = match command {
        LockCommand::Place { server, name, kind, reason } => {
            (server, Change::PlaceLock { name, kind: kind.into(), reason })
        }
        LockCommand::Remove { server, name } => (server, Change::RemoveLock { name }),
        LockCommand::List { server } => {
            let locks = world.server(&server).await?.config().await?.locks;
            return say_done(world.output, lines(locks.iter()), json!({ "locks": locks }));
        }
    };
    make(world, &server, change).await
}

pub(crate) async fn pause(world: &World, server: &ServerName, pauses: bool) -> Result<()> {
    make(world, server, if pauses { Change::Pause } else { Change::Resume }).await
}

pub(crate) async fn delete(world: &World, server: &ServerName, consent: &Consent) -> Result<()> {
    // Whoever names one that is not there is told before being asked.
    let config = world.server(server).await?.config().await?;
    let question = match config.delete_grace.as_secs() {
        0 => {
            format!("All backups of {server} are destroyed at once, and cannot be restored by anybody. Its name again:")
        }
        grace => format!("All backups of {server} are destroyed in {} hours. Its name again:", grace / 3600),
    };
    confirm(&question, server.as_str(), consent.yes)?;
    make(world, server, Change::Delete).await
}

pub(crate) async fn undelete(world: &World, server: &ServerName) -> Result<()> {
    make(world, server, Change::Undelete).await
}

async fn make(world: &World, server: &ServerName, change: Change) -> Result<()> {
    let changed = world.change(server, change).await?;
    world.output.say(&Made::from(changed))
}

pub(crate) async fn list(world: &World, server: &ServerName) -> Result<()> {
    let changes = world.service.changes(server).await?;
    for (object, error) in &changes.unreadable {
        world.output.remark(&format!("{object} cannot be read: {error}"));
    }
    let made: Vec<_> = changes.changes.into_iter().map(Made::from).collect();
    say_done(world.output, lines(made.iter()), json!({ "changes": made }))
}

/// A change, without all that the server was since.
#[derive(Serialize)]
struct Made {
    #[serde(skip)]
    said: String,
    revision: u64,
    at: pitr::model::Timestamp,
    by: String,
    request: pitr::model::RequestId,
    change: &'static str,
    what: String,
}

impl From<ConfigChange> for Made {
    fn from(made: ConfigChange) -> Self {
        let (said, change) = (made.to_string(), made.change);
        let (revision, at, by, request) = (made.revision, made.at, made.caller.by, made.caller.request);
        Self { said, revision, at, by, request, change: change.name(), what: change.to_string() }
    }
}

impl Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

fn lines(items: impl Iterator<Item = impl Display>) -> String {
    let items: Vec<_> = items.map(|item| item.to_string()).collect();
    if items.is_empty() { "none".to_owned() } else { items.join("\n") }
}
