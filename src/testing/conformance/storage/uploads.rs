//! Objects that are written piece by piece.

use bytes::Bytes;

use super::area::{Area, must, must_fail, pattern};
use crate::port::{PortError, PortErrorKind, PutMode, Storage, Upload, Version};

/// As much as makes stores begin with what they would rather put off.
const PIECE_BYTES: usize = 6 << 20;

/// Nothing of an upload is visible before it is finished, and then all of it.
///
/// # Panics
/// If not.
pub async fn upload_is_invisible_until_finish(storage: &dyn Storage) {
    let area = Area::new(storage, "upload_is_invisible_until_finish").await;
    area.put("old", "before").await;
    let upload = begin(storage, &area, "new", 7).await;
    assert_eq!(area.list(None, None).await, ["old"]);
    assert_eq!(area.find("new").await, None);
    let version = must(upload.finish().await, "finish", "new");
    assert_eq!(area.head("new").await.version, Some(version), "head must give the version that finish returned");
    assert!(area.read("new").await == pattern(7, PIECE_BYTES), "a finished upload must be whole");
    assert_eq!(area.list(None, None).await, ["new", "old"]);
    area.clear().await;
}

/// An upload is refused at its end, if not at its beginning, where there is an object; be it short or long.
///
/// # Panics
/// If not.
pub async fn upload_keeps_what_exists(storage: &dyn Storage) {
    let area = Area::new(storage, "upload_keeps_what_exists").await;
    area.put("object", "first").await;
    for pieces in [0, 1, 3] {
        must_fail(again(storage, &area, pieces).await, PortErrorKind::Conflict, "an upload over an object");
        assert_eq!(area.read("object").await, "first");
    }
    area.clear().await;
}

async fn again(storage: &dyn Storage, area: &Area<'_>, pieces: u64) -> Result<Version, PortError> {
    let mut upload = storage.upload(&area.key("object")).await?;
    for piece in 0..pieces {
        upload.write(pattern(piece, PIECE_BYTES)).await?;
    }
    upload.finish().await
}

/// Of two uploads that create the same object, the first that is finished wins.
///
/// # Panics
/// If not.
pub async fn finish_decides(storage: &dyn Storage) {
    let area = Area::new(storage, "finish_decides").await;
    let early = begin(storage, &area, "object", 1).await;
    let late = begin(storage, &area, "object", 2).await;
    let version = must(late.finish().await, "finish", "object");
    must_fail(early.finish().await, PortErrorKind::Conflict, "the second upload that creates an object");
    assert_eq!(area.head("object").await.version, Some(version));
    let early = begin(storage, &area, "other", 3).await;
    area.put("other", "put meanwhile").await;
    must_fail(early.finish().await, PortErrorKind::Conflict, "an upload that was overtaken");
    assert_eq!(area.read("other").await, "put meanwhile");
    area.clear().await;
}

/// An upload that is dropped leaves nothing visible, and harms no later one.
///
/// # Panics
/// If not.
pub async fn dropped_upload_leaves_nothing(storage: &dyn Storage) {
    let area = Area::new(storage, "dropped_upload_leaves_nothing").await;
    drop(begin(storage, &area, "a/object", 7).await);
    assert_nothing_then_create(&area, "a/object").await;
}

/// An upload that is given up leaves nothing visible, and harms no later one.
///
/// # Panics
/// If not.
pub async fn aborted_upload_leaves_nothing(storage: &dyn Storage) {
    let area = Area::new(storage, "aborted_upload_leaves_nothing").await;
    let upload = begin(storage, &area, "a/object", 7).await;
    must(upload.abort().await, "abort", "a/object");
    assert_nothing_then_create(&area, "a/object").await;
}

async fn begin(storage: &dyn Storage, area: &Area<'_>, name: &str, seed: u64) -> Box<dyn Upload> {
    let mut upload = must(storage.upload(&area.key(name)).await, "upload", name);
    let content = pattern(seed, PIECE_BYTES);
    for piece in [content.slice(..1), Bytes::new(), content.slice(1..)] {
        must(upload.write(piece).await, "write", name);
    }
    upload
}

async fn assert_nothing_then_create(area: &Area<'_>, name: &str) {
    assert_eq!(area.find(name).await, None);
    assert_eq!(area.list(None, None).await, [""; 0]);
    must(area.try_put(name, "content", PutMode::Create).await, "create after an upload without an end", name);
    assert_eq!(area.read(name).await, "content");
    area.clear().await;
}
