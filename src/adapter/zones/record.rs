//! What a zone keeps of an object (docs/FORMAT.md, "Zones").

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::ballot::Ballot;
use crate::model::ObjectKey;
use crate::port::{PortError, PortErrorKind};

/// A value's name: drawn at random by whoever proposes it, and never twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(pub(super) [u8; 16]);

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing: it was never written, or it was deleted.
    None,
    /// Nothing for so long that the record is being deleted, too. Nobody may write over it.
    Retired,
    /// So many bytes, behind the record's header.
    Here(u64),
    /// So many bytes, in an object of their own.
    Apart(u64),
}

/// A value and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) id: Id,
    pub(super) content: Content,
    /// The names of the values that it followed, the latest first. So whoever comes back to see what became of his own can tell.
    pub(super) ancestors: [Id; ANCESTORS],
}

/// What a zone has promised of an object, and what it has accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Nothing below this ballot is accepted any more.
    pub(super) promised: Ballot,
    /// The ballot of the value.
    pub(super) accepted: Ballot,
    pub(super) value: Value,
}

/// A header, and what stands behind it.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) header: Header,
    pub(super) body: Bytes,
}

const ANCESTORS: usize = 4;

/// How long a header is.
pub(super) const HEADER_BYTES: usize = 176;
/// How many bytes stand between a header and the content. Their number tells a listing what a record is.
const APART_PADDING: usize = 1;
const HERE_PADDING: usize = 2;

const MAGIC: [u8; 8] = *b"pitrzone";
const VERSION: u8 = 1;
const CHECKED: usize = HEADER_BYTES - 16;

/// What a listing tells of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// There is no such object.
    None,
    /// There is one, of so many bytes.
    Bytes(u64),
    /// There is one, whose bytes are elsewhere.
    Apart,
}

impl Id {
    pub(super) fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Content {
    /// How many bytes the object has; `None` if there is none.
    pub(super) const fn bytes(self) -> Option<u64> {
        match self {
            Self::None | Self::Retired => None,
            Self::Here(bytes) | Self::Apart(bytes) => Some(bytes),
        }
    }

    fn padding(self) -> &'static [u8] {
        match self {
            Self::None | Self::Retired => &[],
            Self::Apart(_) => &[0; APART_PADDING],
            Self::Here(_) => &[0; HERE_PADDING],
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Retired => 1,
            Self::Here(_) => 2,
            Self::Apart(_) => 3,
        }
    }

    const fn from_code(code: u8, bytes: u64) -> Option<Self> {
        Some(match code {
            0 => Self::None,
            1 => Self::Retired,
            2 => Self::Here(bytes),
            3 => Self::Apart(bytes),
            _ => return None,
        })
    }
}

impl Listed {
    /// What a record of `bytes` bytes is.
    pub(super) const fn of(bytes: u64) -> Self {
        match bytes.checked_sub(HEADER_BYTES as u64) {
            None | Some(0) => Self::None,
            Some(1) => Self::Apart,
            Some(behind) => Self::Bytes(behind - HERE_PADDING as u64),
        }
    }
}

impl Value {
    /// The same value, as what follows `before`.
    pub(super) fn after(self, before: &Self) -> Self {
        let line = |at: usize| if at == 0 { before.id } else { before.ancestors[at - 1] };
        Self { ancestors: std::array::from_fn(line), ..self }
    }

    /// Whether it is the value `id`, or followed it, not too long ago.
    pub(super) fn descends_from(&self, id: Id) -> bool {
        self.id == id || self.ancestors.contains(&id)
    }
}

impl Header {
    /// That of an object which was never written.
    pub(super) const NOTHING: Self = Self {
        promised: Ballot::ZERO,
        accepted: Ballot::ZERO,
        value: Value { id: Id([0; 16]), content: Content::None, ancestors: [Id([0; 16]); ANCESTORS] },
    };

    /// A value that is accepted under `ballot`.
    pub(super) const fn accepting(ballot: Ballot, value: Value) -> Self {
        Self { promised: ballot, accepted: ballot, value }
    }

    /// The same value, without a promise of anything later.
    pub(super) const fn settled(self) -> Self {
        Self::accepting(self.accepted, self.value)
    }

    /// Whether the record is being deleted.
    pub(super) const fn is_retired(&self) -> bool {
        matches!(self.value.content, Content::Retired)
    }

    /// What counts of it: nothing, once it is being deleted.
    pub(super) const fn standing(self) -> Self {
        if self.is_retired() { Self::NOTHING } else { self }
    }

