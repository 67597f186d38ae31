//! Object stores in the cloud: S3 and what speaks as it does, Azure Blob Storage, Google Cloud Storage.
//!
//! The library `object_store` speaks with them; what is here makes it keep the port's promises.
//!
//! - Nothing is retried below the port but parts of an upload: only who knows what a write is for can tell whether a conflict that
//!   follows a lost answer is one.
//! - An upload that turns out to be short is one conditional `PUT`. A longer one is stored in parts, and completed on the condition
//!   that there is no such object: by a header that S3 and Azure know, elsewhere by a copy from a hidden name.

mod bulk;
mod classes;
mod directories;
mod error;
mod http;
mod immutability;
mod options;
mod parts;
mod past;
mod profile;
mod requests;
mod sas;
mod service;
mod signer;
mod upload;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectMeta as StoreMeta, PutOptions, PutPayload};

pub use self::immutability::Immutability;
pub use self::options::CloudOptions;
pub use self::past::PastStorage;
pub use self::requests::RequestKind;

use self::classes::Classes;
use self::error::failed;
use self::http::Connector;
use self::immutability::{Ask, Promise};
use self::requests::Counters;
use self::service::{Client, Service};
use self::signer::Signer;
use super::wrappers::retry::Retrier;
use crate::model::{ObjectKey, Timestamp};
use crate::port::{
    Environment, ObjectMeta, ObjectRead, PortError, PortErrorKind, PutMode, Storage, Upload, Version, delete_each,
};

/// A bucket of S3 or what speaks as it does, a container of Azure Blob Storage, a bucket of Google Cloud Storage, or a directory of one.
///
/// Needs a runtime of tokio. What becomes of uploads whose process was killed is the store's to clean: by a rule of the bucket's life
/// cycle (`AbortIncompleteMultipartUpload`) on S3 and Google, after a week on Azure.
///
/// - An object has 80 GiB at most.
/// - Of S3's kin, those serve that know conditional writes (`If-None-Match`, `If-Match`), as Amazon's does since 2024.
/// - What in the store has a name that no key can have is no object.
#[derive(Clone)]
pub struct CloudStorage(Arc<Store>);

struct Store {
    /// `s3://bucket/directory`.
    url: String,
    service: Service,
    client: Client,
    /// Whether objects in parts are made under hidden names, and copied.
    by_copy: bool,
    classes: Classes,
    /// What is to be immutable.
    promise: Option<Promise>,
    /// What every name begins with: nothing, or a directory and its slash.
    root: String,
    counters: Counters,
    /// For the parts of uploads, which nobody above can try again.
    retrier: Retrier,
    environment: Environment,
}

impl CloudStorage {
    /// The store at `url`: `s3://BUCKET`, `az://CONTAINER` or `gs://BUCKET`, each also with a `/DIRECTORY`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`PortErrorKind::Invalid`] if `url` is none of these, a setting is unknown or malformed, or no credential can be found.
    pub fn open(url: &str, options: &CloudOptions, environment: &Environment) -> Result<Self, PortError> {
        let (service, bucket, root) = parse(url)?;
        let by_copy = options.by_copy || service.completes_blindly();
        let counters = Counters::default();
        let classes = options.classes()?;
        let tiers = if service.tells_class_last() { classes.clone() } else { Classes::default() };
        let promise =
            |immutability| Promise::new(immutability, service, (bucket, &root), Arc::clone(&environment.clock));
        let promise = options.immutability.map(promise).transpose()?;
        let (creates, signer) = (!by_copy, Signer::default());
        let connector = Connector { counters: counters.clone(), creates, tiers, promise: promise.clone(), signer };
        let client = service.client(bucket, options, connector, environment)?;
        let retrier = Retrier::new(options.retry, environment.clone());
        let (url, environment) = (url.to_owned(), environment.clone());
        Ok(Self(Arc::new(Store {
            url,
            service,
            client,
            by_copy,
            classes,
            promise,
            root,
            counters,
            retrier,
            environment,
        })))
    }

    /// What was there at `at`, of a bucket that keeps versions: what was deleted or replaced since is there as it was, and what is newer is not.
    ///
    /// So a server can be restored after somebody has deleted all, or stored something else in its place.
    ///
    /// # Errors
    /// [`PortErrorKind::Invalid`] if it is not S3's. (Azure's versions are made current by its own tools, and what Google keeps immutable is not
    /// deleted.)
    pub fn as_of(&self, at: Timestamp) -> Result<PastStorage, PortError> {
        PastStorage::new(Arc::clone(&self.0), at)
    }

    /// How many requests of each kind were sent since it was opened.
    pub fn requests(&self) -> impl Iterator<Item = (RequestKind, u64)> {
        self.0.counters.all()
    }
}

