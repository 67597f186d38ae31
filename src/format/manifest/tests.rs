//! Tests of manifests as text.

use proptest::prelude::*;

use super::*;

fn head() -> ManifestHead {
    let (incarnation, id) = ("7301234567890123456-18", "20261123T210908Z-0a1b2c3d");
    let tablespaces = vec![Tablespace::new(16_385, "/fast/disk")];
    ManifestHead::new(incarnation.parse().unwrap(), id.parse().unwrap(), tablespaces)
}

fn directory() -> FileEntry {
    FileEntry::new("base/1", 0, 0o700, 1_700_000_000)
}

fn file() -> ManifestFile {
    let block = |offset, stored, plain, codec| BlockRef::new(3, offset, stored, plain, codec, Digest::of(b"abc"));
    let blocks = vec![block(0, 70, 1 << 20, Codec::Zstd), block(70, 24, 24, Codec::Stored)];
    ManifestFile::new(FileEntry::new("base/1/1259", (1 << 20) + 24, 0o600, -1), blocks)
}

fn sample() -> Vec<u8> {
    let (mut writer, head) = ManifestWriter::begin(head()).unwrap();
    let mut text = head.to_vec();
    text.extend(writer.directory(directory()).unwrap());
    text.extend(writer.file(file()).unwrap());
    text.extend(writer.file(ManifestFile::new(FileEntry::new("empty", 0, 0o600, 0), Vec::new())).unwrap());
    text.extend(writer.end());
    text
}

fn read(text: &[u8], chunk: usize) -> Result<(Vec<ManifestLine>, ManifestEnd), ManifestError> {
    let mut reader = ManifestReader::new();
    let mut lines = Vec::new();
    for bytes in text.chunks(chunk) {
        lines.extend(reader.feed(bytes)?);
    }
    Ok((lines, reader.finish()?))
}

fn reason(text: &str) -> String {
    read(text.as_bytes(), usize::MAX).unwrap_err().to_string()
}

/// The text of version 1, byte for byte: it must stay readable for ever.
#[test]
fn the_text_is_the_one_that_is_documented() {
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let lines = [
        r#"{"head":{"version":1,"incarnation":"7301234567890123456-18","snapshot":"20261123T210908Z-0a1b2c3d","tablespaces":[{"oid":16385,"path":"/fast/disk"}]}}"#,
        r#"{"directory":{"path":"base/1","bytes":0,"mode":448,"modified":1700000000}}"#,
        &format!(
            r#"{{"file":{{"path":"base/1/1259","bytes":1048600,"mode":384,"modified":-1,"blocks":[[3,0,70,1048576,1,"{digest}"],[3,70,24,24,0,"{digest}"]]}}}}"#
        ),
        r#"{"file":{"path":"empty","bytes":0,"mode":384,"modified":0,"blocks":[]}}"#,
        r#"{"end":{"directories":1,"files":2,"bytes":1048600,"packs":4}}"#,
    ];
    let text = lines.map(|line| format!("{line}\n")).concat();
    assert_eq!(String::from_utf8(sample()).unwrap(), text);
}

#[test]
fn what_was_written_is_read_in_any_chunks() {
    let text = sample();
    let whole = read(&text, text.len()).unwrap();
    assert_eq!(whole.0.len(), 5);
    assert_eq!(whole.0[0], ManifestLine::Head(head()));
    assert_eq!(whole.0[2], ManifestLine::File(file()));
    assert_eq!((whole.1.directories, whole.1.files, whole.1.bytes), (1, 2, 1_048_600));
    for chunk in [1, 7, 100] {
        assert_eq!(read(&text, chunk).as_ref(), Ok(&whole));
    }
}

#[test]
fn the_counts_are_found_from_the_end() {
    let text = sample();
    let counts = read(&text, text.len()).unwrap().1;
    assert_eq!(counts.packs, 4, "packs are numbered from 0");
    let last = text.len() - text.split_inclusive(|byte| *byte == b'\n').next_back().unwrap().len();
    for tail in [&text[..], &text[last..], &text[last - 9..]] {
        assert_eq!(end(tail), Ok(counts));
    }
    for tail in [&text[last + 1..], &text[..last], &text[..text.len() - 1], &[]] {
        assert_eq!(end(tail), Err(ManifestError::Truncated));
    }
    let most = ManifestEnd { directories: u64::MAX, files: u64::MAX, bytes: u64::MAX, packs: u64::MAX };
    assert!(print(&ManifestLine::End(most)).unwrap().len() as u64 <= END_BYTES_MAX);
}

