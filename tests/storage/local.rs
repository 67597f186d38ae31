//! What a directory as storage does beyond the suite.

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::TryStreamExt;
use pitr::adapter::{LocalStorage, ThreadPool};
use pitr::model::ObjectKey;
use pitr::port::{PortError, PortErrorKind, PutMode, Storage, StorageExt, Version};

use super::directory;

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

async fn put(storage: &LocalStorage, name: &str) -> Result<Version, PortError> {
    storage.put(&key(name), name.to_owned().into(), PutMode::Create).await
}

async fn names(storage: &LocalStorage) -> Vec<String> {
    storage.list_all(None).await.unwrap().iter().map(|meta| meta.key.to_string()).collect()
}

fn temporaries(root: &Path) -> usize {
    fs::read_dir(root.join(".pitr/tmp")).map_or(0, Iterator::count)
}

fn assert_kind<T: std::fmt::Debug>(result: Result<T, PortError>, kind: PortErrorKind) {
    assert_eq!(result.unwrap_err().kind(), kind);
}

#[tokio::test]
async fn objects_are_plain_files() {
    let root = tempfile::tempdir().unwrap();
    let storage = directory(root.path().join("made/on/the/way")).await;
    put(&storage, "a/b.c/d").await.unwrap();
    assert_eq!(fs::read(storage.root().join("a/b.c/d")).unwrap(), b"a/b.c/d");
    fs::create_dir(storage.root().join("copied")).unwrap();
    fs::write(storage.root().join("copied/in"), "by hand").unwrap();
    assert_eq!(names(&storage).await, ["a/b.c/d", "copied/in"]);
    let version = storage.head(&key("copied/in")).await.unwrap().version.unwrap();
    storage.put(&key("copied/in"), "by pitr".into(), PutMode::Update(version)).await.unwrap();
    assert_eq!(fs::read(storage.root().join("copied/in")).unwrap(), b"by pitr");
    assert_eq!(temporaries(storage.root()), 0);
}

#[tokio::test]
async fn reading_leaves_no_trace() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("object"), "content").unwrap();
    let storage = directory(root.path()).await;
    assert_eq!(names(&storage).await, ["object"]);
    assert_eq!(storage.find(&key("object"), 100).await.unwrap().unwrap().0, "content");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn what_no_key_can_name_is_no_object() {
    let root = tempfile::tempdir().unwrap();
    let storage = directory(root.path()).await;
    put(&storage, "object").await.unwrap();
    fs::create_dir(root.path().join("lost+found")).unwrap();
    fs::write(root.path().join(".object.rsync"), "").unwrap();
    let _socket = UnixListener::bind(root.path().join("socket")).unwrap();
    assert_eq!(names(&storage).await, ["object"]);
    assert_kind(storage.get(&key("socket"), None).await, PortErrorKind::NotFound);
}

#[tokio::test]
async fn versions_are_unique_whatever_the_clock_says() {
    let root = tempfile::tempdir().unwrap();
    let storage = directory(root.path()).await;
    let ahead = SystemTime::now() + Duration::from_secs(1_000_000);
    put(&storage, "object").await.unwrap();
    File::options().write(true).open(root.path().join(".pitr/lock")).unwrap().set_modified(ahead).unwrap();
    let mut seen = Vec::new();
    for _ in 0..100 {
        seen.push(storage.put(&key("object"), "same".into(), PutMode::Overwrite).await.unwrap().as_str().to_owned());
    }
    assert!(seen.is_sorted_by(|one, next| one < next), "{seen:?}");
    File::open(root.path().join("object")).unwrap().set_modified(ahead + Duration::from_secs(1000)).unwrap();
    let copied = storage.head(&key("object")).await.unwrap().version.unwrap();
    storage.delete(&key("object")).await.unwrap();
    let reborn = storage.put(&key("object"), "same".into(), PutMode::Create).await.unwrap();
    assert!(reborn.as_str() > copied.as_str(), "{reborn:?} after {copied:?}");
}

