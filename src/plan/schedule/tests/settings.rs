//! What a schedule can be, and how it is written down.

use super::*;

fn refusal(edit: impl FnOnce(&mut ScheduleSettings)) -> ScheduleError {
    let mut settings = ScheduleSettings::default();
    edit(&mut settings);
    Schedule::new(settings).unwrap_err()
}

#[test]
fn the_defaults_are_daily_and_every_five_minutes() {
    let schedule = Schedule::new(ScheduleSettings::default()).unwrap();
    assert_eq!(schedule, Schedule::default());
    let settings = schedule.settings();
    assert_eq!((settings.snapshot_every, settings.log_backup_every), (days(1), minutes(5)));
    assert_eq!((settings.verification_every, settings.recovery_time_objective), (days(7), None));
    assert!(!settings.skip_idle_snapshots);
}

#[test]
fn a_cadence_is_a_second_or_more() {
    assert!(Schedule::new(ScheduleSettings { log_backup_every: seconds(1), ..Default::default() }).is_ok());
    let error = refusal(|settings| settings.log_backup_every = Duration::from_millis(999));
    let (min, max) = (seconds(1), hours(1));
    let expected =
        ScheduleError::OutOfRange { setting: "log_backup_every", value: Duration::from_millis(999), min, max };
    assert_eq!(error, expected);
    assert_eq!(error.to_string(), "log_backup_every cannot be 999ms: it must be 1 s to 1 h");
}

#[test]
fn slots_come_at_the_same_times_each_day() {
    for hours_between in [1, 2, 3, 4, 6, 8, 12, 24] {
        let jitter = Duration::ZERO;
        let every = hours(hours_between);
        let settings = ScheduleSettings { snapshot_every: every, snapshot_jitter: jitter, ..Default::default() };
        assert!(Schedule::new(settings).is_ok());
    }
    assert_eq!(refusal(|settings| settings.snapshot_every = hours(5)), ScheduleError::UnevenPeriod { value: hours(5) });
    assert!(matches!(refusal(|settings| settings.snapshot_every = days(2)), ScheduleError::OutOfRange { .. }));
}

#[test]
fn what_would_never_rest_or_never_come_is_refused() {
    type Edit = fn(&mut ScheduleSettings);
    let edits: [(&str, Edit); 13] = [
        ("snapshot_every", |settings| settings.snapshot_every = minutes(59)),
        ("snapshot_jitter", |settings| settings.snapshot_jitter = hours(25)),
        ("recovery_time_objective", |settings| settings.recovery_time_objective = Some(seconds(59))),
        ("replay_bytes_per_second", |settings| settings.replay_bytes_per_second = 0),
        ("log_backup_bytes", |settings| settings.log_backup_bytes = 0),
        ("verification_every", |settings| settings.verification_every = days(36)),
        ("compaction_every", |settings| settings.compaction_every = Duration::ZERO),
        ("compaction_log_backups", |settings| settings.compaction_log_backups = 1),
        ("retry_min", |settings| settings.retry_min = Duration::ZERO),
        ("retry_max", |settings| settings.retry_max = seconds(9)),
        ("log_backup_retry_max", |settings| settings.log_backup_retry_max = hours(2)),
        ("run_timeout", |settings| settings.run_timeout = Duration::MAX),
        ("log_backup_timeout", |settings| settings.log_backup_timeout = Duration::from_millis(10_500)),
    ];
    for (setting, edit) in edits {
        let text = refusal(edit).to_string();
        assert!(text.starts_with(&format!("{setting} cannot be ")), "{text}");
    }
}

#[test]
fn settings_are_read_as_they_are_written_and_checked() {
    let schedule = schedule(|settings| {
        settings.snapshot_at = "23:15".parse().unwrap();
        settings.recovery_time_objective = Some(minutes(10));
    });
    let json = serde_json::to_string(&schedule).unwrap();
    assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
    let short = r#"{"snapshot_at": "23:15", "log_backup_every": 1}"#;
    let read: Schedule = serde_json::from_str(short).unwrap();
    assert_eq!((read.settings().log_backup_every, read.settings().retry_max), (seconds(1), hours(1)));
    for (wrong, why) in [(r#"{"log_backup_every": 0}"#, "1 s to 1 h"), (r#"{"cadence": 60}"#, "unknown field")] {
        let error = serde_json::from_str::<Schedule>(wrong).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
