//! What every storage must do.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use pitr::adapter::{RequestKind, RetryPolicy, RetryStorage, system};
use pitr::port::{PutMode, Storage};
use pitr::testing::conformance::storage::run_all;

use super::stores::{Kind, Store};

async fn conforms(kind: Kind) {
    let store = Store::start(kind);
    let all = store.storage("");
    run_all(&all).await;
    let directory = store.storage("/a/directory");
    run_all(&RetryStorage::new(Arc::new(directory), RetryPolicy::default(), system())).await;
    let left: Vec<_> = all.list(None, None).try_collect().await.unwrap();
    assert_eq!(left, [], "the checks clean up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_conforms() {
    conforms(Kind::S3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azure_conforms() {
    conforms(Kind::Azure).await;
}

/// A directory sees its own, and no one else's.
async fn directories_are_apart(kind: Kind) {
    let store = Store::start(kind);
    let (all, a, ab) = (store.storage(""), store.storage("/a"), store.storage("/ab/"));
    let key = "object".parse().unwrap();
    for (storage, content) in [(&all, "all"), (&a, "a"), (&ab, "ab")] {
        storage.put(&key, content.into(), PutMode::Create).await.unwrap();
    }
    let listed = async |storage: &dyn Storage| -> Vec<String> {
        storage.list(None, None).map_ok(|meta| meta.key.to_string()).try_collect().await.unwrap()
    };
    assert_eq!(listed(&all).await, ["a/object", "ab/object", "object"]);
    assert_eq!(listed(&a).await, ["object"]);
    assert_eq!(listed(&ab).await, ["object"]);
    a.delete(&key).await.unwrap();
    assert_eq!(listed(&all).await, ["ab/object", "object"]);
}

#[tokio::test]
async fn directories_of_s3_are_apart() {
    directories_are_apart(Kind::S3).await;
}

#[tokio::test]
async fn directories_of_azure_are_apart() {
    directories_are_apart(Kind::Azure).await;
}

/// What is paid for: a short upload is one request, a long one as many as it has parts, and two.
#[tokio::test]
async fn requests_are_counted() {
    let store = Store::start(Kind::S3);
    let storage = store.storage("");
    let sent = || -> Vec<_> { storage.requests().filter(|(_, count)| *count > 0).collect() };
    let mut short = storage.upload(&"short".parse().unwrap()).await.unwrap();
    short.write(Bytes::from_static(b"content")).await.unwrap();
    short.finish().await.unwrap();
    assert_eq!(sent(), [(RequestKind::Put, 1)]);
    let mut long = storage.upload(&"long".parse().unwrap()).await.unwrap();
    for _ in 0..20 {
        long.write(vec![1; 1 << 20].into()).await.unwrap();
    }
    long.finish().await.unwrap();
    assert_eq!(sent(), [(RequestKind::Put, 4), (RequestKind::Post, 2)]);
    storage.head(&"long".parse().unwrap()).await.unwrap();
    storage.get(&"long".parse().unwrap(), Some(0..9)).await.unwrap();
    let _: Vec<_> = storage.list(None, None).try_collect().await.unwrap();
    let expected = [RequestKind::Get, RequestKind::Head, RequestKind::List, RequestKind::Put, RequestKind::Post];
    assert_eq!(sent(), expected.into_iter().zip([1, 1, 1, 4, 2]).collect::<Vec<_>>());
}
