//! The sealed objects of one server: everything that the engine stores goes through here.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;

use super::error::{Context, Error, ErrorKind, Result};
use crate::format::digest::DigestKey;
use crate::format::seal::{
    self, FrameSize, FrameSpan, KeyRing, ObjectOpener, OpenError, Opener, Salt, SealedLayout, Sealer, WrappedKey,
};
use crate::model::{ObjectKey, StoredObject};
use crate::port::{Entropy, Executor, ExecutorExt, ObjectMeta, PutMode, Storage, StorageExt, Upload, Version};

/// No wrapped key is longer.
const WRAPPED_BYTES_MAX: usize = 64 << 10;

/// Seals what is written and opens what is read, off the caller's thread.
#[derive(Clone, Debug)]
pub(crate) struct Vault {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) keys: KeyRing,
    pub(crate) digests: DigestKey,
    /// The object that holds the wrapped key.
    pub(crate) wrapped: ObjectKey,
}

impl Vault {
    /// Stores `plain` as a whole.
    pub(crate) async fn put(&self, name: &ObjectKey, plain: Bytes, mode: PutMode) -> Result<(StoredObject, Version)> {
        let (key, object, salt) = (self.keys.current().clone(), name.clone(), self.salt()?);
        let seal = move || seal::seal(&key, &object, salt, FrameSize::default(), &plain);
        let sealed = self.executor.run(seal).await??;
        let bytes = sealed.len() as u64;
        let version = self.storage.put(name, sealed, mode).await.context(|| format!("storing {name}"))?;
        Ok((StoredObject::new(name.clone(), bytes), version))
    }

    /// Reads an object as a whole, which may have `bytes_max` bytes.
    pub(crate) async fn get(&self, name: &ObjectKey, bytes_max: usize) -> Result<Bytes> {
        let found = self.find(name, bytes_max).await?;
        found.map(|(plain, _)| plain).ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{name} is missing")))
    }

    /// Reads an object as a whole, if there is one.
    pub(crate) async fn find(&self, name: &ObjectKey, bytes_max: usize) -> Result<Option<(Bytes, ObjectMeta)>> {
        let found = self.storage.find(name, bytes_max).await.context(|| format!("reading {name}"))?;
        let Some((sealed, meta)) = found else { return Ok(None) };
        let (keys, object) = (self.keys.clone(), name.clone());
        match self.executor.run(move || seal::open(keys, &object, &sealed)).await? {
            Ok(plain) => Ok(Some((plain, meta))),
            Err(error) => Err(self.unopened(name, error).await?),
        }
    }

    /// Begins to write an object of unknown length, which must not exist.
    pub(crate) async fn create(&self, name: &ObjectKey) -> Result<VaultWriter> {
        let upload = self.storage.upload(name).await.context(|| format!("storing {name}"))?;
        let sealer = Sealer::new(self.keys.current(), name, self.salt()?, FrameSize::default());
        let executor = Arc::clone(&self.executor);
        Ok(VaultWriter { name: name.clone(), executor, sealer, upload, pending: BytesMut::new(), stored_bytes: 0 })
    }

    /// Reads an object from its beginning to its end.
    pub(crate) async fn stream(&self, name: &ObjectKey) -> Result<VaultStream> {
        let read = self.storage.get(name, None).await.context(|| format!("reading {name}"))?;
        let opener = Some(Opener::new(&self.keys, name));
        Ok(VaultStream { name: name.clone(), vault: self.clone(), opener, body: read.body })
    }

    /// Opens an object for reading any of its ranges.
    pub(crate) async fn open(&self, name: &ObjectKey) -> Result<VaultReader> {
        let header = SealedLayout::header_len(name);
        let read =
            self.storage.get(name, Some(0..header as u64)).await.map_err(|error| missing_or_short(name, error))?;
        let bytes = read.meta.bytes;
        let start = read.collect(header).await.context(|| format!("reading {name}"))?;
        let opener = match ObjectOpener::from_header(&self.keys, name, &start) {
            Ok(opener) => opener,
            Err(error) => return Err(self.unopened(name, error).await?),
        };
        let layout = opener.layout(bytes).map_err(|error| Error::open(name, error))?;
        let (storage, executor) = (Arc::clone(&self.storage), Arc::clone(&self.executor));
        Ok(VaultReader { name: name.clone(), storage, executor, opener: Arc::new(opener), layout })
    }

    /// Why the object `name` was not opened: it may be sound, and sealed by a key that was rotated in since this vault was opened.
    async fn unopened(&self, name: &ObjectKey, error: OpenError) -> Result<Error> {
        if matches!(error, OpenError::WrongKey { .. }) && self.is_rotated().await? {
            let context = format!("{name} cannot be opened: the server's key was rotated, open the server anew");
            return Ok(Error::new(ErrorKind::Conflict, context).caused_by(error));
        }
        Ok(Error::open(name, error))
    }

    pub(super) async fn is_rotated(&self) -> Result<bool> {
        let found = self.storage.find(&self.wrapped, WRAPPED_BYTES_MAX).await;
        let found = found.context(|| format!("reading {}", self.wrapped))?;
        let wrapped = found.and_then(|(bytes, _)| WrappedKey::parse(&bytes).ok());
        Ok(wrapped.is_some_and(|wrapped| wrapped.server_key_id() != self.keys.current().id()))
    }

