//! The life of a server, command by command.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use super::stand::Stand;
use super::support::{PgInstall, PgServer, path};

/// A server with a table, and how it is reached.
fn source(major: u32) -> (PgServer, String) {
    let server = PgServer::create(PgInstall::find(major), &[], &["fsync = off"]);
    server.start();
    server.sql("CREATE TABLE accounts AS SELECT id, 1000 AS balance FROM generate_series(1, 1000) id");
    let connection = format!("host='{}' user=postgres", path(server.data().parent().unwrap()));
    (server, connection)
}

fn now(server: &PgServer) -> String {
    server.sql("SELECT clock_timestamp() AT TIME ZONE 'UTC' || '+00'").trim().to_owned()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// What `psql` finds in a server that was restored.
fn asked(endpoint: &str, query: &str) -> String {
    PgInstall::find(15).expect("psql", &["-XqAt", "-d", endpoint, "-c", query]).trim().to_owned()
}

fn from_init_to_deletion(major: u32) {
    let (source, connection) = source(major);
    let mut stand = Stand::new();
    let created = stand.json(&["protect", "shop", "--source", &connection, "--retention", "14", "--storage", "1"]);
    assert_eq!((&created["postgres"], &created["retention_days"]), (&json!(major), &json!(14)));
    assert!(stand.ok(&["status", "shop"]).contains("no instant can be restored yet"));
    stand.serve();
    let snapshot = stand.json(&["snapshot", "shop"]);
    stand.ok(&["plan", "shop", "--snapshot", text(&snapshot, "id")]);

    // The table is dropped; what was before can be restored once the log is archived that comes after it.
    let before = now(&source);
    source.sql("DROP TABLE accounts");
    stand.json(&["snapshot", "shop"]);
    stand.until(&["plan", "shop", "--at", &before], |_| true);
    let explained = stand.ok(&["plan", "shop", "--at", &before, "--explain", "--svg", &stand.path("plan.svg")]);
    assert!(explained.contains("considered") && explained.contains(text(&snapshot, "id")), "{explained}");
    assert!(std::fs::read_to_string(stand.path("plan.svg")).unwrap().starts_with("<svg"));
    let made = stand.json(&["restore", "shop", "--at", &before, "--as", "shop-before", "--replaces-original"]);
    let new = &made["outcome"]["made"];
    let endpoint = text(new, "endpoint").to_owned();
    assert_eq!(asked(&endpoint, "SELECT sum(balance) FROM accounts"), "1000000");
    assert!(new["tasks"].to_string().contains("redirect_clients"), "{new}");

    // Whoever serves next starts it again, in the same place, and backs it up.
    let told = stand.stop();
    let events: Vec<_> = told.iter().map(|event| text(event, "event")).collect();
    assert!(
        ["taken", "archived", "began", "done", "restoring", "restored", "left"].iter().all(|e| events.contains(e)),
        "{events:?}"
    );
    stand.serve();
    stand.until(&["window", "shop-before"], |window| window["snapshots"].as_array().is_some_and(|all| !all.is_empty()));
    assert_eq!(asked(&endpoint, "SELECT count(*) FROM accounts"), "1000");
    let fleet = stand.json(&["status"]);
    let seen: Vec<_> =
        fleet.as_array().unwrap().iter().map(|server| (text(server, "server"), text(server, "health"))).collect();
    assert_eq!(seen, [("shop", "green"), ("shop-before", "green")]);

    // Into a directory, also over what is there.
    let directory = stand.path("restored");
    for _ in 0..2 {
        stand.json(&["restore", "shop", "--at", &before, "--into", &directory, "--best", "bytes"]);
        let control = PgInstall::find(major).expect("postgres", &["-D", &directory, "-C", "data_directory"]);
        assert_eq!(control.trim(), directory);
    }
    let proof = stand.json(&["prove", "shop", "--in", &stand.path("trial"), "--at", &before]);
    assert!(proof["trial"]["relations"].as_u64().unwrap() > 0, "{proof}");
    assert_eq!(stand.json(&["verify", "shop"])["faults"], json!([]));
    stand.ok(&["verify", "shop", "--quick"]);
    assert_eq!(stand.json(&["usage", "shop"])["provisioned_bytes"], json!(1 << 30));
    let fleet = stand.json(&["usage"]);
    assert_eq!(fleet["servers"].as_array().unwrap().len(), 2);
    assert!(stand.ok(&["usage"]).lines().last().unwrap().starts_with("all "));
    looked_after(&stand, text(&snapshot, "id"));
    destroyed(&stand);
}

/// Retention, holds, locks and pauses.
fn looked_after(stand: &Stand, snapshot: &str) {
    assert_eq!(stand.json(&["retention", "set", "shop", "7", "--dry-run"])["deletes"], json!(0));
    assert!(stand.ok(&["retention", "set", "shop", "7"]).contains("7 days"));
    assert_eq!(stand.json(&["status", "shop"])[0]["retention_days"], json!(7));
    assert!(stand.ok(&["retention", "show", "shop"]).contains(snapshot));
    let configured = stand.json(&["configure", "shop", "--log-backup-every", "1m", "--recovery-time-objective", "10m"]);
    assert_eq!(configured["schedule"]["log_backup_every"], json!(60));
    let configured = stand.json(&["configure", "shop", "--recovery-time-objective", "never", "--storage", "2"]);
    let schedule = &configured["schedule"];
    assert_eq!((&schedule["log_backup_every"], &schedule["recovery_time_objective"]), (&json!(60), &Value::Null));
    assert_eq!(configured["storage_bytes"], json!(2_u64 << 30));
    stand.ok(&["hold", "place", "shop", snapshot, "audit", "--until", "2099-01-01T00:00:00+01:00"]);
    let held = stand.json(&["hold", "list", "shop"]);
    assert_eq!(held["holds"][0]["until"], "2098-12-31T23:00:00.000000Z");
    stand.ok(&["hold", "release", "shop", snapshot, "audit"]);
    stand.ok(&["pause", "shop"]);
    assert!(stand.ok(&["status", "shop"]).contains("paused since"));
    // Made again, the same request is the same change.
    for _ in 0..2 {
        stand.ok(&["resume", "shop", "--request", "once"]);
    }
    let changes = stand.json(&["changes", "shop"]);
    let changes = changes["changes"].as_array().unwrap();
    assert_eq!(changes.iter().filter(|change| text(change, "change") == "resume").count(), 1);
    assert!(changes.iter().any(|change| text(change, "change") == "pause" && text(change, "by") == "tester"));
}

/// Nobody deletes a server by accident.
fn destroyed(stand: &Stand) {
    stand.ok(&["lock", "place", "shop", "keep", "--reason", "it is the shop"]);
    let refused = stand.run(&["delete", "shop", "--yes"]);
    assert!(refused.status == 6 && refused.err.contains("it is the shop"), "{refused:?}");
    assert_eq!(stand.json(&["lock", "list", "shop"])["locks"][0]["owner"], "tester");
    stand.ok(&["lock", "remove", "shop", "keep"]);
    let unasked = stand.run(&["delete", "shop"]);
    assert!(unasked.status == 2 && unasked.err.contains("--yes"), "{unasked:?}");
    stand.ok(&["status", "shop"]);
    stand.ok(&["delete", "shop", "--yes"]);
    let gone = stand.run(&["plan", "shop", "--latest"]);
    assert!(gone.status == 3 && gone.err.contains("deleted") && gone.err.contains("tester"), "{gone:?}");
    stand.until(&["status"], |fleet| fleet.as_array().unwrap().len() == 1);
}

#[test]
fn postgres_15_from_init_to_deletion() {
    from_init_to_deletion(15);
}

#[test]
fn postgres_18_from_init_to_deletion() {
    from_init_to_deletion(18);
}

/// A restore that nobody makes is ordered, seen, and given up.
#[test]
fn a_restore_is_ordered_and_cancelled() {
    let (_source, connection) = source(15);
    let mut stand = Stand::new();
    stand.ok(&["protect", "shop", "--source", &connection]);
    stand.serve();
    stand.ok(&["snapshot", "shop"]);
    stand.stop();
    let ordered = stand.json(&["restore", "shop", "--earliest", "--as", "shop-2", "--no-wait"]);
    let restore = text(&ordered, "restore");
    assert!(stand.ok(&["restores", "shop"]).contains("waits for whoever serves"), "{ordered}");
    assert_eq!(stand.run(&["delete", "shop", "--yes"]).status, 4, "it is being restored");
    stand.ok(&["cancel", "shop", restore]);
    stand.serve();
    stand.until(&["restores", "shop"], |restores| restores[0]["outcome"] == "cancelled");
    assert!(!stand.room.path().join("servers/shop-2").exists());
}

/// A grace leaves time to think again; whoever watches sees each change in a line of its own.
#[test]
fn a_deletion_is_watched_and_undone() {
    let (_source, connection) = source(15);
    let stand = Stand::new();
    stand.ok(&["protect", "shop", "--source", &connection]);
    stand.ok(&["configure", "shop", "--delete-grace", "1h"]);
    let mut watch = stand.command(&["watch", "shop", "--every", "1", "--json"]);
    let mut watching = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut seen = BufReader::new(watching.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    let mut next = || -> Value { serde_json::from_str(&seen.next().unwrap()).unwrap() };
    assert_eq!(next()["deletion"], Value::Null);
    stand.ok(&["delete", "shop", "--yes"]);
    let deleted = next();
    assert_eq!((text(&deleted, "server"), text(&deleted["deletion"], "by")), ("shop", "tester"));
    assert!(stand.ok(&["status", "shop"]).contains("can be undone until"));
    stand.ok(&["undelete", "shop"]);
    assert_eq!(next()["deletion"], Value::Null);
    watching.kill().unwrap();
    watching.wait().unwrap();
}

/// Of a server that moved, the files are read where they lie from then on.
#[test]
fn a_server_that_moves_is_found_again() {
    let (source, connection) = source(15);
    let mut stand = Stand::new();
    stand.ok(&["protect", "shop", "--source", &connection, "--slot", "own"]);
    let elsewhere = stand.run(&["connect", "shop", "--source", "host=/nowhere user=postgres"]);
    assert_eq!(elsewhere.status, 8, "{elsewhere:?}");
    stand.ok(&["connect", "shop", "--source", &connection, "--slot", "moved", "--data", path(&source.data())]);
    stand.serve();
    stand.ok(&["snapshot", "shop"]);
    assert_eq!(source.sql("SELECT slot_name FROM pg_replication_slots").trim(), "moved");
    stand.ok(&["restore", "shop", "--latest", "--into", &stand.path("restored")]);
}
