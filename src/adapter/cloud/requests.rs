//! How often a store was asked for what: by this it is paid.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::client::HttpRequest;

use super::http::arguments;

/// A kind of request, as stores price them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RequestKind {
    /// `GET` of an object or a part of it.
    Get,
    /// `HEAD` of an object.
    Head,
    /// `GET` of a page of a listing.
    List,
    /// `PUT`: of an object, of a part of one, a copy.
    Put,
    /// `POST`: the beginning and the end of an upload in parts, deletions in bulk.
    Post,
    /// `DELETE`.
    Delete,
}

/// What asks Azure for a page, and S3 for one of versions.
const LISTS: [&str; 2] = ["comp=list", "versions"];

impl RequestKind {
    const ALL: [Self; 6] = [Self::Get, Self::Head, Self::List, Self::Put, Self::Post, Self::Delete];

    fn of(request: &HttpRequest) -> Option<Self> {
        let mut arguments = arguments(request);
        match request.method().as_str() {
            "GET" if arguments.any(|argument| argument.starts_with("list-type=") || LISTS.contains(&argument)) => {
                Some(Self::List)
            }
            "GET" => Some(Self::Get),
            "HEAD" => Some(Self::Head),
            "PUT" => Some(Self::Put),
            "POST" => Some(Self::Post),
            "DELETE" => Some(Self::Delete),
            _ => None,
        }
    }
}

/// Counts requests. Clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters(Arc<[AtomicU64; RequestKind::ALL.len()]>);

impl Counters {
    pub(super) fn count(&self, request: &HttpRequest) {
        if let Some(kind) = RequestKind::of(request) {
            self.of(kind).fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (RequestKind, u64)> {
        RequestKind::ALL.into_iter().map(|kind| (kind, self.of(kind).load(Ordering::Relaxed)))
    }

    fn of(&self, kind: RequestKind) -> &AtomicU64 {
        &self.0[kind as usize]
    }
}
