//! Zones that are away, come back, lose what they had, or hold damage.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use pitr::adapter::{PrefixStorage, Zone, ZoneSettings, ZoneStorage, system};
use pitr::port::{Clock, Operation, PortErrorKind, PutMode, Storage, StorageExt};
use pitr::testing::conformance::storage::run_all;
use pitr::testing::{Fault, FaultyStorage};

use super::memory;
use super::stand::{Stand, key, long, open};

const DAY: u64 = 24 * 60 * 60;

#[test]
fn they_conform_with_one_of_them_away() {
    for away in 0..3 {
        let stand = Stand::new(3);
        stand.kill(away);
        stand.run(run_all(&stand.storage));
    }
}

#[test]
fn they_conform_with_one_of_them_failing_now_and_then() {
    for flaky in 0..3 {
        let stand = Stand::new(3);
        stand.zones[flaky].fail_at_random(7, NonZeroU64::new(5).unwrap());
        stand.run(run_all(&stand.storage));
    }
}

#[test]
fn without_a_quorum_nothing_is_done_and_nothing_is_lost() {
    let stand = Stand::new(3);
    stand.create("kept", "kept");
    stand.kill(1);
    stand.kill(2);
    let begun = stand.clock.elapsed();
    for mode in [PutMode::Create, PutMode::Overwrite] {
        assert_eq!(stand.put("other", "x", mode).unwrap_err().kind(), PortErrorKind::Unavailable);
    }
    let error = stand.run(stand.storage.head(&key("kept"))).unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Unavailable);
    assert!(error.to_string().contains("too few of the 3 zones"), "{error}");
    assert_eq!(stand.run(stand.storage.list_all(None)).unwrap_err().kind(), PortErrorKind::Unavailable);
    assert_eq!(stand.run(stand.storage.delete(&key("kept"))).unwrap_err().kind(), PortErrorKind::Unavailable);
    assert!(stand.clock.elapsed() - begun < Duration::from_secs(60), "it took too long");
    stand.revive(1);
    assert_eq!(stand.find("kept").unwrap(), "kept");
    stand.create("another", "x");
}

#[test]
fn who_was_left_alone_stands_in_for_who_goes_away() {
    for (alone, away) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        let leave_alone = |stand: &Stand| {
            stand.zones.iter().for_each(FaultyStorage::heal);
            stand.pass(60);
            stand.zones[alone].fail_next(Operation::Put, Fault::Before);
            stand.put("something", "x", PutMode::Overwrite).unwrap();
            stand.kill(away);
        };
        let stand = Stand::new(3);
        stand.create("kept", "kept");
        leave_alone(&stand);
        stand.create("new", "new");
        leave_alone(&stand);
        stand.put("kept", "changed", PutMode::Overwrite).unwrap();
        leave_alone(&stand);
        assert_eq!(stand.find("kept").unwrap(), "changed", "{alone} and {away}");
        leave_alone(&stand);
        stand.delete("new");
        assert_eq!(stand.find("new"), None);
    }
}

#[test]
fn what_a_zone_missed_it_gets_back() {
    for away in 0..3 {
        let stand = Stand::new(3);
        stand.create("changed", "old");
        stand.create("deleted", "old");
        stand.create("replaced", long(1));
        stand.kill(away);
        stand.put("changed", "new", PutMode::Overwrite).unwrap();
        stand.delete("deleted");
        stand.put("replaced", long(2), PutMode::Overwrite).unwrap();
        stand.create("short", "new");
        stand.create("long", long(3));
        assert_eq!(stand.storage.behind(), 5);
        assert_eq!(stand.run(stand.storage.catch_up()).unwrap().compared, 0, "it is still away");
        stand.revive(away);
        let repaired = stand.run(stand.storage.catch_up()).unwrap();
        assert_eq!((repaired.compared, repaired.records, repaired.contents), (5, 5, 2), "zone {away}");
        assert_eq!(stand.storage.behind(), 0);
        // It is as good as any other now.
        stand.kill((away + 1) % 3);
        let expected = [("changed", 3), ("long", 3_000_000), ("replaced", 3_000_000), ("short", 3)];
        assert_eq!(stand.list(), expected.map(|(name, bytes)| (name.to_owned(), bytes)));
        assert_eq!(stand.find("changed").unwrap(), "new");
        assert_eq!(stand.find("replaced").unwrap(), long(2));
        assert_eq!(stand.find("deleted"), None);
        assert_eq!(stand.find("long").unwrap(), long(3));
    }
}

