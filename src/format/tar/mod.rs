//! The tar archives that `BASE_BACKUP` sends, read as they come in.

mod header;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use self::header::{TarHeader, TarHeaderError, TarKind};

use self::header::BLOCK_BYTES;
use super::input;

/// What stands next in an archive. The events of a member come in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TarEvent {
    /// A member begins.
    Member(TarHeader),
    /// The next bytes of its contents, never none: a slice of what was fed. All of them together are as long as
    /// [`TarHeader::size`] says.
    Data(Bytes),
    /// The member is complete.
    MemberEnd,
}

/// An archive that cannot be read on. Offsets are bytes from its start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// A member's header is damaged, or says what `BASE_BACKUP` never says.
    #[error("the tar member at byte {offset}: {problem}")]
    Header {
        /// Where the header begins.
        offset: u64,
        /// What is wrong with it.
        problem: TarHeaderError,
    },
    /// An archive ends with zeros and nothing else.
    #[error("the tar archive goes on at byte {offset}, after its end")]
    AfterEnd {
        /// Where the block that should be zero begins.
        offset: u64,
    },
    /// The archive stops inside a member.
    #[error("the tar archive is cut off at byte {offset}, inside a member")]
    Truncated {
        /// How long it is.
        offset: u64,
    },
}

/// Reads one archive, fed in chunks of any size.
///
/// It holds one header and no contents, so its memory does not grow with the archive. PostgreSQL 15 and later end an
/// archive with two blocks of zeros, earlier ones leave them out: both are accepted, and so are zeros that follow.
/// After an error nothing more is read, and [`TarReader::finish`] repeats the error.
///
/// # Example: the names in an archive
/// ```
/// use pitr::format::tar::{TarEvent, TarReader};
///
/// # fn main() -> Result<(), pitr::format::tar::TarError> {
/// let mut reader = TarReader::new();
/// for event in reader.feed(vec![0; 1024].into()) {
///     if let TarEvent::Member(header) = event? {
///         println!("{} of {} bytes", header.path, header.size);
///     }
/// }
/// reader.finish()
/// # }
/// ```
#[derive(Debug)]
pub struct TarReader {
    input: Bytes,
    state: State,
    /// How much of the archive was consumed.
    offset: u64,
    block: Block,
}

#[derive(Debug)]
enum State {
    Header,
    Data {
        left: u64,
        padding: u64,
    },
    Padding {
        left: u64,
    },
    /// A block of zeros was read: only zeros may follow.
    End,
    Failed(TarError),
}

impl Default for TarReader {
    fn default() -> Self {
        Self::new()
    }
}

impl TarReader {
    /// A reader at the start of an archive.
    #[must_use]
    pub const fn new() -> Self {
        Self { input: Bytes::new(), state: State::Header, offset: 0, block: Block::EMPTY }
    }

    /// Takes the next bytes of the archive and gives what they complete.
    ///
    /// Events that are not taken from the iterator come first the next time.
    ///
    /// # Errors
    /// Each item may be one, and is then the last.
    pub fn feed(&mut self, chunk: Bytes) -> impl Iterator<Item = Result<TarEvent, TarError>> + '_ {
        input::append(&mut self.input, chunk);
        std::iter::from_fn(move || self.next_event().transpose())
    }

    /// Ends the archive, all of whose events were taken.
    ///
    /// # Errors
    /// If it stops inside a member, or could not be read.
    pub fn finish(self) -> Result<(), TarError> {
        let at_boundary = self.input.is_empty() && self.block.filled == 0;
        match self.state {
            State::Failed(error) => Err(error),
            State::Header | State::End if at_boundary => Ok(()),
            State::Header | State::End | State::Data { .. } | State::Padding { .. } => {
                Err(TarError::Truncated { offset: self.offset })
            }
        }
    }

    fn next_event(&mut self) -> Result<Option<TarEvent>, TarError> {
        let event = self.advance();
        if let Err(error) = &event {
            self.state = State::Failed(error.clone());
        }
        event
    }

    /// Goes on until there is something to tell or no input is left.
    fn advance(&mut self) -> Result<Option<TarEvent>, TarError> {
        loop {
            match self.state {
                State::Header => {
                    let Some(block) = self.next_block() else { return Ok(None) };
                    if let Some(header) = self.header(&block)? {
                        return Ok(Some(TarEvent::Member(header)));
                    }
                }
                State::Data { left: 0, padding } => {
                    self.state = State::Padding { left: padding };
                    return Ok(Some(TarEvent::MemberEnd));
                }
                State::Data { left, padding } => {
                    let data = self.take(left);
                    self.state = State::Data { left: left.saturating_sub(length(&data)), padding };
                    return Ok((!data.is_empty()).then_some(TarEvent::Data(data)));
                }
                State::Padding { left: 0 } => self.state = State::Header,
                State::Padding { left } => {
                    let skipped = length(&self.take(left));
                    self.state = State::Padding { left: left.saturating_sub(skipped) };
                    if skipped == 0 {
                        return Ok(None);
                    }
                }
                State::End => {
                    let Some(block) = self.next_block() else { return Ok(None) };
                    if block != Block::ZEROS {
                        return Err(TarError::AfterEnd { offset: self.block_offset() });
                    }
                }
                State::Failed(_) => {
                    self.input.clear();
                    return Ok(None);
                }
            }
        }
    }

    /// Begins the member whose header `block` is, or the end of the archive.
    fn header(&mut self, block: &[u8; BLOCK_BYTES]) -> Result<Option<TarHeader>, TarError> {
        if *block == Block::ZEROS {
            self.state = State::End;
            return Ok(None);
        }
        let offset = self.block_offset();
        let header = TarHeader::parse(block).map_err(|problem| TarError::Header { offset, problem })?;
        let padding = header.size.wrapping_neg() % BLOCK_BYTES as u64;
        self.state = State::Data { left: header.size, padding };
        Ok(Some(header))
    }

    fn next_block(&mut self) -> Option<[u8; BLOCK_BYTES]> {
        let data = self.take(self.block.missing());
        self.block.fill(&data)
    }

    /// Where the block that was just read begins.
    fn block_offset(&self) -> u64 {
        self.offset.saturating_sub(BLOCK_BYTES as u64)
    }

    fn take(&mut self, bytes_max: u64) -> Bytes {
        let bytes = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(self.input.len());
        let data = self.input.split_to(bytes);
        self.offset = self.offset.saturating_add(length(&data));
        data
    }
}

fn length(data: &[u8]) -> u64 {
    data.len() as u64
}

/// A block that may come in pieces.
#[derive(Debug)]
struct Block {
    bytes: [u8; BLOCK_BYTES],
    filled: usize,
}

impl Block {
    const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    const EMPTY: Self = Self { bytes: Self::ZEROS, filled: 0 };

    fn missing(&self) -> u64 {
        BLOCK_BYTES.saturating_sub(self.filled) as u64
    }

    /// Appends at most what is missing; gives the block, and begins another, once nothing is.
    fn fill(&mut self, data: &[u8]) -> Option<[u8; BLOCK_BYTES]> {
        for (byte, &new) in self.bytes.iter_mut().skip(self.filled).zip(data) {
            *byte = new;
        }
        self.filled += data.len();
        (self.missing() == 0).then(|| {
            self.filled = 0;
            self.bytes
        })
    }
}
