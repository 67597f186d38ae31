//! Sealing: AES-256-GCM in frames, by which every object is stored.
//!
//! A sealed object is a header in clear and frames of ciphertext. Its key is derived from the server's key and from every
//! byte of the header, a random salt and the object's own name among them. So nobody without the key can read it, change
//! a byte of it, cut it, extend it, reorder it, or pass it off as another object, without being noticed; and what was
//! done is told by name ([`OpenError`]). docs/FORMAT.md fixes every byte, and argues the scheme and its limits.
//!
//! - [`seal`] and [`open`] take an object as a whole; [`Sealer`] and [`Opener`] take it in chunks, in order;
//!   [`ObjectSealer`] and [`ObjectOpener`] take single frames, in any order and on several threads at once.
//! - [`SealedLayout`] says where the frames of a range of plaintext stand, so that one ranged read fetches them.
//! - A [`KeyRing`] opens what any of a server's keys sealed.
//! - [`wrap()`] and [`unwrap`] put a server's key under the key of a key provider, as a [`WrappedKey`].
//!
//! # Example: a range of an object
//! ```
//! use bytes::Bytes;
//! use pitr::format::seal::{self, FrameSize, ObjectOpener, Salt, SealedLayout, ServerKey};
//!
//! let key = ServerKey::new([7; 32]);
//! let name = "servers/prod/packs/1".parse()?;
//! let plaintext = vec![42; 300_000];
//! let sealed = seal::seal(&key, &name, Salt::new([1; 32]), FrameSize::default(), &plaintext)?;
//! assert_eq!(seal::open(&key, &name, &sealed)?, plaintext);
//!
//! let opener = ObjectOpener::from_header(&key, &name, &sealed[..SealedLayout::header_len(&name)])?;
//! let span = opener.layout(sealed.len() as u64)?.frames_for(100_000..200_000)?;
//! let bytes = span.sealed_bytes();
//! let fetched = Bytes::copy_from_slice(&sealed[bytes.start as usize..bytes.end as usize]);
//! assert_eq!(opener.open_span(&span, &fetched)?, plaintext[100_000..200_000]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod frame;
mod header;
mod key;
mod key_ring;
mod layout;
mod opener;
mod sealer;
mod wrap;

pub use error::{Cut, OpenError, SealError, UnwrapError};
pub use frame::{FramePosition, FrameSize};
pub use key::{KeyId, Salt, ServerKey, WrappingKey};
pub use key_ring::{KeyRing, KeyRingError};
pub use layout::{FrameSpan, SealedLayout};
pub use opener::{ObjectOpener, Opener, open};
pub use sealer::{ObjectSealer, Sealer, seal};
pub use wrap::{WrappedKey, unwrap, wrap};

/// Takes the first `N` bytes off `input`, or nothing if there are fewer.
fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*first)
}

#[cfg(test)]
mod tests;
