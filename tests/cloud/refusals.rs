//! Wrong addresses, settings and credentials: errors that say what to do, and no secret.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::JoinHandle;

use pitr::adapter::{CloudOptions, CloudStorage, system};
use pitr::port::{PortError, PortErrorKind, PutMode, Storage};

use super::stores::{Kind, Store};

fn key() -> pitr::model::ObjectKey {
    "object".parse().unwrap()
}

#[test]
fn addresses_that_are_none() {
    for url in [
        "",
        "bucket",
        "s3:bucket",
        "s3://",
        "http://host/bucket",
        "s3://user:secret@bucket",
        "s3://b/../c",
        "az://b?sig=secret",
    ] {
        let error = CloudStorage::open(url, &CloudOptions::new(), &system()).unwrap_err();
        assert_eq!(error.kind(), PortErrorKind::Invalid, "{url}");
        assert!(!chain(&error).contains("secret"), "{url}: {}", chain(&error));
        assert!(error.to_string().contains("s3://BUCKET"), "{error}");
    }
}

#[test]
fn settings_that_are_none() {
    let unknown = CloudOptions::new().set("aws_endpiont", "http://localhost");
    let error = CloudStorage::open("s3://bucket", &unknown, &system()).unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Invalid);
    assert!(chain(&error).contains("aws_endpiont"), "{}", chain(&error));
    let secret =
        CloudOptions::new().set("azure_storage_account_name", "account").set("azure_storage_account_key", "?secret?");
    let error = CloudStorage::open("az://container", &secret, &system()).unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Invalid);
    assert!(chain(&error).contains("base64") && !chain(&error).contains("?secret?"), "{}", chain(&error));
    assert!(!format!("{secret:?}").contains("?secret?"), "{secret:?}");
}

async fn wrong_credentials(kind: Kind, options: impl FnOnce(&Store) -> CloudOptions) {
    let store = Store::start(kind);
    let storage = CloudStorage::open(&store.url(""), &options(&store), &system()).unwrap();
    let error = storage.put(&key(), "content".into(), PutMode::Create).await.unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Denied, "{}", chain(&error));
    assert!(!chain(&error).contains("c2VjcmV0"), "{}", chain(&error));
    assert!(!format!("{storage:?}").contains("c2VjcmV0"));
}

#[tokio::test]
async fn a_wrong_key_of_azure() {
    wrong_credentials(Kind::Azure, |store| store.options(store.address).set("azure_storage_account_key", "c2VjcmV0"))
        .await;
}

/// All of the store missing is not a missing object.
async fn no_bucket(kind: Kind) {
    let store = Store::start(kind);
    let url = store.url("").replace("backups", "nowhere");
    let storage = CloudStorage::open(&url, &store.options(store.address), &system()).unwrap();
    let errors = [
        storage.put(&key(), "content".into(), PutMode::Create).await.unwrap_err(),
        storage.get(&key(), None).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), PortErrorKind::Denied, "{}", chain(&error));
        assert!(chain(&error).contains("nowhere"), "{}", chain(&error));
    }
}

#[tokio::test]
async fn no_bucket_of_s3() {
    no_bucket(Kind::S3).await;
}

#[tokio::test]
async fn no_container_of_azure() {
    no_bucket(Kind::Azure).await;
}

#[tokio::test]
async fn nobody_listens() {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let storage = CloudStorage::open("s3://bucket", &options(address), &system()).unwrap();
    let error = storage.head(&key()).await.unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Unavailable, "{}", chain(&error));
}

/// Azure answers with success, and within it tells that nothing was deleted.
#[tokio::test]
async fn a_deletion_that_azure_refuses() {
    let store = Store::start(Kind::Azure);
    let storage = store.storage("");
    storage.put(&key(), "content".into(), PutMode::Create).await.unwrap();
    store.lease(key().as_str());
    let error = storage.delete(&key()).await.unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Denied, "{}", chain(&error));
    assert!(chain(&error).contains("LeaseIdMissing"), "{}", chain(&error));
    assert!(storage.head(&key()).await.is_ok());
    // Of many, the others may be gone; which one it was, each by itself tells.
    let other = "other".parse().unwrap();
    storage.put(&other, "content".into(), PutMode::Create).await.unwrap();
    let error = storage.delete_all(&[other, key()]).await.unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Invalid, "{}", chain(&error));
    assert!(storage.head(&key()).await.is_ok());
}

/// As for want of permission, or by an object lock where there are no versions. moto permits everything.
#[tokio::test]
async fn a_deletion_that_s3_refuses() {
    let refusal = "<Error><Code>AccessDenied</Code><Message>Access Denied because object protected by object lock.</Message></Error>";
    let (address, asked) =
        answers(format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{refusal}", refusal.len()));
    let storage = CloudStorage::open("s3://bucket", &options(address), &system()).unwrap();
    let error = storage.delete(&key()).await.unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Denied, "{}", chain(&error));
    assert!(chain(&error).contains("AccessDenied"), "{}", chain(&error));
    assert!(asked.join().unwrap().starts_with("DELETE /bucket/object HTTP/1.1"));

    let refusal = format!("<DeleteResult>{}</DeleteResult>", refusal.replace("<Code>", "<Key>object</Key><Code>"));
    let (address, asked) = answers(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{refusal}", refusal.len()));
    let storage = CloudStorage::open("s3://bucket", &options(address), &system()).unwrap();
    let error = storage.delete_all(&["other".parse().unwrap(), key()]).await.unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Invalid, "{}", chain(&error));
    assert!(chain(&error).contains("AccessDenied"), "{}", chain(&error));
    assert!(asked.join().unwrap().starts_with("POST /bucket?delete HTTP/1.1"));
}

/// S3 at `address`.
fn options(address: SocketAddr) -> CloudOptions {
    let options = CloudOptions::new().set("aws_endpoint", format!("http://{address}")).set("aws_allow_http", "true");
    options.set("aws_access_key_id", "nobody").set("aws_secret_access_key", "knows")
}

/// A server that answers one request so, and gives that.
pub(crate) fn answers(answer: String) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = String::new();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while let Some(line) = lines.next().map(Result::unwrap).filter(|line| !line.is_empty()) {
            head += &line;
        }
        stream.write_all(answer.as_bytes()).unwrap();
        head
    });
    (address, asked)
}

/// An error and all its sources.
pub(crate) fn chain(error: &PortError) -> String {
    let sources = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
