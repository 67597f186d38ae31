//! Several storages as one that outlives any minority of them (docs/DESIGN.md, "How do zones agree?").

mod answers;
mod ballot;
mod behind;
mod contents;
mod health;
mod keys;
mod listing;
mod membership;
mod proposal;
mod reconcile;
mod record;
mod recovery;
mod register;
mod repair;
mod set;
mod sight;
mod upload;
mod zone;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use self::proposal::{Proposal, version};
use self::record::Content;
use self::register::Register;
pub use self::repair::Repaired;
pub use self::set::ZoneSettings;
use self::set::Zones;
use self::sight::Agreed;
use self::zone::HERE_BYTES_MAX;
pub use self::zone::Zone;
use crate::model::ObjectKey;
use crate::port::{Environment, ObjectMeta, ObjectRead, PortError, PortErrorKind, PutMode, Storage, Upload, Version};

/// A storage that keeps everything in several [zones](Zone), and works as long as more than half of them do.
///
/// - A write goes to all zones at once, and has happened when more than half of them have it. The others have as long as the
///   [patience](ZoneSettings::patience) lasts; what they miss, [`catch_up`](Self::catch_up) and [`repair`](Self::repair) bring them.
/// - A read asks all zones what the object is, and takes it from one that has what more than half of them agree on: from the [nearest](Zone::near),
///   or the first.
/// - Conditional writes are what they are in a single storage, by however many processes, whatever zones are away, slow, or missed what
///   happened. Of an object in dispute, a read may have to write, to bring the dispute to an end.
/// - The first zone is the home zone of all writes. While it is away, each takes two writes a zone in place of one.
/// - A zone that comes back empty does not count until a repair has filled it again.
///
/// All processes must name the same zones in the same order.
#[derive(Clone, Debug)]
pub struct ZoneStorage {
    zones: Arc<Zones>,
}

impl ZoneStorage {
    /// Opens `zones`, an odd number of them if it is to be of use: three outlive one, and so do four. The first time, all of them must be
    /// there.
    ///
    /// # Errors
    /// [`PortErrorKind::Invalid`] if they are none, or not the zones that belong together, or in another order;
    /// [`PortErrorKind::Unavailable`] if too few can be reached.
    pub async fn open(
        zones: impl IntoIterator<Item = Zone>,
        settings: ZoneSettings,
        environment: Environment,
    ) -> Result<Self, PortError> {
        let zones: Vec<Zone> = zones.into_iter().collect();
        let is_twice = |(at, zone): (usize, &Zone)| zones[..at].iter().any(|other| other.name == zone.name);
        if zones.is_empty() || zones.iter().enumerate().any(is_twice) {
            return Err(PortError::new(PortErrorKind::Invalid, "there must be zones, each of another name"));
        }
        Ok(Self { zones: Arc::new(Zones::open(zones, settings, environment).await?) })
    }

    fn register<'a>(&'a self, key: &'a ObjectKey) -> Register<'a> {
        Register { zones: &self.zones, key }
    }

    /// Makes the change that is proposed, and frees what the object had before.
    async fn change(&self, key: &ObjectKey, proposal: Proposal) -> Result<(), PortError> {
        if let Some(before) = self.register(key).change(proposal).await? {
            self.zones.discard(key, &before.value).await;
        }
        Ok(())
    }

    /// The object that zones agree on.
    fn describe(&self, key: &ObjectKey, agreed: &Agreed) -> Result<ObjectMeta, PortError> {
        let bytes = agreed.header.value.content.bytes();
        let modified = agreed.holders.iter().filter_map(|(_, seen)| Some(seen.stored.as_ref()?.1)).min();
        let (Some(bytes), Some(modified)) = (bytes, modified) else {
            let context = format!("there is no object {key} in {}", self.zones);
            return Err(PortError::new(PortErrorKind::NotFound, context));
        };
        Ok(ObjectMeta::new(key.clone(), bytes, modified, version(&agreed.header.value)))
    }
}

#[async_trait]
impl Storage for ZoneStorage {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        let id = self.zones.id()?;
        let version = Version::new(id.hex());
        if bytes.len() <= HERE_BYTES_MAX {
            self.change(key, Proposal::put(id, Content::Here(bytes.len() as u64), bytes, mode)).await?;
            return Ok(version);
        }
        let mut upload = upload::ApartUpload::begin(self, key, id).await?;
        upload.write(bytes).await?;
        upload.finish(mode).await?;
        Ok(version)
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        Ok(Box::new(upload::ZoneUpload::new(self.clone(), key.clone(), self.zones.id()?)))
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        let mut attempts = self.zones.contention.begin();
        loop {
            let agreed = self.register(key).read().await?;
            let meta = self.describe(key, &agreed)?;
            let range = meta.resolve(range.clone())?;
            match self.zones.content(key, &agreed, range).await {
                Ok(body) => return Ok(ObjectRead::new(meta, body)),
                // It was changed since.
                Err(error) => attempts.after(error).await?,
            }
        }
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        self.describe(key, &self.register(key).read().await?)
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        listing::objects(self, directory.cloned(), after.cloned())
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.change(key, Proposal::delete(self.zones.id()?)).await
    }
}

impl fmt::Display for ZoneStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.zones.fmt(f)
    }
}
