//! A bucket as it was: S3 keeps the versions of its objects, and marks where one was deleted.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream, TryStreamExt};
use object_store::client::{HttpError, HttpRequest, HttpResponse};
use object_store::path::Path;
use object_store::{GetOptions, GetRange};

use super::Store;
use super::error::failed;
use super::http::{add_argument, element, unusable};
use super::service::Service;
use crate::model::{ObjectKey, Timestamp};
use crate::port::{ObjectMeta, ObjectRead, PortError, PortErrorKind, PutMode, Storage, Upload, Version};

/// A bucket of S3 as it was at some time ([`CloudStorage::as_of`](super::CloudStorage::as_of)), to read from.
///
/// S3 tells the times of versions in whole seconds: what was stored within the second of that time counts as stored before.
///
/// A read takes two requests; a listing as many as there are thousands of versions, wherever it begins. Nothing can be stored or deleted:
/// that is [`Denied`](PortErrorKind::Denied).
#[derive(Clone)]
pub struct PastStorage {
    store: Arc<Store>,
    at: Timestamp,
}

/// A version of an object, or a mark that it was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    meta: ObjectMeta,
    /// What names the version; `None` of a mark.
    version: Option<String>,
}

/// What one request lists.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    entries: Vec<Entry>,
    /// After which name, and which version of it, the next page begins.
    next: Option<(String, String)>,
}

impl PastStorage {
    pub(super) fn new(store: Arc<Store>, at: Timestamp) -> Result<Self, PortError> {
        if store.service != Service::S3 {
            let context = format!("only versions of S3 can be read, not of {}", store.url);
            return Err(PortError::new(PortErrorKind::Invalid, context));
        }
        Ok(Self { store, at })
    }

    /// What there was of names that begin with `prefix`, in order.
    fn entries(&self, prefix: String) -> BoxStream<'static, Result<Entry, PortError>> {
        let walk =
            Walk { past: self.clone(), prefix, next: Some(None), pending: BTreeMap::new(), ready: VecDeque::new() };
        stream::try_unfold(walk, Walk::step).boxed()
    }

    /// What the object `key` was, and which version that is.
    async fn find(&self, key: &ObjectKey) -> Result<(ObjectMeta, String), PortError> {
        let missing = || PortError::new(PortErrorKind::NotFound, format!("there was no object {key} in {self}"));
        // Names that go on where this one ends come after it.
        let first = self.entries(self.store.path(key).to_string()).try_next().await?;
        let Entry { meta, version } = first.filter(|entry| entry.meta.key == *key).ok_or_else(missing)?;
        Ok((meta, version.ok_or_else(missing)?))
    }

    async fn page(&self, prefix: &str, after: Option<(String, String)>) -> Result<Page, PortError> {
        let mut query = format!("versions&prefix={prefix}");
        if let Some((key, version)) = &after {
            query += &format!("&key-marker={}&version-id-marker={}", encoded(key), encoded(version));
        }
        let mut options = GetOptions::new();
        options.extensions.insert(Versions(query));
        let listed = failed(format!("cannot list the versions in {}", self.store.url));
        let read = async { self.store.client.objects.get_opts(&Path::default(), options).await?.bytes().await };
        let body = read.await.map_err(listed)?;
        let page = Page::parse(&self.store, &String::from_utf8_lossy(&body));
        let unusable = || {
            let context = format!("{} lists its versions in no usable way", self.store.url);
            PortError::new(PortErrorKind::Invalid, context)
        };
        page.filter(|page| page.next.is_none() || page.next != after).ok_or_else(unusable)
    }

    fn unchangeable<T>(&self) -> Result<T, PortError> {
        Err(PortError::new(PortErrorKind::Denied, format!("{self} cannot be changed any more")))
    }
}

/// A walk through the versions of a bucket.
struct Walk {
    past: PastStorage,
    prefix: String,
    /// Where the next page begins; `None` if there is none.
    next: Option<Option<(String, String)>>,
    /// What was listed of objects of which more may come.
    pending: BTreeMap<ObjectKey, Vec<Entry>>,
    ready: VecDeque<Entry>,
}

