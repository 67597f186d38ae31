//! What can be said on the command line; the comments are what `--help` teaches.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use pitr::model::{LockKind, LockName, RequestId, RetentionDays, ServerName, SnapshotId, TimeOfDay, Timestamp};

use crate::exit;
use crate::point::PointArgs;
use crate::shared::Price;
use crate::times::{Interval, duration, instant, interval};

/// Backs up PostgreSQL servers, and restores them to any instant of the last 7 to 35 days.
///
/// A repository, a directory or a bucket, holds the backups of many servers, encrypted by a key of which you keep a copy elsewhere.
/// `pitrctl serve` does the work: it archives the log all the time, takes a snapshot of each server a day, deletes what has expired, and makes
/// restored servers. Several can share the work. All other commands ask, or order; they can be run anywhere the repository can be reached from.
///
/// To begin:
///
///   export PITR_REPOSITORY=/var/backups/pitr PITR_KEY=/etc/pitr.key
///   pitrctl init
///   pitrctl protect shop --source 'host=/run/postgresql user=backup'
///   pitrctl serve --servers /srv/restored &
///   pitrctl status
///
/// And when a table was dropped:
///
///   pitrctl window shop
///   pitrctl plan shop --at '2026-11-24T14:02:59+01:00' --explain
///   pitrctl restore shop --at '2026-11-24T14:02:59+01:00' --as shop-before
#[derive(Debug, Parser)]
#[command(name = "pitrctl", version, verbatim_doc_comment, after_long_help = exit::TABLE, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Where the backups are: a directory, or `s3://BUCKET/DIRECTORY`, `az://CONTAINER/DIRECTORY`, `gs://BUCKET/DIRECTORY`.
    #[arg(long, global = true, env = "PITR_REPOSITORY", value_name = "PLACE")]
    pub(crate) repository: Option<String>,
    /// The file with the key that wraps the servers' keys. Without it nothing can be restored.
    #[arg(long, global = true, env = "PITR_KEY", value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Prints JSON: one value; of `serve` and `watch`, one a line. Errors too, on standard error.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Who asks, for the record of changes.
    #[arg(long, global = true, env = "USER", value_name = "NAME", hide_env_values = true)]
    pub(crate) by: Option<String>,
    /// In which request: one that was made before changes nothing. Give it again when it is not known whether a change was made.
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) request: Option<RequestId>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes a repository, and the key to it.
    Init,
    /// Protects a server from now on: `serve` archives its log and takes the first snapshot.
    Protect(ProtectArgs),
    /// Says anew how a protected server is reached.
    Connect {
        /// The server.
        server: ServerName,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Says when and how a server is backed up; what is not named stays as it is.
    Configure(ConfigureArgs),
    /// Does the work for all servers, together with others who do, until it is interrupted.
    Serve(ServeArgs),
    /// Says how well servers are protected. Exits with 11 if somebody should look at one now.
    Status {
        /// Which servers; all of them, unless some are named.
        servers: Vec<ServerName>,
    },
    /// Shows the status of servers, whenever it changes, until it is interrupted.
    Watch {
        /// Which servers; all of them, unless some are named.
        servers: Vec<ServerName>,
        /// How often to look, in seconds.
        #[arg(long, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
        every: u64,
    },
    /// Shows which instants and snapshots can be restored.
    Window {
        /// The server.
        server: ServerName,
        /// Writes a picture of it, too.
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Says what a restore would take, how long, and where it would end. Nothing is restored. Exits with 10 if it cannot be.
    Plan {
        /// The server.
        server: ServerName,
        #[command(flatten)]
        point: PointArgs,
        /// Says of every snapshot why recovery starts from it, or does not.
        #[arg(long)]
        explain: bool,
        /// Writes a picture of it, too.
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Restores a server: as a new one that is protected, too; or into a directory of this machine.
    Restore(RestoreArgs),
    /// Lists the restores of a server that make new ones.
    Restores {
        /// The server that is restored.
        server: ServerName,
    },
    /// Gives up a restore, and removes what it made so far.
    Cancel {
        /// The server that is restored.
        server: ServerName,
        /// The restore, as `restores` names it.
        restore: RequestId,
    },
    /// Has a snapshot taken now, and waits until it can be restored.
    Snapshot {
        /// The server.
        server: ServerName,
        /// Asks for it, and does not wait.
        #[arg(long)]
        no_wait: bool,
    },
    /// Reads what is stored of a server, and says what is damaged or missing. Exits with 11 if anything is.
    Verify {
        /// The server.
        server: ServerName,
        /// Reads the beginnings and ends of objects only.
        #[arg(long)]
        quick: bool,
    },
    /// Restores a server on trial, starts PostgreSQL there, reads all of it, and keeps a record. Exits with 11 if it fails.
    Prove {
        /// The server.
        server: ServerName,
        /// An empty directory, which is cleared afterwards.
        #[arg(long = "in", value_name = "DIRECTORY")]
        directory: PathBuf,
        /// Which instant; one at random, unless it is given.
        #[arg(long, value_name = "TIME", value_parser = instant)]
        at: Option<Timestamp>,
    },
    /// Says what a server's backups take, day by day, and what other retentions would; or what those of all servers take.
    Usage {
        /// The server; all of them, unless one is named.
        server: Option<ServerName>,
        /// For how many days past.
        #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u16).range(1..=400))]
        days: u16,
        /// The price of a GiB for a month, beyond the provisioned storage, which is free.
        #[arg(long, default_value = "0.095")]
        price: Price,
    },
    /// How long every instant stays restorable.
    #[command(subcommand)]
    Retention(RetentionCommand),
    /// What is kept beyond that.
    #[command(subcommand)]
    Hold(HoldCommand),
    /// What must not be done to a server.
    #[command(subcommand)]
    Lock(LockCommand),
    /// Stores nothing more of a server, and lets nothing expire, until it is resumed.
    Pause {
        /// The server.
        server: ServerName,
    },
    /// Backs up a server again that was paused.
    Resume {
        /// The server.
        server: ServerName,
    },
    /// Shows who changed what of a server, and when.
    Changes {
        /// The server.
        server: ServerName,
    },
    /// Deletes a server's backups, and first their key: nothing can be restored any more.
    Delete {
        /// The server.
        server: ServerName,
        #[command(flatten)]
        consent: Consent,
    },
    /// Undoes a deletion, if the server was given time for that.
    Undelete {
        /// The server.
        server: ServerName,
    },
    /// Prints what makes a shell complete commands: `source <(pitrctl completions bash)`.
    Completions {
        /// For which shell.
        shell: Shell,
    },
}

#[derive(Args, Debug)]
pub(crate) struct ProtectArgs {
    /// What to call it: 1 to 63 of `a-z 0-9 -`.
    pub(crate) server: ServerName,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// How many days every instant stays restorable: 7 to 35.
    #[arg(long, default_value = "7", value_name = "DAYS", value_parser = retention)]
    pub(crate) retention: RetentionDays,
    /// The storage of the server in GiB. So much backup storage is free.
    #[arg(long, default_value_t = 0, value_name = "GIB")]
    pub(crate) storage: u32,
}

#[derive(Args, Debug)]
pub(crate) struct SourceArgs {
    /// How the server is reached, in libpq's words: a URL, or `host=… port=… user=…`. Its user needs REPLICATION. No password: that is for
    /// PGPASSWORD, or a password file, where `serve` runs.
    #[arg(long, value_name = "CONNECTION")]
    pub(crate) source: String,
    /// The data directory, if it is on the machine where `serve` runs: then files are read there.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) data: Option<PathBuf>,
    /// The replication slot that keeps the server's log until it is archived; it is made.
    #[arg(long, default_value = "pitr")]
    pub(crate) slot: String,
}

#[derive(Args, Debug)]
pub(crate) struct ConfigureArgs {
    /// The server.
    pub(crate) server: ServerName,
    /// The longest time between two log backups, 1s to 1h: what a disaster costs at most.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) log_backup_every: Option<Duration>,
    /// The time between two snapshots, 1h to 1d.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) snapshot_every: Option<Duration>,
    /// The time of day of one of them, in UTC.
    #[arg(long, value_name = "HH:MM")]
    pub(crate) snapshot_at: Option<TimeOfDay>,
    /// How long replaying the log may take; a snapshot is taken as soon as it would take longer.
    #[arg(long, value_name = "TIME|never", value_parser = interval)]
    pub(crate) recovery_time_objective: Option<Interval>,
    /// The time between two verifications, 1h to 35d.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) verification_every: Option<Duration>,
    /// The time between two test restores, by whoever serves with `--trials`.
    #[arg(long, value_name = "TIME|never", value_parser = interval)]
    pub(crate) test_restore_every: Option<Interval>,
    /// For how long a deletion can be undone.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) delete_grace: Option<Duration>,
    /// The storage of the server in GiB. So much backup storage is free.
    #[arg(long, value_name = "GIB")]
    pub(crate) storage: Option<u32>,
}

#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Where to make restored servers; unless it is given, that is left to others who serve.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) servers: Option<PathBuf>,
    /// Where to restore servers on trial, as their schedules say; unless it is given, that is left to others.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) trials: Option<PathBuf>,
    /// How often to look whether somebody asked for something, in seconds: a request to the store for each server.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) look_every: u64,
    /// For how many servers at once snapshots are taken, and the like.
    #[arg(long, default_value_t = 2, value_name = "SERVERS")]
    pub(crate) work_at_once: usize,
}

#[derive(Args, Debug)]
pub(crate) struct RestoreArgs {
    /// The server.
    pub(crate) server: ServerName,
    #[command(flatten)]
    pub(crate) point: PointArgs,
    /// The name of the new server; whoever serves with `--servers` makes it.
    #[arg(long = "as", value_name = "NAME", required_unless_present = "into", conflicts_with_all = ["into", "best"])]
    pub(crate) name: Option<ServerName>,
    /// It is to take the place of the original: the tasks that are left say so.
    #[arg(long, requires = "name")]
    pub(crate) replaces_original: bool,
    /// Orders it, and does not wait.
    #[arg(long, requires = "name")]
    pub(crate) no_wait: bool,
    /// Restores into this directory, which is empty, or one of the server's own: then only what differs is fetched. PostgreSQL is started there until it
    /// accepts writes, and stopped.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) into: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RetentionCommand {
    /// Shows what is kept, what expires, and why.
    Show {
        /// The server.
        server: ServerName,
    },
    /// Changes it, and first shows what that deletes or spares.
    Set {
        /// The server.
        server: ServerName,
        /// 7 to 35.
        #[arg(value_parser = retention)]
        days: RetentionDays,
        /// Shows it, and changes nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum HoldCommand {
    /// Keeps a snapshot beyond the window.
    Place {
        #[command(flatten)]
        hold: HoldArgs,
        /// When the hold ends by itself; never, unless it is given.
        #[arg(long, value_name = "TIME", value_parser = instant)]
        until: Option<Timestamp>,
    },
    /// Lets a snapshot expire as others do, after two days' grace.
    Release {
        #[command(flatten)]
        hold: HoldArgs,
    },
    /// Lists the holds of a server.
    List {
        /// The server.
        server: ServerName,
    },
}

#[derive(Args, Debug)]
pub(crate) struct HoldArgs {
    /// The server.
    pub(crate) server: ServerName,
    /// The snapshot, as `window` names it.
    pub(crate) snapshot: SnapshotId,
    /// What the hold is called.
    pub(crate) name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LockCommand {
    /// Forbids to delete a server, or to change it at all.
    Place {
        /// The server.
        server: ServerName,
        /// What the lock is called.
        name: LockName,
        /// What it forbids.
        #[arg(long, value_enum, default_value_t = Forbids::CanNotDelete)]
        kind: Forbids,
        /// Why, for whoever is refused.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Removes a lock.
    Remove {
        /// The server.
        server: ServerName,
        /// What the lock is called.
        name: LockName,
    },
    /// Lists the locks of a server.
    List {
        /// The server.
        server: ServerName,
    },
}

/// What a lock forbids.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Forbids {
    /// The server cannot be deleted.
    #[value(name = "CanNotDelete", alias = "can-not-delete")]
    CanNotDelete,
    /// Nor be configured otherwise. It is backed up, and restored from.
    #[value(name = "ReadOnly", alias = "read-only")]
    ReadOnly,
}

impl From<Forbids> for LockKind {
    fn from(forbids: Forbids) -> Self {
        match forbids {
            Forbids::CanNotDelete => Self::CanNotDelete,
            Forbids::ReadOnly => Self::ReadOnly,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct Consent {
    /// Does not ask whether it is meant.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

fn retention(text: &str) -> Result<RetentionDays, String> {
    let days: u8 = text.parse().map_err(|_| "it is a number of days, 7 to 35".to_owned())?;
    RetentionDays::new(days).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }
}
