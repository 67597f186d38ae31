//! Ways to a store: certificates of one's own, proxies.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use pitr::adapter::{CloudOptions, CloudStorage, system};
use pitr::port::{PortErrorKind, PutMode, Storage, StorageExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::refusals::chain;
use super::rough_road::RoughRoad;
use super::stores::{Kind, Store};

/// A certificate for this machine, and its key, in PEM.
fn issue(directory: &Path) -> (Vec<u8>, Vec<u8>) {
    let [key, certificate] = ["key", "crt"].map(|name| directory.join(name));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=store", "-days", "2", "-keyout"]);
    openssl.arg(&key).arg("-out").arg(&certificate);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]);
    let made = openssl.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (std::fs::read(certificate).unwrap(), std::fs::read(key).unwrap())
}

/// Listens with this certificate in front of `store`.
async fn front(store: SocketAddr, certificate: &[u8], key: &[u8]) -> SocketAddr {
    let certificates = CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = versions.with_no_client_auth().with_single_cert(certificates, key).unwrap();
    let (acceptor, listener) =
        (TlsAcceptor::from(Arc::new(config)), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust it goes away.
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut store = TcpStream::connect(store).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut client, &mut store).await);
            });
        }
    });
    address
}

#[tokio::test]
async fn a_certificate_must_be_trusted() {
    let (store, directory) = (Store::start(Kind::S3), tempfile::tempdir().unwrap());
    let (certificate, key) = issue(directory.path());
    let address = front(store.address, &certificate, &key).await;
    let name = "object".parse().unwrap();
    let options = store.options(store.address).set("aws_endpoint", format!("https://{address}"));
    let stranger = CloudStorage::open(&store.url(""), &options, &system()).unwrap();
    let error = stranger.put(&name, "content".into(), PutMode::Create).await.unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Unavailable, "{}", chain(&error));
    let trusting = options.trust(&certificate).unwrap();
    let storage = CloudStorage::open(&store.url(""), &trusting, &system()).unwrap();
    storage.put(&name, "content".into(), PutMode::Create).await.unwrap();
    assert_eq!(storage.find(&name, 10).await.unwrap().unwrap().0, "content");
    assert!(CloudOptions::new().trust(b"-----BEGIN CERTIFICATE-----\nAA\n").is_err());
}

#[tokio::test]
async fn a_proxy_is_passed() {
    let store = Store::start(Kind::S3);
    let proxy = RoughRoad::start(store.address, &[], 0, Duration::ZERO);
    let options = store.options(store.address).set("proxy_url", format!("http://{}", proxy.address));
    let storage = CloudStorage::open(&store.url(""), &options, &system()).unwrap();
    let name = "object".parse().unwrap();
    storage.put(&name, "content".into(), PutMode::Create).await.unwrap();
    assert_eq!(storage.find(&name, 10).await.unwrap().unwrap().0, "content");
    assert_eq!(proxy.passed(), 2);
}
