//! A manifest says the same in any chunks, and it and its parts print back to what reads the same.
#![no_main]

use pitr::format::manifest::{Manifest, ManifestError, ManifestReader, PackId, PackTable, PartWriter, parse_part};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&chunk_bytes, text)) = input.split_last() else { return };
    let whole = read(text, usize::MAX);
    assert_eq!(read(text, 1 + usize::from(chunk_bytes)), whole);
    if let Ok(manifest) = whole {
        let Manifest { head, packs, parts, counts, .. } = manifest;
        let sorted = Manifest::new(head, packs, parts, counts);
        assert_eq!(read(&print(&sorted), usize::MAX), Ok(sorted));
    }
    part(text);
});

fn read(text: &[u8], chunk_bytes: usize) -> Result<Manifest, ManifestError> {
    let mut reader = ManifestReader::new();
    for chunk in text.chunks(chunk_bytes) {
        reader.feed(chunk)?;
    }
    reader.finish()
}

fn print(manifest: &Manifest) -> Vec<u8> {
    let lines: Result<Vec<_>, _> = manifest.print().collect();
    lines.expect("it was read").concat()
}

fn part(text: &[u8]) {
    let mut table = PackTable::default();
    for number in 0..4 {
        table.place(&PackId::new("a".parse().expect("a name"), number));
    }
    let Ok(entries) = parse_part(text, &table) else { return };
    let mut writer = PartWriter::default();
    for entry in &entries {
        writer.write(entry.clone(), &table).expect("it was read");
    }
    if let Some(text) = writer.take(&table).expect("it was read") {
        assert_eq!(parse_part(&text, &table), Ok(entries));
    }
}
