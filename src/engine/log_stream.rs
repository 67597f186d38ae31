//! Reading log backups.

use std::sync::Arc;

use bytes::Bytes;

use super::error::{Error, ErrorKind, Result};
use super::server::ServerRepository;
use super::vault::VaultStream;
use crate::format::log::{self, LogFooter, LogReader};
use crate::model::LogBackup;
use crate::port::{Executor, ExecutorExt};

/// Most footers are shorter.
const TAIL_BYTES: u64 = 4096;

/// What `log` of `server` says of itself, without its log.
pub(crate) async fn read_footer(server: &ServerRepository, log: &LogBackup) -> Result<LogFooter> {
    let name = &log.key();
    let damaged = |error| Error::corrupt(name, error);
    let object = server.vault.open(name).await?;
    let end = object.bytes();
    let tail = async |bytes: u64| object.read(end.saturating_sub(bytes)..end, |plain| plain).await;
    let mut footer = tail(TAIL_BYTES).await?;
    let needed = log::footer_bytes(&footer).map_err(damaged)?;
    if needed > footer.len() {
        footer = tail(needed as u64).await?;
    }
    log::footer(&footer).map_err(damaged)
}

/// Reads all of `log`: every frame and block, and what it says of itself.
pub(crate) async fn read_whole(server: &ServerRepository, log: LogBackup) -> Result<LogFooter> {
    let mut stream = LogStream::open(server, log).await?;
    while stream.next().await?.is_some() {}
    stream.finish()
}

/// The log of one log backup, read from its beginning to its end. It is decompressed block by block, as it is asked for: what takes little room
/// in the storage can take a thousand times as much here.
pub(crate) struct LogStream {
    log: LogBackup,
    executor: Arc<dyn Executor>,
    sealed: VaultStream,
    reader: LogReader,
}

impl LogStream {
    /// Opens `log` of `server`.
    pub(crate) async fn open(server: &ServerRepository, log: LogBackup) -> Result<Self> {
        let sealed = server.vault.stream(&log.key()).await?;
        let executor = Arc::clone(&server.vault.executor);
        Ok(Self { log, executor, sealed, reader: LogReader::new() })
    }

    /// The next bytes of log; `None` at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let block = self.decode().await?;
            if block.is_some() || !self.fetch().await? {
                return Ok(block);
            }
        }
    }

    /// Fetches all of it, so that [`next`](Self::next) need not wait for the storage.
    pub(crate) async fn prefetch(&mut self) -> Result<()> {
        while self.fetch().await? {}
        Ok(())
    }

    /// What it says of itself, once it was read whole.
    pub(crate) fn finish(self) -> Result<LogFooter> {
        let (name, expected) = (self.log.key(), self.log.wal);
        let footer = self.reader.finish().map_err(|error| Error::corrupt(&name, error))?;
        if footer.wal == expected {
            return Ok(footer);
        }
        Err(Error::new(ErrorKind::Corrupt, format!("{name} holds {}, its name says {expected}", footer.wal)))
    }

    async fn fetch(&mut self) -> Result<bool> {
        let plain = self.sealed.next().await?;
        plain.iter().for_each(|plain| self.reader.feed(plain));
        Ok(plain.is_some())
    }

    async fn decode(&mut self) -> Result<Option<Bytes>> {
        let mut reader = std::mem::take(&mut self.reader);
        let decode = move || {
            let block = reader.read();
            (reader, block)
        };
        let (reader, block) = self.executor.run(decode).await?;
        self.reader = reader;
        block.map_err(|error| Error::corrupt(self.log.key(), error))
    }
}
