//! The keys that any of several listings has.

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use crate::model::ObjectKey;
use crate::port::{PortError, Storage};

/// The keys in a storage, of which the next is known.
struct Keys<'a> {
    listed: BoxStream<'a, Result<ObjectKey, PortError>>,
    next: Option<ObjectKey>,
}

impl Keys<'_> {
    async fn peek(&mut self) -> Result<Option<&ObjectKey>, PortError> {
        if self.next.is_none() {
            self.next = self.listed.try_next().await?;
        }
        Ok(self.next.as_ref())
    }
}

/// The keys in any of `storages`, in their order, each once.
pub(super) fn union<'a>(
    storages: impl IntoIterator<Item = &'a dyn Storage>,
) -> BoxStream<'a, Result<ObjectKey, PortError>> {
    let list = |storage: &'a dyn Storage| {
        let listed = storage.list(None, None).map_ok(|meta| meta.key);
        Keys { listed: listed.fuse().boxed(), next: None }
    };
    let listings: Vec<Keys<'a>> = storages.into_iter().map(list).collect();
    stream::try_unfold(listings, |mut listings| async move {
        let mut next: Option<ObjectKey> = None;
        for keys in &mut listings {
            next = next.into_iter().chain(keys.peek().await?.cloned()).min();
        }
        let Some(next) = next else { return Ok(None) };
        for keys in &mut listings {
            keys.next.take_if(|key| *key == next);
        }
        Ok(Some((next, listings)))
    })
    .boxed()
}
