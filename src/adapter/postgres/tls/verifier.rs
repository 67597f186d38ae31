//! What `sslmode` verifies of a server's certificate.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::adapter::postgres::config::SslMode;

/// Verifies that the server has the key of its certificate, and, as far as it is asked to, that the certificate was issued
/// by a known authority (`verify-ca`, and anything else that encrypts if there are roots: libpq's rule) for this host
/// (`verify-full`).
#[derive(Debug)]
pub(super) struct Verifier {
    provider: Arc<CryptoProvider>,
    roots: Option<(RootCertStore, Vec<CertificateDer<'static>>)>,
    name: bool,
}

impl Verifier {
    pub(super) fn new(
        mode: SslMode,
        provider: Arc<CryptoProvider>,
        roots: Option<(RootCertStore, Vec<CertificateDer<'static>>)>,
    ) -> Self {
        let name = mode == SslMode::VerifyFull;
        // `allow` and `prefer` do not care whom they talk to.
        let roots = roots.filter(|_| mode >= SslMode::Require);
        Self { provider, roots, name }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some((store, roots)) = &self.roots else { return Ok(ServerCertVerified::assertion()) };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        // A self-signed certificate that is named as the root itself needs no chain; webpki would refuse it as an authority.
        if !roots.iter().any(|root| root.as_ref() == end_entity.as_ref()) {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, store, intermediates, now, algorithms)?;
        }
        if self.name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
