//! How well servers are protected.

use std::fmt::{self, Display};
use std::time::Duration;

use console::Term;
use futures::{StreamExt, stream};
use indicatif::HumanBytes;
use pitr::model::{Deletion, Hold, Lock, PostgresMajor, ServerName, Timestamp};
use pitr::plan::health::{Finding, Status};
use pitr::plan::schedule::Agenda;
use pitr::plan::usage::Usage;
use pitr::service::ServerStatus;
use serde::Serialize;

use crate::exit::{Failure, Result, unwell};
use crate::output::{Lines, coloured};
use crate::world::{AT_ONCE, World};

/// A server, as far as it is known.
#[derive(Debug, PartialEq, Serialize)]
struct Glance {
    server: ServerName,
    #[serde(flatten)]
    seen: Seen,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Seen {
    Known(Box<Known>),
    Unknown { error: String },
}

#[derive(Debug, PartialEq, Serialize)]
struct Known {
    health: Status,
    findings: Vec<Found>,
    earliest: Option<Timestamp>,
    latest: Option<Timestamp>,
    postgres: PostgresMajor,
    retention_days: u8,
    protected_since: Timestamp,
    paused_at: Option<Timestamp>,
    deletion: Option<Deletion>,
    locks: Vec<Lock>,
    holds: Vec<Hold>,
    restores: usize,
    stored: Usage,
    #[serde(flatten)]
    agenda: Agenda,
}

#[derive(Debug, PartialEq, Serialize)]
struct Found {
    health: Status,
    said: String,
    advice: &'static str,
    finding: Finding,
}

impl Glance {
    async fn at(world: &World, server: ServerName) -> Self {
        let seen = match world.service.status(&server).await {
            Ok(status) => Seen::Known(Box::new(status.into())),
            Err(error) => Seen::Unknown { error: Failure::from(error).to_string() },
        };
        Self { server, seen }
    }

    fn is_well(&self) -> bool {
        matches!(&self.seen, Seen::Known(known) if known.health != Status::Red)
    }
}

impl From<ServerStatus> for Known {
    fn from(status: ServerStatus) -> Self {
        let ServerStatus { config, health, .. } = status;
        let found = |finding: Finding| Found {
            health: finding.status(),
            said: finding.to_string(),
            advice: finding.advice(),
            finding,
        };
        Self {
            health: health.status,
            findings: health.findings.into_iter().map(found).collect(),
            earliest: status.earliest,
            latest: status.latest,
            postgres: config.spec.postgres,
            retention_days: config.spec.retention.days(),
            protected_since: status.created_at,
            paused_at: config.paused_at,
            deletion: config.deletion,
            locks: config.locks,
            holds: config.holds,
            restores: config.restores.len(),
            stored: status.usage,
            agenda: status.agenda,
        }
    }
}

pub(crate) async fn run(world: &World, servers: Vec<ServerName>) -> Result<()> {
    if let [server] = &servers[..] {
        return one(world, server).await;
    }
    let seen = look(world, servers).await?;
    world.output.say(&Fleet(&seen))?;
    unwell(seen.iter().all(Glance::is_well))
}

/// Whoever asks for a single server is told more, and, if it is not there, why.
async fn one(world: &World, server: &ServerName) -> Result<()> {
    let known = Known::from(world.service.status(server).await?);
    let details = Details(&known).to_string();
    let glance = Glance { server: server.clone(), seen: Seen::Known(Box::new(known)) };
    world.output.say(&Fleet(std::slice::from_ref(&glance)))?;
    if !world.output.json {
        world.output.line(&details)?;
    }
    unwell(glance.is_well())
}

/// Shows the fleet whenever something has changed: on a terminal in place, and else line by line.
pub(crate) async fn watch(world: &World, servers: Vec<ServerName>, every: Duration) -> Result<()> {
    let (screen, mut last) = (Term::stdout(), Vec::new());
    let in_place = screen.is_term() && !world.output.json;
    loop {
        let seen = look(world, servers.clone()).await?;
        if in_place {
            screen.clear_screen()?;
            world.output.say(&Fleet(&seen))?;
        } else {
            let changed = seen.iter().filter(|glance| !last.contains(*glance));
            changed.into_iter().try_for_each(|glance| world.output.say(glance))?;
        }
        last = seen;
        tokio::time::sleep(every).await;
    }
}

/// These servers, or all.
async fn look(world: &World, servers: Vec<ServerName>) -> Result<Vec<Glance>> {
    let servers = if servers.is_empty() { world.service.servers().await? } else { servers };
    Ok(stream::iter(servers).map(|server| Glance::at(world, server)).buffered(AT_ONCE).collect().await)
}

#[derive(Serialize)]
#[serde(transparent)]
struct Fleet<'a>(&'a [Glance]);

impl Display for Fleet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no server is protected here: `pitrctl protect` begins with one");
        }
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl Display for Glance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.seen {
            Seen::Unknown { error } => write!(f, "{:<20} {:<8} {error}", self.server.as_str(), "unknown"),
            Seen::Known(known) => write!(f, "{:<20} {known}", self.server.as_str()),
        }
    }
}

impl Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} ", coloured(self.health))?;
        match (self.earliest, self.latest) {
            (Some(earliest), Some(latest)) => write!(f, "restorable from {earliest} to {latest}")?,
            _ => f.write_str("no instant can be restored yet")?,
        }
        write!(f, ", {}", HumanBytes(self.stored.total()))?;
        if let Some(at) = self.paused_at {
            write!(f, "; paused since {at}")?;
        }
        if let Some(deletion) = &self.deletion {
            write!(f, "; {deletion}")?;
        }
        self.findings.iter().try_for_each(|found| {
            write!(f, "\n    {}: {}\n        {}", coloured(found.health), found.said, found.advice)
        })
    }
}

/// What is only said of a single server.
struct Details<'a>(&'a Known);

impl Display for Details<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Known { postgres, retention_days, protected_since, locks, holds, restores, agenda, stored, .. } = self.0;
        write!(f, "PostgreSQL {postgres}, {retention_days} days of retention, protected since {protected_since}")?;
        write!(f, "\nstored {stored}")?;
        if *restores > 0 {
            write!(f, "\n{restores} restores are going on")?;
        }
        let holds: Vec<_> = holds.iter().map(|hold| format!("hold {:?} on {}", hold.name, hold.snapshot)).collect();
        write!(f, "{}{}\n{agenda}", Lines("", locks), Lines("", &holds))
    }
}