    /// The bytes of the record `key` with this header, and `body` behind it.
    pub(super) fn encode(&self, key: &ObjectKey, body: &[u8]) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEADER_BYTES + HERE_PADDING + body.len());
        bytes.put_slice(&MAGIC);
        bytes.put_slice(&[VERSION, self.value.content.code(), 0, 0, 0, 0, 0, 0]);
        for ballot in [self.promised, self.accepted] {
            [ballot.round, ballot.proposer, ballot.step].into_iter().for_each(|number| bytes.put_u64_le(number));
        }
        bytes.put_slice(&self.value.id.0);
        bytes.put_u64_le(self.value.content.bytes().unwrap_or_default());
        bytes.put_slice(&digest(&[body])[..8]);
        self.value.ancestors.iter().for_each(|ancestor| bytes.put_slice(&ancestor.0));
        let check = digest(&[&bytes, key.as_str().as_bytes()]);
        bytes.put_slice(&check[..16]);
        bytes.put_slice(self.value.content.padding());
        bytes.put_slice(body);
        bytes.freeze()
    }

    /// The header that the record `key` begins with.
    pub(super) fn decode(key: &ObjectKey, bytes: &[u8]) -> Result<Self, PortError> {
        let header = bytes.get(..HEADER_BYTES).ok_or_else(|| damaged(key, "it is too short"))?;
        if !header.starts_with(&MAGIC) {
            return Err(damaged(key, "it is something else"));
        }
        if header[MAGIC.len()] != VERSION {
            return Err(damaged(key, "a later version of pitr wrote it"));
        }
        if digest(&[&header[..CHECKED], key.as_str().as_bytes()])[..16] != header[CHECKED..] {
            return Err(damaged(key, "its checksum is wrong, or it is that of another object"));
        }
        let numbers: Vec<u64> = header[16..64].chunks_exact(8).map(number).collect();
        let ballot = |at: usize| Ballot { round: numbers[at], proposer: numbers[at + 1], step: numbers[at + 2] };
        let content = Content::from_code(header[9], number(&header[80..88]));
        let value = Value {
            id: id(&header[64..80]),
            content: content.ok_or_else(|| damaged(key, "it is of an unknown kind"))?,
            ancestors: std::array::from_fn(|at| id(&header[96 + 16 * at..][..16])),
        };
        Ok(Self { promised: ballot(0), accepted: ballot(3), value })
    }
}

impl Record {
    /// The record `key`, whole.
    pub(super) fn decode(key: &ObjectKey, bytes: &Bytes) -> Result<Self, PortError> {
        let header = Header::decode(key, bytes)?;
        let start = HEADER_BYTES + header.value.content.padding().len();
        let body =
            bytes.get(start..).map(|body| bytes.slice_ref(body)).ok_or_else(|| damaged(key, "it is too short"))?;
        if digest(&[&body])[..8] != bytes[88..96] {
            return Err(damaged(key, "its content is not what it was"));
        }
        Ok(Self { header, body })
    }
}

/// Where the content of a record begins that has it behind its header.
pub(super) const CONTENT_START: u64 = (HEADER_BYTES + HERE_PADDING) as u64;

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn id(bytes: &[u8]) -> Id {
    let mut id = Id::default();
    id.0.copy_from_slice(bytes);
    id
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

fn damaged(key: &ObjectKey, why: &str) -> PortError {
    PortError::new(PortErrorKind::Invalid, format!("the zone's record of {key} cannot be used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ObjectKey {
        "servers/prod/server".parse().unwrap()
    }

    fn header(content: Content) -> Header {
        let ballot = |step| Ballot { round: 1, proposer: u64::MAX - 5, step };
        let ancestors = std::array::from_fn(|at| Id([at.to_le_bytes()[0]; 16]));
        Header { promised: ballot(4), accepted: ballot(3), value: Value { id: Id([0xA5; 16]), content, ancestors } }
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        for (content, body, listed) in [
            (Content::None, "", Listed::None),
            (Content::Retired, "", Listed::None),
            (Content::Here(0), "", Listed::Bytes(0)),
            (Content::Here(7), "content", Listed::Bytes(7)),
            (Content::Apart(1 << 40), "", Listed::Apart),
        ] {
            let bytes = header(content).encode(&key(), body.as_bytes());
            assert_eq!(Header::decode(&key(), &bytes).unwrap(), header(content));
            let record = Record::decode(&key(), &bytes).unwrap();
            assert_eq!((record.header, &*record.body), (header(content), body.as_bytes()));
            assert_eq!(Listed::of(bytes.len() as u64), listed);
        }
    }

    #[test]
    fn no_damage_goes_unnoticed() {
        let bytes = header(Content::Here(7)).encode(&key(), b"content");
        for length in 0..bytes.len() {
            assert!(Record::decode(&key(), &bytes.slice(..length)).is_err(), "cut to {length} bytes");
        }
        let padding = HEADER_BYTES..HEADER_BYTES + HERE_PADDING;
        for at in (0..bytes.len()).filter(|at| !padding.contains(at)) {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            assert!(Record::decode(&key(), &damaged.into()).is_err(), "byte {at}");
        }
        let other = "servers/prod/key".parse().unwrap();
        assert!(Record::decode(&other, &bytes).unwrap_err().to_string().contains("that of another object"));
    }

    #[test]
    fn a_value_knows_what_it_followed() {
        let value = |id: u8| Value { id: Id([id; 16]), ..Header::NOTHING.value };
        let line = (2..8).fold(value(1), |before, id| value(id).after(&before));
        assert_eq!((1..8).filter(|id| line.descends_from(Id([*id; 16]))).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
    }

    #[test]
    fn what_is_being_deleted_counts_for_nothing() {
        assert_eq!(header(Content::Retired).standing(), Header::NOTHING);
        assert_eq!(header(Content::None).standing(), header(Content::None));
    }
}
