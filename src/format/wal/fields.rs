//! Fields of PostgreSQL's structures, in the order in which they stand.

use crate::model::Lsn;

/// Takes little-endian fields off the front of a structure.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of `structure`, which the caller holds whole.
    #[inline]
    pub(super) const fn of(structure: &'a [u8]) -> Self {
        Self(structure)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("callers hold the whole structure");
        self.0 = rest;
        *field
    }

    #[inline]
    pub(super) fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    #[inline]
    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    #[inline]
    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    #[inline]
    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    #[inline]
    pub(super) fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.array())
    }

    #[inline]
    pub(super) fn lsn(&mut self) -> Lsn {
        Lsn::new(self.u64())
    }
}
