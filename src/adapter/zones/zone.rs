//! One zone of several.

use std::sync::Arc;

use bytes::Bytes;

use super::record::{Content, HEADER_BYTES, Header, Id, Record, Value};
use crate::adapter::PrefixStorage;
use crate::format::layout::{ZONE_CONTENTS, ZONE_RECORDS};
use crate::model::{ObjectKey, ParseError, Timestamp};
use crate::port::{ObjectMeta, PortError, PortErrorKind, PutMode, Storage, StorageExt, Version};

/// The longest content that stands in a record. What is longer has an object of its own.
pub(super) const HERE_BYTES_MAX: usize = 1 << 20;
const RECORD_BYTES_MAX: usize = HERE_BYTES_MAX + 2 * HEADER_BYTES;

/// A storage that fails on its own: a zone of a region, another region, another provider.
#[derive(Clone, Debug)]
pub struct Zone {
    pub(super) name: ObjectKey,
    pub(super) storage: Arc<dyn Storage>,
    /// Whether contents are read from it rather than from others.
    pub(super) is_near: bool,
    /// The records of all objects, under their keys.
    pub(super) records: PrefixStorage,
    /// Long contents, under the keys of their objects and their own names.
    pub(super) contents: PrefixStorage,
}

/// What a zone keeps of an object.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) header: Header,
    /// How the zone's storage knows it; `None` if there is nothing.
    pub(super) stored: Option<(Version, Timestamp)>,
}

impl Zone {
    /// The zone `name`, which keeps its share in `storage`, all of it. The storage should give up what takes too long, and try again
    /// what fails in passing, as those of [`open_storage`](crate::adapter::open_storage) do.
    ///
    /// # Errors
    /// If `name` is no part of an object key.
    pub fn new(name: &str, storage: Arc<dyn Storage>) -> Result<Self, ParseError> {
        let below = |directory: &str| Ok::<_, ParseError>(PrefixStorage::new(Arc::clone(&storage), directory.parse()?));
        let (records, contents, name) = (below(ZONE_RECORDS)?, below(ZONE_CONTENTS)?, name.parse()?);
        Ok(Self { name, storage, is_near: false, records, contents })
    }

    /// The zone in which this process runs: contents are read from it before others are asked, which is nobody else's business.
    #[must_use]
    pub fn near(self) -> Self {
        Self { is_near: true, ..self }
    }

    /// What the zone has promised and accepted.
    pub(super) async fn see(&self, key: &ObjectKey) -> Result<Seen, PortError> {
        let read = match self.records.get(key, Some(0..HEADER_BYTES as u64)).await {
            Err(error) if error.kind() == PortErrorKind::NotFound => return Ok(Seen::NOTHING),
            read => read?,
        };
        let meta = read.meta.clone();
        Seen::of(Header::decode(key, &read.collect(HEADER_BYTES).await?)?, &meta)
    }

    /// The same of a record that cannot be read: as if it said nothing.
    pub(super) async fn see_damaged(&self, key: &ObjectKey) -> Result<Seen, PortError> {
        Seen::of(Header::NOTHING, &self.records.head(key).await?)
    }

    /// The same, with what stands behind the header.
    pub(super) async fn see_whole(&self, key: &ObjectKey) -> Result<(Seen, Bytes), PortError> {
        let Some((bytes, meta)) = self.records.find(key, RECORD_BYTES_MAX).await? else {
            return Ok((Seen::NOTHING, Bytes::new()));
        };
        let record = Record::decode(key, &bytes)?;
        Ok((Seen::of(record.header, &meta)?, record.body))
    }

    /// Writes the record in place of what was `seen`.
    pub(super) async fn write(
        &self,
        key: &ObjectKey,
        header: Header,
        body: &[u8],
        seen: &Seen,
    ) -> Result<Version, PortError> {
        self.records.put(key, header.encode(key, body), seen.mode()).await
    }
}

impl Seen {
    pub(super) const NOTHING: Self = Self { header: Header::NOTHING, stored: None };

    /// What was just written, and is known as `version`.
    pub(super) const fn written(header: Header, version: Version) -> Self {
        Self { header, stored: Some((version, Timestamp::UNIX_EPOCH)) }
    }

    fn of(header: Header, meta: &ObjectMeta) -> Result<Self, PortError> {
        let missing = || PortError::new(PortErrorKind::Invalid, format!("the zone gives {} no version", meta.key));
        let version = meta.version.clone().ok_or_else(missing)?;
        Ok(Self { header, stored: Some((version, meta.modified)) })
    }

    fn mode(&self) -> PutMode {
        self.stored.clone().map_or(PutMode::Create, |(version, _)| PutMode::Update(version))
    }
}

/// The name of the content `id` of the object `key` in a zone's contents.
pub(super) fn content_key(key: &ObjectKey, id: Id) -> Result<ObjectKey, PortError> {
    let invalid = |error| PortError::new(PortErrorKind::Invalid, format!("{key} is too long here")).caused_by(error);
    key.join(id.hex()).map_err(invalid)
}

/// The name of the content of `key` that stands apart, if it does.
pub(super) fn apart(key: &ObjectKey, value: &Value) -> Result<Option<ObjectKey>, PortError> {
    match value.content {
        Content::Apart(_) => content_key(key, value.id).map(Some),
        Content::None | Content::Retired | Content::Here(_) => Ok(None),
    }
}