#[test]
fn a_repair_finds_what_nobody_remembers() {
    let stand = Stand::new(3);
    for number in 0..30 {
        stand.create(&format!("a/{number}"), format!("{number}"));
    }
    stand.create("long", long(0));
    stand.kill(2);
    for number in 0..30 {
        match number % 3 {
            0 => stand.delete(&format!("a/{number}")),
            1 => drop(stand.put(&format!("a/{number}"), "new", PutMode::Overwrite).unwrap()),
            _ => drop(stand.create(&format!("b/{number}"), long(number))),
        }
    }
    stand.delete("long");
    stand.revive(2);
    let restarted = stand.another();
    assert_eq!(restarted.behind(), 0);
    let repaired = stand.run(restarted.repair()).unwrap();
    assert_eq!((repaired.compared, repaired.records, repaired.contents), (41, 31, 10));
    assert_eq!(repaired.discarded, 0, "a content of a moment ago may still be wanted");
    stand.pass(DAY);
    let repaired = stand.run(restarted.repair()).unwrap();
    assert_eq!((repaired.records, repaired.contents, repaired.forgotten, repaired.discarded), (0, 0, 11, 1));
    for zone in 0..3 {
        assert_eq!((stand.count(zone, "zone-records"), stand.count(zone, "zone-contents")), (30, 10), "zone {zone}");
    }
    let repaired = stand.run(restarted.repair()).unwrap();
    assert_eq!((repaired.compared, repaired.records, repaired.forgotten, repaired.discarded), (30, 0, 0, 0));
}

#[test]
fn zones_are_kept_whole_in_the_background() {
    let stand = Stand::new(3);
    stand.create("before", long(1));
    stand.kill(1);
    stand.put("before", "new", PutMode::Overwrite).unwrap();
    let restarted = stand.another();
    let mut told = Vec::new();
    let life = async {
        stand.clock.sleep(Duration::from_secs(60)).await;
        restarted.put(&key("after"), "content".into(), PutMode::Create).await.unwrap();
        stand.zones[1].heal();
        stand.clock.sleep(Duration::from_secs(60)).await;
    };
    let whole = restarted.keep_whole(Duration::from_secs(30), |repaired| told.push(repaired.unwrap().records));
    stand.run(futures::future::select(std::pin::pin!(life), std::pin::pin!(whole)));
    // Nothing while the zone is away; then all that it missed, also before the restart.
    assert_eq!(told, [0, 0, 0, 2]);
    assert_eq!((restarted.behind(), stand.count(1, "zone-records")), (0, 2));
    assert_eq!(stand.run(restarted.repair()).unwrap().records, 0);
}

#[test]
fn an_emptied_zone_is_filled_in_the_background() {
    let stand = Stand::new(3);
    stand.create("a", long(1));
    stand.empty(2);
    let mut told = Vec::new();
    let whole = stand.storage.keep_whole(Duration::from_secs(30), |repaired| told.push(repaired.unwrap().refilled));
    stand.run(futures::future::select(stand.clock.sleep(Duration::from_secs(100)), std::pin::pin!(whole)));
    assert_eq!(told, [1, 0, 0]);
    assert_eq!((stand.count(2, "zone-records"), stand.count(2, "zone-contents")), (1, 1));
}

#[test]
fn what_is_deleted_does_not_come_back() {
    for stale in 0..3 {
        let stand = Stand::new(3);
        stand.create("a", "old");
        stand.kill(stale);
        stand.delete("a");
        stand.revive(stale);
        for away in (0..3).filter(|away| *away != stale) {
            stand.kill(away);
            assert_eq!(stand.find("a"), None, "{stale} is stale, {away} away");
            assert_eq!(stand.list(), []);
            stand.revive(away);
        }
        // Not even by a repair that comes when all others have forgotten.
        stand.pass(3 * DAY);
        stand.run(stand.storage.repair()).unwrap();
        assert_eq!((stand.find("a"), stand.list()), (None, vec![]));
        stand.pass(3 * DAY);
        stand.run(stand.storage.repair()).unwrap();
        assert_eq!([0, 1, 2].map(|zone| stand.count(zone, "zone-records")), [0; 3]);
        stand.create("a", "new");
        assert_eq!(stand.find("a").unwrap(), "new");
    }
}

