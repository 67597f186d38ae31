//! The numbers that an operator alerts on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pitr::model::{Change, Timestamp};

use crate::stand::{DAY, HOUR, MINUTE, Stand};

/// The samples of an exposition by name and labels. As strict as the specification of OpenMetrics 1.0 is about what is used of it.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("it ends so, and only so");
    let (mut families, mut samples): (BTreeSet<String>, BTreeMap<String, f64>) = Default::default();
    let (mut name, mut kind) = (String::new(), String::new());
    for line in body.lines() {
        if let Some(of_type) = line.strip_prefix("# TYPE ") {
            let (of, is) = of_type.split_once(' ').unwrap();
            (name, kind) = (of.to_owned(), is.to_owned());
            assert!(families.insert(name.clone()), "{name} comes twice");
            assert!(["gauge", "counter"].contains(&is) && !name.ends_with("_total"), "{line}");
        } else if let Some(unit) = line.strip_prefix(&format!("# UNIT {name} ")) {
            assert!(name.ends_with(&format!("_{unit}")), "{line}");
        } else if let Some(help) = line.strip_prefix(&format!("# HELP {name} ")) {
            assert!(!help.is_empty());
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let suffix = if kind == "counter" { "_total{" } else { "{" };
            let labels = series.strip_prefix(&format!("{name}{suffix}")).unwrap_or_else(|| panic!("{line}"));
            for label in labels.strip_suffix('}').unwrap().split(',') {
                let (label, value) = label.split_once('=').unwrap();
                assert!(label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
                assert!(value.len() > 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
            }
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series} comes twice");
        }
    }
    assert!(families.len() > 10);
    samples
}

pub(crate) fn numbers(stand: &Stand) -> BTreeMap<String, f64> {
    parse(&stand.service.metrics())
}

fn ago(stand: &Stand, at: f64) -> Duration {
    stand.now().duration_since(Timestamp::UNIX_EPOCH.saturating_add(Duration::from_secs_f64(at)))
}

#[test]
fn numbers_say_how_a_server_is() {
    let mut stand = Stand::protected();
    stand.days(10);
    let (numbers, status) = (numbers(&stand), stand.status("prod"));
    let of = |name: &str| numbers[&format!("pitr_{name}}}")];
    let prod = |name: &str| of(&format!("{name}{{server=\"prod\""));
    assert!(ago(&stand, prod("recovery_point_timestamp_seconds")) <= 5 * MINUTE);
    assert!(ago(&stand, prod("window_start_timestamp_seconds")) >= 7 * DAY);
    assert!(ago(&stand, prod("last_snapshot_timestamp_seconds")) <= DAY + HOUR);
    assert!(ago(&stand, of("last_success_timestamp_seconds{server=\"prod\",task=\"verification\"")) <= 10 * DAY);
    assert!(ago(&stand, of("last_success_timestamp_seconds{server=\"prod\",task=\"retention\"")) <= DAY + HOUR);
    let kinds = [("snapshot", status.usage.snapshots), ("log", status.usage.logs)];
    for (kind, bytes) in kinds {
        assert_eq!(of(&format!("stored_bytes{{server=\"prod\",kind=\"{kind}\"")), bytes as f64, "{kind}");
    }
    let snapshots = of("runs_total{server=\"prod\",task=\"snapshot\",outcome=\"success\"");
    assert!((10.0..=12.0).contains(&snapshots), "{snapshots}");
    assert!(of("runs_total{server=\"prod\",task=\"log_backup\",outcome=\"success\"") >= 10.0 * 288.0);
    assert!(prod("archived_log_bytes_total") > 0.0);
    for zero in ["lost_log_bytes_total", "unreachable_total", "verification_faults"] {
        assert_eq!(prod(zero), 0.0, "{zero}");
    }
}

#[test]
fn numbers_say_what_goes_wrong() {
    let mut stand = Stand::protected();
    stand.days(1);
    let source = stand.source("prod");
    source.write(3_000_000);
    source.lose_log();
    stand.live(HOUR);
    assert!(numbers(&stand)["pitr_lost_log_bytes_total{server=\"prod\"}"] > 0.0);
    stand.lose("prod");
    stand.kill();
    stand.begin();
    stand.live(DAY);
    let numbers = numbers(&stand);
    assert!(ago(&stand, numbers["pitr_recovery_point_timestamp_seconds{server=\"prod\"}"]) > 20 * HOUR);
    for task in ["snapshot", "log_backup"] {
        let failures = format!("pitr_runs_total{{server=\"prod\",task=\"{task}\",outcome=\"failure\"}}");
        assert!(numbers[&failures] > 0.0, "{task}");
    }
}

#[test]
fn operators_are_told_of_each_number() {
    let page = include_str!("../../docs/OPERATIONS.md");
    for line in Stand::new().service.metrics().lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let suffix = if kind == "counter" { "_total" } else { "" };
        assert!(page.contains(&format!("`{name}{suffix}`")), "{name}");
    }
}

#[test]
fn a_process_tells_of_the_servers_that_it_tends() {
    let mut stand = Stand::protected();
    stand.create("other");
    stand.live(2 * HOUR);
    let told = |stand: &Stand, name: &str| numbers(stand).keys().any(|series| series.contains(&format!("\"{name}\"")));
    assert!(told(&stand, "prod") && told(&stand, "other"));
    stand.change("other", Change::Delete).unwrap();
    stand.live(2 * HOUR);
    assert!(told(&stand, "prod") && !told(&stand, "other"));
    stand.end();
    assert!(numbers(&stand).is_empty());
}
