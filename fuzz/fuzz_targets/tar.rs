//! An archive says the same in any chunks, also where a fuzzer cannot guess the checksums of headers.
#![no_main]

use pitr::format::tar::{TarError, TarEvent, TarReader};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&chunk_bytes, archive)) = input.split_last() else { return };
    let mut archive = archive.to_vec();
    for _ in 0..2 {
        assert_eq!(read(&archive, 1 + usize::from(chunk_bytes)), read(&archive, usize::MAX));
        archive.chunks_exact_mut(512).for_each(make_header);
    }
});

/// Everything but the contents, and these put together.
fn read(archive: &[u8], chunk_bytes: usize) -> (Vec<Result<TarEvent, TarError>>, Vec<u8>, Result<(), TarError>) {
    let mut reader = TarReader::new();
    let (mut events, mut contents) = (Vec::new(), Vec::new());
    for chunk in archive.chunks(chunk_bytes) {
        for event in reader.feed(chunk.to_vec().into()) {
            match event {
                Ok(TarEvent::Data(data)) => contents.extend_from_slice(&data),
                other => events.push(other),
            }
        }
    }
    (events, contents, reader.finish())
}

/// Gives a block the magic and the checksum of a header.
fn make_header(block: &mut [u8]) {
    block[257..263].copy_from_slice(b"ustar\0");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:07o}").as_bytes());
}
