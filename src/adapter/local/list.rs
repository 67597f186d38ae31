//! Listings in bytewise order of whole keys.

use std::fs::{self, DirEntry};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::vec;

use futures::future;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::root::{Root, describe, is_missing};
use super::{failed, start};
use crate::model::ObjectKey;
use crate::port::{Executor, ObjectMeta, PortError};

/// How many objects are looked up at a time.
const BATCH: usize = 256;

/// Lists the objects below `directory` after `after`.
pub(super) fn stream(
    root: &Root,
    executor: Arc<dyn Executor>,
    directory: Option<&ObjectKey>,
    after: Option<&ObjectKey>,
) -> BoxStream<'static, Result<ObjectMeta, PortError>> {
    let walk = Walk::new(root.clone(), directory, after);
    let next = move |walk: Option<Walk>| {
        let executor = Arc::clone(&executor);
        async move {
            let Some(walk) = walk else { return Ok(None) };
            start(&*executor, || walk.batch(BATCH)).await.map(Some)
        }
    };
    let batches = stream::try_unfold(Some(walk), next);
    batches.map_ok(|batch| stream::iter(batch).map(Ok)).try_flatten().boxed()
}

/// Lists the directories directly below `directory` that hold an object.
pub(super) fn directories(
    root: &Root,
    executor: Arc<dyn Executor>,
    directory: Option<&ObjectKey>,
) -> BoxStream<'static, Result<ObjectKey, PortError>> {
    let (root, walk) = (root.clone(), Walk::new(root.clone(), directory, None));
    let names = start(&*executor, || walk.names());
    let names = stream::once(names).map_ok(|names| stream::iter(names).map(Ok)).try_flatten();
    let holding = move |name: String| {
        let root = root.clone();
        start(&*executor, move || holding(root, &name))
    };
    names.map_ok(holding).try_buffered(2).try_filter_map(future::ok).boxed()
}

/// The directory of this name, if it holds an object.
fn holding(root: Root, name: &str) -> Result<Option<ObjectKey>, PortError> {
    let Ok(directory) = name.trim_end_matches('/').parse() else { return Ok(None) };
    let (objects, _) = Walk::new(root, Some(&directory), None).batch(1)?;
    Ok((!objects.is_empty()).then_some(directory))
}

/// A walk through the tree that holds the names of the directories it is in, and of no others.
struct Walk {
    root: Root,
    after: String,
    /// The directory to begin with, until it was entered.
    start: Option<String>,
    /// What is still to be visited of each directory that it is in, outermost first.
    levels: Vec<vec::IntoIter<String>>,
}

impl Walk {
    fn new(root: Root, directory: Option<&ObjectKey>, after: Option<&ObjectKey>) -> Self {
        let start = directory.map_or_else(String::new, |directory| format!("{directory}/"));
        let after = after.map_or_else(String::new, ToString::to_string);
        Self { root, after, start: Some(start), levels: Vec::new() }
    }

    /// The names of the directories that it begins in front of.
    fn names(mut self) -> Result<Vec<String>, PortError> {
        if let Some(start) = self.start.take() {
            self.begin(start)?;
        }
        Ok(self.levels.pop().into_iter().flatten().filter(|name| name.ends_with('/')).collect())
    }

    /// The next objects, `count` of them if there are as many, and the walk on from there; `None` if these were the last.
    fn batch(mut self, count: usize) -> Result<(Vec<ObjectMeta>, Option<Self>), PortError> {
        if let Some(start) = self.start.take() {
            self.begin(start)?;
        }
        let mut batch = Vec::new();
        while batch.len() < count {
            let Some(name) = self.next() else { return Ok((batch, None)) };
            if name.ends_with('/') {
                self.enter(&name)?;
            } else {
                batch.extend(self.object(&name)?);
            }
        }
        Ok((batch, Some(self)))
    }

    /// Enters the first directory, unless a symbolic link leads there.
    fn begin(&mut self, start: String) -> Result<(), PortError> {
        if let Ok(directory) = start.trim_end_matches('/').parse() {
            self.root.look(&directory)?;
        }
        self.enter(&start)
    }

    /// The next name, from the innermost directory that has one.
    fn next(&mut self) -> Option<String> {
        loop {
            match self.levels.last_mut()?.next() {
                Some(name) => return Some(name),
                None => self.levels.pop(),
            };
        }
    }

    /// Reads a directory, whose name ends in `/` or is empty for the root. The names in it are sorted as the keys that they
    /// begin: that of a directory with its `/`, which comes after `-` and `.`.
    fn enter(&mut self, directory: &str) -> Result<(), PortError> {
        let path = self.path(directory);
        let entries = match fs::read_dir(&path) {
            Err(error) if is_missing(&error) => return Ok(()),
            entries => entries.map_err(failed("list", &path))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.and_then(|entry| name(directory, &entry)).map_err(failed("list", &path))?;
            names.extend(name.filter(|name| self.is_wanted(name)));
        }
        names.sort_unstable();
        // A file that is replaced while its directory is read may be met twice.
        names.dedup();
        self.levels.push(names.into_iter());
        Ok(())
    }

    /// Whether `name` is, or may lead to, a key after the one to begin after.
    fn is_wanted(&self, name: &str) -> bool {
        name > self.after.as_str() || (name.ends_with('/') && self.after.starts_with(name))
    }

    /// The object of this name, unless it was deleted meanwhile.
    fn object(&self, name: &str) -> Result<Option<ObjectMeta>, PortError> {
        let Ok(key) = name.parse::<ObjectKey>() else { return Ok(None) };
        let path = self.path(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) => Ok(metadata.is_file().then(|| describe(key, &metadata))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(failed("look up", &path)(error)),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }
}

/// The key that `entry` is or begins; `None` if it is neither file nor directory, or has a name that no key has.
fn name(directory: &str, entry: &DirEntry) -> io::Result<Option<String>> {
    let name = format!("{directory}{}", entry.file_name().to_string_lossy());
    if name.parse::<ObjectKey>().is_err() {
        return Ok(None);
    }
    match entry.file_type() {
        Ok(kind) if kind.is_file() => Ok(Some(name)),
        Ok(kind) if kind.is_dir() => Ok(Some(name + "/")),
        Err(error) if !is_missing(&error) => Err(error),
        _ => Ok(None),
    }
}
