//! Whatever log is, it comes out as it went in; whatever is stored, reading it ends in a block or an error.
#![no_main]

use pitr::format::block::{self, Codec, Compression};

/// How a page of PostgreSQL 15 begins: a short header, without its address.
const PAGE: [u8; 8] = [0x10, 0xD1, 0, 0, 1, 0, 0, 0];

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((prefix, differences)) = input.split_first_chunk::<2>() else { return };
    // Zeros compress, so that it is worth it.
    let log = [&PAGE[..], &[0; 8], differences, &[0; 4096]].concat();
    if let Ok(block) = block::encode(log.clone().into(), Compression::log()) {
        assert_ne!(block.codec, Codec::Zstd);
        let decoded = block::decode(block.codec, block.plain_bytes.into(), block.stored);
        assert_eq!(decoded.expect("it was just encoded"), log);
    }
    let Ok(frame) = block::encode([differences, &[0; 4096]].concat().into(), Compression::zstd(1)) else { return };
    let stored = [prefix, &frame.stored[..]].concat();
    for codec in [Codec::Zstd, Codec::ZstdOfDifferences, Codec::ZstdOfRecords] {
        if let Ok(plain) = block::decode(codec, frame.plain_bytes.into(), stored.clone().into()) {
            assert_eq!(plain.len(), frame.plain_bytes as usize);
        }
    }
});