/// Service, bucket, and what names begin with.
fn parse(url: &str) -> Result<(Service, &str, String), PortError> {
    let parts = url.split_once("://").and_then(|(scheme, rest)| Some((Service::of_scheme(scheme)?, rest)));
    let (service, rest) = parts.ok_or_else(malformed)?;
    let (bucket, directory) = rest.split_once('/').unwrap_or((rest, ""));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if bucket.is_empty() || !bucket.bytes().all(is_name) {
        return Err(malformed());
    }
    let root = match directory.trim_end_matches('/') {
        "" => String::new(),
        directory => format!("{}/", directory.parse::<ObjectKey>().map_err(|_| malformed())?),
    };
    Ok((service, bucket, root))
}

/// Without the address, in which somebody may have put a credential.
fn malformed() -> PortError {
    let context = "the store's address must be s3://BUCKET, az://CONTAINER or gs://BUCKET, and perhaps /DIRECTORY";
    PortError::new(PortErrorKind::Invalid, context)
}

impl Store {
    fn path(&self, key: &ObjectKey) -> Path {
        Path::from_iter(self.root.split_terminator('/').chain(key.parts()))
    }

    /// A name that no key has, and nobody else.
    fn hidden_path(&self) -> Result<Path, PortError> {
        let mut random = [0; 16];
        self.environment.entropy.fill(&mut random)?;
        let name = format!("{:032x}", u128::from_le_bytes(random));
        Ok(Path::from_iter(self.root.split_terminator('/').chain([".pitr", "uploads", &name])))
    }

    /// What the library says of an object; `None` if it is none of ours.
    fn meta(&self, meta: StoreMeta) -> Option<ObjectMeta> {
        let key = meta.location.as_ref().strip_prefix(&self.root)?.parse().ok()?;
        let modified = Timestamp::from_unix_micros(meta.last_modified.timestamp_micros())?;
        Some(ObjectMeta::new(key, meta.size, modified, self.service.version(meta.e_tag, meta.version)))
    }

    /// What the library says of the object `key`.
    fn meta_of(&self, key: &ObjectKey, meta: StoreMeta) -> Result<ObjectMeta, PortError> {
        let unusable =
            || PortError::new(PortErrorKind::Invalid, format!("{} describes {key} in no usable way", self.url));
        self.meta(meta).ok_or_else(unusable)
    }

    fn version_of(&self, key: &ObjectKey, stored: object_store::PutResult) -> Result<Version, PortError> {
        self.service.version(stored.e_tag, stored.version).ok_or_else(|| self.no_version(key))
    }

    fn no_version(&self, key: &ObjectKey) -> PortError {
        PortError::new(PortErrorKind::Invalid, format!("{} gave {key} no version", self.url))
    }

    async fn put(&self, key: &ObjectKey, payload: PutPayload, mode: PutMode) -> Result<Version, PortError> {
        let mut options = PutOptions::from(self.service.mode(mode));
        options.attributes = self.classes.attributes(key);
        let mut client = &self.client.objects;
        if let Some(ask) = self.ask(key) {
            options.extensions.insert(ask);
            client = &self.client.promising;
        }
        let stored = client.put_opts(&self.path(key), payload, options).await;
        self.version_of(key, stored.map_err(failed(format!("cannot store {key} in {}", self.url)))?)
    }

    /// What is to keep the object `key` immutable, if it is to be.
    fn promise(&self, key: &ObjectKey) -> Option<&Promise> {
        self.promise.as_ref().filter(|promise| promise.covers(key))
    }

    /// What is asked for the object `key` when it is stored.
    fn ask(&self, key: &ObjectKey) -> Option<Ask> {
        Some(Ask::Create(self.promise(key)?.until()))
    }

    /// Lets the object `key` be immutable from now on, if there is one.
    async fn renew(&self, key: &ObjectKey, promise: &Promise) -> Result<(), PortError> {
        let (until, mut options) = (promise.until(), PutOptions::default());
        options.extensions.insert(Ask::Renew(until));
        let renewed = self.client.promising.put_opts(&self.path(key), promise.renewal(until).into(), options).await;
        match renewed.map_err(failed(format!("cannot keep {key} in {} immutable", self.url))) {
            Err(error) if error.kind() == PortErrorKind::NotFound => Ok(()),
            renewed => renewed.map(drop),
        }
    }

    async fn fetch(&self, key: &ObjectKey, options: GetOptions) -> Result<GetResult, PortError> {
        let got = self.client.objects.get_opts(&self.path(key), options).await;
        got.map_err(failed(format!("cannot read {key} in {}", self.url)))
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        let got = self.fetch(key, GetOptions::new().with_head(true)).await?;
        self.meta_of(key, got.meta)
    }

