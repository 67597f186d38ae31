//! Directories, as stores tell them: by what names have in common up to a slash.

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListResult};

use super::Store;
use super::error::failed;
use crate::model::ObjectKey;
use crate::port::PortError;

/// Lists the directories directly below `directory`, a page of up to a thousand at a time.
pub(super) fn stream<'a>(
    store: &'a Store,
    directory: Option<&ObjectKey>,
) -> BoxStream<'a, Result<ObjectKey, PortError>> {
    let below = directory.map_or_else(String::new, |directory| format!("{directory}/"));
    let prefix = format!("{}{below}", store.root);
    let next = move |token: Option<Option<String>>| {
        let prefix = prefix.clone();
        async move {
            let Some(token) = token else { return Ok(None) };
            let PaginatedListResult { result, page_token } = page(store, &prefix, token).await?;
            let names = result.common_prefixes.into_iter();
            let found = names.filter_map(|name| name.as_ref().strip_prefix(&store.root)?.parse().ok().map(Ok));
            let found: Vec<Result<ObjectKey, PortError>> = found.collect();
            Ok(Some((stream::iter(found), page_token.map(Some))))
        }
    };
    stream::try_unfold(Some(None), next).try_flatten().boxed()
}

async fn page(store: &Store, prefix: &str, page_token: Option<String>) -> Result<PaginatedListResult, PortError> {
    let options = PaginatedListOptions { delimiter: Some("/".into()), page_token, ..PaginatedListOptions::default() };
    let prefix = Some(prefix).filter(|prefix| !prefix.is_empty());
    store.client.pages.list_paginated(prefix, options).await.map_err(failed(format!("cannot list {}", store.url)))
}
