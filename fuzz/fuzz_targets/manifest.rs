//! A manifest says the same in any chunks, and what is read prints back to what reads the same.
#![no_main]

use pitr::format::manifest::{ManifestError, ManifestLine, ManifestReader, ManifestWriter};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&chunk_bytes, text)) = input.split_last() else { return };
    let whole = read(text, usize::MAX);
    assert_eq!(read(text, 1 + usize::from(chunk_bytes)), whole);
    if let Ok(lines) = whole {
        assert_eq!(read(&print(&lines), usize::MAX), Ok(lines));
    }
});

fn read(text: &[u8], chunk_bytes: usize) -> Result<Vec<ManifestLine>, ManifestError> {
    let mut reader = ManifestReader::new();
    let mut lines = Vec::new();
    for chunk in text.chunks(chunk_bytes) {
        lines.extend(reader.feed(chunk)?);
    }
    reader.finish()?;
    Ok(lines)
}

fn print(lines: &[ManifestLine]) -> Vec<u8> {
    let [ManifestLine::Head(head), rest @ ..] = lines else { panic!("a manifest begins with its head") };
    let (mut writer, first) = ManifestWriter::begin(head.clone()).expect("a head that was read");
    let mut whole = first.to_vec();
    for line in rest {
        match line {
            ManifestLine::Directory(entry) => whole.extend(writer.directory(entry.clone()).expect("it was read")),
            ManifestLine::File(file) => whole.extend(writer.file(file.clone()).expect("it was read")),
            ManifestLine::End(end) => assert_eq!(*end, writer.counts()),
            other => panic!("{other:?} stands in the middle"),
        }
    }
    whole.extend(writer.end());
    whole
}
