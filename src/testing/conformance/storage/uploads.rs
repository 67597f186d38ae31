//! Objects that are written piece by piece.

use bytes::Bytes;

use super::area::{Area, must, must_fail, pattern};
use crate::port::{PortErrorKind, PutMode, Storage, Upload};

/// As much as makes stores begin with what they would rather put off.
const PIECE_BYTES: usize = 6 << 20;

/// Nothing of an upload is visible before it is finished; until then a reader has what was there before.
///
/// # Panics
/// If not.
pub async fn upload_is_invisible_until_finish(storage: &dyn Storage) {
    let area = Area::new(storage, "upload_is_invisible_until_finish").await;
    area.put("old", "before").await;
    let new = begin(storage, &area, "new", PutMode::Create).await;
    let old = begin(storage, &area, "old", PutMode::Overwrite).await;
    assert_eq!(area.list(None, None).await, ["old"]);
    assert_eq!(area.find("new").await, None);
    assert_eq!(area.read("old").await, "before");
    for (name, upload) in [("new", new), ("old", old)] {
        let version = must(upload.finish().await, "finish", name);
        assert_eq!(area.head(name).await.version, Some(version), "head must give the version that finish returned");
        assert!(area.read(name).await == pattern(7, PIECE_BYTES), "a finished upload must be whole");
    }
    assert_eq!(area.list(None, None).await, ["new", "old"]);
    area.clear().await;
}

/// An upload is refused at its end, if not at its beginning, where its mode forbids it.
///
/// # Panics
/// If not.
pub async fn upload_obeys_its_mode(storage: &dyn Storage) {
    let area = Area::new(storage, "upload_obeys_its_mode").await;
    let first = area.put("object", "first").await;
    let second = area.put("object", "second").await;
    for mode in [PutMode::Create, PutMode::Update(first)] {
        let result = match storage.upload(&area.key("object"), mode.clone()).await {
            Ok(upload) => upload.finish().await,
            Err(error) => Err(error),
        };
        must_fail(result, PortErrorKind::Conflict, format_args!("an upload with {mode:?}"));
        assert_eq!(area.read("object").await, "second");
    }
    let upload = begin(storage, &area, "object", PutMode::Update(second)).await;
    must(upload.finish().await, "finish", "object");
    assert_eq!(area.head("object").await.bytes, PIECE_BYTES as u64);
    area.clear().await;
}

/// Of two uploads that create the same object, the first that is finished wins.
///
/// # Panics
/// If not.
pub async fn finish_decides(storage: &dyn Storage) {
    let area = Area::new(storage, "finish_decides").await;
    let early = begin(storage, &area, "object", PutMode::Create).await;
    let late = begin(storage, &area, "object", PutMode::Create).await;
    let version = must(late.finish().await, "finish", "object");
    must_fail(early.finish().await, PortErrorKind::Conflict, "the second upload that creates an object");
    assert_eq!(area.head("object").await.version.as_ref(), Some(&version));
    let first = begin(storage, &area, "object", PutMode::Update(version.clone())).await;
    let second = begin(storage, &area, "object", PutMode::Update(version)).await;
    must(first.finish().await, "finish", "object");
    must_fail(second.finish().await, PortErrorKind::Conflict, "the second upload that updates a version");
    area.clear().await;
}

/// An upload that is dropped leaves nothing visible, and harms no later one.
///
/// # Panics
/// If not.
pub async fn dropped_upload_leaves_nothing(storage: &dyn Storage) {
    let area = Area::new(storage, "dropped_upload_leaves_nothing").await;
    drop(begin(storage, &area, "a/object", PutMode::Create).await);
    assert_nothing_then_create(&area, "a/object").await;
}

/// An upload that is given up leaves nothing visible, and harms no later one.
///
/// # Panics
/// If not.
pub async fn aborted_upload_leaves_nothing(storage: &dyn Storage) {
    let area = Area::new(storage, "aborted_upload_leaves_nothing").await;
    let upload = begin(storage, &area, "a/object", PutMode::Create).await;
    must(upload.abort().await, "abort", "a/object");
    assert_nothing_then_create(&area, "a/object").await;
}

async fn begin(storage: &dyn Storage, area: &Area<'_>, name: &str, mode: PutMode) -> Box<dyn Upload> {
    let mut upload = must(storage.upload(&area.key(name), mode).await, "upload", name);
    let content = pattern(7, PIECE_BYTES);
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
