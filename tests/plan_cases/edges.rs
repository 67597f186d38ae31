//! The edges that every planner gets wrong once: each has a case, and times are not even read if they could mean two instants.

use pitr::model::Timestamp;

/// What is on the edge, and the case that stands on it.
const EDGES: &[(&str, &str)] = &[
    ("the target is the start of a snapshot", "target_while_a_backup_ran_takes_the_one_before"),
    ("the target lies between start and stop of a snapshot", "target_while_a_backup_ran_takes_the_one_before"),
    ("the target is the stop of a snapshot", "target_while_a_backup_ran_takes_the_one_before"),
    ("the target is a microsecond after the stop of a snapshot", "target_while_a_backup_ran_takes_the_one_before"),
    ("a fraction of a second is not cut off", "fractions_of_a_second_count"),
    ("the target is the last commit", "target_after_the_last_commit_ends_with_the_log"),
    ("the target is a microsecond after the last commit", "target_after_the_last_commit_ends_with_the_log"),
    (
        "the position where a timeline was left, and one and eight bytes to both sides",
        "fork_position_and_its_neighbours",
    ),
    ("the first position after a gap", "first_position_after_a_gap"),
    ("an hour that comes twice when summer time ends", "hour_that_comes_twice_is_two_instants"),
    ("years after 2038", "after_2038"),
    ("segments of 1 MiB to 1 GiB", "segment_size_is_the_servers_own"),
    ("timelines above 0x7FFFFFFF", "timelines_above_two_billion"),
    ("the last segment before a multiple of 4 GiB", "positions_around_four_gibibytes"),
    ("the last segment of all", "the_last_segment_of_all"),
    ("Azure's worked example", "azure_worked_example"),
    ("a snapshot's completion is the snapshot itself, not a time", "fast_restore_is_the_snapshot_alone"),
    ("every kind of answer", "every_kind_of_answer"),
    ("several lives after pg_upgrade", "after_pg_upgrade_the_newer_life_is_not_the_higher_number"),
    ("log backups that are there twice, and that overlap", "overlapping_logs"),
    ("a snapshot of a standby", "snapshot_of_a_standby_whose_clock_is_behind"),
    ("a clock that contradicts a commit", "clock_that_contradicts_a_commit"),
    ("a snapshot whose own log is missing", "snapshot_without_its_log"),
    ("one transaction on two branches", "same_transaction_on_two_branches"),
    ("a name that was used twice", "restore_point_name_used_twice"),
    ("a transaction that ended before an older one", "transactions_end_in_the_order_of_the_log"),
    ("transaction IDs that go round", "transaction_ids_go_round"),
    ("an older snapshot that is better", "best_snapshot_by_each_objective"),
    ("a chain of more than five", "chain_of_seven_is_restored_whole_and_in_order"),
    ("a snapshot that ends where its timeline was left", "snapshot_that_ends_at_the_fork_serves_both_sides"),
    ("the switch's segment exists on both timelines", "switch_segment_exists_on_both_timelines"),
    ("a child that left after the target does not matter", "child_that_left_after_the_target_is_irrelevant"),
    ("histories that disagree", "histories_disagree"),
    ("histories that disagree about an ancestor", "histories_disagree_about_an_ancestor"),
];

#[test]
fn every_edge_has_its_case() {
    for (edge, case) in EDGES {
        assert!(super::directory().join(case).with_extension("toml").is_file(), "{edge}: {case}");
    }
}

/// pgb#2117, ba#881: a wall clock's time without an offset, or with a zone whose rules may change, is no instant.
#[test]
fn an_hour_that_comes_twice_is_refused_without_its_offset() {
    let parse = |text: &str| text.parse::<Timestamp>();
    for text in
        ["2026-10-25T02:30:00", "2026-10-25 02:30:00", "2026-10-25T02:30:00 Europe/Paris", "2026-10-25T02:30:00 CEST"]
    {
        assert!(parse(text).unwrap_err().to_string().contains("offset"), "{text}");
    }
    let (summer, winter) = (parse("2026-10-25T02:30:00+02:00").unwrap(), parse("2026-10-25T02:30:00+01:00").unwrap());
    assert_eq!(winter.duration_since(summer).as_secs(), 3600);
}

/// PostgreSQL knows no 61st second; to round it to a neighbour would be a silent substitute.
#[test]
fn a_leap_second_is_refused() {
    for text in ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.5Z", "2017-01-01T00:59:60+01:00", "2026-08-15T10:00:60Z"]
    {
        assert!(text.parse::<Timestamp>().is_err(), "{text}");
    }
    let (before, after) = ("2016-12-31T23:59:59.999999Z", "2017-01-01T00:00:00Z");
    let [before, after] = [before, after].map(|text| text.parse::<Timestamp>().unwrap());
    assert_eq!(after.duration_since(before).as_micros(), 1);
}

#[test]
fn what_is_finer_than_a_microsecond_is_refused_and_not_cut_off() {
    assert!("2026-08-15T10:00:00.0000005Z".parse::<Timestamp>().is_err());
    let at: Timestamp = "2026-08-15T10:00:00.999999Z".parse().unwrap();
    assert_eq!(at.to_string(), "2026-08-15T10:00:00.999999Z");
}

#[test]
fn microseconds_of_2038_are_no_32_bits() {
    let last: Timestamp = "2038-01-19T03:14:07Z".parse().unwrap();
    assert_eq!(last.as_unix_micros(), i64::from(i32::MAX) * 1_000_000);
    assert_eq!(last.saturating_add(std::time::Duration::from_secs(1)).to_string(), "2038-01-19T03:14:08.000000Z");
}