impl Walk {
    async fn step(mut self) -> Result<Option<(Entry, Self)>, PortError> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Ok(Some((entry, self)));
            }
            let Some(after) = self.next.take() else { return Ok(None) };
            let page = self.past.page(&self.prefix, after).await?;
            self.take(page);
        }
    }

    /// All versions of an object come one after another, so but for the last one of a page, they are complete.
    fn take(&mut self, page: Page) {
        for entry in page.entries {
            self.pending.entry(entry.meta.key.clone()).or_default().push(entry);
        }
        let last = page.next.is_some().then(|| self.pending.pop_last()).flatten();
        let at = self.past.at;
        let complete = std::mem::take(&mut self.pending).into_values();
        self.ready.extend(complete.filter_map(|entries| as_of(entries, at)));
        self.pending.extend(last);
        self.next = page.next.map(Some);
    }
}

/// What an object was at `at`; `None` if there was none. Of versions of the same second, the latest is listed first.
fn as_of(entries: Vec<Entry>, at: Timestamp) -> Option<Entry> {
    let before = entries.into_iter().filter(|entry| entry.meta.modified <= at);
    before.rev().max_by_key(|entry| entry.meta.modified).filter(|entry| entry.version.is_some())
}

impl Page {
    /// `None` if it says that there is more, but not where.
    fn parse(store: &Store, body: &str) -> Option<Self> {
        // Versions and marks stand among each other, and nothing else that begins so; each ends where the next one begins, at the latest.
        let texts = body.split("<Version>").flat_map(|text| text.split("<DeleteMarker>")).skip(1);
        let entries = texts.filter_map(|text| Entry::parse(store, text)).collect();
        let next = || Some((unescaped(&element(body, "NextKeyMarker")?), element(body, "NextVersionIdMarker")?));
        match element(body, "IsTruncated")?.as_str() {
            "true" => Some(Self { entries, next: Some(next()?) }),
            _ => Some(Self { entries, next: None }),
        }
    }
}

/// Names that are none of ours may need it.
fn unescaped(text: &str) -> String {
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    named.iter().fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

impl Entry {
    /// `None` of what is none of ours.
    fn parse(store: &Store, text: &str) -> Option<Self> {
        let key = element(text, "Key")?.strip_prefix(&store.root)?.parse().ok()?;
        let modified = element(text, "LastModified")?.parse().ok()?;
        let version = element(text, "VersionId")?;
        let bytes = element(text, "Size").map_or(Some(0), |bytes| bytes.parse().ok())?;
        let e_tag = element(text, "ETag").map(|e_tag| unescaped(&e_tag));
        let version = e_tag.is_some().then_some(version);
        Some(Self { meta: ObjectMeta::new(key, bytes, modified, store.service.version(e_tag, None)), version })
    }
}

/// Escapes what is no part of a key's alphabet.
fn encoded(text: &str) -> String {
    let escape = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"._-/".contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// Asks for versions in place of an object, by these arguments.
#[derive(Clone, Debug)]
pub(super) struct Versions(String);

impl Versions {
    /// Makes of `request` what it is to be, if it has such an extension.
    pub(super) fn amend(request: &mut HttpRequest) -> Result<bool, HttpError> {
        let Some(Self(query)) = request.extensions().get().cloned() else { return Ok(false) };
        add_argument(request, &query)?;
        Ok(true)
    }
}

/// The library wants to know how long an object is, which S3 does not say of what it makes up as it goes.
pub(super) async fn with_length(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (mut head, body) = response.into_parts();
    let body = body.bytes().await?;
    head.headers.remove("transfer-encoding");
    head.headers.insert("content-length", body.len().to_string().parse().map_err(unusable)?);
    Ok(HttpResponse::from_parts(head, body.into()))
}

#[async_trait]
impl Storage for PastStorage {
    async fn put(&self, _key: &ObjectKey, _bytes: Bytes, _mode: PutMode) -> Result<Version, PortError> {
        self.unchangeable()
    }

    async fn upload(&self, _key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        self.unchangeable()
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        let (meta, version) = self.find(key).await?;
        let range = meta.resolve(range)?;
        if range.is_empty() {
            return Ok(ObjectRead::new(meta, stream::empty().boxed()));
        }
        let options = GetOptions::new().with_version(Some(version)).with_range(Some(GetRange::Bounded(range)));
        self.store.read(key, self.store.fetch(key, options).await?)
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        Ok(self.find(key).await?.0)
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        let prefix = directory.map_or_else(|| self.store.root.clone(), |below| format!("{}/", self.store.path(below)));
        let after = after.cloned();
        let metas = self.entries(prefix).map_ok(|entry| entry.meta);
        metas.try_filter(move |meta| std::future::ready(after.as_ref().is_none_or(|after| meta.key > *after))).boxed()
    }

    /// By one listing, as each begins anew.
    fn list_directories(&self, directory: Option<&ObjectKey>) -> BoxStream<'_, Result<ObjectKey, PortError>> {
        let (directory, mut last) = (directory.cloned(), None);
        let found = self.list(directory.as_ref(), None).try_filter_map(move |meta| {
            let found = meta.key.directory_below(directory.as_ref()).filter(|found| last.as_ref() != Some(found));
            last = found.clone().or_else(|| last.take());
            std::future::ready(Ok(found))
        });
        found.boxed()
    }

    async fn delete(&self, _key: &ObjectKey) -> Result<(), PortError> {
        self.unchangeable()
    }
}

impl fmt::Display for PastStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as of {}", self.store.url, self.at)
    }
}

