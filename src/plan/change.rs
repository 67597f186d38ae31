//! What a change makes of a server, or why it cannot be made.

mod restores;

use std::time::Duration;

use super::schedule::{Schedule, ScheduleError};
use crate::model::{
    Caller, Change, Deletion, Hold, Lock, LockKind, LockName, RequestId, ServerConfig, ServerName, SnapshotId,
    Timestamp,
};

/// As many locks as Azure has on one scope.
const LOCKS_MAX: usize = 20;
/// A record stays small enough to be read at every look.
const HOLDS_MAX: usize = 1000;
/// Azure's limit for the notes of a lock.
const TEXT_MAX: usize = 512;
/// All that PostgreSQL has take some 15 KiB.
const PARAMETERS_MAX: usize = 64 << 10;

/// Why a server cannot be changed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeRefusal {
    /// A lock forbids it. Whoever may do it all the same removes the lock first.
    #[error("a lock forbids it: {0}")]
    Locked(Lock),
    /// The server is deleted.
    #[error("the server was {0}")]
    Deleted(Deletion),
    /// There is no deletion that can be undone, or finished.
    #[error("the server is not deleted")]
    NotDeleted,
    /// The deletion can still be undone.
    #[error("the deletion can be undone until {undo_until}")]
    NotYet {
        /// Until when.
        undo_until: Timestamp,
    },
    /// The server is there already.
    #[error("the server is protected already")]
    Exists,
    /// A lock has this name already.
    #[error("there is a lock {0} already: remove it first")]
    LockExists(LockName),
    /// No lock has this name.
    #[error("there is no lock {0}")]
    NoSuchLock(LockName),
    /// A hold on this snapshot has this name already.
    #[error("there is a hold {name:?} on {snapshot} already")]
    HoldExists {
        /// The snapshot.
        snapshot: SnapshotId,
        /// What the hold is called.
        name: String,
    },
    /// No hold on this snapshot has this name.
    #[error("there is no hold {name:?} on {snapshot}")]
    NoSuchHold {
        /// The snapshot.
        snapshot: SnapshotId,
        /// What the hold was to be called.
        name: String,
    },
    /// A restore makes a server of this name already, or it is the server's own.
    #[error("the name {0} is taken: choose another")]
    NameTaken(ServerName),
    /// No such restore is going on.
    #[error("no restore {0} is going on")]
    NoSuchRestore(RequestId),
    /// The restore was cancelled.
    #[error("restore {0} was cancelled")]
    RestoreCancelled(RequestId),
    /// The restore has made its server already.
    #[error("server {0} was made already: delete it instead")]
    RestoreMade(ServerName),
    /// A restore reads the server's backups.
    #[error("restore {restore} as {name} is not over: wait for it, or cancel it")]
    BeingRestored {
        /// The restore.
        restore: RequestId,
        /// What it makes.
        name: ServerName,
    },
    /// There are as many as there can be.
    #[error("there are {max} {what} already: remove one first")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there can be.
        max: usize,
    },
    /// A text is too long.
    #[error("{what} has {bytes} bytes, at most {max} are allowed")]
    TooLong {
        /// Which one.
        what: &'static str,
        /// How long it is, in bytes.
        bytes: usize,
        /// How long it can be.
        max: usize,
    },
    /// The settings make no schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
}

/// What `change` makes of the server `config` at `at`, if `caller` asks for it. All that must hold is checked here, so whoever stores the result with
/// the condition that the server is as it was, lets nobody slip through: of a lock and a deletion that race, one sees the other.
///
/// | | is refused if |
/// |---|---|
/// | everything but undoing a deletion | the server is deleted |
/// | everything but locks, restores, and what is noted | a lock is [`LockKind::ReadOnly`] |
/// | deleting | there is any lock, or a restore is not over |
///
/// # Errors
/// Why it cannot be made. Nothing is changed then.
pub fn apply_change(
    config: &ServerConfig,
    caller: &Caller,
    change: &Change,
    at: Timestamp,
) -> Result<ServerConfig, ChangeRefusal> {
    check_texts(caller, change)?;
    match change {
        Change::Undelete => undelete(config, at),
        Change::FinishDeletion => finish_deletion(config, at),
        _ => {
            let deleted = config.deletion.clone().map_or(Ok(()), |deletion| Err(ChangeRefusal::Deleted(deletion)));
            deleted.and_then(|()| unlocked(config, change)).and_then(|()| change_living(config, caller, change, at))
        }
    }
}

