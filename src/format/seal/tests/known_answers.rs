//! Bytes that an independent implementation made (testdata/seal/reference.py): the format does not change.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::*;

const ANSWERS: &str = include_str!("../../../../testdata/seal/known_answers.txt");

fn answer(what: &str) -> &'static str {
    let mut answers = ANSWERS.lines().filter_map(|line| line.split_once(' '));
    answers.find(|(name, _)| *name == what).expect("an answer").1
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn wrapping_key() -> WrappingKey {
    WrappingKey::new(std::array::from_fn(|index| 32 + index as u8))
}

#[test]
fn fingerprints() {
    assert_eq!(key().id().to_string(), answer("server_key_id"));
    assert_eq!(wrapping_key().id().to_string(), answer("wrapping_key_id"));
}

#[test]
fn objects() {
    let sealed_by_default = |plain: &[u8]| seal(&key(), &name(), salt(), FrameSize::default(), plain).unwrap();
    assert_eq!(hex(sealed_by_default(b"")), answer("empty"));
    assert_eq!(hex(sealed_by_default(b"point in time")), answer("short"));
    assert_eq!(hex(Sha256::digest(sealed(FRAME))), answer("full_frame_sha256"));
    assert_eq!(hex(Sha256::digest(sealed(10_000))), answer("three_frames_sha256"));
}

#[test]
fn wrapped_keys() {
    let wrapped = wrap(&wrapping_key(), salt(), &"prod".parse().unwrap(), &key());
    assert_eq!(hex(wrapped.to_bytes()), answer("wrapped_key"));
}
