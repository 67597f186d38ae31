//! Archives made byte by byte, whole, in pieces and damaged. Real ones are read in `tests/backup_formats.rs`.

use proptest::prelude::*;

use super::*;

/// A member as `tarCreateHeader` writes it, except for what `edit` does before the checksum is taken.
fn member(name: &str, kind: u8, contents: &[u8], edit: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000600 0001747 0001750 ");
    put(124, &format!("{:011o} 15111100144 ", contents.len()));
    put(257, "ustar\x0000postgres");
    block[156] = kind;
    edit(&mut block);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:07o} ").as_bytes());
    block.extend_from_slice(contents);
    block.resize(block.len().next_multiple_of(BLOCK_BYTES), 0);
    block
}

fn file(name: &str, contents: &[u8]) -> Vec<u8> {
    member(name, b'0', contents, |_| ())
}

/// What an archive holds, however its contents were cut: (header, contents).
fn read(archive: &[u8], chunk_bytes: usize) -> Result<Vec<(TarHeader, Vec<u8>)>, TarError> {
    let mut reader = TarReader::new();
    let (mut members, mut ended) = (Vec::new(), 0);
    for chunk in archive.chunks(chunk_bytes) {
        for event in reader.feed(Bytes::copy_from_slice(chunk)) {
            match event? {
                TarEvent::Member(header) => members.push((header, Vec::new())),
                TarEvent::Data(data) => members.last_mut().unwrap().1.extend_from_slice(&data),
                TarEvent::MemberEnd => ended += 1,
            }
        }
    }
    reader.finish()?;
    assert_eq!(ended, members.len(), "every member ends");
    Ok(members)
}

fn problem(block: &[u8]) -> TarHeaderError {
    match read(block, usize::MAX).unwrap_err() {
        TarError::Header { offset: 0, problem } => problem,
        other => panic!("{other}"),
    }
}

#[test]
fn members_come_in_order_with_what_their_headers_say() {
    let link = |block: &mut [u8]| block[157..169].copy_from_slice(b"/srv/ts \xff\\ b");
    let archive = [
        file("backup_label", b"START"),
        member("base/", b'5', b"", |_| ()),
        file("base/empty", b""),
        member("pg_tblspc/16384/", b'2', b"", link),
        member("./pg_wal/archive_status/", b'5', b"", |_| ()),
        file("base/block", &[7; 512]),
        vec![0; 1024],
    ];
    let members = read(&archive.concat(), usize::MAX).unwrap();
    let paths: Vec<_> = members.iter().map(|(header, _)| header.path.to_str().unwrap()).collect();
    assert_eq!(paths, ["backup_label", "base", "base/empty", "pg_tblspc/16384", "pg_wal/archive_status", "base/block"]);
    let (label, contents) = &members[0];
    assert_eq!((label.size, label.mode, label.uid, label.gid), (5, 0o600, 999, 1000));
    assert_eq!((label.mtime, &label.kind, &contents[..]), (1763999844, &TarKind::File, &b"START"[..]));
    assert_eq!(members[1].0.kind, TarKind::Directory);
    assert_eq!(members[3].0.kind, TarKind::Symlink { target: Bytes::from_static(b"/srv/ts \xff\\ b") });
    assert_eq!(members[5].1, [7; 512]);
}

#[test]
fn an_archive_may_end_without_zeros_and_with_more_of_them() {
    for zeros in [0, 512, 1024, 10240] {
        let archive = [file("a", b"x"), vec![0; zeros]].concat();
        assert_eq!(read(&archive, 100).unwrap().len(), 1, "{zeros}");
    }
    let archive = [vec![0; 512], file("a", b"x")].concat();
    assert_eq!(read(&archive, 512).unwrap_err(), TarError::AfterEnd { offset: 512 });
}

#[test]
fn every_cut_inside_a_member_or_block_is_seen() {
    let archive = [file("a", b"x"), vec![0; 1024]].concat();
    for length in 0..archive.len() {
        let whole = [0, 1024, 1536].contains(&length);
        let expected = if whole { Ok(()) } else { Err(TarError::Truncated { offset: length as u64 }) };
        assert_eq!(read(&archive[..length], 300).map(|_| ()), expected, "{length}");
    }
}

