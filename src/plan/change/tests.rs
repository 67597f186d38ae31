use super::*;
use crate::model::{
    ConfigUpdate, OrderPhase, Parameters, PostgresMajor, RestoreSpec, RetentionDays, ScheduleSettings, ServerSpec,
    Target,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn at(day: i64) -> Timestamp {
    Timestamp::from_unix_micros(day * 86_400_000_000).unwrap()
}

fn config() -> ServerConfig {
    ServerConfig::new(ServerSpec::new("prod".parse().unwrap(), PostgresMajor::MIN))
}

fn caller() -> Caller {
    Caller::new("ops", "request-1".parse().unwrap())
}

fn apply(config: &ServerConfig, change: &Change, day: i64) -> Result<ServerConfig, ChangeRefusal> {
    apply_change(config, &caller(), change, at(day))
}

fn lock(name: &str, kind: LockKind) -> Change {
    Change::PlaceLock { name: name.parse().unwrap(), kind, reason: "it pays our wages".to_owned() }
}

fn hold(name: &str) -> Change {
    Change::PlaceHold { snapshot: "one".parse().unwrap(), name: name.to_owned(), until: None }
}

fn release(name: &str) -> Change {
    Change::ReleaseHold { snapshot: "one".parse().unwrap(), name: name.to_owned() }
}

fn configure(update: ConfigUpdate) -> Change {
    Change::Configure(Box::new(update))
}

fn restore(name: &str) -> Change {
    Change::Restore(Box::new(RestoreSpec::new(name.parse().unwrap(), Target::Latest)))
}

/// One of each kind, that a server with a hold "audit" and a lock "own" can have.
fn all() -> Vec<Change> {
    vec![
        configure(ConfigUpdate::new().retention(RetentionDays::MAX)),
        Change::Pause,
        Change::Resume,
        Change::RequestSnapshot,
        hold("legal"),
        release("audit"),
        lock("another", LockKind::CanNotDelete),
        Change::RemoveLock { name: "own".parse().unwrap() },
        restore("prod-2"),
        Change::NoteParameters(Parameters::new()),
        Change::Delete,
    ]
}

#[test]
fn locks_forbid_what_they_are_for_and_nothing_else() {
    let held = apply(&config(), &hold("audit"), 1).unwrap();
    for (kind, allowed) in [
        (
            LockKind::CanNotDelete,
            &[
                "configure",
                "pause",
                "resume",
                "request snapshot",
                "place hold",
                "release hold",
                "place lock",
                "remove lock",
                "restore",
                "note parameters",
            ][..],
        ),
        (LockKind::ReadOnly, &["place lock", "remove lock", "restore", "note parameters"][..]),
    ] {
        let locked = apply(&held, &lock("own", kind), 2).unwrap();
        let placed = &locked.locks[0];
        assert_eq!((placed.owner.as_str(), placed.since, placed.kind), ("ops", at(2), kind));
        for change in all() {
            let expected = allowed.contains(&change.name());
            match apply(&locked, &change, 3) {
                Ok(_) => assert!(expected, "{change} in spite of {kind}"),
                Err(ChangeRefusal::Locked(by)) => assert!(!expected && by == *placed, "{change} under {kind}"),
                Err(other) => panic!("{change} under {kind}: {other}"),
            }
        }
    }
}

#[test]
fn a_deleted_server_cannot_be_changed() {
    let deleted = apply(&config(), &Change::Delete, 5).unwrap();
    let deletion = Deletion::new(at(5), "ops");
    assert_eq!(deleted.deletion, Some(deletion.clone()));
    for change in all().into_iter().chain([Change::Create, Change::Undelete]) {
        assert_eq!(apply(&deleted, &change, 5), Err(ChangeRefusal::Deleted(deletion.clone())), "{change}");
    }
    assert_eq!(apply(&deleted, &Change::FinishDeletion, 5), Ok(deleted), "it is final already");
}

#[test]
fn a_deletion_can_be_undone_within_its_grace() {
    let mut config = config();
    config.delete_grace = 2 * DAY;
    let deleted = apply(&config, &Change::Delete, 5).unwrap();
    let just_before = Timestamp::from_unix_micros(at(7).as_unix_micros() - 1).unwrap();
    let undone = apply_change(&deleted, &caller(), &Change::Undelete, just_before).unwrap();
    assert_eq!(undone, ServerConfig { resumed_at: Some(just_before), ..config.clone() });
    let finish = |at| apply_change(&deleted, &caller(), &Change::FinishDeletion, at);
    assert_eq!(finish(just_before), Err(ChangeRefusal::NotYet { undo_until: at(7) }));
    assert!(matches!(apply(&deleted, &Change::Undelete, 7), Err(ChangeRefusal::Deleted(_))));
    let finished = finish(at(7)).unwrap();
    assert_eq!(finished.deletion, Some(Deletion::new(at(5), "ops")));
    let late = apply_change(&finished, &caller(), &Change::Undelete, just_before);
    assert!(matches!(late, Err(ChangeRefusal::Deleted(_))), "whoever finished it was first: {late:?}");
    for change in [Change::Undelete, Change::FinishDeletion] {
        assert_eq!(apply(&config, &change, 5), Err(ChangeRefusal::NotDeleted), "{change}");
    }
}

#[test]
fn an_update_changes_what_it_names_and_nothing_else() {
    let before = apply(&config(), &hold("audit"), 1).unwrap();
    let update = ConfigUpdate { storage_bytes: Some(1 << 40), ..ConfigUpdate::new().retention(RetentionDays::MAX) };
    let after = apply(&before, &configure(update), 2).unwrap();
    let mut expected = before.clone();
    (expected.spec.retention, expected.spec.storage_bytes) = (RetentionDays::MAX, 1 << 40);
    expected.kept_from = Some(at(-5));
    assert_eq!(after, expected);
    assert_eq!(apply(&before, &configure(ConfigUpdate::new()), 2), Ok(before.clone()));
    let uneven = ScheduleSettings { snapshot_every: 5 * DAY / 24, ..ScheduleSettings::default() };
    let refused = apply(&before, &configure(ConfigUpdate::new().schedule(uneven.clone())), 2);
    assert!(matches!(refused, Err(ChangeRefusal::Schedule(_))), "{refused:?}");
    assert!(check_config(&ServerConfig { schedule: uneven, ..config() }).is_err());
    assert!(check_config(&ServerConfig { deletion: Some(Deletion::new(at(1), "ops")), ..config() }).is_err());
    assert_eq!(check_config(&config()), Ok(()));
}

#[test]
fn what_was_not_kept_is_not_promised() {
    let days = |config: &ServerConfig, days, at| {
        let update = ConfigUpdate::new().retention(RetentionDays::new(days).unwrap());
        apply(config, &configure(update), at).unwrap()
    };
    let longer = days(&config(), 35, 20);
    assert_eq!(longer.kept_from, Some(at(13)));
    let shorter = days(&longer, 10, 30);
    assert_eq!(shorter.kept_from, Some(at(13)), "35 days ago, less was kept");
    assert_eq!(days(&shorter, 35, 40).kept_from, Some(at(30)));
    assert_eq!(days(&shorter, 10, 40).kept_from, Some(at(13)), "nothing was changed");
}

#[test]
fn a_pause_lasts_from_its_first_request_to_a_resumption() {
    let paused = apply(&config(), &Change::Pause, 1).unwrap();
    let paused = apply(&paused, &Change::Pause, 2).unwrap();
    assert_eq!((paused.paused_at, paused.resumed_at), (Some(at(1)), None));
    let resumed = apply(&paused, &Change::Resume, 3).unwrap();
    let resumed = apply(&resumed, &Change::Resume, 4).unwrap();
    assert_eq!((resumed.paused_at, resumed.resumed_at), (None, Some(at(3))));
}

#[test]
fn holds_and_locks_are_told_apart_by_their_names() {
    let held = apply(&config(), &hold("audit"), 1).unwrap();
    let exists = ChangeRefusal::HoldExists { snapshot: "one".parse().unwrap(), name: "audit".to_owned() };
    assert_eq!(apply(&held, &hold("audit"), 2), Err(exists));
    let missing = ChangeRefusal::NoSuchHold { snapshot: "one".parse().unwrap(), name: "legal".to_owned() };
    assert_eq!(apply(&held, &release("legal"), 2), Err(missing));
    let released = apply(&held, &release("audit"), 2).unwrap();
    assert_eq!(released.holds[0].released_at, Some(at(2)));
    assert!(apply(&released, &release("audit"), 2).is_err());
    let again = apply(&released, &hold("audit"), 2).unwrap();
    assert_eq!(again, held, "a release by mistake is undone");
    assert!(apply(&released, &Change::Pause, 3).unwrap().holds.is_empty(), "after the grace it is over");

    let locked = apply(&config(), &lock("own", LockKind::ReadOnly), 1).unwrap();
    let name: LockName = "own".parse().unwrap();
    let again = apply(&locked, &lock("own", LockKind::CanNotDelete), 1);
    assert_eq!(again, Err(ChangeRefusal::LockExists(name.clone())));
    assert_eq!(
        apply(&config(), &Change::RemoveLock { name: name.clone() }, 1),
        Err(ChangeRefusal::NoSuchLock(name.clone()))
    );
    assert_eq!(apply(&locked, &Change::RemoveLock { name }, 2), Ok(config()));
}

#[test]
fn a_record_stays_small() {
    let (mut locked, mut held) = (config(), config());
    for number in 0..LOCKS_MAX {
        locked = apply(&locked, &lock(&format!("lock-{number}"), LockKind::CanNotDelete), 1).unwrap();
    }
    let refused = apply(&locked, &lock("one-more", LockKind::CanNotDelete), 1);
    assert_eq!(refused, Err(ChangeRefusal::TooMany { what: "locks", max: LOCKS_MAX }));
    for number in 0..HOLDS_MAX {
        held = apply(&held, &hold(&format!("hold-{number}")), 1).unwrap();
    }
    assert_eq!(apply(&held, &hold("one-more"), 1), Err(ChangeRefusal::TooMany { what: "holds", max: HOLDS_MAX }));
    let long = "x".repeat(TEXT_MAX + 1);
    let by_long = apply_change(&config(), &Caller::new(long.clone(), caller().request), &Change::Pause, at(1));
    assert_eq!(by_long, Err(ChangeRefusal::TooLong { what: "the caller's name", bytes: TEXT_MAX + 1, max: TEXT_MAX }));
    assert!(matches!(apply(&config(), &hold(&long), 1), Err(ChangeRefusal::TooLong { .. })));
    assert!(apply(&config(), &hold(&long[1..]), 1).is_ok());
    let parameters = |bytes| Change::NoteParameters([("a", "x".repeat(bytes - 1))].into_iter().collect());
    assert!(apply(&config(), &parameters(PARAMETERS_MAX), 1).unwrap().parameters.is_some());
    assert!(matches!(apply(&config(), &parameters(PARAMETERS_MAX + 1), 1), Err(ChangeRefusal::TooLong { .. })));
}

/// The restore that [`caller`] ordered.
fn of_restore(change: fn(RequestId) -> Change) -> Change {
    change(caller().request)
}

#[test]
fn a_restore_is_cancelled_or_confirmed_whichever_comes_first() {
    let cancel = of_restore(|restore| Change::CancelRestore { restore });
    let confirm = of_restore(|restore| Change::ConfirmRestore { restore });
    let end = of_restore(|restore| Change::EndRestore { restore });
    let (id, name): (RequestId, ServerName) = (caller().request, "prod-2".parse().unwrap());
    for change in [&cancel, &confirm, &end] {
        assert_eq!(apply(&config(), change, 1), Err(ChangeRefusal::NoSuchRestore(id.clone())));
    }
    let ordered = apply(&config(), &restore("prod-2"), 1).unwrap();
    assert_eq!(ordered.restore(&id).unwrap().phase, OrderPhase::Ordered);

    let cancelled = apply(&ordered, &cancel, 2).unwrap();
    let phase = OrderPhase::Cancelled { by: "ops".to_owned(), at: at(2) };
    assert_eq!(cancelled.restore(&id).unwrap().phase, phase);
    assert_eq!(apply(&cancelled, &cancel, 3), Ok(cancelled.clone()), "once is enough");
    assert_eq!(apply(&cancelled, &confirm, 3), Err(ChangeRefusal::RestoreCancelled(id.clone())));

    let confirmed = apply(&ordered, &confirm, 2).unwrap();
    assert_eq!(apply(&confirmed, &confirm, 3), Ok(confirmed.clone()));
    assert_eq!(apply(&confirmed, &cancel, 3), Err(ChangeRefusal::RestoreMade(name.clone())));
    for over in [cancelled, confirmed, ordered] {
        let refused = ChangeRefusal::BeingRestored { restore: id.clone(), name: name.clone() };
        assert_eq!(apply(&over, &Change::Delete, 3), Err(refused));
        let ended = apply(&over, &end, 3).unwrap();
        assert!(ended.restores.is_empty() && apply(&ended, &Change::Delete, 4).is_ok());
    }
}

#[test]
fn restores_make_servers_of_different_names() {
    for taken in [apply(&config(), &restore("prod"), 1), {
        let ordered = apply(&config(), &restore("prod-2"), 1).unwrap();
        apply(&ordered, &restore("prod-2"), 1)
    }] {
        assert!(matches!(taken, Err(ChangeRefusal::NameTaken(_))), "{taken:?}");
    }
    let ordered = (0..20).fold(config(), |config, number| apply(&config, &restore(&format!("n-{number}")), 1).unwrap());
    assert_eq!(apply(&ordered, &restore("n"), 1), Err(ChangeRefusal::TooMany { what: "restores", max: 20 }));
}

#[test]
fn refusals_say_what_to_do() {
    let locked = apply(&config(), &lock("own", LockKind::ReadOnly), 1).unwrap();
    let refusal = apply(&locked, &Change::Delete, 2).unwrap_err();
    let text = "a lock forbids it: ReadOnly lock own of ops since 1970-01-02T00:00:00.000000Z: it pays our wages";
    assert_eq!(refusal.to_string(), text);
    let deleted = apply(&config(), &Change::Delete, 1).unwrap();
    let refusal = apply(&deleted, &Change::Pause, 2).unwrap_err();
    assert_eq!(refusal.to_string(), "the server was deleted at 1970-01-02T00:00:00.000000Z by ops");
}
