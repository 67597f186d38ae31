//! What users of other tools suffered from, as they wrote in public, and the case in which it cannot happen here.
//!
//! Only what a planner answers. That retention deletes too much or too little has cases of its own; that an archive was replaced
//! by an older copy, or that a network does not fit, no catalog tells.

/// Threads of the tools' trackers (`pgb` pgBackRest, `wg` WAL-G, `ba` Barman, `cnpg` CloudNativePG, `ls` Litestream), and cases.
const PAINS: &[(&str, &str)] = &[
    ("pgb#817", "target_older_than_the_newest_backup_is_never_replaced"),
    ("pgb#1582", "unreachable_time_never_becomes_the_latest"),
    ("cnpg#264", "target_while_a_backup_ran_takes_the_one_before"),
    ("ba#209, pgb#2841", "backup_that_is_consistent_after_the_target_is_named"),
    ("ba#1013", "no_backup_needs_to_be_named"),
    ("cnpg#233", "transaction_is_found_or_refused_never_defaulted"),
    ("cnpg#233", "restore_point_is_found_or_refused_never_defaulted"),
    ("wg#978, wg#1244", "a_time_is_all_that_is_asked_for"),
    ("wal-e#398", "names_and_listing_order_do_not_choose"),
    ("yugabyte#21269", "time_before_the_oldest_snapshot_is_told_the_earliest"),
    ("ls#1056", "the_window_counts_compacted_log_too"),
    ("ls#1084", "small_log_that_was_expired_is_bridged_by_compacted_log"),
    ("wg#67", "earliest_is_the_consistency_not_the_upload"),
    ("pgb#1934, pgb#1592, PGO#3607, PGO#2930, cnpg#5177", "target_after_the_last_commit_ends_with_the_log"),
    ("railway postgres-ssl#43", "idle_for_thirteen_seconds_is_no_crash_loop"),
    ("cozystack#3383", "earliest_and_latest_can_be_asked_for"),
    ("pgb#1070, pgb#1625, pgb#1830", "restorable_ranges_are_told_as_times"),
    ("pgb#375, pgb#1372, pgb#2091, pgb#2327", "second_restore_is_on_the_timeline_that_it_says"),
    ("pgb#2669", "backup_of_a_timeline_outside_the_history_is_passed_over"),
    ("pgb#1616, pgb#1908", "test_restore_that_archived_into_the_same_place_is_no_trap"),
    ("cnpg#10442", "the_history_file_is_part_of_the_plan"),
    ("wg#1390, pgb#2423", "switch_segment_exists_on_both_timelines"),
    ("pgb#420, pgb#2609, patroni#890", "two_primaries_are_two_branches"),
    ("pgBackRest archive-push-queue-max", "dropped_log_splits_the_window"),
    ("kubeblocks-addons#3372", "log_beyond_a_hole_does_not_move_the_latest"),
    ("wg#1590", "gap_in_the_past_does_not_alarm_for_ever"),
    ("check_pgbackrest#49", "segment_size_is_the_servers_own"),
    ("paradedb/charts#219, cnpg#6137", "snapshots_without_log_are_not_green"),
    ("azure-cli#29772, azure-cli#29353", "short_restore_is_never_silent"),
    ("azure-docs#79069", "time_after_the_deletion_is_refused_with_the_last_good_one"),
    ("azure-databases-docs#249, #251", "latest_of_a_deleted_server_is_before_its_deletion"),
    ("gl-vsts-tasks-azure#44", "nothing_to_restore_is_known_before_anything_is_destroyed"),
    ("pgb#2117, ba#881, ba#994", "offsets_count_and_utc_comes_back"),
    ("pgb#2117", "hour_that_comes_twice_is_two_instants"),
    ("wg#456, wg#892, ba#943, wal-e#76", "later_snapshot_spares_the_replay"),
    ("ba#877", "every_object_is_named_by_its_key"),
    ("wg#636, wg#1288, wg#539, wg#2284", "after_pg_upgrade_the_newer_life_is_not_the_higher_number"),
];

#[test]
fn every_pain_has_its_case() {
    for (threads, case) in PAINS {
        assert!(super::directory().join(case).with_extension("toml").is_file(), "{threads}: {case}");
    }
}
