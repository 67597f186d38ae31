//! Tests of sealing.
#![allow(clippy::cast_possible_truncation, reason = "the lengths of test objects are small")]

mod known_answers;
mod ranges;
mod streams;
mod tampering;
mod wrapping;

use super::*;
use crate::model::ObjectKey;

/// The smallest frames, so that objects of several are short.
const FRAME_SIZE: FrameSize = FrameSize::MIN;
const FRAME: usize = FRAME_SIZE.bytes();
const SEALED_FRAME: usize = FRAME + frame::FRAME_OVERHEAD;

fn key() -> ServerKey {
    ServerKey::new(std::array::from_fn(|index| index as u8))
}

fn name() -> ObjectKey {
    "servers/prod/log/1".parse().unwrap()
}

fn salt() -> Salt {
    Salt::new(std::array::from_fn(|index| 64 + index as u8))
}

fn plaintext(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 % 251) as u8).collect()
}

fn sealed(length: usize) -> Vec<u8> {
    seal(&key(), &name(), salt(), FRAME_SIZE, &plaintext(length)).unwrap().to_vec()
}

fn reopened(sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    open(key(), &name(), sealed).map(Vec::from)
}
