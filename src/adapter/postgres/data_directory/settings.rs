//! The lines of `postgresql.auto.conf` that make a restored server recover, and keep it away from its source.

use std::path::Path;

use super::layout::{EXTERNAL_PID_FILE, STAGING};
use crate::model::Timestamp;
use crate::plan::RecoveryTarget;
use crate::port::{PortError, PortErrorKind, RecoverySettings};

const BEGIN: &str = "# pitr: recovery settings begin; they are removed when the recovery is finished";
const END: &str = "# pitr: recovery settings end";
const DETACHED: &str =
    "# pitr: this server was restored; these settings keep it away from the server that it comes from";

/// Settings of the source with which its copy would do harm: to archive into the source's archive, to follow the source's
/// primary, to wait for the source's standbys at every commit, to take changes from the source's publishers under the
/// source's subscriptions, or to overwrite a file of the source. They stay after the recovery, until the owner sets them anew.
const DETACHED_SETTINGS: [(&str, &str); 8] = [
    ("archive_mode", "off"),
    ("archive_command", ""),
    ("archive_library", ""),
    ("primary_conninfo", ""),
    ("primary_slot_name", ""),
    ("synchronous_standby_names", ""),
    ("max_logical_replication_workers", "0"),
    ("external_pid_file", EXTERNAL_PID_FILE),
];

/// Of PostgreSQL's developer options.
const IGNORE_INVALID_PAGES: &str = "ignore_invalid_pages";

/// Files of the data directory that a configuration can name elsewhere, where they would be the source's own.
const ACCESS_FILES: [(&str, &str); 2] = [("hba_file", "pg_hba.conf"), ("ident_file", "pg_ident.conf")];

/// Settings for the recovery alone. Targets that a former restore of the source has left behind are unset before the one
/// that counts is set: PostgreSQL refuses several. Nobody reads a server that is not there yet; without hot standby,
/// recovery does not depend on the limits of the source (`max_connections` and the like). Pages that should be there are missed,
/// also if the source is itself a server of which only some databases were restored.
const RECOVERY_SETTINGS: [(&str, &str); 11] = [
    ("archive_cleanup_command", ""),
    ("recovery_end_command", ""),
    ("recovery_min_apply_delay", "0"),
    ("recovery_target_action", "promote"),
    ("hot_standby", "off"),
    (IGNORE_INVALID_PAGES, "off"),
    ("recovery_target", ""),
    ("recovery_target_name", ""),
    ("recovery_target_time", ""),
    ("recovery_target_xid", ""),
    ("recovery_target_lsn", ""),
];

/// The lines that make the server in `root` obey its own access files, if `conf`, its `postgresql.conf`, names others.
/// PostgreSQL takes relative paths of these from where it is started, so ours are absolute.
///
/// # Errors
/// [`Invalid`](PortErrorKind::Invalid) if such a line is due, and `root` cannot be written in one.
pub(super) fn own_access_files(conf: &[u8], root: &Path) -> Result<Vec<String>, PortError> {
    let names: Vec<_> = conf.split(|byte| *byte == b'\n').map(|line| name_of(line).to_ascii_lowercase()).collect();
    let named = ACCESS_FILES.iter().filter(|(name, _)| names.iter().any(|found| found == name.as_bytes()));
    let own = named.map(|(name, file)| {
        let path = root.join(file);
        let path = path.to_str().filter(|path| !path.contains(['\n', '\r'])).ok_or_else(|| {
            let context = format!("{} cannot be named in a configuration: restore elsewhere", path.display());
            PortError::new(PortErrorKind::Invalid, context)
        })?;
        Ok(line(name, &path.replace('\\', "\\\\").replace('\'', "''")))
    });
    own.collect()
}

/// The content of `postgresql.auto.conf`, so that the server recovers as `recovery` says, with the lines `own_files` too. What stood in it stays; of
/// several lines about a setting PostgreSQL obeys the last.
pub(super) fn with_recovery(auto_conf: &[u8], own_files: &[String], recovery: &RecoverySettings) -> Vec<u8> {
    let mut text = auto_conf.to_vec();
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    let detached = DETACHED_SETTINGS.map(|(name, value)| line(name, value));
    let cleared = RECOVERY_SETTINGS.map(|(name, value)| line(name, value));
    let blocks = [
        &[DETACHED.to_owned()][..],
        &detached,
        own_files,
        &[BEGIN.to_owned()],
        &cleared,
        &own_lines(recovery),
        &[END.to_owned()],
    ];
    for block in blocks.concat() {
        text.extend_from_slice(block.as_bytes());
        text.push(b'\n');
    }
    text
}

/// The same without the settings for recovery. Where `ALTER SYSTEM` has dropped the comments that mark them, they are found
/// by their names.
pub(super) fn without_recovery(auto_conf: &[u8]) -> Vec<u8> {
    let lines = || auto_conf.split_inclusive(|byte| *byte == b'\n');
    let is = |line: &[u8], mark: &str| line.trim_ascii() == mark.as_bytes();
    if !lines().any(|line| is(line, BEGIN)) {
        return lines().filter(|line| !sets_recovery(line)).flatten().copied().collect();
    }
    let mut inside = false;
    let outside = lines().filter(|line| {
        let was_inside = inside;
        inside = (inside || is(line, BEGIN)) && !is(line, END);
        !(inside || was_inside)
    });
    outside.flatten().copied().collect()
}

fn own_lines(recovery: &RecoverySettings) -> Vec<String> {
    // Run in the data directory by system(3); with exec, the script's parent is the server's process.
    let command = format!("exec sh {STAGING}/restore_command \"%f\" \"%p\"");
    let mut lines =
        vec![line("restore_command", &command), line("recovery_target_timeline", &recovery.timeline.to_string())];
    lines.extend(target_lines(&recovery.target));
    lines.extend(recovery.ignores_invalid_pages.then(|| line(IGNORE_INVALID_PAGES, "on")));
    lines
}

