//! The reference's tasks, what else is not carried over, and what is no restore.

use super::*;
use crate::model::{Parameters, PostRestoreTask, PostgresMajor, Redundancy, RetentionDays};

fn name(text: &str) -> ServerName {
    text.parse().unwrap()
}

fn source() -> ServerSpec {
    let mut spec = ServerSpec::new(name("prod"), PostgresMajor::new(16).unwrap());
    spec.pricing_tier = "GeneralPurpose".to_owned();
    spec.compute_generation = "Ddsv5".to_owned();
    (spec.v_cores, spec.storage_bytes) = (8, 250 << 30);
    spec.region = "westeurope".to_owned();
    spec.zone = Some("1".to_owned());
    spec.redundancy = Redundancy::Zone;
    spec.retention = RetentionDays::new(14).unwrap();
    spec
}

fn tasks(restored: &ServerSpec, options: &PostRestoreOptions) -> Vec<PostRestoreTask> {
    post_restore_tasks(&source(), restored, options).unwrap()
}

fn reasons(restored: &ServerSpec, options: &PostRestoreOptions) -> Vec<Incompatibility> {
    post_restore_tasks(&source(), restored, options).unwrap_err().reasons
}

/// The four tasks of the reference, in the order in which they are best done, and those that never go without saying.
#[test]
fn the_tasks_of_the_reference() {
    let restored = source().restored_as(name("prod-2"));
    let replacing = tasks(&restored, &PostRestoreOptions::new().replacing_original());
    let expected = [
        PostRestoreTask::TakeFirstSnapshot,
        PostRestoreTask::FirewallAndVnetRules { captured: None },
        PostRestoreTask::LoginsAndPermissions,
        PostRestoreTask::ServerParameters { captured: None },
        PostRestoreTask::ConfigureAlerts,
        PostRestoreTask::RedirectClients { from: name("prod"), to: name("prod-2") },
    ];
    assert_eq!(replacing, expected);
    assert_eq!(tasks(&restored, &PostRestoreOptions::new()), expected[..5], "clients stay at the original");
}

#[test]
fn what_was_captured_is_offered() {
    let restored = source().restored_as(name("prod-2"));
    let set: Parameters = [("work_mem", "64MB"), ("max_connections", "500")].into_iter().collect();
    let options = PostRestoreOptions::new()
        .with_server_parameters(set.clone())
        .with_network_rules(vec!["10.0.0.0/8".to_owned()])
        .with_read_replicas(vec![name("reader-b"), name("reader-a"), name("reader-b")]);
    let tasks = tasks(&restored, &options);
    let expected_rules = PostRestoreTask::FirewallAndVnetRules { captured: Some(vec!["10.0.0.0/8".to_owned()]) };
    assert_eq!(tasks[1], expected_rules);
    assert_eq!(tasks[3], PostRestoreTask::ServerParameters { captured: Some(set) });
    assert_eq!(tasks[4], PostRestoreTask::ReadReplicas { of_source: vec![name("reader-a"), name("reader-b")] });
    assert_eq!(tasks[3].to_string(), "set the server parameters that are wanted, of: max_connections, work_mem");
    assert_eq!(tasks[4].to_string(), "make read replicas, if they are wanted: the original has reader-a, reader-b");
}

#[test]
fn no_parameters_to_set_is_no_task() {
    let restored = source().restored_as(name("prod-2"));
    let none_set = tasks(&restored, &PostRestoreOptions::new().with_server_parameters(Parameters::new()));
    assert!(!none_set.iter().any(|task| matches!(task, PostRestoreTask::ServerParameters { .. })));
}

#[test]
fn a_standby_is_to_be_added_again() {
    let mut source = source();
    source.high_availability = true;
    let restored = source.restored_as(name("prod-2"));
    let tasks = post_restore_tasks(&source, &restored, &PostRestoreOptions::new()).unwrap();
    assert_eq!(tasks[4], PostRestoreTask::HighAvailability);
}