/// Whether `config` could be the beginning of a server.
///
/// # Errors
/// What is wrong with it.
pub fn check_config(config: &ServerConfig) -> Result<(), ChangeRefusal> {
    Schedule::new(config.schedule.clone())?;
    config.deletion.clone().map_or(Ok(()), |deletion| Err(ChangeRefusal::Deleted(deletion)))
}

fn change_living(
    config: &ServerConfig,
    caller: &Caller,
    change: &Change,
    at: Timestamp,
) -> Result<ServerConfig, ChangeRefusal> {
    let mut next = config.clone();
    let grace = config.long_term.release_grace;
    // Those that are over are of no more use, here or for retention.
    next.holds.retain(|hold| hold.is_active(at, grace));
    match change {
        Change::Create => return Err(ChangeRefusal::Exists),
        Change::Configure(update) => {
            next = update.as_ref().clone().applied_to(&next);
            check_config(&next)?;
            if next.spec.retention != config.spec.retention {
                // What is older may be gone already.
                next.kept_from = config.kept_from.max(Some(at.saturating_sub(config.spec.retention.duration())));
            }
        }
        Change::Pause => next.paused_at = next.paused_at.or(Some(at)),
        Change::Resume if next.paused_at.is_some() => (next.paused_at, next.resumed_at) = (None, Some(at)),
        Change::Resume => {}
        Change::RequestSnapshot => next.snapshot_requested_at = Some(at),
        Change::PlaceHold { snapshot, name, until } => place_hold(&mut next, snapshot, name, *until)?,
        Change::ReleaseHold { snapshot, name } => release_hold(&mut next, snapshot, name, at)?,
        Change::PlaceLock { name, kind, reason } => {
            let lock = Lock { reason: reason.clone(), ..Lock::new(name.clone(), *kind, caller.by.clone(), at) };
            place_lock(&mut next, lock)?;
        }
        Change::RemoveLock { name } => remove_lock(&mut next, name)?,
        Change::Restore(spec) => restores::order(&mut next, spec, caller, at)?,
        Change::CancelRestore { restore } => restores::cancel(&mut next, restore, caller, at)?,
        Change::ConfirmRestore { restore } => restores::confirm(&mut next, restore)?,
        Change::EndRestore { restore } => restores::end(&mut next, restore)?,
        Change::NoteParameters(parameters) => next.parameters = Some(parameters.clone()),
        Change::Delete => {
            restores::ensure_none(&next)?;
            next.deletion = Some(deletion(&next, caller, at));
        }
        Change::Undelete | Change::FinishDeletion => return Err(ChangeRefusal::NotDeleted),
    }
    Ok(next)
}

/// Whether no lock forbids it.
fn unlocked(config: &ServerConfig, change: &Change) -> Result<(), ChangeRefusal> {
    let forbids = |lock: &&Lock| match change {
        Change::PlaceLock { .. }
        | Change::RemoveLock { .. }
        | Change::NoteParameters(_)
        | Change::Restore(_)
        | Change::CancelRestore { .. }
        | Change::ConfirmRestore { .. }
        | Change::EndRestore { .. } => false,
        Change::Delete => true,
        _ => lock.kind == LockKind::ReadOnly,
    };
    match config.locks.iter().find(forbids) {
        Some(lock) => Err(ChangeRefusal::Locked(lock.clone())),
        None => Ok(()),
    }
}