    async fn get_all(&self, key: &ObjectKey) -> Result<ObjectRead, PortError> {
        self.read(key, self.fetch(key, GetOptions::new()).await?)
    }

    /// Stores clip ranges that reach beyond the end, and refuse those that are beyond it.
    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<ObjectRead, PortError> {
        if range.is_empty() {
            let meta = self.head(key).await?;
            meta.resolve(Some(range))?;
            return Ok(ObjectRead::new(meta, stream::empty().boxed()));
        }
        match self.fetch(key, GetOptions::new().with_range(Some(GetRange::Bounded(range.clone())))).await {
            Ok(got) => {
                let read = self.read(key, got)?;
                read.meta.resolve(Some(range))?;
                Ok(read)
            }
            Err(error) if error.kind() == PortErrorKind::Invalid => {
                self.head(key).await?.resolve(Some(range))?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    fn read(&self, key: &ObjectKey, got: GetResult) -> Result<ObjectRead, PortError> {
        let (meta, length) = (self.meta_of(key, got.meta.clone())?, got.range.end - got.range.start);
        let context = format!("cannot read {key} in {} to its end", self.url);
        let body = got.into_stream().map_err(move |error| failed(context.clone())(error));
        Ok(ObjectRead::new(meta, whole(body.boxed(), length)))
    }
}

/// `body`, which ends in an error if it has not `length` bytes.
fn whole(
    body: BoxStream<'static, Result<Bytes, PortError>>,
    length: u64,
) -> BoxStream<'static, Result<Bytes, PortError>> {
    let next = |(mut body, missing): (BoxStream<'static, Result<Bytes, PortError>>, u64)| async move {
        match (body.try_next().await?, missing) {
            (None, 0) => Ok(None),
            (None, _) => Err(PortError::new(PortErrorKind::Unavailable, format!("{missing} bytes did not come"))),
            (Some(chunk), _) => match missing.checked_sub(chunk.len() as u64) {
                Some(missing) => Ok(Some((chunk, (body, missing)))),
                None => Err(PortError::new(PortErrorKind::Invalid, "more bytes came than were asked for")),
            },
        }
    };
    stream::try_unfold((body, length), next).boxed()
}

#[async_trait]
impl Storage for CloudStorage {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        self.0.put(key, bytes.into(), mode).await
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        Ok(Box::new(upload::CloudUpload::new(Arc::clone(&self.0), key.clone())))
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        match range {
            None => self.0.get_all(key).await,
            Some(range) => self.0.get_range(key, range).await,
        }
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        self.0.head(key).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        let below = directory.map(|directory| self.0.path(directory));
        let below = below.or_else(|| Path::parse(&self.0.root).ok().filter(|root| !root.as_ref().is_empty()));
        let listed = match after {
            Some(after) => self.0.client.objects.list_with_offset(below.as_ref(), &self.0.path(after)),
            None => self.0.client.objects.list(below.as_ref()),
        };
        let (store, after) = (Arc::clone(&self.0), after.cloned());
        let context = format!("cannot list {}", self.0.url);
        let metas = listed.map_err(move |error| failed(context.clone())(error));
        let ours = metas.try_filter_map(move |meta| future::ok(store.meta(meta)));
        // Not every store knows where to begin.
        ours.try_filter(move |meta| future::ready(after.as_ref().is_none_or(|after| meta.key > *after))).boxed()
    }

    fn list_directories(&self, directory: Option<&ObjectKey>) -> BoxStream<'_, Result<ObjectKey, PortError>> {
        directories::stream(&self.0, directory)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        let path = self.0.path(key);
        let deleted = object_store::ObjectStoreExt::delete(&*self.0.client.objects, &path).await;
        match deleted.map_err(failed(format!("cannot delete {key} in {}", self.0.url))) {
            Err(error) if error.kind() == PortErrorKind::NotFound => Ok(()),
            deleted => deleted,
        }
    }

    async fn delete_all(&self, keys: &[ObjectKey]) -> Result<(), PortError> {
        match &self.0.client.bulk {
            Some(bulk) => {
                let paths: Vec<_> = keys.iter().map(|key| self.0.path(key)).collect();
                bulk.delete(&self.0.url, &paths).await
            }
            None => delete_each(self, keys).await,
        }
    }

    fn immutable_for(&self) -> Option<Duration> {
        self.0.promise.as_ref().map(Promise::period)
    }

    async fn renew(&self, key: &ObjectKey) -> Result<(), PortError> {
        match &self.0.promise {
            Some(promise) => self.0.renew(key, promise).await,
            None => Ok(()),
        }
    }
}

impl fmt::Display for CloudStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.url)
    }
}

impl fmt::Debug for CloudStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudStorage").field("url", &self.0.url).finish_non_exhaustive()
    }
}
