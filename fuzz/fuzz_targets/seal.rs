//! Opening never panics, and never returns what was not sealed; wrapped keys print as they were parsed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pitr::format::seal::{self, FrameSize, ObjectOpener, OpenError, Opener, Salt, ServerKey, WrappedKey, WrappingKey};
use pitr::model::ObjectKey;

/// Up to four frames.
const PLAINTEXT_MAX: u16 = 3 * 4096 + 2;

fuzz_target!(|data: &[u8]| {
    arbitrary_bytes(data);
    wrapped_keys(data);
    changed_object(data);
});

fn key() -> ServerKey {
    ServerKey::new([7; 32])
}

fn name() -> ObjectKey {
    "a/b".parse().expect("a key")
}

fn arbitrary_bytes(data: &[u8]) {
    assert!(seal::open(&key(), &name(), data).is_err());
    assert!(ObjectOpener::from_header(&key(), &name(), data).is_err());
}

fn wrapped_keys(data: &[u8]) {
    let Ok(wrapped) = WrappedKey::parse(data) else { return };
    assert_eq!(wrapped.to_bytes(), data);
    assert!(seal::unwrap(&WrappingKey::new([7; 32]), wrapped.server(), &wrapped).is_err());
}

/// The first bytes say how long the plaintext is and how it comes; each four bytes after them are a change to the sealed
/// object: what, where and with which byte.
fn changed_object(data: &[u8]) {
    let Some((&[high, low, chunk], changes)) = data.split_first_chunk() else { return };
    let plaintext: Vec<u8> = (0..u16::from_be_bytes([high, low]) % PLAINTEXT_MAX).map(|index| index as u8).collect();
    let sealed = seal::seal(&key(), &name(), Salt::new([1; 32]), FrameSize::MIN, &plaintext).expect("short enough");
    let mut changed = sealed.to_vec();
    changes.chunks_exact(4).for_each(|change| apply(change, &mut changed));
    match opened(&changed, 1 + usize::from(chunk) * 64) {
        Ok(opened) => assert!(opened == plaintext && changed == sealed),
        Err(_) => assert!(changed != sealed),
    }
}

fn apply(change: &[u8], sealed: &mut Vec<u8>) {
    let at = usize::from(u16::from_be_bytes([change[1], change[2]])).min(sealed.len());
    match change[0] % 4 {
        0 => sealed.truncate(at),
        1 => sealed.insert(at, change[3]),
        2 => sealed.rotate_left(at),
        _ => {
            if let Some(byte) = sealed.get_mut(at) {
                *byte ^= change[3];
            }
        }
    }
}

/// What comes out before an error must be right too.
fn opened(sealed: &[u8], chunk: usize) -> Result<Vec<u8>, OpenError> {
    let mut opener = Opener::new(&key(), &name());
    let mut plaintext = Vec::new();
    for chunk in sealed.chunks(chunk) {
        let begin = plaintext.len();
        plaintext.extend(opener.open(chunk)?);
        assert!((begin..).zip(&plaintext[begin..]).all(|(index, byte)| *byte == index as u8));
    }
    opener.finish().map(|()| plaintext)
}
