//! What somebody wants an object to become.

use bytes::Bytes;

use super::ballot::Ballot;
use super::record::{Content, Header, Id, Value};
use crate::model::ObjectKey;
use crate::port::{PortError, PortErrorKind, PutMode, Version};

/// A change of an object, and how far it was brought.
#[derive(Clone, Debug)]
pub(super) struct Proposal {
    change: Change,
    pub(super) value: Value,
    /// What stands behind the header of a record with this value.
    pub(super) body: Bytes,
    /// The lowest ballot under which some zone may have accepted the value.
    attempted: Option<Ballot>,
}

#[derive(Clone, Debug)]
enum Change {
    /// None: only to find out what the object is.
    Keep,
    Put(PutMode),
    Delete,
}

/// Why a change is not made.
#[derive(Debug)]
pub(super) enum Halt {
    /// For good.
    Settled(PortError),
    /// For now: somebody else is changing the object, too.
    Contended(PortError),
}

impl From<PortError> for Halt {
    fn from(error: PortError) -> Self {
        Self::Settled(error)
    }
}

impl Proposal {
    /// To leave the object what it is.
    pub(super) fn keep() -> Self {
        Self::restating(Header::NOTHING.value, Bytes::new())
    }

    /// To let the object be `value`, as it is already.
    pub(super) fn restating(value: Value, body: Bytes) -> Self {
        Self::new(Change::Keep, value, body)
    }

    /// To store `content`, named `id`.
    pub(super) fn put(id: Id, content: Content, body: Bytes, mode: PutMode) -> Self {
        Self::new(Change::Put(mode), Value { id, content }, body)
    }

    /// To delete it; `id` is the name of the deletion.
    pub(super) fn delete(id: Id) -> Self {
        Self::new(Change::Delete, Value { id, content: Content::None }, Bytes::new())
    }

    fn new(change: Change, value: Value, body: Bytes) -> Self {
        Self { change, value, body, attempted: None }
    }

    pub(super) fn is_creation(&self) -> bool {
        matches!(self.change, Change::Put(PutMode::Create))
    }

    /// From now on some zone may have accepted it under `ballot`.
    pub(super) fn attempt(&mut self, ballot: Ballot) {
        self.attempted = Some(self.attempted.map_or(ballot, |before| before.min(ballot)));
    }

    /// Whether it has become true already.
    pub(super) fn is_done(&self, base: &Header) -> bool {
        self.attempted.is_some() && base.value.id == self.value.id
    }

    /// Whether it is to be proposed where the object is `base`: if not, there is nothing left to do.
    ///
    /// # Errors
    /// [`PortErrorKind::Conflict`] if its condition does not hold, and it did not happen; [`PortErrorKind::Unavailable`] if it may have
    /// happened, and something else after it.
    pub(super) fn judge(&self, key: &ObjectKey, base: &Header) -> Result<bool, PortError> {
        if self.is_done(base) {
            return Ok(false);
        }
        if self.attempted.is_some_and(|attempted| base.accepted > attempted) {
            let context =
                format!("{key} was changed by somebody else: whether this change was made before, is not known");
            return Err(PortError::new(PortErrorKind::Unavailable, context));
        }
        let current = version(&base.value);
        match &self.change {
            Change::Keep => Ok(false),
            Change::Delete => Ok(current.is_some()),
            Change::Put(mode) if mode.permits(current.as_ref()) => Ok(true),
            Change::Put(mode) => {
                let context = format!("{key} is not in the state that {mode:?} demands");
                Err(PortError::new(PortErrorKind::Conflict, context))
            }
        }
    }
}

/// The version of an object of this value; `None` if there is no object.
pub(super) fn version(value: &Value) -> Option<Version> {
    value.content.bytes().map(|_| Version::new(value.id.hex()))
}
