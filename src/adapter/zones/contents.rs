//! The bytes of objects.

use std::ops::Range;

use bytes::Bytes;
use futures::FutureExt;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::answers::because;
use super::record::{CONTENT_START, Content, Value};
use super::set::Zones;
use super::sight::Agreed;
use super::zone::{Seen, Zone, apart};
use crate::model::ObjectKey;
use crate::port::{PortError, PortErrorKind, Storage};

/// The bytes that are still to be read of an object, and who has them.
struct Remaining {
    key: ObjectKey,
    value: Value,
    holders: Vec<(Zone, Seen)>,
    range: Range<u64>,
    body: BoxStream<'static, Result<Bytes, PortError>>,
}

impl Zones {
    /// Bytes of the object that zones agree on: from the first that has them, and if that breaks off, on from the next.
    ///
    /// # Errors
    /// [`PortErrorKind::Unavailable`] if it was changed since, or no zone that has it can be reached.
    pub(super) async fn content(
        &self,
        key: &ObjectKey,
        agreed: &Agreed,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, PortError>>, PortError> {
        let mut holders: Vec<(Zone, Seen)> =
            agreed.holders.iter().map(|(zone, seen)| (self.zones[*zone].clone(), seen.clone())).collect();
        holders.sort_by_key(|(zone, _)| !zone.is_near);
        if matches!(agreed.header.value.content, Content::Apart(_)) {
            // A content is in the zones that it was sent to, wherever its record is by now.
            let others = self.all().filter(|index| agreed.holders.iter().all(|(zone, _)| zone != index));
            holders.extend(others.map(|index| (self.zones[index].clone(), Seen::NOTHING)));
        }
        // The last is taken first.
        holders.reverse();
        let body = stream::empty().boxed();
        let mut remaining = Remaining { key: key.clone(), value: agreed.header.value, holders, range, body };
        remaining.open(None).await?;
        Ok(stream::try_unfold(remaining, |mut remaining| async move {
            Ok(remaining.next().await?.map(|chunk| (chunk, remaining)))
        })
        .boxed())
    }

    /// Deletes what the object had apart when it was `before`. What cannot be deleted now, a repair finds.
    pub(super) async fn discard(&self, key: &ObjectKey, before: &Value) {
        if let Ok(Some(content)) = apart(key, before) {
            let content = &content;
            let delete = |_, zone: &Zone| {
                let contents = zone.contents.clone();
                async move { contents.delete(content).await }.boxed()
            };
            if let Ok(ready) = self.ready().await {
                self.ask(ready, self.quorum(), |_| false, delete).await;
            }
        }
    }
}

impl Remaining {
    /// Begins to read what remains from the next zone that has it.
    async fn open(&mut self, mut why: Option<PortError>) -> Result<(), PortError> {
        while let Some((zone, seen)) = self.holders.pop() {
            match read(&zone, &self.key, &self.value, &seen, self.range.clone()).await {
                Ok(body) => {
                    self.body = body;
                    return Ok(());
                }
                Err(error) => why = Some(error),
            }
        }
        let context = format!("no zone that can be reached has {} as it was agreed on", self.key);
        Err(because(PortError::new(PortErrorKind::Unavailable, context), why))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, PortError> {
        while !self.range.is_empty() {
            match self.body.try_next().await {
                Ok(Some(chunk)) => {
                    self.range.start = self.range.start.saturating_add(chunk.len() as u64);
                    return Ok(Some(chunk));
                }
                Ok(None) => self.open(None).await?,
                Err(error) => self.open(Some(error)).await?,
            }
        }
        Ok(None)
    }
}

/// `range` of the object `value`, of which `zone` has what was `seen`.
async fn read(
    zone: &Zone,
    key: &ObjectKey,
    value: &Value,
    seen: &Seen,
    range: Range<u64>,
) -> Result<BoxStream<'static, Result<Bytes, PortError>>, PortError> {
    if let Some(content) = apart(key, value)? {
        return Ok(zone.contents.get(&content, Some(range)).await?.body);
    }
    let behind = |at: u64| at.saturating_add(CONTENT_START);
    let read = zone.records.get(key, Some(behind(range.start)..behind(range.end))).await?;
    if read.meta.version.is_some() && read.meta.version.as_ref() == seen.stored.as_ref().map(|(version, _)| version) {
        return Ok(read.body);
    }
    Err(PortError::new(PortErrorKind::Unavailable, format!("{key} was changed in the zone {}", zone.name)))
}