fn target_lines(target: &RecoveryTarget) -> Vec<String> {
    let inclusive = |inclusive: bool| line("recovery_target_inclusive", if inclusive { "on" } else { "off" });
    match target {
        RecoveryTarget::Time { at, inclusive: with } => {
            vec![line("recovery_target_time", &with_numeric_offset(*at)), inclusive(*with)]
        }
        RecoveryTarget::EndOfWal => Vec::new(),
    }
}

/// PostgreSQL reads its configuration before it knows any name of a time zone, `Z` included
/// (`check_recovery_target_time`).
fn with_numeric_offset(at: Timestamp) -> String {
    at.to_string().replace('T', " ").replace('Z', "+00")
}

/// The value has no quote or backslash in it that is not doubled.
fn line(name: &str, value: &str) -> String {
    format!("{name} = '{value}'")
}

/// The name of the setting in a line of a configuration file; of another line, something that is none.
fn name_of(line: &[u8]) -> &[u8] {
    line.trim_ascii().split(|byte| *byte == b'=' || byte.is_ascii_whitespace()).next().unwrap_or_default()
}

fn sets_recovery(line: &[u8]) -> bool {
    let name = name_of(line);
    let cleared = RECOVERY_SETTINGS.iter().any(|(known, _)| known.as_bytes() == name);
    cleared || matches!(name, b"restore_command" | b"recovery_target_timeline" | b"recovery_target_inclusive")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SegmentSize, TimelineId};

    const SOURCE: &[u8] = b"# Do not edit this file manually!\nwork_mem = '8MB'\narchive_mode = 'on'";

    fn recovery(target: RecoveryTarget) -> RecoverySettings {
        RecoverySettings::new(target, TimelineId::new(3).unwrap(), SegmentSize::DEFAULT, Vec::new())
    }

    fn text(target: RecoveryTarget) -> String {
        String::from_utf8(with_recovery(SOURCE, &[], &recovery(target))).unwrap()
    }

    #[test]
    fn each_target_has_its_lines() {
        let at = "2026-11-23T21:09:08.5Z".parse().unwrap();
        let time = text(RecoveryTarget::Time { at, inclusive: false });
        assert!(
            time.contains(
                "\nrecovery_target_time = '2026-11-23 21:09:08.500000+00'\nrecovery_target_inclusive = 'off'"
            )
        );
        assert!(
            text(RecoveryTarget::EndOfWal).contains("\nrecovery_target_timeline = '3'\n# pitr: recovery settings end")
        );
    }

    #[test]
    fn pages_are_missed_unless_they_were_left_out() {
        let whole = recovery(RecoveryTarget::EndOfWal);
        let part = with_recovery(SOURCE, &[], &whole.clone().ignore_invalid_pages(true));
        let last = |conf: &[u8]| {
            let lines: Vec<_> = String::from_utf8(conf.to_vec()).unwrap().lines().map(str::to_owned).collect();
            lines.into_iter().rfind(|line| line.starts_with(IGNORE_INVALID_PAGES))
        };
        assert_eq!(last(&part).unwrap(), "ignore_invalid_pages = 'on'");
        assert_eq!(last(&with_recovery(&part, &[], &whole)).unwrap(), "ignore_invalid_pages = 'off'");
        assert_eq!(last(&without_recovery(&part)), None);
        let unmarked = String::from_utf8(part).unwrap().replace('#', "");
        assert_eq!(last(&without_recovery(unmarked.as_bytes())), None);
    }

    #[test]
    fn what_stood_there_stays_and_ours_comes_last() {
        let text = text(RecoveryTarget::EndOfWal);
        assert!(text.starts_with("# Do not edit this file manually!\nwork_mem = '8MB'\narchive_mode = 'on'\n# pitr"));
        assert!(text.rfind("archive_mode = 'off'") > text.find("archive_mode = 'on'"));
    }

    #[test]
    fn a_finished_recovery_leaves_only_what_detaches_the_server() {
        let whole = with_recovery(SOURCE, &[], &recovery(RecoveryTarget::EndOfWal));
        let finished = String::from_utf8(without_recovery(&whole)).unwrap();
        assert!(
            finished.contains("work_mem = '8MB'")
                && finished.ends_with("external_pid_file = 'postmaster.pid.external'\n")
        );
        assert!(!finished.contains("recovery") && !finished.contains("restore_command"));
        assert_eq!(without_recovery(finished.as_bytes()), finished.as_bytes(), "a second time changes nothing");
    }

    #[test]
    fn access_files_of_the_source_are_replaced() {
        let conf = b"#ident_file = '/etc/ident'\n HBA_FILE='/etc/hba'\n";
        let lines = own_access_files(conf, Path::new("/new's")).unwrap();
        assert_eq!(lines, ["hba_file = '/new''s/pg_hba.conf'"]);
        assert_eq!(own_access_files(b"ident_file /etc/ident", Path::new("/x")).unwrap().len(), 1);
        assert!(own_access_files(b"work_mem = 1", Path::new("/x\ny")).unwrap().is_empty());
        assert!(own_access_files(conf, Path::new("/x\ny")).is_err());
    }

    #[test]
    fn lost_marks_are_no_obstacle() {
        let whole = text(RecoveryTarget::EndOfWal);
        let rewritten: String =
            whole.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        let finished = String::from_utf8(without_recovery(rewritten.as_bytes())).unwrap();
        assert!(!finished.contains("recovery_target") && !finished.contains("restore_command"));
        assert!(finished.contains("archive_mode = 'off'"));
    }
}
