//! The index of a pack is read from its end, and prints back to the same bytes.
#![no_main]

use pitr::format::pack::{PackError, PackIndex, index_bytes};

libfuzzer_sys::fuzz_target!(|tail: &[u8]| {
    // No pack is as long: so the index says how long it should be.
    let Err(PackError::Length { expected, .. }) = PackIndex::parse(u64::MAX, tail) else { return };
    let index = PackIndex::parse(expected, tail).expect("it is as long as its index says");
    let bytes = index.to_bytes();
    assert!(tail.ends_with(&bytes));
    assert_eq!(index_bytes(tail), Ok(bytes.len() as u64));
    assert_eq!(index.blocks_bytes() + bytes.len() as u64, expected);
});
