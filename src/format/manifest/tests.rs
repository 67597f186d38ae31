//! Tests of manifests and their parts as text.

use proptest::prelude::*;

use super::lines::LINE_BYTES_MAX;
use super::*;
use crate::model::{FileEntry, SnapshotId, Tablespace};

const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223";

fn snapshot(name: &str) -> SnapshotId {
    name.parse().unwrap()
}

fn head() -> ManifestHead {
    let tablespaces = vec![Tablespace::new(16_385, "/fast/disk")];
    ManifestHead::new("7301234567890123456-18".parse().unwrap(), snapshot("20261123T210908Z-0a1b2c3d"), tablespaces)
}

fn block(pack: u32, offset: u64, stored: u32, plain: u32, codec: Codec) -> BlockRef {
    BlockRef::new(pack, offset, stored, plain, codec, DIGEST.parse().unwrap())
}

/// Packs 0 and 2 of one snapshot, then 9 of an older one.
fn table() -> PackTable {
    let mut table = PackTable::default();
    for (name, number, bytes) in [("b", 0, 70), ("b", 2, 24), ("a", 9, 300)] {
        let place = table.place(&PackId::new(snapshot(name), number));
        table.add_use(place, bytes);
    }
    table
}

fn directory() -> Entry {
    Entry::Directory(FileEntry::new("base/1", 0, 0o700, 1_700_000_000))
}

/// One of a block, one of two layers, of which the upper one has the last page and the one before it.
fn file() -> ManifestFile {
    let layers = vec![
        Layer::new(PageSet::first(3), block(2, 370, 90, 3 * 8192, Codec::Zstd)),
        Layer::new([2, 3].into_iter().collect(), block(0, 0, 60, 8192 + 24, Codec::Zstd)),
    ];
    let layered = Extent::new(3 * 8192 + 24, DIGEST.parse().unwrap(), layers);
    let extents = vec![Extent::whole(block(2, 300, 70, 1 << 20, Codec::Zstd)), layered];
    ManifestFile::new(FileEntry::new("base/1/1259", (1 << 20) + 3 * 8192 + 24, 0o600, -1), extents)
}

fn entries() -> Vec<Entry> {
    let empty = ManifestFile::new(FileEntry::new("empty", 0, 0o600, 0), Vec::new());
    vec![directory(), Entry::File(file()), Entry::File(empty)]
}

fn part() -> Vec<u8> {
    let mut writer = PartWriter::default();
    for entry in entries() {
        writer.write(entry, &table()).unwrap();
    }
    writer.take(&table()).unwrap().unwrap().to_vec()
}

fn counts() -> ManifestCounts {
    let mut counts = ManifestCounts::default();
    entries().iter().for_each(|entry| counts.add(entry));
    counts
}

fn manifest() -> Manifest {
    let parts = vec![vec![block(2, 0, 300, 1000, Codec::Zstd)], vec![block(1, 0, 24, 24, Codec::Stored)]];
    Manifest::new(head(), table(), parts, counts())
}

fn print(manifest: &Manifest) -> Vec<u8> {
    manifest.print().map(Result::unwrap).collect::<Vec<_>>().concat()
}

fn read(text: &[u8], chunk: usize) -> Result<Manifest, ManifestError> {
    let mut reader = ManifestReader::new();
    for bytes in text.chunks(chunk) {
        reader.feed(bytes)?;
    }
    reader.finish()
}

fn reason(text: &str) -> String {
    read(text.as_bytes(), usize::MAX).unwrap_err().to_string()
}

fn part_reason(text: &str) -> String {
    parse_part(text.as_bytes(), &table()).unwrap_err().to_string()
}