fn place_hold(
    config: &mut ServerConfig,
    snapshot: &SnapshotId,
    name: &str,
    until: Option<Timestamp>,
) -> Result<(), ChangeRefusal> {
    let hold = Hold { until, ..Hold::new(snapshot.clone(), name) };
    let is_it = |other: &Hold| other.snapshot == *snapshot && other.name == name;
    if config.holds.iter().any(|other| is_it(other) && other.released_at.is_none()) {
        return Err(ChangeRefusal::HoldExists { snapshot: snapshot.clone(), name: name.to_owned() });
    }
    config.holds.retain(|other| !is_it(other));
    if config.holds.len() >= HOLDS_MAX {
        return Err(ChangeRefusal::TooMany { what: "holds", max: HOLDS_MAX });
    }
    config.holds.push(hold);
    Ok(())
}

fn release_hold(
    config: &mut ServerConfig,
    snapshot: &SnapshotId,
    name: &str,
    at: Timestamp,
) -> Result<(), ChangeRefusal> {
    let missing = || ChangeRefusal::NoSuchHold { snapshot: snapshot.clone(), name: name.to_owned() };
    let is_it = |hold: &&mut Hold| hold.snapshot == *snapshot && hold.name == name && hold.released_at.is_none();
    config.holds.iter_mut().find(is_it).ok_or_else(missing)?.released_at = Some(at);
    Ok(())
}

fn place_lock(config: &mut ServerConfig, lock: Lock) -> Result<(), ChangeRefusal> {
    if config.locks.iter().any(|other| other.name == lock.name) {
        return Err(ChangeRefusal::LockExists(lock.name));
    }
    if config.locks.len() >= LOCKS_MAX {
        return Err(ChangeRefusal::TooMany { what: "locks", max: LOCKS_MAX });
    }
    config.locks.push(lock);
    Ok(())
}

fn remove_lock(config: &mut ServerConfig, name: &LockName) -> Result<(), ChangeRefusal> {
    let found = config.locks.iter().position(|lock| lock.name == *name);
    config.locks.remove(found.ok_or_else(|| ChangeRefusal::NoSuchLock(name.clone()))?);
    Ok(())
}

fn deletion(config: &ServerConfig, caller: &Caller, at: Timestamp) -> Deletion {
    let grace = config.delete_grace;
    let undo_until = (grace > Duration::ZERO).then(|| at.saturating_add(grace));
    Deletion { undo_until, ..Deletion::new(at, caller.by.clone()) }
}

fn undelete(config: &ServerConfig, at: Timestamp) -> Result<ServerConfig, ChangeRefusal> {
    match &config.deletion {
        None => Err(ChangeRefusal::NotDeleted),
        Some(Deletion { undo_until: Some(until), .. }) if at < *until => {
            // What was missed meanwhile is made up for, as after a pause.
            Ok(ServerConfig { deletion: None, resumed_at: Some(at), ..config.clone() })
        }
        Some(deletion) => Err(ChangeRefusal::Deleted(deletion.clone())),
    }
}

fn finish_deletion(config: &ServerConfig, at: Timestamp) -> Result<ServerConfig, ChangeRefusal> {
    let deletion = config.deletion.clone().ok_or(ChangeRefusal::NotDeleted)?;
    match deletion.undo_until {
        Some(undo_until) if at < undo_until => Err(ChangeRefusal::NotYet { undo_until }),
        _ => Ok(ServerConfig { deletion: Some(Deletion { undo_until: None, ..deletion }), ..config.clone() }),
    }
}

fn check_texts(caller: &Caller, change: &Change) -> Result<(), ChangeRefusal> {
    let within =
        |what, bytes, max| if bytes <= max { Ok(()) } else { Err(ChangeRefusal::TooLong { what, bytes, max }) };
    let fits = |what, text: &str| within(what, text.len(), TEXT_MAX);
    fits("the caller's name", &caller.by)?;
    match change {
        Change::PlaceLock { reason, .. } => fits("the reason", reason),
        Change::PlaceHold { name, .. } | Change::ReleaseHold { name, .. } => fits("the hold's name", name),
        Change::NoteParameters(parameters) => within("the text of all parameters", parameters.bytes(), PARAMETERS_MAX),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