#[test]
fn every_difference_is_a_task() {
    let mut restored = ServerSpec::new(name("prod-2"), source().postgres);
    restored.zone = Some("2".to_owned());
    restored.storage_bytes = 128 << 30;
    restored.tags.insert("stage".to_owned(), "test".to_owned());
    let tasks = tasks(&restored, &PostRestoreOptions::new().with_data_bytes(128 << 30));
    let found: Vec<String> = tasks
        .iter()
        .filter(|task| matches!(task, PostRestoreTask::Difference(_)))
        .map(|task| format!("{task}. {}", task.why()))
        .collect();
    let expected = [
        "retention is 7 days, was 14. The new server can be restored less far back than the original.",
        "redundancy is local, was zone. Backups of the new server do not survive the loss of the zone that they are in.",
        "storage is 137438953472 bytes, was 268435456000 bytes. The data have less room to grow, and less backup storage \
         is free.",
        "pricing tier is unknown, was GeneralPurpose. The new server may be slower or dearer than the original.",
        "compute generation is unknown, was Ddsv5. The new server may be slower or dearer than the original.",
        "vCores are 0, were 8. The new server may be slower or dearer than the original.",
        "region is unknown, was westeurope. A restore stays in the region of its source, and of one server it is not known.",
        "zone is 2, was 1. Clients in the original's zone reach the new server across zones.",
    ];
    assert_eq!(found, expected.map(|difference| format!("see whether this is meant: {difference}")));
}

#[test]
fn every_reason_against_a_restore_is_told() {
    let mut restored = source();
    restored.postgres = PostgresMajor::new(17).unwrap();
    restored.region = "northeurope".to_owned();
    restored.storage_bytes = 100;
    restored.high_availability = true;
    let error = post_restore_tasks(&source(), &restored, &PostRestoreOptions::new().with_data_bytes(101)).unwrap_err();
    let expected = [
        Incompatibility::SameName { name: name("prod") },
        Incompatibility::OtherMajorVersion { source: source().postgres, restored: restored.postgres },
        Incompatibility::OtherRegion { source: "westeurope".to_owned(), restored: "northeurope".to_owned() },
        Incompatibility::StorageTooSmall { data_bytes: 101, storage_bytes: 100 },
        Incompatibility::HighAvailability,
    ];
    assert_eq!(error.reasons, expected);
    let text = error.to_string();
    assert!(text.starts_with("this server cannot be a restore of the other: both are named prod"), "{text}");
    assert!(text.contains("; it runs PostgreSQL 17, but the data are of 16; upgrade after the restore; "), "{text}");
}

#[test]
fn each_reason_alone_is_enough() {
    let good = source().restored_as(name("prod-2"));
    let options = PostRestoreOptions::new().with_data_bytes(200 << 30);
    type Spoil = fn(&mut ServerSpec);
    let spoilt: [Spoil; 5] = [
        |spec| spec.name = name("prod"),
        |spec| spec.postgres = PostgresMajor::MIN,
        |spec| spec.region = "northeurope".to_owned(),
        |spec| spec.storage_bytes = (200 << 30) - 1,
        |spec| spec.high_availability = true,
    ];
    for spoil in spoilt {
        let mut restored = good.clone();
        spoil(&mut restored);
        assert_eq!(reasons(&restored, &options).len(), 1, "{restored:?}");
    }
    assert!(post_restore_tasks(&source(), &good, &options).is_ok());
}

#[test]
fn what_is_not_known_is_not_judged() {
    let mut restored = source().restored_as(name("prod-2"));
    (restored.storage_bytes, restored.region) = (0, String::new());
    let tasks = tasks(&restored, &PostRestoreOptions::new().with_data_bytes(u64::MAX));
    let differences = tasks.iter().filter(|task| matches!(task, PostRestoreTask::Difference(_)));
    assert_eq!(differences.count(), 2, "but it is told");
}

#[test]
fn tasks_are_in_their_order() {
    let mut source = source();
    source.high_availability = true;
    let restored = ServerSpec::new(name("prod-2"), source.postgres);
    let options = PostRestoreOptions::new().replacing_original().with_read_replicas(vec![name("reader")]);
    let tasks = post_restore_tasks(&source, &restored, &options).unwrap();
    assert!(tasks.is_sorted());
    assert_eq!(tasks, post_restore_tasks(&source, &restored, &options).unwrap());
}

#[test]
fn machines_read_tasks_too() {
    let mut restored = source().restored_as(name("prod-2"));
    restored.retention = RetentionDays::MIN;
    let tasks = serde_json::to_value(tasks(&restored, &PostRestoreOptions::new())).unwrap();
    assert_eq!(tasks[0], serde_json::json!({"task": "take_first_snapshot"}));
    assert_eq!(tasks[4], serde_json::json!({"task": "difference", "what": "retention", "source": 14, "restored": 7}));
}
