//! Storages by their addresses.

use pitr::adapter::{open_storage, system};
use pitr::model::ObjectKey;
use pitr::port::{PortErrorKind, PutMode, StorageExt};

#[tokio::test]
async fn an_address_is_a_storage() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("new directory");
    let name: ObjectKey = "object".parse().unwrap();
    for url in ["memory:".to_owned(), format!("file://{}", path.display())] {
        let storage = open_storage(&url, &system()).await.unwrap();
        storage.put(&name, "content".into(), PutMode::Create).await.unwrap();
        assert!(storage.exists(&name).await.unwrap(), "{url}");
    }
    assert_eq!(std::fs::read(path.join("object")).unwrap(), b"content");
}

#[cfg(feature = "cloud")]
#[tokio::test]
async fn the_cloud_is_named_by_its_address() {
    let storage = open_storage("s3://bucket/some/directory", &system()).await.unwrap();
    assert_eq!(storage.to_string(), "s3://bucket/some/directory");
}

#[tokio::test]
async fn what_is_no_address() {
    for url in ["", "memory", "memory:more", "file:relative", "file://host/path", "/path", "ftp://host", "s3:bucket"] {
        let error = open_storage(url, &system()).await.unwrap_err();
        assert_eq!(error.kind(), PortErrorKind::Invalid, "{url}: {error}");
    }
}
