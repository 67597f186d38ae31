//! The three services: where they differ.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::{BackoffConfig, ObjectStore, PutMode as StorePutMode, RetryConfig, UpdateVersion};

use super::bulk::Bulk;
use super::error::failed;
use super::http::Connector;
use super::options::{CloudOptions, Settings};
use super::sas;
use crate::port::{Environment, PortError, PutMode, Version};

/// Whose store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    S3,
    Azure,
    Google,
}

/// One store, by the faces that the library gives it.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) objects: Arc<dyn ObjectStore>,
    /// What deletes many objects by one request; `None` where each takes one.
    pub(super) bulk: Option<Bulk>,
    pub(super) parts: Arc<dyn MultipartStore>,
    pub(super) pages: Arc<dyn PaginatedListStore>,
    /// What makes objects of parts, on a condition that is added once the request is signed.
    pub(super) completing: Arc<dyn MultipartStore>,
    /// What creates objects that are to be immutable, which is added then as well.
    pub(super) promising: Arc<dyn ObjectStore>,
}

impl Client {
    fn new<S: ObjectStore + MultipartStore + PaginatedListStore>(store: S) -> Self {
        let store = Arc::new(store);
        Self {
            objects: Arc::clone(&store) as _,
            bulk: None,
            parts: Arc::clone(&store) as _,
            pages: Arc::clone(&store) as _,
            completing: Arc::clone(&store) as _,
            promising: store,
        }
    }
}

impl Service {
    /// The service of URLs that begin with `scheme`.
    pub(super) fn of_scheme(scheme: &str) -> Option<Self> {
        match scheme {
            "s3" => Some(Self::S3),
            "az" => Some(Self::Azure),
            "gs" => Some(Self::Google),
            _ => None,
        }
    }

    /// A client for the bucket or container `bucket`.
    pub(super) fn client(
        self,
        bucket: &str,
        options: &CloudOptions,
        connector: Connector,
        environment: &Environment,
    ) -> Result<Client, PortError> {
        let client = match self {
            Self::S3 => s3(bucket, options, options.settings_of_s3()?, connector),
            Self::Azure => azure(bucket, options, connector, environment),
            Self::Google => google(bucket, options, connector),
        };
        client.map_err(failed(format!("cannot set up a client for {bucket}")))
    }

    /// What names a state of an object here.
    pub(super) fn version(self, e_tag: Option<String>, generation: Option<String>) -> Option<Version> {
        match self {
            // Azure's listings leave out the quotes.
            Self::S3 | Self::Azure => e_tag.map(|e_tag| Version::new(e_tag.trim_matches('"'))),
            Self::Google => generation.map(Version::new),
        }
    }

    pub(super) fn mode(self, mode: PutMode) -> StorePutMode {
        match mode {
            PutMode::Create => StorePutMode::Create,
            PutMode::Overwrite => StorePutMode::Overwrite,
            PutMode::Update(version) => StorePutMode::Update(self.update(&version)),
        }
    }

    fn update(self, version: &Version) -> UpdateVersion {
        match self {
            Self::S3 | Self::Azure => UpdateVersion { e_tag: Some(format!("\"{}\"", version.as_str())), version: None },
            Self::Google => UpdateVersion { e_tag: None, version: Some(version.as_str().to_owned()) },
        }
    }

    /// Whether the class of an object in parts is told when it is completed, not when it is begun.
    pub(super) fn tells_class_last(self) -> bool {
        self == Self::Azure
    }

    /// Whether an object can be made of parts only without a condition. Google's XML API has none
    /// (<https://cloud.google.com/storage/docs/multipart-uploads#considerations>).
    pub(super) fn completes_blindly(self) -> bool {
        self == Self::Google
    }
}

/// The library must not retry: it cannot tell whether a conditional write that failed has taken effect.
fn once() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, ..RetryConfig::default() }
}

fn s3(bucket: &str, options: &CloudOptions, settings: Settings, connector: Connector) -> object_store::Result<Client> {
    let builder = AmazonS3Builder::new().with_client_options(options.client()).with_bucket_name(bucket);
    let mut builder = settings.apply(builder, AmazonS3Builder::with_config)?;
    let value = |key: AmazonS3ConfigKey| builder.get_config_value(&key);
    let region = value(AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
    // S3 makes nothing immutable of which it has no checksum.
    if connector.promise.is_some() && value(AmazonS3ConfigKey::Checksum).is_none() {
        builder = builder.with_checksum_algorithm(Checksum::SHA256);
    }
    let signer = connector.signer.clone();
    let builder = builder.with_retry(once()).with_http_connector(connector);
    let bulk = Bulk::new(Arc::new(builder.clone().build()?), 1000);
    // A deletion that is refused by itself says so by its status; among those of many, only in the body.
    let single = builder.with_disable_bulk_delete(true).build()?;
    signer.set(Arc::clone(single.credentials()), region);
    Ok(Client { bulk: Some(bulk), ..Client::new(single) })
}

fn azure(
    container: &str,
    options: &CloudOptions,
    connector: Connector,
    environment: &Environment,
) -> object_store::Result<Client> {
    let builder = MicrosoftAzureBuilder::new().with_client_options(options.client()).with_container_name(container);
    let builder = options.settings("AZURE_").apply(builder, MicrosoftAzureBuilder::with_config)?;
    let builder = builder.with_retry(once()).with_http_connector(connector);
    let by_signature = Arc::new(sas::instead_of_key(builder.clone(), Arc::clone(&environment.clock))?.build()?);
    let client = Client::new(builder.build()?);
    let bulk = Some(Bulk::new(Arc::clone(&client.objects), 256));
    Ok(Client { completing: Arc::clone(&by_signature) as _, promising: by_signature, bulk, ..client })
}

fn google(bucket: &str, options: &CloudOptions, connector: Connector) -> object_store::Result<Client> {
    let builder = GoogleCloudStorageBuilder::new().with_client_options(options.client()).with_bucket_name(bucket);
    let builder = options.settings("GOOGLE_").apply(builder, GoogleCloudStorageBuilder::with_config)?;
    Ok(Client::new(builder.with_retry(once()).with_http_connector(connector).build()?))
}
