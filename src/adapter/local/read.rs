//! Objects that are being read.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};

use super::root::{Root, describe, is_missing};
use super::{failed, start};
use crate::model::ObjectKey;
use crate::port::{Executor, ObjectMeta, PortError, PortErrorKind};

/// As much as is read at a time; twice as much is in memory, for the next chunk is read while this one is used.
const CHUNK_BYTES: u64 = 512 * 1024;

/// An open file, of which `remaining` bytes are still to be read. It keeps its content whatever becomes of its name.
pub(super) struct Reader {
    key: ObjectKey,
    file: File,
    remaining: u64,
}

/// Opens the object for reading `range`.
pub(super) fn open(root: &Root, key: &ObjectKey, range: Option<Range<u64>>) -> Result<(ObjectMeta, Reader), PortError> {
    root.find(key)?.ok_or_else(|| root.missing(key))?;
    let path = root.object(key);
    let mut file = File::open(&path).map_err(|error| match error {
        error if is_missing(&error) => root.missing(key),
        error => failed("open", &path)(error),
    })?;
    let meta = describe(key.clone(), &file.metadata().map_err(failed("look up", &path))?);
    let range = meta.resolve(range)?;
    file.seek(SeekFrom::Start(range.start)).map_err(failed("read", &path))?;
    Ok((meta, Reader { key: key.clone(), file, remaining: range.end - range.start }))
}

impl Reader {
    /// The bytes in chunks.
    pub(super) fn stream(self, executor: Arc<dyn Executor>) -> BoxStream<'static, Result<Bytes, PortError>> {
        let first = self.start(&*executor);
        let next = move |reading: Option<Reading>| {
            let executor = Arc::clone(&executor);
            async move {
                let Some(reading) = reading else { return Ok(None) };
                let (chunk, reader) = reading.await?;
                Ok(Some((chunk, reader.start(&*executor))))
            }
        };
        stream::try_unfold(first, next).boxed()
    }

    /// Begins to read the next chunk; `None` at the end.
    fn start(self, executor: &dyn Executor) -> Option<Reading> {
        (self.remaining > 0).then(|| start(executor, || self.chunk()))
    }

    fn chunk(mut self) -> Result<(Bytes, Self), PortError> {
        let wanted = self.remaining.min(CHUNK_BYTES);
        let mut chunk = Vec::with_capacity(usize::try_from(wanted).expect("a chunk fits in memory"));
        let read = (&self.file).take(wanted).read_to_end(&mut chunk);
        read.map_err(|error| PortError::io(format!("cannot read {}", self.key), error))?;
        if chunk.len() as u64 != wanted {
            let context = format!("{} was cut short while it was read", self.key);
            return Err(PortError::new(PortErrorKind::Invalid, context));
        }
        self.remaining -= wanted;
        Ok((chunk.into(), self))
    }
}

type Reading = BoxFuture<'static, Result<(Bytes, Reader), PortError>>;
