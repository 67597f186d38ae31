//! A log backup says the same in any chunks, and what is read can be written and read again.
#![no_main]

use pitr::format::block::{self, Compression};
use pitr::format::log::{LOG_BLOCK_BYTES, LogError, LogFooter, LogReader, encode};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&chunk_bytes, object)) = input.split_last() else { return };
    let whole = read(object, usize::MAX);
    assert_eq!(read(object, 1 + usize::from(chunk_bytes)), whole);
    if let Ok((log, footer)) = whole {
        let blocks = log.chunks(LOG_BLOCK_BYTES).map(|block| block::encode(block.to_vec().into(), Compression::none()));
        let blocks = blocks.collect::<Result<Vec<_>, _>>().expect("a block is not too long");
        let again = encode(&blocks, &footer).expect("what was read can be written");
        assert_eq!(read(&again, usize::MAX), Ok((log, footer)));
    }
});

fn read(object: &[u8], chunk_bytes: usize) -> Result<(Vec<u8>, LogFooter), LogError> {
    let mut reader = LogReader::new();
    let mut log = Vec::new();
    for chunk in object.chunks(chunk_bytes) {
        reader.feed(chunk);
        while let Some(block) = reader.read()? {
            log.extend(block);
        }
    }
    Ok((log, reader.finish()?))
}
