//! Conditional writes.

use std::collections::BTreeSet;

use futures::future::join_all;

use super::area::{Area, must, must_fail};
use crate::port::{PortErrorKind, PutMode, Storage, Version};

/// How many writers race.
const WRITERS: usize = 16;

/// `Create` never replaces an object, and works again after it was deleted.
///
/// # Panics
/// If not.
pub async fn create_keeps_what_exists(storage: &dyn Storage) {
    let area = Area::new(storage, "create_keeps_what_exists").await;
    let version = must(area.try_put("object", "first", PutMode::Create).await, "create", "object");
    let again = area.try_put("object", "second", PutMode::Create).await;
    must_fail(again, PortErrorKind::Conflict, "a second create");
    assert_eq!(area.read("object").await, "first");
    assert_eq!(area.head("object").await.version, Some(version), "a refused write must leave the version");
    area.delete("object").await;
    must(area.try_put("object", "third", PutMode::Create).await, "create after a deletion", "object");
    assert_eq!(area.read("object").await, "third");
    area.clear().await;
}

/// `Update` replaces the version that it names, and no other.
///
/// # Panics
/// If not.
pub async fn update_needs_the_version(storage: &dyn Storage) {
    let area = Area::new(storage, "update_needs_the_version").await;
    let first = area.put("object", "first").await;
    let second = area.try_put("object", "second", PutMode::Update(first.clone())).await;
    let second = must(second, "update", "object");
    let stale = area.try_put("object", "stale", PutMode::Update(first)).await;
    must_fail(stale, PortErrorKind::Conflict, "an update of a version that was replaced");
    assert_eq!(area.read("object").await, "second");
    area.delete("object").await;
    let missing = area.try_put("object", "missing", PutMode::Update(second.clone())).await;
    must_fail(missing, PortErrorKind::Conflict, "an update of an object that was deleted");
    area.put("object", "reborn").await;
    let late = area.try_put("object", "late", PutMode::Update(second)).await;
    must_fail(late, PortErrorKind::Conflict, "an update of a version that was deleted, where there is another by now");
    area.clear().await;
}

/// Every write of other bytes, of as many of them as before, gives a version that the object never had.
///
/// # Panics
/// If not.
pub async fn version_changes_with_the_content(storage: &dyn Storage) {
    const WRITES: usize = 50;
    let area = Area::new(storage, "version_changes_with_the_content").await;
    let mut versions = BTreeSet::new();
    for write in 0..WRITES {
        let version = area.put("object", format!("write {write:4}")).await;
        assert_eq!(
            area.head("object").await.version.as_ref(),
            Some(&version),
            "head must give the version of the write"
        );
        versions.insert(version.as_str().to_owned());
    }
    for write in WRITES..2 * WRITES {
        area.delete("object").await;
        versions.insert(area.put("object", format!("write {write:4}")).await.as_str().to_owned());
    }
    assert_eq!(versions.len(), 2 * WRITES, "each write must give a version of its own");
    area.clear().await;
}

/// Of several who create an object at the same time, exactly one succeeds, and its content is there.
///
/// # Panics
/// If not.
pub async fn create_race(storage: &dyn Storage) {
    let area = Area::new(storage, "create_race").await;
    for round in 0..5 {
        let name = format!("directory-{round}/object");
        race(&area, &name, round, &PutMode::Create).await;
    }
    area.clear().await;
}

/// Of several who update the same version at the same time, exactly one succeeds, and its content is there.
///
/// # Panics
/// If not.
pub async fn update_race(storage: &dyn Storage) {
    let area = Area::new(storage, "update_race").await;
    let mut version = area.put("object", "first").await;
    for round in 0..5 {
        version = race(&area, "object", round, &PutMode::Update(version)).await;
    }
    area.clear().await;
}

async fn race(area: &Area<'_>, name: &str, round: usize, mode: &PutMode) -> Version {
    let content = |writer: usize| format!("round {round}, writer {writer}");
    let attempts = (0..WRITERS).map(|writer| area.try_put(name, content(writer), mode.clone()));
    let mut winner = None;
    for (writer, result) in join_all(attempts).await.into_iter().enumerate() {
        match result {
            Ok(version) if winner.is_none() => winner = Some((writer, version)),
            Ok(_) => panic!("{winner:?} won a race with {mode:?}, but so did writer {writer}"),
            lost => {
                must_fail(lost, PortErrorKind::Conflict, format_args!("{mode:?} of writer {writer}, who lost a race,"))
            }
        }
    }
    let (writer, version) = winner.unwrap_or_else(|| panic!("nobody won a race with {mode:?}"));
    assert_eq!(area.read(name).await, content(writer), "the winner's content must be there");
    assert_eq!(area.head(name).await.version.as_ref(), Some(&version), "in the winner's version");
    version
}
