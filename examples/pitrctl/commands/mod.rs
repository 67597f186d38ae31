//! The commands.

mod change;
mod plan;
mod protect;
mod restore;
mod retention;
mod serve;
mod snapshot;
mod status;
mod usage;
mod verify;

use std::fmt::{self, Display};
use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::CommandFactory;
use pitr::service::ServiceSettings;
use serde::Serialize;

use crate::cli::{Cli, Command, Global};
use crate::exit::{Exit, Failure, Result};
use crate::output::Output;
use crate::world::World;

/// After how long somebody who waits is told that nobody may be at it.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often is looked whether something that is waited for has happened.
const POLL: Duration = Duration::from_millis(250);

pub(crate) async fn run(global: &Global, command: Command) -> Result<()> {
    match command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "pitrctl", &mut script);
            return Output { json: false }.line(&String::from_utf8_lossy(&script));
        }
        Command::Init => return protect::init(global).await,
        Command::Serve(arguments) => return serve::run(global, arguments).await,
        _ => {}
    }
    let world = World::open(global, ServiceSettings::default()).await?;
    match command {
        Command::Protect(arguments) => protect::run(&world, arguments).await,
        Command::Connect { server, source } => protect::connect(&world, &server, &source).await,
        Command::Configure(arguments) => protect::configure(&world, arguments).await,
        Command::Status { servers } => status::run(&world, servers).await,
        Command::Watch { servers, every } => status::watch(&world, servers, Duration::from_secs(every)).await,
        Command::Window { server, svg } => plan::window(&world, &server, svg.as_deref()).await,
        Command::Plan { server, point, explain, svg } => {
            plan::run(&world, &server, &point, explain, svg.as_deref()).await
        }
        Command::Restore(arguments) => restore::run(&world, arguments).await,
        Command::Restores { server } => restore::list(&world, &server).await,
        Command::Cancel { server, restore } => restore::cancel(&world, &server, restore).await,
        Command::Snapshot { server, no_wait } => snapshot::run(&world, &server, no_wait).await,
        Command::Verify { server, quick } => verify::run(&world, &server, quick).await,
        Command::Prove { server, directory, at } => verify::prove(&world, &server, directory, at).await,
        Command::Usage { server: Some(server), days, price } => usage::run(&world, &server, days, price).await,
        Command::Usage { server: None, price, .. } => usage::fleet(&world, price).await,
        Command::Retention(command) => retention::run(&world, command).await,
        Command::Hold(command) => change::hold(&world, command).await,
        Command::Lock(command) => change::lock(&world, command).await,
        Command::Pause { server } => change::pause(&world, &server, true).await,
        Command::Resume { server } => change::pause(&world, &server, false).await,
        Command::Changes { server } => change::list(&world, &server).await,
        Command::Delete { server, consent } => change::delete(&world, &server, &consent).await,
        Command::Undelete { server } => change::undelete(&world, &server).await,
        Command::Init | Command::Serve(_) | Command::Completions { .. } => Ok(()),
    }
}

/// What was done, in a sentence; for machines, with what it was done to.
#[derive(Debug, Serialize)]
struct Done<T> {
    #[serde(skip)]
    said: String,
    #[serde(flatten)]
    what: T,
}

impl<T> Display for Done<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

fn say_done(output: Output, said: impl Into<String>, what: impl Serialize) -> Result<()> {
    output.say(&Done { said: said.into(), what })
}

/// Asks whether it is meant: whoever answers anything but `expected` changed their mind.
fn confirm(question: &str, expected: &str, is_given: bool) -> Result<()> {
    if is_given {
        return Ok(());
    }
    let give_up = |why: &str| Err(Failure::new(Exit::Usage, format!("nothing was done: {why}")));
    if !std::io::stdin().is_terminal() {
        return give_up("nobody is there to ask; --yes says that it is meant");
    }
    eprint!("{question} ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim() == expected { Ok(()) } else { give_up("you did not confirm it") }
}
