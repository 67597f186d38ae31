//! Signatures of requests to S3 that are amended after the library has signed them.
//!
//! Of Azure's and Google's requests nothing is signed that is amended here.

use std::fmt;
use std::sync::{Arc, OnceLock};

use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpError, HttpErrorKind, HttpRequest};

use crate::model::hex_u64;

/// Signs requests to S3 once more.
#[derive(Clone, Default)]
pub(super) struct Signer(Arc<OnceLock<(AwsCredentialProvider, String)>>);

impl Signer {
    /// Signs with `credentials`, for a bucket in `region`. The client that asks for signatures is made before it has any.
    pub(super) fn set(&self, credentials: AwsCredentialProvider, region: String) {
        let _ = self.0.set((credentials, region));
    }

    /// Signs what was signed before, and then amended.
    pub(super) async fn sign(&self, request: &mut HttpRequest) -> Result<(), HttpError> {
        let (Some((credentials, region)), true) = (self.0.get(), request.headers().contains_key("authorization"))
        else {
            return Ok(());
        };
        let credential = credentials.get_credential().await.map_err(unsigned)?;
        let digest = request.headers().get("x-amz-content-sha256").and_then(|digest| digest.to_str().ok());
        let digest = digest.and_then(sha256);
        let authorizer = AwsAuthorizer::new(&credential, "s3", region).with_sign_payload(digest.is_some());
        authorizer.try_authorize(request, digest.as_ref().map(|digest| &digest[..])).map_err(unsigned)
    }
}

/// `None` of what is no digest: then the body is not signed.
fn sha256(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    for (number, bytes) in digest.chunks_exact_mut(8).enumerate() {
        bytes.copy_from_slice(&hex_u64(text.get(16 * number..16 * (number + 1))?, 16..=16)?.to_be_bytes());
    }
    Some(digest)
}

fn unsigned(error: object_store::Error) -> HttpError {
    HttpError::new(HttpErrorKind::Interrupted, error)
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}
