//! What there is, as zones agree on it.

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::{self, BoxFuture};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::ZoneStorage;
use super::answers::{Answer, gather, given, too_few};
use super::record::Listed;
use super::set::Zones;
use super::zone::Zone;
use crate::model::{ObjectKey, Timestamp};
use crate::port::{ObjectMeta, PortError, PortErrorKind, Storage};

/// How many objects are looked at one by one at a time, where listings do not agree.
const LOOKS: usize = 16;

/// The objects below `directory` after `after`.
pub(super) fn objects(
    storage: &ZoneStorage,
    directory: Option<ObjectKey>,
    after: Option<ObjectKey>,
) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
    let resolve = move |object: Object| async move {
        match object {
            Object::Clear(meta) => Ok(Some(meta)),
            Object::Unclear(key) => look(storage, &key).await,
        }
    };
    let merged = merge(&storage.zones, directory, after).map_ok(resolve);
    merged.try_buffered(LOOKS).try_filter_map(future::ok).boxed()
}

async fn look(storage: &ZoneStorage, key: &ObjectKey) -> Result<Option<ObjectMeta>, PortError> {
    match storage.head(key).await {
        Err(error) if error.kind() == PortErrorKind::NotFound => Ok(None),
        head => head.map(Some),
    }
}

/// An object that some zone lists.
enum Object {
    Clear(ObjectMeta),
    /// The zones do not agree about it.
    Unclear(ObjectKey),
}

/// What one zone lists.
struct Source<'a> {
    entries: BoxStream<'a, Result<Entry, PortError>>,
    next: Option<Entry>,
    has_ended: bool,
}

/// A record that a zone lists.
pub(super) struct Entry {
    pub(super) key: ObjectKey,
    listed: Listed,
    modified: Timestamp,
}

fn merge<'a>(
    zones: &'a Zones,
    directory: Option<ObjectKey>,
    after: Option<ObjectKey>,
) -> BoxStream<'a, Result<Object, PortError>> {
    let begin = async move {
        let ready = zones.ready().await?;
        let source = |zone: usize| {
            let entries = entries(&zones.zones[zone], directory.clone(), after.clone());
            (zone, Source { entries, next: None, has_ended: false })
        };
        let merge = Merge { zones, sources: ready.into_iter().map(source).collect() };
        Ok(stream::try_unfold(merge, Merge::next))
    };
    stream::once(begin).try_flatten().boxed()
}

/// The listings of several zones, side by side.
struct Merge<'a> {
    zones: &'a Zones,
    sources: Vec<(usize, Source<'a>)>,
}

impl<'a> Merge<'a> {
    /// The next object that there is, or may be.
    async fn next(mut self) -> Result<Option<(Object, Self)>, PortError> {
        loop {
            self.fill().await?;
            let next = self.sources.iter().filter_map(|(_, source)| source.next.as_ref()).map(|entry| &entry.key).min();
            let Some(key) = next.cloned() else { return Ok(None) };
            if let Some(object) = self.vote(key) {
                return Ok(Some((object, self)));
            }
        }
    }

    /// Sees to it that the next entry of each zone is known, of a quorum at least.
    async fn fill(&mut self) -> Result<(), PortError> {
        let quorum = self.zones.quorum();
        let (waiting, known): (Vec<_>, Vec<_>) = std::mem::take(&mut self.sources)
            .into_iter()
            .partition(|(_, source)| source.next.is_none() && !source.has_ended);
        self.sources = known;
        if !waiting.is_empty() {
            let settings = &self.zones.settings;
            let (clock, missing) = (&*self.zones.environment.clock, quorum.saturating_sub(self.sources.len()));
            let asked = waiting.iter().map(|(zone, _)| *zone).collect();
            let questions = waiting.into_iter().map(|(zone, source)| (zone, source.advance()));
            let answers = gather(questions, missing, settings.patience, clock, |_| false).await;
            self.zones.blame(asked, &answers);
            self.keep(answers)?;
        }
        Ok(())
    }

    fn keep(&mut self, answers: Vec<Answer<Source<'a>>>) -> Result<(), PortError> {
        if self.sources.len().saturating_add(given(&answers).count()) < self.zones.quorum() {
            return Err(too_few("cannot list", self.zones.zones.len(), answers));
        }
        self.sources.extend(answers.into_iter().filter_map(|answer| Some((answer.zone, answer.result.ok()?))));
        Ok(())
    }

