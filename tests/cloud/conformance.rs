//! What every storage must do.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use pitr::adapter::{CloudStorage, RequestKind, RetryPolicy, RetryStorage, system};
use pitr::format::layout::{ObjectKind, ServerLayout};
use pitr::model::ObjectKey;
use pitr::port::{PutMode, Storage};
use pitr::testing::conformance::storage::{self as suite, run_all};

use super::rough::check;
use super::stores::{Kind, Store};

async fn conforms(kind: Kind) {
    let store = Store::start(kind);
    let all = store.storage("");
    run_all(&all).await;
    let directory = store.storage("/a/directory");
    check(&RetryStorage::new(Arc::new(directory), RetryPolicy::default(), system())).await;
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

/// Log stays at hand, packs of snapshots are cool, however they are stored.
async fn classes_are_told(kind: Kind, class: &str) {
    let store = Store::start(kind);
    let options = store.options(store.address).storage_class(ObjectKind::Pack, class);
    let storage = CloudStorage::open(&store.url("/a"), &options, &system()).unwrap();
    let layout = ServerLayout::new(&"prod".parse().unwrap());
    let id = "20261123T210908Z-0a1b2c3d".parse().unwrap();
    let pieces = [(layout.pack(&id, 0), 1), (layout.pack(&id, 1), 20), (layout.manifest(&id), 20)];
    for (key, mebibytes) in &pieces {
        let mut upload = storage.upload(key).await.unwrap();
        for _ in 0..*mebibytes {
            upload.write(vec![1; 1 << 20].into()).await.unwrap();
        }
        upload.finish().await.unwrap();
    }
    let told = pieces.map(|(key, _)| store.class(&format!("a/{key}")));
    assert_eq!(told[..2], [Some(class.to_owned()), Some(class.to_owned())]);
    assert_ne!(told[2].as_deref(), Some(class));
    let malformed = store.options(store.address).storage_class(ObjectKind::Pack, "no\nclass");
    assert!(CloudStorage::open(&store.url(""), &malformed, &system()).is_err());
}

#[tokio::test]
async fn classes_of_s3_are_told() {
    classes_are_told(Kind::S3, "STANDARD_IA").await;
}

#[tokio::test]
async fn tiers_of_azure_are_told() {
    classes_are_told(Kind::Azure, "Cool").await;
}

/// A store that encrypts by itself, as well, is told how, however an object comes there.
#[tokio::test]
async fn encryption_by_the_store_is_asked_for() {
    let store = Store::start(Kind::S3);
    let key_id = "arn:aws:kms:us-east-1:123456789012:key/backups";
    let options = store.options(store.address).set("aws_server_side_encryption", "aws:kms");
    let options = options.set("aws_sse_kms_key_id", key_id);
    let storage = CloudStorage::open(&store.url("/a"), &options, &system()).unwrap();
    let [put, short, long]: [ObjectKey; 3] = ["put", "short", "long"].map(|name| name.parse().unwrap());
    storage.put(&put, Bytes::from_static(b"content"), PutMode::Create).await.unwrap();
    for (key, mebibytes) in [(&short, 1), (&long, 20)] {
        let mut upload = storage.upload(key).await.unwrap();
        for _ in 0..mebibytes {
            upload.write(vec![1; 1 << 20].into()).await.unwrap();
        }
        upload.finish().await.unwrap();
    }
    for key in [put, short, long] {
        let header = |name| store.header(&format!("a/{key}"), name);
        assert_eq!(header("x-amz-server-side-encryption").as_deref(), Some("aws:kms"), "{key}");
        assert_eq!(header("x-amz-server-side-encryption-aws-kms-key-id").as_deref(), Some(key_id), "{key}");
    }
}

/// Uploads as Google's are made, and those of some kin of S3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_by_copy_conform() {
    let store = Store::start(Kind::S3);
    let options = store.options(store.address).set("aws_copy_if_not_exists", "multipart").upload_by_copy();
    let storage = CloudStorage::open(&store.url("/a/directory"), &options, &system()).unwrap();
    suite::large_object(&storage).await;
    suite::upload_is_invisible_until_finish(&storage).await;
    suite::upload_keeps_what_exists(&storage).await;
    suite::finish_decides(&storage).await;
    suite::dropped_upload_leaves_nothing(&storage).await;
    suite::aborted_upload_leaves_nothing(&storage).await;
    let mut long = storage.upload(&"long".parse().unwrap()).await.unwrap();
    long.write(vec![1; 20 << 20].into()).await.unwrap();
    long.finish().await.unwrap();
    assert!(storage.upload(&"long".parse().unwrap()).await.unwrap().finish().await.is_err());
    assert_eq!(store.names(), ["a/directory/long"], "what was hidden is gone");
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
    storage.delete(&"short".parse().unwrap()).await.unwrap();
    assert_eq!(sent().last(), Some(&(RequestKind::Delete, 1)));
    let names = (0..1000).map(|number| format!("missing-{number}")).chain(["long".to_owned()]);
    let keys: Vec<ObjectKey> = names.map(|name| name.parse().unwrap()).collect();
    storage.delete_all(&keys).await.unwrap();
    assert_eq!(sent()[4..], [(RequestKind::Post, 4), (RequestKind::Delete, 1)], "1001 objects by two requests");
    assert!(storage.head(&"long".parse().unwrap()).await.is_err());
}