/// However a repair is interrupted that forgets a deletion, the object is none; and when enough time has passed, the next one goes on.
#[test]
fn forgetting_can_be_interrupted() {
    for (operation, zone) in
        [Operation::Put, Operation::Delete].into_iter().flat_map(|op| (0..3).map(move |zone| (op, zone)))
    {
        for fault in [Fault::Before, Fault::After] {
            let stand = Stand::new(3);
            stand.create("a", "old");
            stand.delete("a");
            stand.pass(3 * DAY);
            stand.zones[zone].fail_next(operation, fault);
            stand.run(stand.storage.repair()).unwrap_err();
            stand.pass(60);
            for away in 0..3 {
                stand.kill(away);
                assert_eq!(
                    (stand.find("a"), stand.list()),
                    (None, vec![]),
                    "{operation:?} {fault:?} in {zone}, {away} away"
                );
                stand.revive(away);
            }
            stand.run(stand.storage.repair()).unwrap();
            let created = stand.put("a", "new", PutMode::Create);
            stand.pass(DAY);
            stand.run(stand.storage.repair()).unwrap();
            match created {
                Ok(_) => assert_eq!(stand.find("a").unwrap(), "new"),
                Err(error) => {
                    assert_eq!(error.kind(), PortErrorKind::Unavailable);
                    stand.pass(DAY);
                    stand.run(stand.storage.repair()).unwrap();
                    assert!(stand.put("a", "newer", PutMode::Create).is_ok() || stand.find("a").unwrap() == "new");
                }
            }
            stand.run(stand.storage.repair()).unwrap();
            for away in 0..3 {
                stand.kill(away);
                assert!(stand.find("a").unwrap().starts_with(b"new"), "{operation:?} {fault:?} in {zone}, {away} away");
                stand.revive(away);
            }
        }
    }
}

/// What only a zone has accepted that is away now may still become the object: its content is kept until the zone is back.
#[test]
fn contents_are_kept_while_a_zone_is_away_that_may_want_them() {
    let stand = Stand::new(3);
    stand.create("a", long(1));
    // The home zone takes it, and no other.
    (1..3).for_each(|zone| stand.zones[zone].fail_nth(NonZeroU64::MIN, Operation::Put, Fault::Before));
    stand.zones[0].fail_nth(NonZeroU64::new(2).unwrap(), Operation::Put, Fault::Before);
    let mut upload = stand.run(stand.storage.upload(&key("b"))).unwrap();
    stand.run(upload.write(long(2))).unwrap();
    drop(stand.run(upload.finish()));
    stand.kill(0);
    stand.pass(3 * DAY);
    let repaired = stand.run(stand.storage.repair()).unwrap();
    assert_eq!(repaired.discarded, 0);
    stand.revive(0);
    stand.run(stand.storage.repair()).unwrap();
    assert!(stand.find("b").is_none_or(|found| found == long(2)));
    assert_eq!(stand.find("a").unwrap(), long(1));
}

#[test]
fn a_deletion_is_remembered_while_a_zone_is_away() {
    let stand = Stand::new(3);
    stand.create("a", "old");
    stand.kill(1);
    stand.delete("a");
    stand.pass(100 * DAY);
    stand.run(stand.storage.repair()).unwrap();
    assert_eq!(stand.count(0, "zone-records"), 1, "the one that is away does not know yet");
    stand.revive(1);
    stand.kill(0);
    assert_eq!((stand.find("a"), stand.list()), (None, vec![]));
}

