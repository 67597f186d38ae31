//! Whoever fails says why, by a status that a script can act on.

use std::fs;
use std::path::Path;

use super::stand::Stand;

/// A repository in which a server is protected that nobody can reach. It takes none to say so.
fn with_server() -> Stand {
    use pitr::adapter::{KeyFile, LocalStorage, system};
    use pitr::engine::Repository;
    use pitr::model::{PostgresMajor, ServerSpec};
    let stand = Stand::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let storage = LocalStorage::open(stand.path("repository"), system().executor).await.unwrap();
        let key = KeyFile::open(stand.path("key"), system().entropy).unwrap();
        let repository = Repository::new(std::sync::Arc::new(storage), std::sync::Arc::new(key), system());
        repository.create_server(ServerSpec::new("shop".parse().unwrap(), PostgresMajor::MAX)).await.unwrap();
    });
    stand
}

#[test]
fn each_failure_has_its_status_and_says_what_to_do() {
    let stand = with_server();
    let cases: [(&[&str], i32, &str); 16] = [
        (&[], 2, "Usage"),
        (&["plan", "shop"], 2, "--latest"),
        (&["plan", "shop", "--at", "2026-11-24T14:02:59"], 2, "offset"),
        (&["plan", "shop", "--latest", "--earliest"], 2, "cannot be used with"),
        (&["restore", "shop", "--latest"], 2, "--as"),
        (&["retention", "set", "shop", "6"], 2, "7 to 35"),
        (&["configure", "shop", "--log-backup-every", "2 days"], 2, "s, m, h or d"),
        (&["configure", "shop", "--log-backup-every", "2d"], 5, "1 s to 1 h"),
        (&["usage", "shop", "--price", "nan"], 2, "no price"),
        (&["status", "shed"], 3, "no server shed"),
        (&["init"], 4, "key"),
        (&["lock", "remove", "shop", "none"], 3, "no lock none"),
        (&["protect", "shed", "--source", "host=/nowhere user=a password=secret"], 5, "password file"),
        (&["protect", "shed", "--source", "host=/nowhere"], 5, "user"),
        (&["protect", "shed", "--source", "host=/nowhere user=postgres"], 8, "/nowhere"),
        (&["plan", "shop", "--latest"], 10, "nothing can be restored"),
    ];
    for (arguments, status, said) in cases {
        let failed = stand.run(arguments);
        assert!(failed.status == status && failed.err.contains(said), "{arguments:?}: {failed:?}");
        assert!(failed.out.is_empty() && !failed.err.contains("secret"), "{arguments:?}: {failed:?}");
    }
}

#[test]
fn machines_are_told_in_json() {
    let stand = with_server();
    let refused = stand.run(&["plan", "shop", "--latest", "--json"]);
    assert_eq!((refused.status, refused.error()["error"].as_str()), (10, Some("refused")), "{refused:?}");
    let missing = stand.run(&["restores", "shed", "--json"]);
    assert_eq!((missing.status, missing.error()["error"].as_str()), (3, Some("not_found")), "{missing:?}");
    assert!(missing.error()["causes"][0].as_str().unwrap().contains("shed"));
    // Of several, the one that cannot be read is said beside the others.
    let some = stand.run(&["status", "shop", "shed", "--json"]);
    assert_eq!((some.status, some.json()[1]["error"].is_string()), (11, true), "{some:?}");
}

#[test]
fn nothing_is_made_but_by_init() {
    let stand = Stand::empty();
    let missing = stand.run(&["status"]);
    assert!(missing.status == 3 && missing.err.contains("pitrctl init"), "{missing:?}");
    assert_eq!(fs::read_dir(stand.room.path()).unwrap().count(), 0, "neither directory nor key");
    let unnamed = stand.command(&["status"]).env_remove("PITR_KEY").output().unwrap();
    assert_eq!(unnamed.status.code(), Some(2));
    stand.ok(&["init"]);
    fs::remove_file(stand.path("key")).unwrap();
    let missing = stand.run(&["status"]);
    assert!(missing.status == 3 && missing.err.contains("pitrctl init"), "{missing:?}");
    assert!(!Path::new(&stand.path("key")).exists());
}

#[test]
fn a_wrong_key_and_damage_are_told_apart() {
    let (stand, other) = (with_server(), Stand::new());
    let wrong = stand.command(&["status", "shop"]).env("PITR_KEY", other.path("key")).output().unwrap();
    assert_eq!(wrong.status.code(), Some(6), "{wrong:?}");
    let record = stand.room.path().join("repository/servers/shop/server");
    let mut bytes = fs::read(&record).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    fs::write(&record, bytes).unwrap();
    let damaged = stand.run(&["status", "shop"]);
    assert!(damaged.status == 9 && damaged.err.contains("servers/shop/server"), "{damaged:?}");
    let found = stand.run(&["verify", "shop", "--json"]);
    assert_eq!(
        (found.status, found.json()["faults"][0]["object"].as_str()),
        (11, Some("servers/shop/server")),
        "{found:?}"
    );
    fs::write(stand.path("key"), "not a key").unwrap();
    assert_ne!(stand.run(&["status"]).status, 0);
}
