//! Names, there and back.

use super::*;
use crate::model::{Lsn, WalRange};

fn layout() -> ServerLayout {
    ServerLayout::new(&"prod".parse().unwrap())
}

fn object(key: ObjectKey) -> StoredObject {
    StoredObject::new(key, 5)
}

#[test]
fn names_of_log_backups_parse_back() {
    let incarnation = "7301234567890123456-15".parse().unwrap();
    let wal = WalRange::new(TimelineId::FIRST, Lsn::new(0x100_0000), Lsn::new(0x1A2_B3C4)).unwrap();
    let log = LogBackup::new(incarnation, wal, layout().logs(incarnation, TimelineId::FIRST), 5);
    assert_eq!(layout().parse_catalog(&log.object()), Ok(CatalogEntry::Log(log)));
}

#[test]
fn names_of_snapshots_and_histories_parse_back() {
    let incarnation = "1-18".parse().unwrap();
    let id: SnapshotId = "20261123T210908Z-0a1b2c3d".parse().unwrap();
    let parsed = layout().parse_catalog(&object(layout().snapshot(incarnation, &id)));
    assert_eq!(parsed, Ok(CatalogEntry::Snapshot { incarnation, id }));
    let timeline = TimelineId::new(0xAB).unwrap();
    let parsed = layout().parse_catalog(&object(layout().history(incarnation, timeline)));
    assert_eq!(parsed, Ok(CatalogEntry::History { incarnation, timeline }));
}

#[test]
fn names_of_changes_parse_back_and_sort_by_revision() {
    let change = |revision, micros, request: &str| {
        let at = Timestamp::from_unix_micros(micros).unwrap();
        ChangeEntry { revision, at, request: request.parse().unwrap() }
    };
    let changes = [change(1, 5, "f47ac10b-58cc"), change(2, -5, "a"), change(0xAB, 7, "Z")];
    let names = changes.clone().map(|change| layout().change(&change));
    assert!(names.is_sorted());
    assert_eq!(names.clone().map(|name| layout().parse_change(&name)), changes.map(Some));
    assert_eq!(names[2].as_str(), "servers/prod/changes/00000000000000AB-0000000000000007-Z");
    for foreign in [
        "changes/00000000000000ab-0000000000000007-Z",
        "changes/00000000000000AB-0000000000000007",
        "changes/00000000000000AB-0000000000000007--Z",
        "changes/AB-0000000000000007-Z",
        "proofs/00000000000000AB-0000000000000007-Z",
    ] {
        assert_eq!(layout().parse_change(&below(&layout().root, foreign)), None, "{foreign}");
    }
}

#[test]
fn names_of_restores_parse_back() {
    for (micros, request) in [(5, "f47ac10b-58cc"), (-5, "a")] {
        let (at, request) = (Timestamp::from_unix_micros(micros).unwrap(), request.parse().unwrap());
        assert_eq!(layout().parse_restore(&layout().restore(at, &request)), Some((at, request)));
    }
    for foreign in ["restores/5-a", "restores/0000000000000005", "changes/0000000000000005-a"] {
        assert_eq!(layout().parse_restore(&below(&layout().root, foreign)), None, "{foreign}");
    }
}

#[test]
fn names_of_data_parse_back() {
    let id: SnapshotId = "20261123T210908Z-0a1b2c3d".parse().unwrap();
    let entry = |part| Some(DataEntry { snapshot: id.clone(), part });
    for part in [DataPart::Manifest, DataPart::Pack(0xAB), DataPart::Running, DataPart::Expired] {
        assert_eq!(layout().parse_data(&layout().data_part(&id, part)), entry(part));
    }
    for foreign in ["data/x/pack-000000ab", "data/x/manifest/y", "data/x/log", "data/x", "catalog/x/manifest"] {
        assert_eq!(layout().parse_data(&below(&layout().root, foreign)), None, "{foreign}");
    }
}

#[test]
fn foreign_names_are_refused() {
    let log = "0000000000000001-0000000000000002-none-none-00000000";
    for name in [
        "servers/prod/key".to_owned(),
        "servers/other/catalog/1-15/timelines/00000002".to_owned(),
        "servers/prod/catalog/1-15/timelines/2".to_owned(),
        "servers/prod/catalog/1-15/timelines/000000ab".to_owned(),
        "servers/prod/catalog/1-15/timelines/00000000".to_owned(),
        "servers/prod/catalog/1-15/timelines/00000002/x".to_owned(),
        "servers/prod/catalog/1-99/timelines/00000002".to_owned(),
        format!("servers/prod/catalog/1-15/logs/00000001/{log}-none"),
        format!("servers/prod/catalog/1-15/logs/00000000/{log}"),
        "servers/prod/catalog/1-15/logs/00000001/0000000000000001-0000000000000002-none-none".to_owned(),
        "servers/prod/catalog/1-15/logs/00000001/0000000000000002-0000000000000001-none-none-00000000".to_owned(),
        "servers/prod/catalog/1-15/logs/00000001/0000000000000001-0000000000000002-none-7FFFFFFFFFFFFFFF-00000000"
            .to_owned(),
    ] {
        let key: ObjectKey = name.parse().unwrap();
        assert!(layout().parse_catalog(&object(key)).is_err(), "{name}");
    }
}
