//! Digests: what tells the content of one place of a server from what stood there before.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::model::{ParseError, text_serde};

/// What is compared by itself, in bytes: a page of PostgreSQL as it is built by default. The last page of anything may be shorter.
pub const PAGE_BYTES: usize = 8 << 10;

/// How many pages `bytes` bytes have.
#[must_use]
pub const fn pages_in(bytes: u32) -> usize {
    (bytes as usize).div_ceil(PAGE_BYTES)
}

/// Where the page `page` lies, counted from 0, among `bytes` bytes that have it.
#[must_use]
pub const fn page_range(page: usize, bytes: u32) -> Range<usize> {
    let (begin, end) = (page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    begin..if end < bytes as usize { end } else { bytes as usize }
}

/// What a page is known by among those that stood in its place: the first 8 bytes of a BLAKE3 with the server's page digest key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageDigest([u8; 8]);

impl PageDigest {
    /// How many bytes it has.
    pub const BYTES: usize = 8;

    /// The digest of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// What a stretch of bytes is known by: the first 16 bytes of a BLAKE3, with the server's digest key, of the digests of its pages. Written
/// as 32 hexadecimal digits.
///
/// Who has not the keys learns nothing from it, and can make no two stretches that share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 16]);

impl Digest {
    /// How many bytes it has.
    pub const BYTES: usize = 16;

    /// The digest of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// Makes the digests of one server's files. Clones share the one copy of the keys, which is wiped when the last is dropped.
#[derive(Clone)]
pub struct DigestKey(Arc<Keys>);

struct Keys {
    pages: Zeroizing<[u8; 32]>,
    stretches: Zeroizing<[u8; 32]>,
}

impl DigestKey {
    /// The keys of these bytes, which [`ServerKey::digest_key`](super::seal::ServerKey::digest_key) derives.
    #[must_use]
    pub fn new(pages: Zeroizing<[u8; 32]>, stretches: Zeroizing<[u8; 32]>) -> Self {
        Self(Arc::new(Keys { pages, stretches }))
    }

    /// The digests of the pages of `bytes`, in order.
    #[must_use]
    pub fn pages(&self, bytes: &[u8]) -> Vec<PageDigest> {
        bytes.chunks(PAGE_BYTES).map(|page| PageDigest(first(&self.0.pages, page))).collect()
    }

    /// The digest of the bytes that have these pages.
    #[must_use]
    pub fn of_pages(&self, pages: &[PageDigest]) -> Digest {
        Digest(first(&self.0.stretches, pages.iter().map(|page| page.0).collect::<Vec<_>>().as_flattened()))
    }

    /// The digest of `bytes`.
    #[must_use]
    pub fn digest(&self, bytes: &[u8]) -> Digest {
        self.of_pages(&self.pages(bytes))
    }
}

/// The first bytes of a keyed BLAKE3.
fn first<const N: usize>(key: &[u8; 32], bytes: &[u8]) -> [u8; N] {
    let hash = blake3::keyed_hash(key, bytes);
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = text.len() == 2 * Self::BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        let error = || ParseError::new("digest", text, "32 hexadecimal digits");
        number.map(|number| Self(number.to_be_bytes())).ok_or_else(error)
    }
}

text_serde!(Digest);

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bytes: [u8; 32]) -> DigestKey {
        DigestKey::new(Zeroizing::new(bytes), Zeroizing::new(bytes))
    }

    /// BLAKE3's test vectors: input of 1 byte, `keyed_hash`, with the key "whats the Elvish word for friend".
    #[test]
    fn is_keyed_blake3_cut_to_its_length() {
        let elvish = Zeroizing::new(*b"whats the Elvish word for friend");
        let key = DigestKey::new(elvish.clone(), Zeroizing::new([7; 32]));
        assert_eq!(key.pages(&[0]), [PageDigest(*b"\x6d\x78\x78\xdf\xff\x2f\x48\x56")]);
        let expected = blake3::keyed_hash(&[7; 32], b"\x6d\x78\x78\xdf\xff\x2f\x48\x56");
        assert_eq!(key.digest(&[0]).as_bytes()[..], expected.as_bytes()[..16]);
        assert_eq!(format!("{key:?}"), "(secret)");
    }

    #[test]
    fn a_stretch_is_known_by_its_pages() {
        let (key, bytes) = (key([7; 32]), vec![5; 2 * PAGE_BYTES + 1]);
        let pages = key.pages(&bytes);
        assert_eq!((pages.len(), pages_in(16_385), pages_in(0)), (3, 3, 0));
        assert_eq!(pages[0], pages[1]);
        assert_ne!(pages[1], pages[2], "another length");
        assert_eq!(key.of_pages(&pages), key.digest(&bytes));
        let ranges: Vec<_> = (0..3).map(|page| page_range(page, 16_385)).collect();
        assert_eq!(ranges, [0..8192, 8192..16384, 16384..16385]);
    }

    #[test]
    fn prints_as_it_parses_and_depends_on_the_key() {
        let digest = key([7; 32]).digest(b"abc");
        assert_ne!(digest, key([8; 32]).digest(b"abc"));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.to_string().to_uppercase().parse(), Ok(digest));
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{digest}\""));
        assert_eq!(Digest::new(*digest.as_bytes()), digest);
    }

    #[test]
    fn other_texts_are_refused() {
        let text = key([7; 32]).digest(b"abc").to_string();
        let signed = format!("+{}", &text[1..]);
        for text in ["", &text[1..], &format!("{text}0"), &format!("g{}", &text[1..]), &signed, &"é".repeat(16)] {
            assert!(text.parse::<Digest>().is_err(), "{text:?}");
        }
    }
}
