//! Writing, reading and deleting.

use bytes::Bytes;
use futures::future::join;
use futures::{StreamExt, TryStreamExt};

use super::area::{Area, must, must_fail, pattern};
use crate::port::{ObjectRead, PortError, PortErrorKind, Storage};

/// What was put is read, described and deleted.
///
/// # Panics
/// If not.
pub async fn put_get(storage: &dyn Storage) {
    let area = Area::new(storage, "put_get").await;
    let version = area.put("a/b", "content").await;
    assert_eq!(area.read("a/b").await, "content");
    let read = must(storage.get(&area.key("a/b"), None).await, "get", "a/b");
    let head = area.head("a/b").await;
    assert_eq!(read.meta, head, "get and head must describe the object alike");
    assert_eq!((&head.key, head.bytes), (&area.key("a/b"), 7));
    assert_eq!(head.version, Some(version), "head must give the version that put returned");
    area.put("a/b", "other content").await;
    assert_eq!(area.read("a/b").await, "other content", "an overwritten object has its new content");
    area.delete("a/b").await;
    assert_eq!(area.find("a/b").await, None, "a deleted object is gone");
    area.clear().await;
}

/// An object may be empty.
///
/// # Panics
/// If not.
pub async fn empty_object(storage: &dyn Storage) {
    let area = Area::new(storage, "empty_object").await;
    area.put("empty", "").await;
    assert_eq!(area.read("empty").await, "");
    assert_eq!(area.head("empty").await.bytes, 0);
    assert_eq!(range(storage, &area, "empty", 0, 0).await, "");
    assert_eq!(area.list(None, None).await, ["empty"]);
    let upload = storage.upload(&area.key("uploaded")).await;
    must(must(upload, "upload", "uploaded").finish().await, "finish", "uploaded");
    assert_eq!(area.read("uploaded").await, "", "an upload without a write makes an empty object");
    area.clear().await;
}

/// An object of many chunks comes back as it was.
///
/// # Panics
/// If not.
pub async fn large_object(storage: &dyn Storage) {
    const LENGTH: usize = (12 << 20) + 12_345;
    let area = Area::new(storage, "large_object").await;
    let content = pattern(1, LENGTH);
    let upload = storage.upload(&area.key("large")).await;
    let mut upload = must(upload, "upload", "large");
    for start in (0..LENGTH).step_by(1_000_003) {
        let piece = content.slice(start..LENGTH.min(start + 1_000_003));
        must(upload.write(piece).await, "write", "large");
    }
    must(upload.finish().await, "finish", "large");
    assert_eq!(area.head("large").await.bytes, LENGTH as u64);
    assert!(area.read("large").await == content, "a large object must come back as it was written");
    let middle = range(storage, &area, "large", 1_000_000, 9_000_001).await;
    assert!(middle == content.slice(1_000_000..9_000_001), "so must a range of it");
    area.clear().await;
}

/// Ranges give their bytes, and those beyond the end are refused.
///
/// # Panics
/// If not.
pub async fn ranges(storage: &dyn Storage) {
    let area = Area::new(storage, "ranges").await;
    area.put("digits", "0123456789").await;
    for (start, end) in [(0, 10), (0, 1), (3, 7), (9, 10), (0, 0), (4, 4), (10, 10)] {
        let expected = &b"0123456789"[start..end];
        assert_eq!(range(storage, &area, "digits", start, end).await, expected, "bytes {start}..{end}");
    }
    for (start, end) in [(0, 11), (10, 11), (11, 11), (7, 3), (0, u64::MAX)] {
        let read = storage.get(&area.key("digits"), Some(start..end)).await;
        must_fail(read, PortErrorKind::Invalid, format_args!("get of bytes {start}..{end} of ten"));
    }
    let missing = storage.get(&area.key("missing"), Some(0..1)).await;
    must_fail(missing, PortErrorKind::NotFound, "get of a range of a missing object");
    area.clear().await;
}

/// What does not exist is [`PortErrorKind::NotFound`], also where other objects have similar names.
///
/// # Panics
/// If not.
pub async fn missing_is_not_found(storage: &dyn Storage) {
    let area = Area::new(storage, "missing_is_not_found").await;
    area.put("a/b", "content").await;
    for name in ["missing", "a", "a/b/c", "a/bc", "a/b-", "b"] {
        must_fail(storage.get(&area.key(name), None).await, PortErrorKind::NotFound, format_args!("get of {name}"));
        must_fail(storage.head(&area.key(name)).await, PortErrorKind::NotFound, format_args!("head of {name}"));
    }
    area.clear().await;
}

