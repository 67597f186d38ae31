//! A manifest says the same in any chunks, with and without a checksum that fits.
#![no_main]

use pitr::format::backup_manifest::{ChecksumAlgorithm, ChecksumHasher, ManifestError, ManifestEvent, ManifestReader};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&chunk_bytes, body)) = input.split_last() else { return };
    let mut hasher = ChecksumHasher::new(ChecksumAlgorithm::Sha256);
    hasher.update(body);
    let end = format!("\"Manifest-Checksum\": \"{}\"}}\n", hasher.finish());
    for manifest in [[body, end.as_bytes()].concat(), body.to_vec()] {
        assert_eq!(read(&manifest, 1 + usize::from(chunk_bytes)), read(&manifest, usize::MAX));
    }
});

fn read(manifest: &[u8], chunk_bytes: usize) -> (Vec<Result<ManifestEvent, ManifestError>>, Result<(), ManifestError>) {
    let mut reader = ManifestReader::new();
    let mut events = Vec::new();
    for chunk in manifest.chunks(chunk_bytes) {
        events.extend(reader.feed(chunk.to_vec().into()));
    }
    (events, reader.finish())
}
