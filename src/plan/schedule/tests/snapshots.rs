//! When snapshots are due.

use super::*;

const SNAPSHOT: Task = Task::Snapshot;

/// A server of which only the last snapshot matters.
fn taken(last: &str) -> ScheduleFacts {
    facts(at(last))
}

#[test]
fn the_first_is_due_at_once() {
    let created = at("06-01T10:00");
    let facts = ScheduleFacts::new(created);
    assert_eq!(cause(&sharp(), &facts, created, SNAPSHOT), Some((created, DueReason::First)));
    assert_eq!(cause(&sharp(), &facts, at("06-03T10:00"), SNAPSHOT), Some((created, DueReason::First)));
}

#[test]
fn then_each_slot_makes_one_due() {
    let facts = taken("06-01T02:00");
    let slot = at("06-02T02:00");
    assert_eq!(prospect(&sharp(), &facts, at("06-01T12:00"), SNAPSHOT), Some((slot, DueReason::Slot)));
    assert_eq!(due(&sharp(), &facts, slot.saturating_sub(Duration::from_micros(1)), SNAPSHOT), None);
    assert_eq!(cause(&sharp(), &facts, slot, SNAPSHOT), Some((slot, DueReason::Slot)));
}

#[test]
fn a_slot_soon_after_any_snapshot_is_skipped() {
    for (last, next) in [
        ("06-01T14:00", "06-02T02:00"), // exactly half a period before
        ("06-01T14:01", "06-03T02:00"),
        ("06-02T01:59", "06-03T02:00"),
        ("06-02T02:01", "06-03T02:00"),
        ("06-02T13:59", "06-03T02:00"),
    ] {
        assert_eq!(prospect(&sharp(), &taken(last), at(last), SNAPSHOT), Some((at(next), DueReason::Slot)), "{last}");
    }
}

#[test]
fn a_long_snapshot_does_not_put_off_the_next() {
    let mut facts = taken("06-01T02:00");
    let run = TaskRun::new(at("06-01T02:00"), at("06-01T23:00"));
    facts.snapshot = TaskFacts::default().succeeded(run);
    assert_eq!(prospect(&sharp(), &facts, at("06-01T23:30"), SNAPSHOT), Some((at("06-02T02:00"), DueReason::Slot)));
}

#[test]
fn missed_slots_are_made_up_for_once() {
    let mut facts = taken("06-01T02:00");
    let woken = at("06-11T09:00");
    let first_missed = at("06-02T02:00");
    assert_eq!(cause(&sharp(), &facts, woken, SNAPSHOT), Some((first_missed, DueReason::MissedSlots { slots: 10 })));
    facts.snapshot = facts.snapshot.succeeded(ran(woken));
    assert_eq!(prospect(&sharp(), &facts, woken, SNAPSHOT), Some((at("06-12T02:00"), DueReason::Slot)));
}

#[test]
fn shorter_periods_have_more_slots_a_day() {
    let schedule = schedule(|settings| settings.snapshot_every = hours(6));
    let expected = Some((at("06-01T14:00"), DueReason::Slot));
    assert_eq!(prospect(&schedule, &taken("06-01T08:00"), at("06-01T08:10"), SNAPSHOT), expected);
    assert_eq!(prospect(&schedule, &taken("06-01T10:59"), at("06-01T11:10"), SNAPSHOT), expected);
}

#[test]
fn daylight_saving_has_no_effect() {
    // Europe changes its clocks on 29 March and 25 October 2026, America on 8 March and 1 November.
    for day in ["03-07", "03-08", "03-28", "03-29", "10-24", "10-25", "10-31", "11-01"] {
        let slot = at(&format!("{day}T02:00"));
        let next = prospect(&sharp(), &taken(&format!("{day}T02:00")), slot, SNAPSHOT);
        assert_eq!(next, Some((slot.saturating_add(days(1)), DueReason::Slot)), "{day}");
        assert!(next.unwrap().0.to_string().ends_with("T02:00:00.000000Z"));
    }
}

#[test]
fn idle_slots_are_skipped_until_the_first_write_if_that_is_set() {
    let schedule = schedule(|settings| settings.skip_idle_snapshots = true);
    let mut facts = taken("06-01T02:00");
    assert_eq!(due(&schedule, &facts, at("06-09T12:00"), SNAPSHOT), None);
    assert_eq!(later(&schedule, &facts, at("06-09T12:00"), SNAPSHOT), None, "no time alone makes it due");
    assert!(due(&sharp(), &facts, at("06-09T12:00"), SNAPSHOT).is_some(), "not by default");

    let written = at("06-09T12:01");
    facts.first_write = Some(written);
    assert_eq!(cause(&schedule, &facts, at("06-09T12:02"), SNAPSHOT), Some((written, DueReason::FirstWrite)));
    facts.first_write = Some(at("06-01T12:00"));
    let before_its_slot = Some((at("06-02T02:00"), DueReason::Slot));
    assert_eq!(prospect(&schedule, &facts, at("06-01T12:01"), SNAPSHOT), before_its_slot);
    facts.first_write = Some(at("06-02T02:00"));
    assert_eq!(cause(&schedule, &facts, at("06-02T02:00"), SNAPSHOT), before_its_slot, "the slot comes first");
}

#[test]
fn a_recovery_time_objective_makes_one_due_before_it_is_broken() {
    let schedule = schedule(|settings| settings.recovery_time_objective = Some(minutes(10)));
    let mut facts = taken("06-01T02:00");
    let now = at("06-01T05:00");
    facts.replay_bytes = 10 * 60 * 50_000_000;
    assert_eq!(due(&schedule, &facts, now, SNAPSHOT), None, "exactly what is allowed");
    facts.replay_bytes += 50_000_000;
    let reason = DueReason::RecoveryTime { replay: seconds(601), objective: minutes(10) };
    assert_eq!(cause(&schedule, &facts, now, SNAPSHOT), Some((now, reason)));
    assert_eq!(due(&sharp(), &facts, now, SNAPSHOT), None, "there is no objective by default");
    facts.replay_bytes_per_second = Some(100_000_000);
    assert_eq!(due(&schedule, &facts, now, SNAPSHOT), None, "what was measured counts, not what was set");
    facts.replay_bytes_per_second = Some(25_000_000);
    let reason = DueReason::RecoveryTime { replay: seconds(1202), objective: minutes(10) };
    assert_eq!(cause(&schedule, &facts, now, SNAPSHOT), Some((now, reason)));
}

#[test]
fn a_snapshot_on_demand_is_due_at_once_but_not_beside_another() {
    let mut facts = taken("06-01T02:00");
    let (asked, now) = (at("06-01T03:00"), at("06-01T03:01"));
    facts.snapshot_requested = Some(asked);
    assert_eq!(cause(&sharp(), &facts, now, SNAPSHOT), Some((asked, DueReason::OnDemand)));
    facts.snapshot = facts.snapshot.begun(now);
    assert_eq!(due(&sharp(), &facts, now, SNAPSHOT), None);
}

#[test]
fn the_first_of_several_reasons_is_told() {
    let mut facts = taken("06-01T02:00");
    facts.snapshot_requested = Some(at("06-02T01:00"));
    let reason = |facts: &ScheduleFacts| due(&sharp(), facts, at("06-02T09:00"), SNAPSHOT).unwrap().reason;
    assert_eq!(reason(&facts), DueReason::OnDemand);
    facts.snapshot_requested = Some(at("06-02T08:00"));
    assert_eq!(reason(&facts), DueReason::Slot);
}