/// Of many objects, those that are named are deleted, and what is missing of them harms nothing.
///
/// # Panics
/// If not.
pub async fn delete_all(storage: &dyn Storage) {
    let area = Area::new(storage, "delete_all").await;
    let name = |number: usize| format!("a/{number}");
    for number in 0..20 {
        area.put(&name(number), "content").await;
    }
    let named: Vec<_> = (0..20).step_by(2).chain([20, 21]).map(|number| area.key(&name(number))).collect();
    for keys in [&named[..], &[], &named[..1]] {
        let deleted = storage.delete_all(keys).await;
        assert!(deleted.is_ok(), "deleting {} objects: {deleted:?}", keys.len());
    }
    for number in 0..20 {
        let is_there = storage.head(&area.key(&name(number))).await.is_ok();
        assert_eq!(is_there, number % 2 == 1, "{} of which the even ones were deleted", name(number));
    }
    area.clear().await;
}

/// What does not exist can be deleted, which harms nothing.
///
/// # Panics
/// If not.
pub async fn delete_missing_is_fine(storage: &dyn Storage) {
    let area = Area::new(storage, "delete_missing_is_fine").await;
    area.put("a/b", "content").await;
    for name in ["missing", "missing/too", "a", "a/b/c", "a/bc"] {
        area.delete(name).await;
    }
    assert_eq!(area.read("a/b").await, "content");
    area.delete("a/b").await;
    area.delete("a/b").await;
    area.clear().await;
}

/// Whoever reads while an object is overwritten again and again meets one whole content, or that the store cannot
/// answer just then.
///
/// # Panics
/// If not.
pub async fn overwrite_is_atomic(storage: &dyn Storage) {
    const ROUNDS: u8 = 20;
    const LENGTH: usize = 200_000;
    let area = Area::new(storage, "overwrite_is_atomic").await;
    let content = |round: u8| Bytes::from(vec![round; LENGTH - usize::from(round)]);
    area.put("object", content(0)).await;
    let write = async {
        for round in 1..=ROUNDS {
            area.put("object", content(round)).await;
        }
    };
    let read = async {
        for _ in 0..ROUNDS {
            match storage.get(&area.key("object"), None).await {
                // A store may be unable to answer just then. That the object is gone, it must not say.
                Err(error) if error.kind() == PortErrorKind::Unavailable => {}
                read => assert_whole(must(read, "get", "object"), content).await,
            }
        }
    };
    join(write, read).await;
    assert!(area.read("object").await == content(ROUNDS), "the last write must win");
    area.clear().await;
}

/// A read that began before an overwrite ends with the content that it began with, or in an error.
///
/// # Panics
/// If not.
pub async fn read_while_overwritten(storage: &dyn Storage) {
    let area = Area::new(storage, "read_while_overwritten").await;
    let content = |seed: u8| pattern(seed.into(), 5 << 20);
    area.put("object", content(1)).await;
    let read = must(storage.get(&area.key("object"), None).await, "get", "object");
    area.put("object", content(2)).await;
    assert_same_or_error(read, &content(1)).await;
    assert!(area.read("object").await == content(2), "a later read must give the new content");
    area.clear().await;
}

/// A read that began before a deletion ends with the whole content, or in an error.
///
/// # Panics
/// If not.
pub async fn read_while_deleted(storage: &dyn Storage) {
    let area = Area::new(storage, "read_while_deleted").await;
    let content = pattern(3, 5 << 20);
    area.put("object", content.clone()).await;
    let read = must(storage.get(&area.key("object"), None).await, "get", "object");
    area.delete("object").await;
    assert_same_or_error(read, &content).await;
    area.clear().await;
}

async fn range(storage: &dyn Storage, area: &Area<'_>, name: &str, start: usize, end: usize) -> Bytes {
    let whole = area.head(name).await;
    let read = storage.get(&area.key(name), Some(start as u64..end as u64)).await;
    let read = must(read, "get a range", name);
    assert_eq!(read.meta, whole, "a read of a range must describe the whole object");
    must(read.collect(end - start).await, "read a range", name)
}

/// An error is an honest answer, another content is not.
async fn assert_whole(read: ObjectRead, content: impl Fn(u8) -> Bytes) {
    let bytes = read.meta.bytes;
    let Ok(body) = collect(read).await else { return };
    assert_eq!(body.len() as u64, bytes, "the body must be as long as its description says");
    let round = body.first().copied().unwrap_or_default();
    assert!(body == content(round), "a read gave bytes of several writes");
}

async fn assert_same_or_error(read: ObjectRead, content: &Bytes) {
    let Ok(body) = collect(read).await else { return };
    assert!(body == content, "a read must give the content that it began with");
}

async fn collect(read: ObjectRead) -> Result<Bytes, PortError> {
    let chunks: Vec<Bytes> = read.body.boxed().try_collect().await?;
    Ok(chunks.concat().into())
}
