//! Shared access signatures of Azure, in place of an account's key.
//!
//! A request that is signed by the key itself cannot be made conditional afterwards, as the end of an upload is; one that brings
//! a signature in its URL can. See <https://learn.microsoft.com/en-us/rest/api/storageservices/create-account-sas>.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use object_store::azure::{AzureConfigKey, AzureCredential, MicrosoftAzureBuilder};
use object_store::{CredentialProvider, Error, Result};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::model::Timestamp;
use crate::port::Clock;

const VERSION: &str = "2021-12-02";
/// Blobs, and of these what is in containers.
const SERVICES: &str = "b";
const RESOURCES: &str = "o";
/// Write and create, and set immutability policies.
const PERMISSIONS: &str = "wci";
/// Each signature serves one request, which may last.
const VALID_FOR: Duration = Duration::from_secs(60 * 60);

/// Lets `builder` sign by shared access signatures, if it was given an account and its key.
pub(super) fn instead_of_key(builder: MicrosoftAzureBuilder, clock: Arc<dyn Clock>) -> Result<MicrosoftAzureBuilder> {
    let value = |key: AzureConfigKey| builder.get_config_value(&key);
    let (Some(account), Some(key)) = (value(AzureConfigKey::AccountName), value(AzureConfigKey::AccessKey)) else {
        return Ok(builder);
    };
    let key = Zeroizing::new(BASE64_STANDARD.decode(&*Zeroizing::new(key)).map_err(not_base64)?);
    Ok(builder.with_credentials(Arc::new(AccountKey { account, key, clock })))
}

/// Without the key that it is about.
fn not_base64(_: base64::DecodeError) -> Error {
    Error::Generic { store: "MicrosoftAzure", source: "the account's key is not base64".into() }
}

struct AccountKey {
    account: String,
    key: Zeroizing<Vec<u8>>,
    clock: Arc<dyn Clock>,
}

impl AccountKey {
    /// The arguments of a URL that may be used until `expiry`.
    fn sign(&self, expiry: &str) -> Result<Vec<(String, String)>> {
        // What is empty: start, addresses, protocol; encryption scope.
        let text = format!("{}\n{PERMISSIONS}\n{SERVICES}\n{RESOURCES}\n\n{expiry}\n\n\n{VERSION}\n\n", self.account);
        let unusable = |_| Error::Generic { store: "MicrosoftAzure", source: "the account's key is not usable".into() };
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).map_err(unusable)?;
        mac.update(text.as_bytes());
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        let pairs = [
            ("sv", VERSION),
            ("ss", SERVICES),
            ("srt", RESOURCES),
            ("sp", PERMISSIONS),
            ("se", expiry),
            ("sig", &signature),
        ];
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }
}

#[async_trait]
impl CredentialProvider for AccountKey {
    type Credential = AzureCredential;

    async fn get_credential(&self) -> Result<Arc<AzureCredential>> {
        let expiry = whole_seconds(self.clock.now().saturating_add(VALID_FOR));
        Ok(Arc::new(AzureCredential::SASToken(self.sign(&expiry)?)))
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountKey").field("account", &self.account).finish_non_exhaustive()
    }
}

/// RFC 3339 without a fraction, which Azure does not expect.
pub(super) fn whole_seconds(time: Timestamp) -> String {
    let text = time.to_string();
    let seconds = text.split(['.', 'Z']).next().unwrap_or_default();
    format!("{seconds}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_whole_seconds() {
        for text in ["2026-11-30T07:37:28Z", "2026-11-30T07:37:28.123456Z"] {
            assert_eq!(whole_seconds(text.parse().unwrap()), "2026-11-30T07:37:28Z");
        }
    }
}
