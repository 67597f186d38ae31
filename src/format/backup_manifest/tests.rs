//! Manifests of both versions, whole, in pieces and damaged. Real ones are read in `tests/backup_formats.rs`.

use proptest::prelude::*;

use super::*;
use crate::format::relative_path::RelativePath;

const V1: &str = r#"{ "PostgreSQL-Backup-Manifest-Version": 1,
"Files": [
{ "Path": "backup_label", "Size": 225, "Last-Modified": "2026-11-23 21:35:25 GMT", "Checksum-Algorithm": "CRC32C", "Checksum": "b73f4b36" },
{ "Encoded-Path": "626173652fff", "Size": 0, "Last-Modified": "1969-12-31 23:59:59 GMT" }
],
"WAL-Ranges": [
{ "Timeline": 2, "Start-LSN": "0/2500000", "End-LSN": "0/3000100" },
{ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2500000" }
],
"#;

const V2: &str = r#"{ "PostgreSQL-Backup-Manifest-Version": 2,
"System-Identifier": 7575735757575757575,
"Files": [
{ "Path": "base/1/INCREMENTAL.1259 \"\\\n\u0001é", "Size": 8589934592, "Last-Modified": "2026-11-23 21:35:25 GMT" }
],
"WAL-Ranges": [
],
"#;

/// The manifest that begins so, with its checksum.
fn sealed(body: &str) -> Vec<u8> {
    let mut hasher = ChecksumHasher::new(ChecksumAlgorithm::Sha256);
    hasher.update(body.as_bytes());
    format!("{body}\"Manifest-Checksum\": \"{}\"}}\n", hasher.finish()).into_bytes()
}

fn read(manifest: &[u8], chunk_bytes: usize) -> Result<Vec<ManifestEvent>, ManifestError> {
    let mut reader = ManifestReader::new();
    let mut events = Vec::new();
    for chunk in manifest.chunks(chunk_bytes) {
        for event in reader.feed(Bytes::copy_from_slice(chunk)) {
            events.push(event?);
        }
    }
    reader.finish().map(|()| events)
}

fn error_of(manifest: &[u8]) -> ManifestError {
    read(manifest, usize::MAX).unwrap_err()
}

#[test]
fn version_1_of_postgresql_15_and_16() {
    let events = read(&sealed(V1), usize::MAX).unwrap();
    let [start, label, encoded, new, old] = &events[..] else { panic!("{events:?}") };
    assert_eq!(*start, ManifestEvent::Start { version: ManifestVersion::V1, system_id: None });
    let (ManifestEvent::File(label), ManifestEvent::File(encoded)) = (label, encoded) else { panic!("{events:?}") };
    assert_eq!((label.path.to_str(), label.size), (Some("backup_label"), 225));
    assert_eq!(label.last_modified, "2026-11-23T21:35:25Z".parse().unwrap());
    assert_eq!(label.checksum, FileChecksum::Crc32c([0xb7, 0x3f, 0x4b, 0x36]));
    assert_eq!((&encoded.path, encoded.checksum), (&RelativePath::new(b"base/\xff").unwrap(), FileChecksum::None));
    let (ManifestEvent::WalRange(new), ManifestEvent::WalRange(old)) = (new, old) else { panic!("{events:?}") };
    assert_eq!(new.to_string(), "0/2500000..0/3000100 on timeline 2");
    assert_eq!(old.to_string(), "0/2000028..0/2500000 on timeline 1");
}

#[test]
fn version_2_of_postgresql_17_and_18() {
    let events = read(&sealed(V2), usize::MAX).unwrap();
    let [ManifestEvent::Start { version: ManifestVersion::V2, system_id }, ManifestEvent::File(file)] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(*system_id, Some(SystemId::new(7_575_735_757_575_757_575)));
    assert_eq!((file.path.to_str(), file.size), (Some("base/1/INCREMENTAL.1259 \"\\\n\u{1}é"), 8 << 30));
}

#[test]
fn a_manifest_without_files() {
    let body = "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n],\n\"WAL-Ranges\": [\n],\n";
    assert_eq!(read(&sealed(body), usize::MAX).unwrap().len(), 1);
}

#[test]
fn every_truncation_is_refused() {
    let manifest = sealed(V1);
    for length in 0..manifest.len() {
        let error = error_of(&manifest[..length]);
        assert!(matches!(error, ManifestError::Truncated { .. }), "{length}: {error}");
    }
    assert_eq!(error_of(&manifest[..manifest.len() - 1]), ManifestError::Truncated { lines: 9 });
}

#[test]
fn whatever_is_changed_is_noticed() {
    let manifest = sealed(V1);
    for index in 0..manifest.len() {
        let mut changed = manifest.clone();
        changed[index] ^= 1;
        assert!(read(&changed, usize::MAX).is_err(), "{index}");
    }
    let changed = String::from_utf8(manifest).unwrap().replace("225", "226");
    assert!(matches!(error_of(changed.as_bytes()), ManifestError::Checksum { .. }));
}

#[test]
fn a_version_of_the_future_is_its_own_error() {
    let future = V1.replace("Version\": 1", "Version\": 3");
    assert_eq!(error_of(&sealed(&future)), ManifestError::UnsupportedVersion { version: 3 });
}

#[test]
fn an_error_names_the_line_and_what_was_expected() {
    for (from, to, says) in [
        ("{ \"PostgreSQL", "{\"PostgreSQL", "line 1 of the backup manifest: invalid line"),
        ("\"Files\": [", "\"Files\": []", "line 2 of the backup manifest: invalid line \"\\\"Files\\\": []"),
        (
            "\"Path\": \"backup_label\"",
            "\"Path\": \"../backup_label\"",
            "line 3 of the backup manifest: invalid file path",
        ),
        ("\"Path\": \"backup_label\"", "\"Path\": \"a\", \"Encoded-Path\": \"61\"", "either Path or Encoded-Path"),
        ("\"Path\": \"backup_label\", ", "", "either Path or Encoded-Path"),
        ("626173652fff", "62617365f", "invalid encoded path"),
        ("626173652fff", "2f657463", "invalid file path \"/etc\""),
        (", \"Checksum\": \"b73f4b36\"", "", "both Checksum-Algorithm and Checksum"),
        ("b73f4b36", "b73f4b", "invalid checksum"),
        ("CRC32C", "CRC32D", "expected NONE, CRC32C, "),
        ("\"Size\": 225", "\"Size\": -1", "expected a file with its path"),
        ("\"Size\": 225", "\"Size\": 1, \"Size\": 1", "expected a file with its path"),
        ("\"Size\": 225", "\"Size\": 1, \"Mode\": 1", "expected a file with its path"),
        ("21:35:25 GMT", "21:35:25 CET", "invalid time of modification"),
        ("\" },\n", "\" }\n", "line 4 of the backup manifest: invalid line"),
        ("GMT\" }\n]", "GMT\" },\n]", "line 5 of the backup manifest: invalid line \"],\\n\": expected an object"),
        ("\"WAL-Ranges\"", "\"Ranges\"", "line 6"),
        ("0/2500000\", \"End", "0/4000000\", \"End", "invalid WAL range"),
        ("\"Timeline\": 2", "\"Timeline\": 0", "expected a range of WAL"),
    ] {
        assert!(V1.contains(from), "{from}");
        let error = error_of(&sealed(&V1.replacen(from, to, 1))).to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn nothing_may_follow_the_end() {
    for more in ["\n", " ", "{"] {
        let manifest = [sealed(V1), more.into(), b"more".to_vec()].concat();
        assert_eq!(read(&manifest, 1), read(&manifest, usize::MAX));
        let error = error_of(&manifest).to_string();
        assert!(error.contains("line 11") && error.contains("the end of the file"), "{error}");
    }
}

#[test]
fn memory_is_bounded_by_a_line() {
    let mut reader = ManifestReader::new();
    let results: Vec<_> = (0..100).flat_map(|_| reader.feed(vec![b'x'; 1000].into()).collect::<Vec<_>>()).collect();
    assert_eq!(results, [Err(ManifestError::LineTooLong { line: 1 })]);
    assert!(reader.partial.len() <= ManifestReader::LINE_BYTES_MAX && reader.input.len() <= 100_000);
    assert_eq!(reader.finish(), Err(ManifestError::LineTooLong { line: 1 }));
}

proptest! {
    #[test]
    fn chunks_do_not_matter(chunk_bytes in 1_usize..500, version in prop::sample::select(vec![V1, V2])) {
        let manifest = sealed(version);
        prop_assert_eq!(read(&manifest, chunk_bytes), read(&manifest, usize::MAX));
    }

    #[test]
    fn damage_is_noticed_in_any_chunks(chunk_bytes in 1_usize..500, index in 0..600_usize, byte: u8) {
        let mut manifest = sealed(V2);
        let Some(damaged) = manifest.get_mut(index) else { return Ok(()) };
        prop_assume!(!damaged.eq_ignore_ascii_case(&byte));
        *damaged = byte;
        prop_assert_eq!(read(&manifest, chunk_bytes), read(&manifest, usize::MAX));
        prop_assert!(read(&manifest, chunk_bytes).is_err());
    }
}