/// The text of version 1, byte for byte: it must stay readable for ever.
#[test]
fn the_text_of_a_manifest_is_the_one_that_is_documented() {
    let lines = [
        r#"{"head":{"version":1,"incarnation":"7301234567890123456-18","snapshot":"20261123T210908Z-0a1b2c3d","tablespaces":[{"oid":16385,"path":"/fast/disk"}]}}"#,
        r#"{"packs":{"snapshot":"a","first":9,"used":[300]}}"#,
        r#"{"packs":{"snapshot":"b","first":0,"used":[70]}}"#,
        r#"{"packs":{"snapshot":"b","first":2,"used":[24]}}"#,
        &format!(r#"{{"part":[[0,0,300,1000,1,"{DIGEST}"]]}}"#),
        &format!(r#"{{"part":[[2,0,24,24,0,"{DIGEST}"]]}}"#),
        r#"{"end":{"directories":1,"files":2,"bytes":1073176,"parts":2}}"#,
    ];
    let text = lines.map(|line| format!("{line}\n")).concat();
    assert_eq!(String::from_utf8(print(&manifest())).unwrap(), text);
}

#[test]
fn the_text_of_a_part_is_the_one_that_is_documented() {
    let lines = [
        r#"{"packs":[["a",9],["b",0]]}"#,
        r#"{"directory":{"path":"base/1","bytes":0,"mode":448,"modified":1700000000}}"#,
        &format!(
            r#"{{"file":{{"path":"base/1/1259","bytes":1073176,"mode":384,"modified":-1,"extents":[[0,300,70,1048576,1,"{DIGEST}"],{{"bytes":24600,"digest":"{DIGEST}","layers":[["7",0,370,90,24576,1,"{DIGEST}"],["c",1,0,60,8216,1,"{DIGEST}"]]}}]}}}}"#
        ),
        r#"{"file":{"path":"empty","bytes":0,"mode":384,"modified":0,"extents":[]}}"#,
    ];
    let text = lines.map(|line| format!("{line}\n")).concat();
    assert_eq!(String::from_utf8(part()).unwrap(), text);
    assert_eq!(parse_part(text.as_bytes(), &table()), Ok(entries()));
}

#[test]
fn what_was_written_is_read_in_any_chunks() {
    let text = print(&manifest());
    for chunk in [1, 7, 100, text.len()] {
        assert_eq!(read(&text, chunk), Ok(manifest()));
    }
    assert_eq!(manifest().packs.used_bytes(), 394);
}

#[test]
fn consecutive_packs_share_a_line() {
    let mut table = PackTable::default();
    for number in [3, 1, 2, 0, 7, u32::MAX, u32::MAX - 1] {
        let place = table.place(&PackId::new(snapshot("a"), number));
        table.add_use(place, number.into());
    }
    let manifest = Manifest::new(head(), table, Vec::new(), ManifestCounts::default());
    let text = print(&manifest);
    assert_eq!(text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{\"packs\"")).count(), 3);
    assert_eq!(read(&text, 99), Ok(manifest));
}

#[test]
fn every_truncation_and_extension_is_noticed() {
    let text = print(&manifest());
    for length in 0..text.len() {
        assert_eq!(read(&text[..length], 64), Err(ManifestError::Truncated), "{length} of {} bytes", text.len());
    }
    for more in ["x", "\n", "{}\n"] {
        assert_eq!(read(&[&text[..], more.as_bytes()].concat(), 64), Err(ManifestError::Extended), "{more:?}");
    }
    let part = part();
    // Whoever reads a part knows how long it is, and the manifest how many files there are.
    let ends_a_line = |length: usize| length > 0 && part[length - 1] == b'\n';
    for length in (0..part.len()).filter(|length| !ends_a_line(*length)) {
        assert_eq!(parse_part(&part[..length], &table()), Err(ManifestError::Truncated));
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let text = String::from_utf8(print(&manifest())).unwrap();
    let line = |number: usize| format!("{}\n", text.lines().nth(number).unwrap());
    assert!(reason(&text.replace("\"version\":1", "\"version\":2")).contains("upgrade"));
    assert!(reason(&text.replace("\"parts\":2", "\"parts\":3")).contains("3 parts were promised"));
    assert!(reason(&text.replace("[[0,0,300,", "[[0,0,")).contains("line 5"));
    assert!(reason(&text.replace("1000,1,", "1000,9,")).contains("codec 9"));
    assert!(reason(&text.replace("[[0,0,300,", "[[3,0,300,")).contains("does not list"));
    assert!(reason(&text.replace(&line(1), &line(0))).contains("second head"));
    assert!(reason(&text.replace(&line(3), &line(2))).contains("listed twice"));
    assert!(
        reason(&text.replace("\"first\":2,\"used\":[24]", "\"first\":4294967295,\"used\":[24,1]")).contains("2^32")
    );
    assert!(reason(&text.replace(&line(0), "")).contains("line 1"));
    assert!(reason(&text.replace("\"part\"", "\"socket\"")).contains("line 5"));
}

#[test]
fn a_part_that_contradicts_itself_is_refused() {
    let text = String::from_utf8(part()).unwrap();
    let line = |number: usize| format!("{}\n", text.lines().nth(number).unwrap());
    assert!(part_reason(&text.replace(",70,1048576,", ",70,1048575,")).contains("hold 1073175 bytes"));
    for (now, then) in [
        ("[\"7\",", "[\"3\","),
        ("[\"7\",", "[\"f\","),
        ("[\"c\",", "[\"5\","),
        ("24600,", "24599,"),
        (",8216,", ",8217,"),
    ] {
        let reason = part_reason(&text.replace(now, then));
        assert!(reason.contains("do not make up its 2"), "{then} for {now}: {reason}");
    }
    assert!(part_reason(&text.replace("[[0,300,", "[[2,300,")).contains("does not list"));
    assert!(part_reason(&text.replace("[\"a\",9]", "[\"a\",8]")).contains("does not list"));
    assert!(part_reason(&text.replace(&line(0), "")).contains("line 1"));
    assert!(part_reason(&text.replace(&line(1), &line(0))).contains("second list"));
    assert!(part_reason(&text.replace("directory", "socket")).contains("line 2"));
    assert_eq!(parse_part(b"", &table()), Err(ManifestError::Truncated));
}

/// Whoever fetches a block reserves what is claimed of it.
#[test]
fn a_block_that_no_writer_makes_is_refused() {
    let (root, text) = (String::from_utf8(print(&manifest())).unwrap(), String::from_utf8(part()).unwrap());
    for (stored_bytes, plain_bytes) in [(70, 1_048_577), (1_048_577, 1_048_576), (u32::MAX, 24), (0, 24)] {
        let (claim, what) = (format!(",{stored_bytes},{plain_bytes},"), "\"base/1/1259\"".to_owned());
        let expected = Err(ManifestError::Block { what, plain_bytes, stored_bytes });
        assert_eq!(parse_part(text.replace(",70,1048576,", &claim).as_bytes(), &table()), expected);
        let expected = Err(ManifestError::Block { what: "part 0".to_owned(), plain_bytes, stored_bytes });
        assert_eq!(read(root.replace(",300,1000,", &claim).as_bytes(), 64), expected);
    }
    let wrong = Entry::File(ManifestFile::new(FileEntry::new("base/1/1259", 25, 0o600, -1), file().extents));
    assert!(matches!(PartWriter::default().write(wrong, &table()), Err(ManifestError::Extents { expected: 25, .. })));
}

#[test]
fn no_line_is_written_that_is_too_long_to_be_read() {
    let named = |length: usize| Entry::Directory(FileEntry::new("x".repeat(length), 0, 0o700, 0));
    let mut writer = PartWriter::default();
    writer.write(named(0), &table()).unwrap();
    let around = writer.take(&table()).unwrap().unwrap().len() - "{\"packs\":[]}\n".len() - 1;
    let error = writer.write(named(LINE_BYTES_MAX - around + 1), &table()).unwrap_err();
    assert!(matches!(error, ManifestError::TooLong { bytes, .. } if bytes == LINE_BYTES_MAX as u64 + 1), "{error}");
    assert_eq!(writer.take(&table()), Ok(None), "nothing of it was written");
    writer.write(named(LINE_BYTES_MAX - around), &table()).unwrap();
    assert!(writer.is_complete());
    let text = writer.take(&table()).unwrap().unwrap();
    assert_eq!(parse_part(&text, &table()).unwrap().len(), 1, "the longest line itself is read");
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

/// The parts of so many files, without those that are named.
fn parts(files: u32, without: &[u32]) -> Vec<Vec<u8>> {
    let (mut writer, mut parts) = (PartWriter::default(), Vec::new());
    for number in (0..files).filter(|number| !without.contains(number)) {
        let extents = vec![Extent::whole(block(0, number.into(), 1, 1, Codec::Stored))];
        let entry = FileEntry::new(format!("base/16384/{number}"), 1, 0o600, 0);
        writer.write(Entry::File(ManifestFile::new(entry, extents)), &table()).unwrap();
        if writer.is_complete() {
            parts.push(writer.take(&table()).unwrap().unwrap().to_vec());
        }
    }
    parts.extend(writer.take(&table()).unwrap().map(|part| part.to_vec()));
    parts
}

/// Files come and go, and what is far from them stays in the same parts.
#[test]
fn parts_end_where_they_did_before() {
    let before = parts(80_000, &[]);
    let sizes: Vec<_> = before.iter().map(Vec::len).collect();
    assert!(sizes.len() > 5 && sizes.iter().all(|size| *size < 5 << 20), "{sizes:?}");
    assert!(sizes[..sizes.len() - 1].iter().all(|size| *size >= 256 << 10), "{sizes:?}");
    for gone in [0, 20_000, 79_999] {
        let after = parts(80_000, &[gone]);
        let changed = after.iter().filter(|part| !before.contains(part)).count();
        assert!(changed <= 2, "without file {gone}, {changed} parts of {} changed", after.len());
    }
}

proptest! {
    #[test]
    fn any_file_survives(
        path in "\\PC*",
        modified: i64,
        mode: u32,
        plain in prop::collection::vec((0..3_u32, 1..=1_048_576_u32), 0..5),
    ) {
        let bytes = plain.iter().map(|(_, bytes)| u64::from(*bytes)).sum();
        let extents = plain.iter().map(|(pack, bytes)| Extent::whole(block(*pack, u64::from(*bytes), 1, *bytes, Codec::Stored)));
        let file = ManifestFile::new(FileEntry::new(path, bytes, mode, modified), extents.collect());
        let mut writer = PartWriter::default();
        writer.write(Entry::File(file.clone()), &table()).unwrap();
        let text = writer.take(&table()).unwrap().unwrap();
        prop_assert_eq!(parse_part(&text, &table()), Ok(vec![Entry::File(file)]));
    }
}
