//! Listings.

use futures::{StreamExt, TryStreamExt};

use super::area::{Area, must};
use crate::port::{ObjectMeta, Storage};

/// Names whose order goes wrong easily, in the right one: `-` and `.` come before `/`, digits after it, and upper case
/// before lower.
const NAMES: [&str; 16] = [
    "B", "a-", "a--/x", "a-b", "a.b", "a.b-c/x", "a/-", "a/b-c", "a/b.c/d", "a/b/c", "a/b/d", "a/b0", "a/c", "a0",
    "aa/x", "b",
];

/// Listings are in bytewise order of whole keys, across directories, and describe each object as `head` does.
///
/// # Panics
/// If not.
pub async fn list_order(storage: &dyn Storage) {
    let area = filled(storage, "list_order").await;
    assert_eq!(area.list(None, None).await, NAMES);
    let all: Vec<ObjectMeta> = must(storage.list(None, None).try_collect().await, "list", "everything");
    assert!(all.is_sorted_by(|one, next| one.key < next.key), "a listing of everything must be in order");
    for name in NAMES {
        let head = area.head(name).await;
        let found = all.iter().find(|meta| meta.key == head.key);
        let mut listed = found.unwrap_or_else(|| panic!("{} is missing in a listing of everything", head.key)).clone();
        listed.version = listed.version.or_else(|| head.version.clone());
        assert_eq!(listed, head, "a listing must describe an object as head does");
    }
    area.clear().await;
}

/// A listing can go on after any key, whether it exists or not.
///
/// # Panics
/// If not.
pub async fn list_after(storage: &dyn Storage) {
    let area = filled(storage, "list_after").await;
    for after in NAMES.iter().chain(&["A", "a", "a.", "a/a", "a/b", "a/b-", "a/b/cc", "a1", "c"]) {
        let expected: Vec<_> = NAMES.iter().copied().filter(|name| name > after).collect();
        assert_eq!(area.list(None, Some(after)).await, expected, "what comes after {after}");
        let below: Vec<_> = expected.into_iter().filter(|name| name.starts_with("a/b/")).collect();
        assert_eq!(area.list(Some("a/b"), Some(after)).await, below, "what comes after {after} below a/b");
    }
    area.clear().await;
}

/// A directory is no string prefix: `a/bc` does not lie below `a/b`, nor does `a/b` itself.
///
/// # Panics
/// If not.
pub async fn list_below_directory(storage: &dyn Storage) {
    let area = filled(storage, "list_below_directory").await;
    for directory in ["a", "a/b", "a-", "a.b-c", "aa", "b", "missing", "missing/too", "a/b/c"] {
        let expected: Vec<_> = NAMES.iter().copied().filter(|name| is_below(name, directory)).collect();
        assert_eq!(area.list(Some(directory), None).await, expected, "what lies below {directory}");
    }
    area.clear().await;
}

/// Directories are those that hold something, each once, in the order of what they hold.
///
/// # Panics
/// If not.
pub async fn list_directories(storage: &dyn Storage) {
    let area = filled(storage, "list_directories").await;
    for directory in [None, Some("a"), Some("a/b"), Some("a-"), Some("missing")] {
        let start = directory.map_or(0, |directory| directory.len() + 1);
        let below = |name: &&str| directory.is_none_or(|directory| is_below(name, directory));
        let inside =
            NAMES.iter().copied().filter(below).filter_map(|name| Some(&name[..start + name[start..].find('/')?]));
        let mut expected: Vec<_> = inside.collect();
        expected.dedup();
        assert_eq!(area.list_directories(directory).await, expected, "the directories in {directory:?}");
    }
    let all: Vec<_> = must(storage.list_directories(None).try_collect().await, "list directories", "of all");
    assert!(all.iter().any(|directory| directory.as_str() == "conformance"), "{all:?}");
    for name in ["a/b/c", "a/b/d", "a/b.c/d"] {
        area.delete(name).await;
    }
    assert_eq!(area.list_directories(Some("a")).await, [""; 0], "directories end with what they held");
    area.clear().await;
}

fn is_below(name: &str, directory: &str) -> bool {
    name.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// A listing shows what was written and does not show what was deleted before it began.
///
/// # Panics
/// If not.
pub async fn list_follows_writes(storage: &dyn Storage) {
    let area = Area::new(storage, "list_follows_writes").await;
    for round in 0..10 {
        area.put("a/b/object", format!("round {round}")).await;
        assert_eq!(area.list(None, None).await, ["a/b/object"]);
        area.delete("a/b/object").await;
        assert_eq!(area.list(None, None).await, [""; 0]);
    }
    area.clear().await;
}

/// There may be more objects and directories than a store lists at a time, and a listing can be left in the middle.
///
/// # Panics
/// If not.
pub async fn list_many(storage: &dyn Storage) {
    let area = Area::new(storage, "list_many").await;
    let names: Vec<String> = (0..1100).map(|number| format!("{:04}/{number}", number.min(1050))).collect();
    area.put_all(&names).await;
    assert!(area.list(None, None).await == names, "all of {} objects must be listed, in order", names.len());
    let mut directories: Vec<_> = names.iter().map(|name| name[..4].to_owned()).collect();
    directories.dedup();
    let listed = area.list_directories(None).await;
    assert!(listed == directories, "all of {} directories must be listed, in order", directories.len());
    let first: Vec<_> = storage.list(Some(&area.key("1050")), None).take(3).try_collect().await.unwrap_or_default();
    assert_eq!(first.len(), 3, "a listing may be left in the middle");
    area.clear().await;
}

async fn filled<'a>(storage: &'a dyn Storage, check: &str) -> Area<'a> {
    let area = Area::new(storage, check).await;
    for name in NAMES.iter().rev() {
        area.put(name, *name).await;
    }
    area
}