    fn salt(&self) -> Result<Salt> {
        let mut salt = [0; 32];
        self.entropy.fill(&mut salt).context(|| "drawing a salt")?;
        Ok(Salt::new(salt))
    }
}

/// A range that the object does not have means that the object was cut.
fn missing_or_short(name: &ObjectKey, error: crate::port::PortError) -> Error {
    match error.kind() {
        crate::port::PortErrorKind::Invalid => Error::corrupt(name, error),
        kind => Error::new(kind.into(), format!("reading {name}")).caused_by(error),
    }
}

/// How many bytes a writer gathers before it gives them to the cipher and the storage.
const WRITE_BYTES: usize = 1 << 20;

/// An object that is being written. Dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub(crate) struct VaultWriter {
    name: ObjectKey,
    executor: Arc<dyn Executor>,
    sealer: Sealer,
    upload: Box<dyn Upload>,
    pending: BytesMut,
    stored_bytes: u64,
}

impl VaultWriter {
    /// Appends `plain`.
    pub(crate) async fn write(mut self, plain: &[u8]) -> Result<Self> {
        self.pending.extend_from_slice(plain);
        if self.pending.len() < WRITE_BYTES { Ok(self) } else { self.flush().await }
    }

    /// Makes the object visible and durable.
    pub(crate) async fn finish(self) -> Result<StoredObject> {
        let Self { name, executor, sealer, mut upload, mut stored_bytes, .. } = self.flush().await?;
        let end = executor.run(move || sealer.finish()).await??;
        stored_bytes += end.len() as u64;
        let storing = || format!("storing {name}");
        upload.write(end).await.context(storing)?;
        upload.finish().await.context(storing)?;
        Ok(StoredObject::new(name, stored_bytes))
    }

    async fn flush(mut self) -> Result<Self> {
        let (plain, mut sealer) = (self.pending.split().freeze(), self.sealer);
        let (sealer, sealed) = self
            .executor
            .run(move || {
                let sealed = sealer.seal(&plain);
                (sealer, sealed)
            })
            .await?;
        self.sealer = sealer;
        let sealed = sealed?;
        self.stored_bytes += sealed.len() as u64;
        self.upload.write(sealed).await.context(|| format!("storing {}", self.name))?;
        Ok(self)
    }
}

/// An object that is being read from its beginning to its end.
pub(crate) struct VaultStream {
    name: ObjectKey,
    vault: Vault,
    opener: Option<Opener>,
    body: futures::stream::BoxStream<'static, Result<Bytes, crate::port::PortError>>,
}

impl VaultStream {
    /// The next bytes; `None` once the object was read whole and proved to be complete.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let sealed = self.body.try_next().await.context(|| format!("reading {}", self.name))?;
            let Some(mut opener) = self.opener.take() else { return Ok(None) };
            let Some(sealed) = sealed else {
                opener.finish().map_err(|error| Error::open(&self.name, error))?;
                return Ok(None);
            };
            let (opener, plain) = self
                .vault
                .executor
                .run(move || {
                    let plain = opener.open(&sealed);
                    (opener, plain)
                })
                .await?;
            self.opener = Some(opener);
            let plain = match plain {
                Ok(plain) => plain,
                Err(error) => return Err(self.vault.unopened(&self.name, error).await?),
            };
            if !plain.is_empty() {
                return Ok(Some(plain));
            }
        }
    }
}

/// An object of which ranges are read.
#[derive(Clone, Debug)]
pub(crate) struct VaultReader {
    name: ObjectKey,
    storage: Arc<dyn Storage>,
    executor: Arc<dyn Executor>,
    opener: Arc<ObjectOpener>,
    layout: SealedLayout,
}

impl VaultReader {
    /// How many bytes it has, unsealed.
    pub(crate) fn bytes(&self) -> u64 {
        self.layout.plain_len()
    }

    /// Checks that the object ends where it should: its last frame says so, and no other can.
    pub(crate) async fn check_end(&self) -> Result<()> {
        self.read_frames(self.layout.last_frame(), drop).await
    }

    /// The bytes `range` of the object, and what `work` makes of them, off the caller's thread.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        range: Range<u64>,
        work: impl FnOnce(Bytes) -> T + Send + 'static,
    ) -> Result<T> {
        let span = self.layout.frames_for(range).map_err(|error| Error::open(&self.name, error))?;
        self.read_frames(span, work).await
    }

    async fn read_frames<T: Send + 'static>(
        &self,
        span: FrameSpan,
        work: impl FnOnce(Bytes) -> T + Send + 'static,
    ) -> Result<T> {
        let (name, sealed) = (&self.name, span.sealed_bytes());
        let length = usize::try_from(sealed.end - sealed.start).map_err(|error| Error::corrupt(name, error))?;
        let read = self.storage.get(name, Some(sealed)).await.map_err(|error| missing_or_short(name, error))?;
        let fetched = read.collect(length).await.context(|| format!("reading {name}"))?;
        let opener = Arc::clone(&self.opener);
        let opened = self.executor.run(move || opener.open_span(&span, &fetched).map(work)).await?;
        opened.map_err(|error| Error::open(name, error))
    }
}