#[test]
fn sizes_of_8_gibibytes_and_times_before_1970_are_in_base_256() {
    let size: u64 = 8 << 30;
    let edit = |block: &mut [u8]| {
        block[124..136].copy_from_slice(&[&[0x80, 0, 0, 0][..], &size.to_be_bytes()].concat());
        block[136..148].copy_from_slice(&[&[0x80, 0, 0, 0][..], &(-1_i64).to_be_bytes()].concat());
    };
    let mut reader = TarReader::new();
    let event = reader.feed(member("base/1", b'0', b"", edit).into()).next();
    let Some(Ok(TarEvent::Member(header))) = event else { panic!("{event:?}") };
    assert_eq!((header.size, header.mtime), (size, -1));
    assert_eq!(reader.finish(), Err(TarError::Truncated { offset: 512 }));
}

#[test]
fn unsafe_paths_are_refused() {
    for name in ["/etc/passwd", "../x", "a/../../x", "", "./", "././a", "a//b", "a/"] {
        let problem = problem(&file(name, b""));
        assert!(matches!(problem, TarHeaderError::UnsafePath { .. }), "{name:?}: {problem}");
    }
    let prefixed = |block: &mut [u8]| block[345..347].copy_from_slice(b"..");
    assert!(matches!(problem(&member("x", b'0', b"", prefixed)), TarHeaderError::UnsafePath { .. }));
}

#[test]
fn damaged_headers_are_refused() {
    let mut flipped = file("a", b"");
    flipped[0] ^= 1;
    assert!(matches!(problem(&flipped), TarHeaderError::Checksum { .. }));
    assert_eq!(problem(&[b'x'; 512]), TarHeaderError::NotUstar);
    assert_eq!(problem(&member("a", b'1', b"", |_| ())), TarHeaderError::UnknownKind { flag: b'1' });
    assert_eq!(problem(&member("a", b'5', b"x", |_| ())), TarHeaderError::UnexpectedContents { size: 1 });
    assert_eq!(problem(&member("a", b'2', b"", |_| ())), TarHeaderError::NoTarget);
    for (at, bytes) in [(124, &b"0000008"[..]), (124, b"\0"), (124, b"\x80\x01"), (124, b"7 7"), (124, b"-1 ")] {
        let edit = |block: &mut [u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        assert_eq!(problem(&member("a", b'0', b"", edit)), TarHeaderError::Number { field: "size" }, "{bytes:?}");
    }
    let wide = |block: &mut [u8]| block[108..116].copy_from_slice(b"\x80\0\0\x01\0\0\0\0");
    assert_eq!(problem(&member("a", b'0', b"", wide)), TarHeaderError::Number { field: "uid" });
}

#[test]
fn an_error_is_the_last_item_and_is_repeated() {
    let mut reader = TarReader::new();
    let events: Vec<_> = reader.feed(vec![b'x'; 2048].into()).collect();
    let error = TarError::Header { offset: 0, problem: TarHeaderError::NotUstar };
    assert_eq!(events, [Err(error.clone())]);
    assert_eq!(reader.feed(file("a", b"").into()).count(), 0);
    assert_eq!(reader.finish(), Err(error));
}

#[test]
fn events_that_were_not_taken_come_first_the_next_time() {
    let mut reader = TarReader::new();
    let archive = Bytes::from(file("a", b"abc"));
    assert!(matches!(reader.feed(archive.slice(..514)).next(), Some(Ok(TarEvent::Member(_)))));
    let events: Vec<_> = reader.feed(archive.slice(514..)).map(Result::unwrap).collect();
    assert_eq!(events, [TarEvent::Data("abc".into()), TarEvent::MemberEnd]);
}

proptest! {
    #[test]
    fn chunks_do_not_matter(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1500), 0..4),
        chunk_bytes in 1_usize..2000,
    ) {
        let archive: Vec<u8> = contents.iter().flat_map(|contents| file("a", contents)).collect();
        let members = read(&archive, chunk_bytes);
        prop_assert_eq!(&members, &read(&archive, usize::MAX));
        let read: Vec<_> = members.unwrap().into_iter().map(|(_, contents)| contents).collect();
        prop_assert_eq!(read, contents);
    }
}
