//! Files that are read and written.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

use super::PortError;

/// A file that is read where it lies.
#[async_trait]
pub trait FileReader: Debug + Send + Sync + 'static {
    /// Waits until `bytes` more bytes may be read, where reading is limited. Whoever reads asks before; so no thread has to wait.
    async fn admit(&self, _bytes: usize) {}

    /// Fills `buffer` with what stands from byte `offset` on, zeros where the file is shorter, and says which pages in it have a
    /// wrong checksum, if that is checked: their block numbers, counted as PostgreSQL counts those of a relation.
    ///
    /// Blocks; is called on an [`Executor`](super::Executor), for several parts of the file at a time.
    ///
    /// # Errors
    /// If the file cannot be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<Vec<u32>, PortError>;
}

/// A file that is being written, from its start to its end.
#[async_trait]
pub trait FileWriter: Debug + Send {
    /// Appends `bytes`.
    ///
    /// # Errors
    /// After one the file is incomplete and the writer can only be dropped.
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError>;

    /// Appends `bytes` zeros, which need not take room on the disk.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    async fn zeros(&mut self, bytes: u64) -> Result<(), PortError>;

    /// Appends the `bytes` bytes that stand in this place already. The file was [`standing`](super::RestoreTarget::standing).
    ///
    /// # Errors
    /// As [`write`](Self::write).
    async fn keep(&mut self, bytes: u64) -> Result<(), PortError>;

    /// Ends the file. What was not written of a segment reads as zeros.
    ///
    /// # Errors
    /// [`Invalid`](super::PortErrorKind::Invalid) if a file has not got exactly the bytes that were promised.
    async fn finish(self: Box<Self>) -> Result<(), PortError>;
}