#[tokio::test]
async fn a_name_is_an_object_or_a_directory() {
    let root = tempfile::tempdir().unwrap();
    let storage = directory(root.path()).await;
    put(&storage, "a").await.unwrap();
    assert_kind(put(&storage, "a/b").await, PortErrorKind::Invalid);
    assert_kind(storage.get(&key("a/b"), None).await, PortErrorKind::NotFound);
    storage.delete(&key("a/b")).await.unwrap();
    storage.delete(&key("a")).await.unwrap();
    put(&storage, "a/b").await.unwrap();
    for mode in [PutMode::Create, PutMode::Overwrite] {
        assert_kind(storage.put(&key("a"), "".into(), mode).await, PortErrorKind::Invalid);
    }
    storage.delete(&key("a")).await.unwrap();
    assert_eq!(names(&storage).await, ["a/b"]);
    storage.delete(&key("a/b")).await.unwrap();
    fs::create_dir(root.path().join("a")).unwrap();
    put(&storage, "a").await.expect("an empty directory of a killed process is no obstacle");
}

#[tokio::test]
async fn symbolic_links_are_not_followed() {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let storage = directory(root.path()).await;
    symlink(outside.path(), root.path().join("directory")).unwrap();
    symlink(outside.path().join("secret"), root.path().join("file")).unwrap();
    for name in ["directory/secret", "file"] {
        let key = key(name);
        assert_kind(storage.get(&key, None).await, PortErrorKind::Invalid);
        assert_kind(storage.head(&key).await, PortErrorKind::Invalid);
        assert_kind(storage.put(&key, "".into(), PutMode::Create).await, PortErrorKind::Invalid);
        assert_kind(storage.put(&key, "".into(), PutMode::Overwrite).await, PortErrorKind::Invalid);
        assert_kind(storage.upload(&key).await, PortErrorKind::Invalid);
        assert_kind(storage.delete(&key).await, PortErrorKind::Invalid);
    }
    assert_kind(storage.list_all(Some(&key("directory"))).await, PortErrorKind::Invalid);
    assert_eq!(names(&storage).await, [""; 0]);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"secret");
}

#[tokio::test]
async fn a_root_may_be_a_symbolic_link() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("real")).unwrap();
    symlink("real", root.path().join("link")).unwrap();
    put(&directory(root.path().join("link")).await, "object").await.unwrap();
    assert!(root.path().join("real/object").is_file());
}

#[tokio::test]
async fn opening_removes_what_the_dead_left_long_ago() {
    let root = tempfile::tempdir().unwrap();
    let storage = directory(root.path()).await;
    let mut upload = storage.upload(&key("object")).await.unwrap();
    let live = fs::read_dir(root.path().join(".pitr/tmp")).unwrap().next().unwrap().unwrap().path();
    let (old, new) = (live.with_file_name("old"), live.with_file_name("new"));
    for path in [&old, &new] {
        fs::write(path, "half").unwrap();
    }
    for path in [&live, &old] {
        File::open(path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(2 * 60 * 60)).unwrap();
    }
    directory(root.path()).await;
    assert_eq!([&live, &old, &new].map(|path| path.exists()), [true, false, true]);
    upload.write("content".into()).await.unwrap();
    upload.finish().await.unwrap();
    assert_eq!(names(&storage).await, ["object"]);
}

#[tokio::test]
async fn uploads_without_an_end_leave_no_file() {
    let root = tempfile::tempdir().unwrap();
    let one_thread = Arc::new(ThreadPool::new(NonZeroUsize::MIN));
    let storage = LocalStorage::open(root.path(), one_thread).await.unwrap();
    let begin = async || {
        let mut upload = storage.upload(&key("object")).await.unwrap();
        upload.write(vec![1; 1 << 20].into()).await.unwrap();
        assert_eq!(temporaries(root.path()), 1);
        upload
    };
    drop(begin().await);
    assert_kind(storage.head(&key("object")).await, PortErrorKind::NotFound);
    assert_eq!(temporaries(root.path()), 0, "the one thread did this before it looked for the object");
    begin().await.abort().await.unwrap();
    assert_eq!(temporaries(root.path()), 0);
}

#[tokio::test]
async fn a_body_that_is_cut_short_ends_in_an_error() {
    let root = tempfile::tempdir().unwrap();
    let storage = directory(root.path()).await;
    storage.put(&key("object"), vec![1; 8 << 20].into(), PutMode::Create).await.unwrap();
    let read = storage.get(&key("object"), None).await.unwrap();
    File::options().write(true).open(root.path().join("object")).unwrap().set_len(5 << 20).unwrap();
    let chunks: Result<Vec<_>, _> = read.body.try_collect().await;
    assert_kind(chunks, PortErrorKind::Invalid);
}
