//! Labels of every version, and what is wrong with others.

use proptest::prelude::*;

use super::*;

const FULL: &str = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n\
    CHECKPOINT LOCATION: 0/2000060\n\
    BACKUP METHOD: streamed\n\
    BACKUP FROM: primary\n\
    START TIME: 2026-11-23 21:09:08 UTC\n\
    LABEL: pg_basebackup base backup\n\
    START TIMELINE: 1\n";

const INCREMENTAL: &str = "START WAL LOCATION: 16/B374D848 (file 0000000700000016000000B3)\n\
    CHECKPOINT LOCATION: 16/B374D8A0\n\
    BACKUP METHOD: streamed\n\
    BACKUP FROM: standby\n\
    START TIME: 2026-11-23 22:09:08 CET\n\
    LABEL: nightly\n\
    START TIMELINE: 7\n\
    INCREMENTAL FROM LSN: 16/A0000028\n\
    INCREMENTAL FROM TLI: 6\n";

fn error_of(file: &str) -> String {
    BackupLabel::parse(file.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_full_backup_of_any_version() {
    let label = BackupLabel::parse(FULL.as_bytes()).unwrap();
    assert_eq!((label.start_lsn, label.checkpoint_lsn), (Lsn::new(0x0200_0028), Lsn::new(0x0200_0060)));
    assert_eq!((label.origin, label.start_timeline), (BackupOrigin::Primary, TimelineId::FIRST));
    assert_eq!(
        (&label.start_time[..], &label.label[..]),
        ("2026-11-23 21:09:08 UTC", &b"pg_basebackup base backup"[..])
    );
    assert_eq!(label.incremental_from, None);
    assert_eq!(label.to_bytes(), FULL.as_bytes());
}

#[test]
fn an_incremental_backup_of_postgresql_17() {
    let label = BackupLabel::parse(INCREMENTAL.as_bytes()).unwrap();
    let from = label.incremental_from.unwrap();
    assert_eq!((from.lsn, from.timeline), ("16/A0000028".parse().unwrap(), TimelineId::new(6).unwrap()));
    assert_eq!((label.origin, label.start_file.as_str()), (BackupOrigin::Standby, "0000000700000016000000B3"));
    assert_eq!(label.to_bytes(), INCREMENTAL.as_bytes());
}

#[test]
fn the_label_can_forge_no_line() {
    let forged = FULL.replace("pg_basebackup", "x\nSTART TIMELINE: 9\nINCREMENTAL FROM LSN: 0/1\n");
    let label = BackupLabel::parse(forged.as_bytes()).unwrap();
    assert_eq!((label.start_timeline, label.incremental_from), (TimelineId::FIRST, None));
    assert_eq!(label.to_bytes(), forged.as_bytes());
}

#[test]
fn a_segment_of_any_size_fits_its_position() {
    let one_gibibyte =
        FULL.replace("0/2000028 (file 000000010000000000000002)", "0/40000028 (file 000000010000000000000001)");
    assert!(BackupLabel::parse(one_gibibyte.as_bytes()).is_ok());
    for wrong in ["000000020000000000000002", "000000010000000100000002", "000000010000000000000003", "", "x"] {
        let error = error_of(&FULL.replace("000000010000000000000002", wrong));
        assert!(error.contains("the file of the start location"), "{error}");
    }
}

#[test]
fn an_error_names_the_line_and_what_was_expected() {
    for (from, to, says) in [
        ("START WAL", "STOP WAL", "line 1 of the backup label: invalid line"),
        ("0/2000028 (", "0/2000028 [", "line 1 of the backup label: invalid start location"),
        ("0/2000060", "0", "line 2 of the backup label: invalid LSN \"0\""),
        ("streamed", "pg_rewind", "expected streamed"),
        ("primary", "master", "line 4 of the backup label: invalid origin of a backup \"master\""),
        ("START TIME: ", "", "expected START TIME: "),
        ("LABEL", "NAME", "line 6 of the backup label"),
        ("TIMELINE: 1\n", "TIMELINE: 0\n", "line 7 of the backup label: invalid timeline ID"),
        ("TIMELINE: 1\n", "TIMELINE: 1", "expected START TIMELINE: "),
        ("TIMELINE: 1\n", "TIMELINE: 1\n\n", "line 8 of the backup label"),
        ("base backup", "base\0backup", "expected no NUL byte"),
    ] {
        let error = error_of(&FULL.replace(from, to));
        assert!(error.contains(says), "{error}");
    }
    assert!(error_of(&format!("{INCREMENTAL}x")).contains("line 10 of the backup label"));
}

#[test]
fn every_truncation_is_refused() {
    for length in 0..FULL.len() {
        assert!(BackupLabel::parse(&FULL.as_bytes()[..length]).is_err(), "{length}");
    }
    let long = BackupLabel::parse(&[b'x'; 2049]).unwrap_err();
    assert_eq!(long, BackupLabelError::TooLong { bytes: 2049 });
}

proptest! {
    #[test]
    fn any_label_comes_back(name in prop::collection::vec(1_u8.., 0..1024), lsn: u64, timeline in 1_u32.., log2 in 20_u64..=30) {
        let timeline = TimelineId::new(timeline).unwrap();
        let start_lsn = Lsn::new(lsn);
        let start_file = file_name(start_lsn, timeline, SegmentSize::new(1 << log2).unwrap());
        let template = BackupLabel::parse(INCREMENTAL.as_bytes()).unwrap();
        let label = BackupLabel { start_lsn, start_file, start_timeline: timeline, label: name.into(), ..template };
        prop_assert_eq!(BackupLabel::parse(&label.to_bytes()), Ok(label));
    }
}