impl fmt::Debug for PastStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PastStorage").field("url", &self.store.url).field("at", &self.at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{CloudOptions, CloudStorage, system};

    fn store() -> Arc<Store> {
        CloudStorage::open("s3://bucket/a", &CloudOptions::new().set("aws_skip_signature", "true"), &system())
            .unwrap()
            .0
    }

    fn version(key: &str, second: u32, id: &str) -> String {
        let modified = format!("2026-11-30T16:39:{second:02}.000Z");
        format!(
            "<Version><Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>false</IsLatest><LastModified>{modified}</LastModified>\
             <ETag>&quot;{id}&quot;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass></Version>"
        )
    }

    fn mark(key: &str, second: u32) -> String {
        let modified = format!("2026-11-30T16:39:{second:02}.000Z");
        format!(
            "<DeleteMarker><Key>{key}</Key><VersionId>m</VersionId><IsLatest>true</IsLatest><LastModified>{modified}</LastModified></DeleteMarker>"
        )
    }

    fn page(entries: &[String], rest: &str) -> Option<Page> {
        let body = format!("<ListVersionsResult><Name>bucket</Name>{rest}{}</ListVersionsResult>", entries.concat());
        Page::parse(&store(), &body)
    }

    const LAST: &str = "<IsTruncated>false</IsTruncated>";

    /// Also of what came within one second, the latest counts; it is listed first.
    #[test]
    fn the_latest_before_a_time_counts() {
        let entries =
            [mark("a/x", 9), version("a/x", 8, "3"), mark("a/x", 8), version("a/x", 8, "2"), version("a/x", 7, "1")];
        let Page { entries, next: None } = page(&entries, LAST).unwrap() else { panic!("one page") };
        assert_eq!(entries.len(), 5);
        let was = |time: &str| as_of(entries.clone(), time.parse().unwrap()).map(|entry| entry.version.unwrap());
        assert_eq!(was("2026-11-30T16:39:06.9Z"), None);
        assert_eq!(was("2026-11-30T16:39:07.9Z").as_deref(), Some("1"));
        assert_eq!(was("2026-11-30T16:39:08Z").as_deref(), Some("3"));
        assert_eq!(was("2026-11-30T16:39:09Z"), None);
    }

    #[test]
    fn what_is_none_of_ours_is_passed_over() {
        let entries =
            [version("b/x", 1, "1"), version("a/&lt;x", 1, "2"), mark("a/.pitr/x", 1), version("a/x", 1, "4")];
        let page = page(&entries, LAST).unwrap();
        assert_eq!(page.entries.iter().map(|entry| entry.meta.key.as_str()).collect::<Vec<_>>(), ["x"]);
        assert_eq!((page.entries[0].meta.bytes, page.entries[0].meta.version.clone()), (7, Some(Version::new("4"))));
    }

    #[test]
    fn a_page_says_where_the_next_one_begins() {
        let next = "<IsTruncated>true</IsTruncated><NextKeyMarker>a/x&amp;y</NextKeyMarker><NextVersionIdMarker>v+1</NextVersionIdMarker>";
        assert_eq!(page(&[], next).unwrap().next, Some(("a/x&y".to_owned(), "v+1".to_owned())));
        assert_eq!(page(&[], "<IsTruncated>true</IsTruncated>"), None);
        assert_eq!(Page::parse(&store(), "<html>Bad gateway</html>"), None);
        assert_eq!(encoded("a/x&y v+1"), "a/x%26y%20v%2B1");
    }
}