#[test]
fn a_zone_that_comes_back_empty_does_not_count_until_it_is_filled() {
    for emptied in 0..3 {
        let stand = Stand::new(3);
        // In the emptied zone and one other only.
        let lagging = (emptied + 1) % 3;
        stand.kill(lagging);
        stand.create("a", "content");
        stand.create("long", long(1));
        stand.revive(lagging);
        stand.create("b", "content");
        stand.delete("b");
        stand.empty(emptied);
        assert_eq!(stand.find("a").unwrap(), "content", "zone {emptied} is empty, and {lagging} never had it");
        assert_eq!(stand.put("a", "other", PutMode::Create).unwrap_err().kind(), PortErrorKind::Conflict);
        stand.kill(lagging);
        assert_eq!(stand.run(stand.storage.head(&key("a"))).unwrap_err().kind(), PortErrorKind::Unavailable);
        stand.revive(lagging);
        let repaired = stand.run(stand.storage.repair()).unwrap();
        assert_eq!(repaired.refilled, 1);
        for away in 0..3 {
            stand.kill(away);
            assert_eq!(stand.find("a").unwrap(), "content");
            assert_eq!(stand.find("long").unwrap(), long(1));
            assert_eq!(stand.find("b"), None);
            stand.revive(away);
        }
        assert_eq!(stand.run(stand.storage.repair()).unwrap().refilled, 0);
    }
}

#[test]
fn damage_in_one_zone_is_noticed_and_healed() {
    let stand = Stand::new(3);
    stand.create("short", "content");
    stand.create("other", "another");
    let inner = |zone: usize| PrefixStorage::new(Arc::new(stand.inside[zone].clone()), key("zone-records"));
    let (whole, _) = stand.run(inner(0).find(&key("other"), 1000)).unwrap().unwrap();
    for damage in [whole.slice(..50), "something else that is long enough".repeat(5).into(), whole] {
        for zone in 0..3 {
            stand.run(inner(zone).put(&key("short"), damage.clone(), PutMode::Overwrite)).unwrap();
            assert_eq!(stand.find("short").unwrap(), "content");
            assert_eq!(stand.list(), [("other".to_owned(), 7), ("short".to_owned(), 7)]);
            let repaired = stand.run(stand.storage.repair()).unwrap();
            assert!(repaired.records > 0, "{repaired:?}");
            let healed = stand.run(inner(zone).find(&key("short"), 1000)).unwrap().unwrap().0;
            assert!(healed.ends_with(b"content") && healed != damage);
            assert_eq!(stand.run(stand.storage.repair()).unwrap().records, 0);
        }
    }
}

#[test]
fn a_body_goes_on_in_another_zone() {
    let stand = Stand::new(3);
    stand.create("long", long(5));
    stand.create("short", "content");
    for name in ["long", "short"] {
        let whole = stand.find(name).unwrap();
        for zone in 0..2 {
            // The headers are the first to be read.
            stand.zones[zone].fail_nth(NonZeroU64::new(2).unwrap(), Operation::Get, Fault::After);
        }
        assert_eq!(stand.find(name).unwrap(), whole);
        let middle = async {
            let read = stand.storage.get(&key(name), Some(2..5)).await?;
            assert_eq!(read.meta.bytes, whole.len() as u64);
            read.collect(3).await
        };
        assert_eq!(stand.run(middle).unwrap(), whole.slice(2..5));
    }
}

/// A zone that does not answer keeps nobody waiting for longer than patience lasts.
#[test]
fn nobody_waits_for_a_zone_that_is_mute() {
    for mute in 0..3 {
        let stand = Stand::new(3);
        stand.create("a", "old");
        stand.create("long", long(1));
        let took = |what: &dyn Fn()| {
            let begun = stand.clock.elapsed();
            what();
            stand.clock.elapsed() - begun
        };
        let patience = ZoneSettings::default().patience;
        stand.moods[mute].mute(true);
        let first = took(&|| drop(stand.put("a", "new", PutMode::Overwrite).unwrap()));
        // Once to see, or to be written to.
        assert!(first >= patience && first < patience * 2, "{first:?} with zone {mute} mute");
        let then = took(&|| {
            stand.create("b", "content");
            assert_eq!(stand.find("a").unwrap(), "new");
            assert_eq!(stand.find("long").unwrap(), long(1));
            stand.delete("b");
            stand.create("c", long(2));
            stand.delete("long");
            assert_eq!(stand.list().len(), 2);
        });
        assert!(then < Duration::from_secs(1), "{then:?} with zone {mute} mute");
        stand.pass(11);
        let asked_again = took(&|| assert_eq!(stand.find("a").unwrap(), "new"));
        assert!(asked_again < patience / 5, "{asked_again:?}");
        stand.moods[mute].mute(false);
        stand.pass(11);
        assert_eq!(stand.run(stand.storage.catch_up()).unwrap().records, 4, "zone {mute}");
    }
}

