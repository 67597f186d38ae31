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
    /// The lowest ballot under which some zone may have accepted the value, and the name of what it was to follow.
    attempted: Option<(Ballot, Id)>,
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
    /// Unless a zone that was left alone stands in for one that went away.
    Deserted(PortError),
}

impl From<PortError> for Halt {
    fn from(error: PortError) -> Self {
        Self::Settled(error)
    }
}

impl Proposal {
    /// To leave the object what it is.
    pub(super) fn keep() -> Self {
        Self::new(Change::Keep, Header::NOTHING.value, Bytes::new())
    }

    /// To store `content`, named `id`.
    pub(super) fn put(id: Id, content: Content, body: Bytes, mode: PutMode) -> Self {
        Self::new(Change::Put(mode), Value { id, content, ..Header::NOTHING.value }, body)
    }

    /// To delete it; `id` is the name of the deletion.
    pub(super) fn delete(id: Id) -> Self {
        Self::new(Change::Delete, Value { id, ..Header::NOTHING.value }, Bytes::new())
    }

    fn new(change: Change, value: Value, body: Bytes) -> Self {
        Self { change, value, body, attempted: None }
    }

    pub(super) fn is_creation(&self) -> bool {
        matches!(self.change, Change::Put(PutMode::Create))
    }

    /// What it makes of `base`.
    pub(super) fn following(&self, base: &Header) -> Value {
        self.value.after(&base.value)
    }

    /// From now on some zone may have accepted it under `ballot`, as what follows `base`.
    pub(super) fn attempt(&mut self, ballot: Ballot, base: &Header) {
        let lowest = self.attempted.map_or(ballot, |(before, _)| before.min(ballot));
        self.attempted = Some((lowest, base.value.id));
    }

    /// Whether it happened before the object became `base`.
    ///
    /// # Errors
    /// [`PortErrorKind::Unavailable`] if that is not known any more: too much happened since.
    fn has_happened(&self, key: &ObjectKey, base: &Header) -> Result<bool, PortError> {
        match self.attempted {
            Some(_) if base.value.descends_from(self.value.id) => Ok(true),
            // Others followed in its place.
            Some((ballot, followed)) if base.accepted > ballot && !base.value.descends_from(followed) => {
                let context = format!("{key} was changed by others: whether this change was made before, is not known");
                Err(PortError::new(PortErrorKind::Unavailable, context))
            }
            _ => Ok(false),
        }
    }

    /// Whether it is to be proposed where the object is `base`: if not, there is nothing left to do.
    ///
    /// # Errors
    /// [`PortErrorKind::Conflict`] if its condition does not hold, and it did not happen; [`PortErrorKind::Unavailable`] if it may have
    /// happened, and something else after it.
    pub(super) fn judge(&self, key: &ObjectKey, base: &Header) -> Result<bool, PortError> {
        if self.has_happened(key, base)? {
            return Ok(false);
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
