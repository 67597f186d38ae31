//! How a store is reached, beside its address.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use object_store::aws::AmazonS3ConfigKey;
use object_store::{Certificate, ClientOptions};

use super::classes::Classes;
use super::error::failed;
use super::immutability::Immutability;
use super::profile;
use crate::adapter::RetryPolicy;
use crate::format::layout::ObjectKind;
use crate::port::PortError;

/// How a store is reached, beside its address: credentials, endpoints, proxies, encryption on its side.
///
/// Every setting has the name that `object_store` gives it, which is that of the environment variable: see the keys of
/// [S3](https://docs.rs/object_store/latest/object_store/aws/enum.AmazonS3ConfigKey.html),
/// [Azure](https://docs.rs/object_store/latest/object_store/azure/enum.AzureConfigKey.html),
/// [Google](https://docs.rs/object_store/latest/object_store/gcp/enum.GoogleConfigKey.html), and
/// [HTTP](https://docs.rs/object_store/latest/object_store/enum.ClientConfigKey.html). The environment holds what is not set here; a key for S3 may also stand in `~/.aws/credentials`, of the profile that
/// `AWS_PROFILE` names.
#[derive(Clone, Default)]
#[must_use]
pub struct CloudOptions {
    settings: Vec<(String, String)>,
    root_certificates: Vec<Certificate>,
    /// For the parts of uploads, which nobody above the store can try again.
    pub(super) retry: RetryPolicy,
    /// Whether objects in parts are made under hidden names, and copied.
    pub(super) by_copy: bool,
    classes: BTreeMap<ObjectKind, String>,
    pub(super) immutability: Option<Immutability>,
}

/// No answer, and no further byte of one, for this long is a failure.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

impl CloudOptions {
    /// What the environment says: `AWS_…`, `AZURE_…` or `GOOGLE_…`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what is called `name`, as `aws_endpoint`.
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Trusts the certificates in `pem` as well.
    ///
    /// # Errors
    /// [`PortErrorKind::Invalid`](crate::port::PortErrorKind::Invalid) if there are none.
    pub fn trust(mut self, pem: &[u8]) -> Result<Self, PortError> {
        self.root_certificates.extend(Certificate::from_pem_bundle(pem).map_err(failed("cannot read certificates"))?);
        Ok(self)
    }

    /// Stores the parts of uploads by `policy`.
    pub fn retry(self, policy: RetryPolicy) -> Self {
        Self { retry: policy, ..self }
    }

    /// Makes objects in parts under hidden names (`.pitr/uploads/…`), and copies them on the condition that there is no such object: for kin of
    /// S3 that know conditions for copies (`aws_copy_if_not_exists`), but none for the completion of uploads. With Google it is so in any case.
    pub fn upload_by_copy(self) -> Self {
        Self { by_copy: true, ..self }
    }

    /// Stores objects of `kind` in the store's class `class`: `STANDARD_IA` or the like on S3, `NEARLINE` on Google, the tier `Cool` on Azure. Others are stored in
    /// the bucket's own. What is stored in parts by copy, as with Google, is so too.
    ///
    /// Not in a class whose objects must be restored before they can be read.
    pub fn storage_class(mut self, kind: ObjectKind, class: impl Into<String>) -> Self {
        self.classes.insert(kind, class.into());
        self
    }

    /// Asks the store to keep immutable what is created once, and needed for long: log, packs, manifests, the catalog; and, but for Google, a server's
    /// key and record. See docs/OPERATIONS.md for what the bucket needs, and how long the period should be.
    pub fn immutable(self, immutability: Immutability) -> Self {
        Self { immutability: Some(immutability), ..self }
    }

    pub(super) fn classes(&self) -> Result<Classes, PortError> {
        Classes::new(&self.classes)
    }

    /// What was set, after what the environment has under names that begin with `prefix`.
    pub(super) fn settings(&self, prefix: &str) -> Settings {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let ambient = variables.filter(|(name, _)| name.starts_with(prefix)).collect();
        Settings { ambient, explicit: self.settings.clone() }
    }

    /// Those for S3: without a key, files may hold one.
    pub(super) fn settings_of_s3(&self) -> Result<Settings, PortError> {
        let mut settings = self.settings("AWS_");
        if !settings.has(AmazonS3ConfigKey::AccessKeyId) && !settings.has(AmazonS3ConfigKey::SkipSignature) {
            let files = profile::settings(|name| std::env::var(name).ok())?;
            settings.ambient.splice(0..0, files);
        }
        Ok(settings)
    }

    /// An object may take long, if only bytes keep coming.
    pub(super) fn client(&self) -> ClientOptions {
        let client = ClientOptions::new().with_timeout_disabled().with_read_timeout(READ_TIMEOUT);
        self.root_certificates.iter().cloned().fold(client, ClientOptions::with_root_certificate)
    }
}

/// Settings by their names, those that were asked for and those that happen to be there.
pub(super) struct Settings {
    ambient: Vec<(String, String)>,
    explicit: Vec<(String, String)>,
}

impl Settings {
    fn has<K: FromStr + PartialEq>(&self, wanted: K) -> bool {
        let mut names = self.ambient.iter().chain(&self.explicit).map(|(name, _)| name);
        names.any(|name| key(name).is_ok_and(|found: K| found == wanted))
    }

    /// Gives each setting to `builder`. Of what the environment holds, not all is meant for us.
    pub(super) fn apply<B, K: FromStr<Err = object_store::Error>>(
        self,
        mut builder: B,
        set: impl Fn(B, K, String) -> B,
    ) -> Result<B, object_store::Error> {
        let ambient = self.ambient.into_iter().filter_map(|(name, value)| Some((key(&name).ok()?, value)));
        for (key, value) in ambient {
            builder = set(builder, key, value);
        }
        for (name, value) in self.explicit {
            builder = set(builder, key(&name)?, value);
        }
        Ok(builder)
    }
}

fn key<K: FromStr>(name: &str) -> Result<K, K::Err> {
    name.to_ascii_lowercase().parse()
}

impl fmt::Debug for CloudOptions {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.settings.iter().map(|(name, _)| name).collect();
        f.debug_struct("CloudOptions").field("settings", &names).finish_non_exhaustive()
    }
}