/// It becomes mute in the middle of something that goes on for long.
#[test]
fn uploads_and_listings_leave_a_mute_zone_behind() {
    for mute in 0..3 {
        let stand = Stand::new(3);
        (0..10).for_each(|number| drop(stand.create(&format!("a/{number}"), "content")));
        let upload = async {
            let mut upload = stand.storage.upload(&key("long")).await?;
            for (at, piece) in long(1).chunks(500_000).enumerate() {
                stand.moods[mute].mute(at > 3);
                upload.write(bytes::Bytes::copy_from_slice(piece)).await?;
            }
            upload.finish().await
        };
        stand.run(upload).unwrap();
        assert_eq!(stand.find("long").unwrap(), long(1));
        stand.moods[mute].mute(false);
        stand.pass(60);
        let listing = async {
            let mut listed = stand.storage.list(None, None);
            let mut count = 0;
            while listed.try_next().await?.is_some() {
                stand.moods[mute].mute(true);
                count += 1;
            }
            Ok::<_, pitr::port::PortError>(count)
        };
        assert_eq!(stand.run(listing).unwrap(), 11);
    }
}

/// Whoever may only read can, also where a zone lags behind while another is away.
#[test]
fn reading_takes_no_permission_to_write() {
    let stand = Stand::new(3);
    stand.create("a", "old");
    stand.kill(2);
    stand.put("a", "new", PutMode::Overwrite).unwrap();
    stand.create("b", long(1));
    stand.revive(2);
    stand.moods.iter().for_each(super::moody::Moody::close);
    for away in 0..3 {
        stand.kill(away);
        assert_eq!(stand.find("a").unwrap(), "new");
        assert_eq!(stand.find("b").unwrap(), long(1));
        assert_eq!(stand.list(), [("a".to_owned(), 3), ("b".to_owned(), 3_000_000)]);
        assert_eq!(stand.put("c", "x", PutMode::Create).unwrap_err().kind(), PortErrorKind::Denied, "{away} is away");
        stand.revive(away);
    }
}

/// An upload goes on in the zones that are left.
#[test]
fn an_upload_outlives_a_zone() {
    for away in 0..3 {
        let stand = Stand::new(3);
        let upload = async {
            let mut upload = stand.storage.upload(&key("long")).await?;
            for (at, piece) in long(1).chunks(100_000).enumerate() {
                if at == 20 {
                    stand.kill(away);
                }
                upload.write(bytes::Bytes::copy_from_slice(piece)).await?;
            }
            upload.finish().await
        };
        stand.run(upload).unwrap();
        assert_eq!(stand.find("long").unwrap(), long(1));
        stand.revive(away);
        stand.run(stand.storage.catch_up()).unwrap();
        stand.kill((away + 1) % 3);
        assert_eq!(stand.find("long").unwrap(), long(1));
    }
}

/// What a name has in front of it can be the name of another object.
#[test]
fn lengths_of_long_objects_are_listed_in_any_order() {
    let stand = Stand::new(3);
    let names = ["a", "a-b", "a-b/c", "a.b", "a/b", "a/b-c", "a/b/c", "ab"];
    for (at, name) in names.iter().enumerate() {
        stand.create(name, vec![7; 1_100_000 + at]);
    }
    let expected: Vec<_> =
        names.iter().enumerate().map(|(at, name)| (name.to_string(), 1_100_000 + at as u64)).collect();
    let before = stand.requests();
    assert_eq!(stand.list(), expected);
    let after = stand.requests();
    assert_eq!(after[1], before[1], "an object was looked at by itself");
    let below = stand.run(stand.storage.list(Some(&key("a")), Some(&key("a/b-c"))).try_collect::<Vec<_>>()).unwrap();
    assert_eq!(below.iter().map(|meta| (meta.key.as_str(), meta.bytes)).collect::<Vec<_>>(), [("a/b/c", 1_100_006)]);
}