#[test]
fn every_truncation_and_extension_is_noticed() {
    let text = sample();
    for length in 0..text.len() {
        assert_eq!(read(&text[..length], 64), Err(ManifestError::Truncated), "{length} of {} bytes", text.len());
    }
    for more in ["x", "\n", "{}\n"] {
        assert_eq!(read(&[&text[..], more.as_bytes()].concat(), 64), Err(ManifestError::Extended), "{more:?}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let text = String::from_utf8(sample()).unwrap();
    let line = |number: usize| format!("{}\n", text.lines().nth(number).unwrap());
    assert!(reason(&text.replace("\"version\":1", "\"version\":2")).contains("upgrade"));
    assert!(reason(&text.replace(",70,1048576,", ",70,1048577,")).contains("hold 1048601 bytes"));
    assert!(reason(&text.replace("\"files\":2", "\"files\":3")).contains("its end says"));
    assert!(reason(&text.replace("[3,0,70,", "[3,0,")).contains("line 3"));
    assert!(reason(&text.replace("1048576,1,", "1048576,9,")).contains("codec 9"));
    assert!(reason(&text.replace(&line(1), &line(0))).contains("second head"));
    assert!(reason(&text.replace(&line(0), "")).contains("line 1"));
    assert!(reason(&text.replace("directory", "socket")).contains("line 2"));
}

/// Whoever fetches a block reserves what the manifest claims of it.
#[test]
fn a_block_that_no_writer_makes_is_refused() {
    let text = String::from_utf8(sample()).unwrap();
    for (block, plain_bytes, stored_bytes) in
        [(",70,4194305,", 4_194_305, 70), (",1048577,1048576,", 1 << 20, 1_048_577), (",4294967295,24,", 24, u32::MAX)]
    {
        let claimed = text.replace(if plain_bytes == 24 { ",24,24," } else { ",70,1048576," }, block);
        let expected = ManifestError::Block { path: "base/1/1259".to_owned(), plain_bytes, stored_bytes };
        assert_eq!(read(claimed.as_bytes(), usize::MAX), Err(expected), "{block}");
    }
    let wrong = ManifestFile::new(FileEntry::new("base/1/1259", 25, 0o600, -1), file().blocks);
    assert!(matches!(ManifestWriter::default().file(wrong), Err(ManifestError::Blocks { expected: 25, .. })));
}

#[test]
fn no_line_is_written_that_is_too_long_to_be_read() {
    let named = |length: usize| FileEntry::new("x".repeat(length), 0, 0o700, 0);
    let (mut writer, head) = ManifestWriter::begin(head()).unwrap();
    let around = writer.directory(named(0)).unwrap().len() - 1;
    let longest = writer.directory(named(LINE_BYTES_MAX - around)).unwrap();
    let counts = writer.counts();
    let error = writer.directory(named(LINE_BYTES_MAX - around + 1)).unwrap_err();
    assert!(matches!(error, ManifestError::TooLong { bytes, .. } if bytes == LINE_BYTES_MAX as u64 + 1));
    assert_eq!(writer.counts(), counts, "what is not written does not count");
    let text = [head, longest, writer.end()].concat();
    let error = read(&text, 1 << 20).unwrap_err();
    assert!(matches!(error, ManifestError::Counts { .. }), "the longest line itself is read: {error}");
}

#[test]
fn a_line_without_end_is_given_up() {
    let mut reader = ManifestReader::new();
    let chunk = vec![b' '; 1 << 20];
    let error = (0..100).find_map(|_| reader.feed(&chunk).err()).unwrap();
    assert!(error.to_string().contains("too long"), "{error}");
    let whole = [vec![b' '; LINE_BYTES_MAX + 1], vec![b'\n']].concat();
    let error = ManifestReader::new().feed(&whole).unwrap_err();
    assert!(error.to_string().contains("too long"), "in one piece too: {error}");
}

proptest! {
    #[test]
    fn any_file_survives(
        path in "\\PC*",
        modified: i64,
        mode: u32,
        plain in prop::collection::vec(1..=4_194_304_u32, 0..5),
    ) {
        let bytes = plain.iter().map(|bytes| u64::from(*bytes)).sum();
        let block = |bytes: &u32| BlockRef::new(*bytes, u64::from(*bytes), 1, *bytes, Codec::Stored, Digest::of(b""));
        let file = ManifestFile::new(FileEntry::new(path, bytes, mode, modified), plain.iter().map(block).collect());
        let (mut writer, head) = ManifestWriter::begin(head()).unwrap();
        let text = [head, writer.file(file.clone()).unwrap(), writer.end()].concat();
        prop_assert_eq!(&read(&text, 50).unwrap().0[1], &ManifestLine::File(file));
    }
}
