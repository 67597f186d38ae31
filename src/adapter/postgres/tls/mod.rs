//! TLS as libpq means it: what each `sslmode` verifies, and what binds a password exchange to the connection.

mod certificate;
mod verifier;

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::config::{ClientCertificate, Roots, TlsConfig};
use super::connection::{Endpoint, Socket};
use crate::port::{PortError, PortErrorKind};
use verifier::Verifier;

/// What a password exchange can be bound to.
pub(super) enum Binding {
    /// There is no TLS.
    NotEncrypted,
    /// There is TLS, but nothing that both sides could compute: the certificate's signature has no single digest.
    Unknown,
    /// The digest of the server's certificate: `tls-server-end-point` of RFC 5929.
    EndPoint(Vec<u8>),
}

/// Encrypts `socket`, and verifies the server as `config` asks.
pub(super) async fn secure(
    config: &TlsConfig,
    socket: TcpStream,
    endpoint: &Endpoint,
) -> Result<(Box<dyn Socket>, Binding), PortError> {
    let client = client_config(config).await?;
    let name = ServerName::try_from(endpoint.name.clone()).map_err(|error| {
        PortError::new(PortErrorKind::Invalid, format!("no certificate can be for the {endpoint}")).caused_by(error)
    })?;
    let secured = TlsConnector::from(Arc::new(client)).connect(name, socket).await;
    let stream = secured.map_err(|error| handshake_failed(endpoint, error))?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let digest = certificate.and_then(certificate::end_point);
    let binding = digest.map_or(Binding::Unknown, Binding::EndPoint);
    Ok((Box::new(stream), binding))
}

/// Whether `error` says that a handshake failed, rather than the network.
pub(super) fn is_handshake_failure(error: &PortError) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<rustls::Error>())
}

fn handshake_failed(endpoint: &Endpoint, error: std::io::Error) -> PortError {
    match error.downcast::<rustls::Error>() {
        Ok(error) => {
            let context = format!("no trusted TLS connection to the {endpoint}");
            PortError::new(PortErrorKind::Denied, context).caused_by(error)
        }
        Err(error) => {
            let context = format!("cannot negotiate TLS with the {endpoint}");
            PortError::new(PortErrorKind::Unavailable, context).caused_by(error)
        }
    }
}

async fn client_config(config: &TlsConfig) -> Result<ClientConfig, PortError> {
    // Not the process's default provider: that is the program's choice, and may not be made.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(config, Arc::clone(&provider)).await?;
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.expect("the ring provider supports TLS 1.2 and 1.3");
    let verified = versions.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let Some(certificate) = &config.certificate else { return Ok(verified.with_no_client_auth()) };
    let (chain, key) = client_certificate(certificate).await?;
    verified.with_client_auth_cert(chain, key).map_err(|error| {
        let context = format!("cannot use the client certificate {}", certificate.chain.display());
        PortError::new(PortErrorKind::Invalid, context).caused_by(error)
    })
}

async fn verifier(config: &TlsConfig, provider: Arc<CryptoProvider>) -> Result<Verifier, PortError> {
    let roots = match &config.roots {
        None => None,
        Some(Roots::File(path)) => Some(certificates(path).await?),
        Some(Roots::System) => Some(system_roots().await?),
    };
    let mut store = RootCertStore::empty();
    for root in roots.iter().flatten() {
        store.add(root.clone()).map_err(|error| {
            PortError::new(PortErrorKind::Invalid, "sslrootcert has a certificate that cannot be used").caused_by(error)
        })?;
    }
    Ok(Verifier::new(config.mode, provider, roots.map(|roots| (store, roots))))
}

async fn system_roots() -> Result<Vec<CertificateDer<'static>>, PortError> {
    let unavailable = |context: &str| PortError::new(PortErrorKind::Unavailable, context);
    let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let loaded = loaded.map_err(|error| unavailable("cannot load the system's trusted roots").caused_by(error))?;
    // A system has roots that no library can use; the rest still counts.
    let usable = |root: &CertificateDer<'static>| RootCertStore::empty().add(root.clone()).is_ok();
    let roots: Vec<_> = loaded.certs.into_iter().filter(usable).collect();
    if roots.is_empty() {
        return Err(unavailable("the system has no trusted roots"));
    }
    Ok(roots)
}

async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PortError> {
    let pem = read(path).await?;
    let parsed = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => {
            Err(PortError::new(PortErrorKind::Invalid, format!("no certificates in PEM format in {}", path.display())))
        }
    }
}

async fn client_certificate(
    certificate: &ClientCertificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), PortError> {
    let chain = certificates(&certificate.chain).await?;
    let pem = read(&certificate.key).await?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let context = format!("no unencrypted private key in PEM format in {}", certificate.key.display());
        PortError::new(PortErrorKind::Invalid, context)
    })?;
    Ok((chain, key))
}

async fn read(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, PortError> {
    let read = tokio::fs::read(path).await;
    read.map(zeroize::Zeroizing::new).map_err(|error| PortError::io(format!("cannot read {}", path.display()), error))
}
