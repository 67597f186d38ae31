//! Changes of names: the moments at which objects appear, change and vanish.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::lock::Exclusive;
use super::root::{Root, is_missing, version};
use super::temporary::Temporary;
use super::{failed, invalid};
use crate::model::ObjectKey;
use crate::port::{PortError, PortErrorKind, PutMode, Version};

/// Makes what was written to `temporary` the object `key`, durably, if `mode` permits it.
pub(super) fn publish(
    root: &Root,
    temporary: &Temporary,
    key: &ObjectKey,
    mode: &PutMode,
) -> Result<Version, PortError> {
    let version = seal(root, temporary)?;
    let placed = place(root, temporary, key, mode);
    // Also after a conflict: whoever stored the object may have died before this.
    sync_directories(root, key)?;
    placed.map(|()| version)
}

/// Refuses what `mode` does not permit already before it is written.
pub(super) fn foresee(root: &Root, key: &ObjectKey, mode: &PutMode) -> Result<(), PortError> {
    let checked = check(root, key, mode);
    if checked.is_err() {
        sync_directories(root, key)?;
    }
    checked
}

fn check(root: &Root, key: &ObjectKey, mode: &PutMode) -> Result<(), PortError> {
    let current = root.find(key)?.and_then(|meta| meta.version);
    if mode.permits(current.as_ref()) { Ok(()) } else { Err(conflict(root, key)) }
}

/// Removes the object `key`, durably.
pub(super) fn delete(root: &Root, key: &ObjectKey) -> Result<(), PortError> {
    unlink(root, key)?;
    sync_directories(root, key)
}

/// Makes durable what directories hold. One that is gone by now has nothing to sync but in its parent, and one that may
/// not be read lies above the root and was not made by pitr.
pub(super) fn sync_all<'a>(mut directories: impl Iterator<Item = &'a Path>) -> Result<(), PortError> {
    directories.try_for_each(|directory| match File::open(directory) {
        Ok(opened) => opened.sync_all().map_err(failed("sync", directory)),
        Err(error) if is_missing(&error) || error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(failed("open", directory)(error)),
    })
}

/// Gives the content its version and makes both durable, before anybody can see them.
fn seal(root: &Root, temporary: &Temporary) -> Result<Version, PortError> {
    let (file, failed) = (temporary.file(), |what| failed(what, temporary.path()));
    let written = file.metadata().and_then(|metadata| metadata.modified()).map_err(failed("look up"))?;
    let time = Exclusive::acquire(root)?.draw(written)?;
    file.set_modified(time).map_err(failed("set the time of"))?;
    file.sync_all().map_err(failed("sync"))?;
    Ok(version(&file.metadata().map_err(failed("look up"))?))
}

fn place(root: &Root, temporary: &Temporary, key: &ObjectKey, mode: &PutMode) -> Result<(), PortError> {
    let _exclusive = Exclusive::acquire(root)?;
    check(root, key, mode)?;
    make_room(root, key)?;
    match mode {
        // A link fails where a name exists, even if it was made by someone who does not know the lock.
        PutMode::Create => temporary.link(&root.object(key)),
        PutMode::Overwrite | PutMode::Update(_) => temporary.rename(&root.object(key)),
    }
}

/// Makes the directories that lead to `key`. A directory in its place is what a killed process left, or holds objects.
fn make_room(root: &Root, key: &ObjectKey) -> Result<(), PortError> {
    let target = root.object(key);
    if root.look(key)?.is_some_and(|found| found.is_dir()) && fs::remove_dir(&target).is_err() {
        return Err(invalid(format!("{} is a directory, and cannot be an object as well", target.display())));
    }
    let directory = target.parent().expect("an object lies below the root");
    fs::create_dir_all(directory).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            invalid(format!("{} leads through an object, which cannot be a directory as well", target.display()))
        }
        _ => failed("make", directory)(error),
    })
}

fn unlink(root: &Root, key: &ObjectKey) -> Result<(), PortError> {
    let exclusive = Exclusive::acquire(root)?;
    let Some(found) = root.look(key)?.filter(fs::Metadata::is_file) else { return Ok(()) };
    let path = root.object(key);
    exclusive.pass(found.modified().map_err(failed("read the time of", &path))?)?;
    match fs::remove_file(&path) {
        Err(error) if !is_missing(&error) => return Err(failed("remove", &path)(error)),
        _ => remove_empty(root, key),
    }
    Ok(())
}

/// Removes the directories that held nothing but `key`. One that is not empty refuses, which ends it.
fn remove_empty(root: &Root, key: &ObjectKey) {
    let below_root = root.directories(key).into_iter().filter(|directory| directory != root.path());
    below_root.take_while(|directory| fs::remove_dir(directory).is_ok()).for_each(drop);
}

fn sync_directories(root: &Root, key: &ObjectKey) -> Result<(), PortError> {
    sync_all(root.directories(key).iter().map(AsRef::as_ref))
}

fn conflict(root: &Root, key: &ObjectKey) -> PortError {
    let context = format!("{key} in {} is not in the state that was demanded", root.path().display());
    PortError::new(PortErrorKind::Conflict, context)
}