    /// What becomes of `key`, the next in order; `None` if a quorum has nothing of that name.
    fn vote(&mut self, key: ObjectKey) -> Option<Object> {
        let entries = self.sources.iter_mut().map(|(_, source)| source.next.take_if(|entry| entry.key == key));
        let entries: Vec<Option<Entry>> = entries.collect();
        let listed = |entry: &Option<Entry>| entry.as_ref().map_or(Listed::None, |entry| entry.listed);
        let votes = |choice: Listed| entries.iter().filter(|entry| listed(entry) == choice).count();
        let choice = entries.iter().map(listed).find(|choice| votes(*choice) >= self.zones.quorum());
        let modified = entries.iter().flatten().map(|entry| entry.modified).min()?;
        match choice {
            Some(Listed::None) => None,
            Some(Listed::Bytes(bytes)) => Some(Object::Clear(ObjectMeta::new(key, bytes, modified, None))),
            Some(Listed::Apart) | None => Some(Object::Unclear(key)),
        }
    }
}

impl<'a> Source<'a> {
    fn advance(mut self) -> BoxFuture<'a, Result<Self, PortError>> {
        async move {
            self.next = self.entries.try_next().await?;
            self.has_ended = self.next.is_none();
            Ok(self)
        }
        .boxed()
    }
}

/// The records that `zone` lists, with what their objects have. The lengths of contents that stand apart come from their own listing.
pub(super) fn entries(
    zone: &Zone,
    directory: Option<ObjectKey>,
    after: Option<ObjectKey>,
) -> BoxStream<'_, Result<Entry, PortError>> {
    let records = zone.records.list(directory.as_ref(), after.as_ref());
    let contents =
        Contents { listed: zone.contents.list(directory.as_ref(), after.as_ref()), ahead: BTreeMap::new(), next: None };
    stream::try_unfold((records, contents), |(mut records, mut contents)| async move {
        let Some(ObjectMeta { key, bytes, modified, .. }) = records.try_next().await? else { return Ok(None) };
        let listed = match Listed::of(bytes) {
            Listed::Apart => contents.length(&key).await?.map_or(Listed::Apart, Listed::Bytes),
            listed => listed,
        };
        Ok(Some((Entry { key, listed, modified }, (records, contents))))
    })
    .boxed()
}

/// The lengths of contents, as a zone lists them: nearly in the order of their objects.
struct Contents<'a> {
    listed: BoxStream<'a, Result<ObjectMeta, PortError>>,
    /// Contents of later objects, whose names go on where that of an earlier one ends.
    ahead: BTreeMap<ObjectKey, Vec<u64>>,
    next: Option<ObjectMeta>,
}

impl Contents<'_> {
    /// The length of the content of `key`; `None` if there is none, or are several.
    async fn length(&mut self, key: &ObjectKey) -> Result<Option<u64>, PortError> {
        while let Some(meta) = self.next_before_end(key).await? {
            if let Some(owner) = owner(&meta.key) {
                self.ahead.entry(owner).or_default().push(meta.bytes);
            }
        }
        self.ahead = self.ahead.split_off(key);
        let lengths = self.ahead.remove(key).unwrap_or_default();
        Ok(if let [length] = *lengths { Some(length) } else { None })
    }

    /// The next content, if it comes before the end of those of `key`.
    async fn next_before_end(&mut self, key: &ObjectKey) -> Result<Option<ObjectMeta>, PortError> {
        if self.next.is_none() {
            self.next = self.listed.try_next().await?;
        }
        let is_before_end =
            |meta: &mut ObjectMeta| meta.key < *key || meta.key.is_below(key) || is_between(&meta.key, key);
        Ok(self.next.take_if(is_before_end))
    }
}

/// Whether `other` comes between `key` and what is below it.
fn is_between(other: &ObjectKey, key: &ObjectKey) -> bool {
    let rest = other.as_str().strip_prefix(key.as_str());
    rest.and_then(|rest| rest.bytes().next()).is_some_and(|byte| byte < b'/')
}

/// The object whose content `content` is.
pub(super) fn owner(content: &ObjectKey) -> Option<ObjectKey> {
    content.split_name().and_then(|(owner, _)| owner.parse().ok())
}