/// What docs/OPERATIONS.md says of requests: to write, read, list and delete, in all three zones together.
#[test]
fn requests_are_as_many_as_documented() {
    let stand = Stand::new(3);
    let mut before = stand.requests();
    let mut asked = move |stand: &Stand| {
        let now = stand.requests();
        let since = std::array::from_fn(|at| now[at] - before[at]);
        before = now;
        since
    };
    // Whether each zone holds what it should, once a minute.
    stand.create("first", "content");
    assert_eq!(asked(&stand), [3, 3, 0, 0]);
    stand.create("a", "content");
    assert_eq!(asked(&stand), [3, 0, 0, 0]);
    stand.put("a", "other", PutMode::Overwrite).unwrap();
    assert_eq!(asked(&stand), [3, 3, 0, 0]);
    stand.find("a").unwrap();
    // These zones answer at once, so the third one is not even asked.
    assert_eq!(asked(&stand), [0, 3, 0, 0]);
    stand.run(stand.storage.head(&key("a"))).unwrap();
    assert_eq!(asked(&stand), [0, 2, 0, 0]);
    assert_eq!(stand.list().len(), 2);
    assert_eq!(asked(&stand), [0, 0, 6, 0]);
    stand.delete("a");
    assert_eq!(asked(&stand), [3, 3, 0, 0]);
    stand.create("long", long(1));
    assert_eq!(asked(&stand), [3, 0, 0, 0], "beside its upload");
    stand.delete("long");
    assert_eq!(asked(&stand), [3, 3, 0, 3]);
    stand.create("longer", long(1));
    asked(&stand);
    stand.run(stand.storage.repair()).unwrap();
    // Four records, of which two are of what was deleted, and one content: nearly. A read is over when two zones agree.
    assert_eq!(asked(&stand), [0, 4 * 3 + 2, 6, 0]);
    // The home zone is away: at first that has to be found out.
    stand.kill(0);
    stand.create("b", "content");
    asked(&stand);
    stand.create("c", "content");
    assert_eq!(asked(&stand), [4, 4, 0, 0]);
}

#[test]
fn zones_that_do_not_belong_together_are_refused() {
    let stand = Stand::new(3);
    let refused = |zones: [usize; 3]| {
        let zones = zones.map(|zone| stand.zones[zone].clone());
        let error = stand.run(open(&stand.clock, &zones)).unwrap_err();
        assert_eq!(error.kind(), PortErrorKind::Invalid, "{error}");
        error.to_string()
    };
    assert!(refused([1, 0, 2]).contains("the zone z0 is z1 of the zones"), "{}", refused([1, 0, 2]));
    refused([0, 1, 1]);
    assert_eq!(stand.run(open(&stand.clock, &stand.zones[..2])).unwrap_err().kind(), PortErrorKind::Invalid);
    let other = Stand::new(3);
    let mixed = [&stand.zones[0], &stand.zones[1], &other.zones[2]].map(Clone::clone);
    assert_eq!(stand.run(open(&stand.clock, &mixed)).unwrap_err().kind(), PortErrorKind::Invalid);
    assert_eq!(stand.run(open(&stand.clock, &[])).unwrap_err().kind(), PortErrorKind::Invalid);
}

#[test]
fn to_begin_all_zones_must_be_there() {
    let stand = Stand::new(3);
    for (away, after) in (0..3).flat_map(|away| (0..4).map(move |after| (away, after))) {
        let zones: Vec<_> = (0..3).map(|_| FaultyStorage::new(memory())).collect();
        zones[away].crash_after(after);
        let opened = stand.run(open(&stand.clock, &zones));
        zones[away].heal();
        if let Err(error) = opened {
            assert_eq!(error.kind(), PortErrorKind::Unavailable);
            let storage = stand.run(open(&stand.clock, &zones)).unwrap();
            stand.run(storage.put(&key("a"), "content".into(), PutMode::Create)).unwrap();
        }
    }
}

/// Several processes that begin a set at the same time begin the same.
#[tokio::test]
async fn beginners_agree() {
    let storages: Vec<_> = (0..3).map(|_| memory()).collect();
    let begin = || {
        let zones =
            storages.iter().zip(["a", "b", "c"]).map(|(storage, name)| Zone::new(name, storage.clone()).unwrap());
        ZoneStorage::open(zones.collect::<Vec<_>>(), ZoneSettings::default(), system())
    };
    let opened = futures::future::join_all((0..8).map(|_| begin())).await;
    for (at, storage) in opened.into_iter().enumerate() {
        storage.unwrap().put(&key(&at.to_string()), "content".into(), PutMode::Create).await.unwrap();
    }
    assert_eq!(begin().await.unwrap().list_all(None).await.unwrap().len(), 8);
}
