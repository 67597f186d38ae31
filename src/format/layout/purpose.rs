//! What an object is for, and whether it stays as it is, by its name alone.

use super::{CHANGES, DELETIONS, EXPIRED, RUNNING, SERVERS, ZONE_CONTENTS, ZONE_RECORDS};
use crate::model::ObjectKey;

/// What an object is for, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ObjectKind {
    /// Log, which is read when a server is restored to a moment, and when it is compacted.
    Log,
    /// A pack of a snapshot: most of what is stored, and read when a server is restored, or verified.
    Pack,
    /// All else, which is small, and read often.
    Record,
}

/// What the object `key` is for.
#[must_use]
pub fn kind_of(key: &ObjectKey) -> ObjectKind {
    let is_zone_record = key.parts().zip(key.parts().skip(1)).any(|pair| pair == (ZONE_RECORDS, SERVERS));
    let mut parts = key.parts().skip_while(|part| *part != SERVERS).skip(2);
    match [parts.next(), parts.next(), parts.next()] {
        [Some("catalog"), _, Some("logs")] => ObjectKind::Log,
        [Some("data"), _, Some(part)] if part.starts_with("pack-") && !is_zone_record => ObjectKind::Pack,
        _ => ObjectKind::Record,
    }
}

/// Whether an object stays as it is, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Permanence {
    /// Created once, and needed as it is until it is deleted: log, packs, manifests, and what the catalog and the proofs consist of.
    Fact,
    /// Always needed, and replaced now and then: a server's key and its record.
    State,
    /// In passing: leases, heartbeats, notes of work under way; and all that is none of ours.
    Note,
}

/// Whether the object `key` stays as it is. What several zones hold of it, they change among themselves.
#[must_use]
pub fn permanence_of(key: &ObjectKey) -> Permanence {
    let mut directories = key.parts();
    let is_of_zone = directories.by_ref().take_while(|part| *part != SERVERS).any(is_of_zones);
    let mut parts = directories.skip(1);
    match [parts.next(), parts.next(), parts.next()] {
        _ if is_of_zone => Permanence::Note,
        [Some("catalog" | "keys" | "proofs" | CHANGES | DELETIONS), Some(_), _] => Permanence::Fact,
        [Some("data"), Some(_), Some(part)] if ![RUNNING, EXPIRED].contains(&part) => Permanence::Fact,
        [Some("key" | "server"), None, _] => Permanence::State,
        _ => Permanence::Note,
    }
}

fn is_of_zones(directory: &str) -> bool {
    [ZONE_RECORDS, ZONE_CONTENTS].contains(&directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::layout::{DataPart, ServerLayout, servers};
    use crate::model::{Role, SnapshotId, TimelineId, Timestamp};

    fn layout() -> ServerLayout {
        ServerLayout::new(&"prod".parse().unwrap())
    }

    #[test]
    fn names_tell_what_an_object_is_for() {
        let incarnation = "7301234567890123456-15".parse().unwrap();
        let id: SnapshotId = "20261123T210908Z-0a1b2c3d".parse().unwrap();
        let log = layout().logs(incarnation, TimelineId::FIRST).join("begin-end").unwrap();
        for (key, kind) in [
            (log.clone(), ObjectKind::Log),
            (format!("container/directory/{log}").parse().unwrap(), ObjectKind::Log),
            (layout().pack(&id, 7), ObjectKind::Pack),
            (format!("a/{ZONE_CONTENTS}/{}/0a1b", layout().pack(&id, 7)).parse().unwrap(), ObjectKind::Pack),
            (format!("a/{ZONE_RECORDS}/{}", layout().pack(&id, 7)).parse().unwrap(), ObjectKind::Record),
            (layout().manifest(&id), ObjectKind::Record),
            (layout().snapshot(incarnation, &id), ObjectKind::Record),
            (layout().key(), ObjectKind::Record),
            ("elsewhere".parse().unwrap(), ObjectKind::Record),
        ] {
            assert_eq!(kind_of(&key), kind, "{key}");
        }
    }

    #[test]
    fn what_stays_is_told_by_its_name() {
        let incarnation = "7301234567890123456-15".parse().unwrap();
        let id: SnapshotId = "20261123T210908Z-0a1b2c3d".parse().unwrap();
        let log = layout().logs(incarnation, TimelineId::FIRST).join("begin-end").unwrap();
        for (key, permanence) in [
            (log.clone(), Permanence::Fact),
            (format!("bucket/directory/{log}").parse().unwrap(), Permanence::Fact),
            (format!("bucket/{ZONE_RECORDS}/{log}").parse().unwrap(), Permanence::Note),
            (format!("bucket/{ZONE_CONTENTS}/{log}/0a1b").parse().unwrap(), Permanence::Note),
            (layout().snapshot(incarnation, &id), Permanence::Fact),
            (layout().history(incarnation, TimelineId::FIRST), Permanence::Fact),
            (layout().manifest(&id), Permanence::Fact),
            (layout().pack(&id, 7), Permanence::Fact),
            (layout().proof("20261123T210908Z-0a1b2c3d"), Permanence::Fact),
            (format!("{}/0a1b", layout().all_retired_keys()).parse().unwrap(), Permanence::Fact),
            (layout().changes().join("1-2-a").unwrap(), Permanence::Fact),
            (layout().deletions().join("0a1b").unwrap(), Permanence::Fact),
            (layout().key(), Permanence::State),
            (layout().record(), Permanence::State),
            (layout().data_part(&id, DataPart::Running), Permanence::Note),
            (layout().data_part(&id, DataPart::Expired), Permanence::Note),
            (layout().lease(Role::Sweeper), Permanence::Note),
            (layout().renewal(), Permanence::Note),
            (layout().runs(), Permanence::Note),
            (layout().usage(), Permanence::Note),
            (layout().restore(Timestamp::UNIX_EPOCH, &"a".parse().unwrap()), Permanence::Note),
            (servers(), Permanence::Note),
            ("elsewhere/catalog/x".parse().unwrap(), Permanence::Note),
        ] {
            assert_eq!(permanence_of(&key), permanence, "{key}");
        }
    }
}
