//! What is stored stays, whoever has the credentials.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use pitr::adapter::{CloudOptions, CloudStorage, Immutability, MemoryKey, RequestKind, system};
use pitr::engine::{Repository, Sweeper};
use pitr::format::layout::{ServerLayout, heartbeat};
use pitr::format::seal::WrappingKey;
use pitr::model::{ObjectKey, PostgresMajor, RetentionDays, Role, ServerSpec, Timestamp};
use pitr::plan::retention::{Protections, RetentionPolicy, plan_retention};
use pitr::port::{Clock, Environment, ObjectMeta, PortErrorKind, PutMode, Storage};
use pitr::testing::ManualClock;
use pitr::testing::conformance::storage as suite;
use sha2::{Digest, Sha256};

use super::refusals::{answers, chain};
use super::rough_road::RoughRoad;
use super::stores::{Kind, Store, mac};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn layout() -> ServerLayout {
    ServerLayout::new(&"prod".parse().unwrap())
}

/// A pack, the manifest, and the key of a server; and what is only noted in passing.
fn keys() -> ([ObjectKey; 3], ObjectKey) {
    let id = "20261123T210908Z-0a1b2c3d".parse().unwrap();
    let note = heartbeat(Role::Archiver, &"20261124T081500Z-5e6f7081".parse().unwrap());
    ([layout().pack(&id, 7), layout().manifest(&id), layout().key()], note)
}

fn on(clock: &ManualClock) -> Environment {
    Environment::new(Arc::new(clock.clone()), system().entropy, system().executor)
}

/// A clock that shows now, until it is set.
fn now() -> ManualClock {
    ManualClock::new(system().clock.now())
}

fn seconds(time: Timestamp) -> String {
    format!("{}Z", time.to_string().split('.').next().unwrap())
}

async fn upload(storage: &dyn Storage, key: &ObjectKey, mebibytes: usize) {
    let mut upload = storage.upload(key).await.unwrap();
    for _ in 0..mebibytes {
        upload.write(vec![1; 1 << 20].into()).await.unwrap();
    }
    upload.finish().await.unwrap();
}

#[tokio::test]
async fn nobody_destroys_what_s3_keeps() {
    let (store, clock) = (Store::start_with_object_lock(), now());
    for (immutability, mode) in
        [(Immutability::governance(30 * DAY), "GOVERNANCE"), (Immutability::compliance(30 * DAY), "COMPLIANCE")]
    {
        let options = store.options(store.address).immutable(immutability);
        let storage = CloudStorage::open(&store.url(&format!("/{mode}")), &options, &on(&clock)).unwrap();
        assert_eq!(storage.immutable_for(), Some(30 * DAY));
        let ([pack, manifest, key], note) = keys();
        for key in [&pack, &key, &note] {
            storage.put(key, "content".into(), PutMode::Create).await.unwrap();
        }
        upload(&storage, &manifest, 1).await;
        let header = |key: &ObjectKey, name: &str| store.header(&format!("{mode}/{key}"), name);
        let until = |key: &ObjectKey| header(key, "x-amz-object-lock-retain-until-date");
        for key in [&pack, &manifest, &key] {
            assert_eq!(header(key, "x-amz-object-lock-mode").as_deref(), Some(mode), "{key}");
            assert_eq!(until(key), Some(seconds(clock.now().saturating_add(30 * DAY))), "{key}");
            assert_eq!(header(key, "x-amz-object-lock-legal-hold"), None);
        }
        assert_eq!(until(&note), None);

        // Whoever has the credentials hides it, and no more.
        storage.delete(&pack).await.unwrap();
        assert_eq!(storage.head(&pack).await.unwrap_err().kind(), PortErrorKind::NotFound);
        let name = format!("{mode}/{pack}");
        let versions: Vec<_> = store.versions().into_iter().filter(|(of, ..)| *of == name).collect();
        let [(_, kept, false), (_, mark, true)] = &*versions else { panic!("{versions:?}") };
        assert_eq!(store.ask("DELETE", &format!("/{name}?versionId={kept}")).0, 403);
        assert_eq!(store.ask("DELETE", &format!("/{name}?versionId={mark}")).0, 204);
        assert_eq!(storage.get(&pack, None).await.unwrap().collect(100).await.unwrap(), "content");
    }
}

#[tokio::test]
async fn what_is_still_in_use_is_renewed() {
    let (store, clock) = (Store::start_with_object_lock(), now());
    let options = store.options(store.address).immutable(Immutability::compliance(30 * DAY));
    let storage = CloudStorage::open(&store.url(""), &options, &on(&clock)).unwrap();
    let ([pack, manifest, _], _) = keys();
    let version = storage.put(&pack, "content".into(), PutMode::Create).await.unwrap();
    storage.put(&manifest, "content".into(), PutMode::Create).await.unwrap();
    let created = clock.now();
    clock.advance(20 * DAY);
    storage.renew(&pack).await.unwrap();
    let until = |key: &ObjectKey| store.header(key.as_str(), "x-amz-object-lock-retain-until-date");
    assert_eq!(until(&pack), Some(seconds(created.saturating_add(50 * DAY))));
    assert_eq!(until(&manifest), Some(seconds(created.saturating_add(30 * DAY))));
    assert_eq!(storage.head(&pack).await.unwrap().version, Some(version), "it is the same object");
    assert_eq!(store.versions().len(), 2);
}

const PAUSE: Duration = Duration::from_millis(1100);

fn key(name: &str) -> ObjectKey {
    name.parse().unwrap()
}

/// Objects in a directory of the bucket, one with many versions, one that was deleted; and others beside it.
async fn fill(store: &Store, storage: &CloudStorage) -> Vec<ObjectMeta> {
    for number in 0..130 {
        let name = format!("d{}/{number:03}", number % 3);
        storage.put(&key(&name), name.into(), PutMode::Create).await.unwrap();
    }
    store.storage("").put(&key("a/directory.x"), "elsewhere".into(), PutMode::Create).await.unwrap();
    storage.put(&key("d1"), "shorter".into(), PutMode::Create).await.unwrap();
    storage.put(&key("d1.gone"), "content".into(), PutMode::Create).await.unwrap();
    // Times are told in whole seconds, and moto does not tell in which order versions and marks came.
    tokio::time::sleep(PAUSE).await;
    storage.delete(&key("d1.gone")).await.unwrap();
    for version in 0..60 {
        storage.put(&key("d1/many"), version.to_string().into(), PutMode::Overwrite).await.unwrap();
    }
    storage.list(None, None).try_collect().await.unwrap()
}

/// Deletes most, and stores something else, or something new.
async fn disfigure(storage: &CloudStorage, objects: &[ObjectMeta]) {
    for meta in &objects[..120] {
        storage.delete(&meta.key).await.unwrap();
    }
    for meta in &objects[120..] {
        storage.put(&meta.key, "something else".into(), PutMode::Overwrite).await.unwrap();
    }
    storage.put(&key("d0/000"), "something else".into(), PutMode::Create).await.unwrap();
    storage.put(&key("d3/new"), "something new".into(), PutMode::Create).await.unwrap();
}

/// A server without any backup has a key and a record, which are always needed: they are renewed every four days.
#[tokio::test]
async fn a_sweep_renews_what_is_in_use() {
    let (store, clock) = (Store::start_with_object_lock(), now());
    let options = store.options(store.address).immutable(Immutability::compliance(14 * DAY));
    let storage = CloudStorage::open(&store.url(""), &options, &on(&clock)).unwrap();
    let keys = MemoryKey::new(WrappingKey::new([7; 32]), system().entropy);
    let repository = Repository::new(Arc::new(storage), Arc::new(keys), on(&clock));
    let spec = ServerSpec::new("prod".parse().unwrap(), PostgresMajor::MIN);
    let server = repository.create_server(spec).await.unwrap();
    let until = |key: &ObjectKey| store.header(key.as_str(), "x-amz-object-lock-retain-until-date");
    for (days, renewed) in [(0, 2), (2, 0), (3, 2), (1, 0), (11, 2)] {
        clock.advance(DAY * days);
        let catalog = server.inventory().await.unwrap().catalog;
        let policy = RetentionPolicy::new(RetentionDays::MIN);
        let plan = plan_retention(&catalog, &policy, &Protections::none(), clock.now());
        let report = Sweeper::new(&server).run(&plan).await.unwrap();
        assert_eq!(
            (report.renewed, report.not_renewed.len(), report.refused.len()),
            (renewed, 0, 0),
            "after {days} days"
        );
        for key in [layout().key(), layout().record()] {
            let expected = seconds(clock.now().saturating_add(14 * DAY));
            assert_eq!(until(&key) == Some(expected), renewed > 0, "{key} after {days} days");
        }
    }
}

/// Whatever somebody with the credentials does afterwards.
#[tokio::test]
async fn a_bucket_is_read_as_it_was() {
    let store = Store::start_with_object_lock();
    let storage = store.storage("/a/directory");
    let before = fill(&store, &storage).await;
    assert_eq!(before.len(), 132);
    tokio::time::sleep(PAUSE).await;
    let then = system().clock.now();
    tokio::time::sleep(PAUSE).await;
    disfigure(&storage, &before).await;

    let past = storage.as_of(then).unwrap();
    let listed = async |directory: Option<&str>, after: Option<&str>| -> Vec<ObjectMeta> {
        past.list(directory.map(key).as_ref(), after.map(key).as_ref()).try_collect().await.unwrap()
    };
    assert_eq!(listed(None, None).await, before);
    let below = |name: &str| before.iter().filter(|meta| meta.key.is_below(&key(name))).cloned().collect::<Vec<_>>();
    assert_eq!(listed(Some("d1"), None).await, below("d1"));
    let later: Vec<_> = below("d1").into_iter().filter(|meta| meta.key > key("d1/100")).collect();
    assert_eq!(listed(Some("d1"), Some("d1/100")).await, later);
    let directories: Vec<ObjectKey> = past.list_directories(None).try_collect().await.unwrap();
    assert_eq!(directories, ["d0", "d1", "d2"].map(key));
    for meta in before.iter().step_by(10) {
        assert_eq!(past.head(&meta.key).await.unwrap(), *meta);
        let whole = past.get(&meta.key, None).await.unwrap();
        assert_eq!(whole.meta, *meta);
        assert_eq!(whole.collect(100).await.unwrap().len() as u64, meta.bytes);
    }
    let lists = || storage.requests().find(|(kind, _)| *kind == RequestKind::List).unwrap().1;
    let listings = lists();
    past.get(&key("d2/002"), None).await.unwrap();
    assert_eq!(lists() - listings, 1, "a read takes a listing, too");
    let read = async |name: &str, range| past.get(&key(name), range).await.unwrap().collect(100).await.unwrap();
    assert_eq!(read("d1/many", None).await, "59");
    assert_eq!(read("d1", Some(2..5)).await, "ort");
    assert_eq!(read("d1", Some(7..7)).await, "");
}

#[tokio::test]
async fn what_was_not_there_is_not_read_and_nothing_is_changed() {
    let store = Store::start_with_object_lock();
    let storage = store.storage("/a/directory");
    for name in ["long", "longer", "gone"] {
        storage.put(&key(name), "content".into(), PutMode::Create).await.unwrap();
    }
    tokio::time::sleep(PAUSE).await;
    storage.delete(&key("gone")).await.unwrap();
    let then = system().clock.now();
    tokio::time::sleep(PAUSE).await;
    storage.put(&key("new"), "content".into(), PutMode::Create).await.unwrap();
    let past = storage.as_of(then).unwrap();
    for name in ["gone", "new", "lon", "nothing"] {
        assert_eq!(past.get(&key(name), None).await.unwrap_err().kind(), PortErrorKind::NotFound, "{name}");
    }
    assert_eq!(past.get(&key("long"), Some(0..8)).await.unwrap_err().kind(), PortErrorKind::Invalid);
    let refused = [
        past.put(&key("x"), "x".into(), PutMode::Create).await.map(drop),
        past.upload(&key("x")).await.map(drop),
        past.delete(&key("long")).await,
    ];
    assert!(refused.into_iter().all(|refused| refused.unwrap_err().kind() == PortErrorKind::Denied));
    let azure = CloudOptions::new().set("azure_storage_account_name", "x").set("azure_skip_signature", "true");
    let azure = CloudStorage::open("az://backups", &azure, &system()).unwrap();
    assert_eq!(azure.as_of(then).unwrap_err().kind(), PortErrorKind::Invalid);
}

/// Every header that begins with `x-amz-` is signed, as S3 demands, and so that S3 accepts it: by the rules of AWS's signature, version 4.
fn assert_signed(head: &str) {
    let field = |name: &str| {
        let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let (_, names) = field("authorization").unwrap().split_once("SignedHeaders=").unwrap();
    let (names, signature) = names.split_once(", Signature=").unwrap();
    for (name, _) in head.lines().skip(1).filter_map(|line| line.split_once(": ")) {
        assert!(!name.starts_with("x-amz-") || names.split(';').any(|signed| signed == name), "{name} in {head}");
    }
    let request: Vec<&str> = head.lines().next().unwrap().split(' ').collect();
    let (path, query) = request[1].split_once('?').unwrap_or((request[1], ""));
    let query = query.replace("retention", "retention=");
    let fields: String = names.split(';').map(|name| format!("{name}:{}\n", field(name).unwrap())).collect();
    let canonical = [request[0], path, &query, &fields, names, field("x-amz-content-sha256").unwrap()].join("\n");
    let time = field("x-amz-date").unwrap();
    let scope = format!("{}/us-east-1/s3/aws4_request", &time[..8]);
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(&canonical)));
    let key = scope.split('/').fold(b"AWS4knows".to_vec(), |key, part| mac(&key, part));
    assert_eq!(signature, hex(&mac(&key, &text)), "{canonical}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// moto forgets it of what is stored in parts, and takes any signature.
#[tokio::test]
async fn what_is_asked_of_s3_is_signed() {
    let (store, clock) = (Store::start_with_object_lock(), now());
    let road = RoughRoad::start(store.address, &[], 0, Duration::ZERO);
    let options = store.options(road.address).immutable(Immutability::governance(40 * DAY).legal_hold());
    let storage = CloudStorage::open(&store.url("/a"), &options, &on(&clock)).unwrap();
    let ([pack, manifest, _], note) = keys();
    storage.put(&manifest, "content".into(), PutMode::Create).await.unwrap();
    upload(&storage, &pack, 20).await;
    storage.renew(&manifest).await.unwrap();
    storage.put(&note, "content".into(), PutMode::Create).await.unwrap();
    let heads = road.heads();
    heads.iter().for_each(|head| assert_signed(head));
    let until = format!("x-amz-object-lock-retain-until-date: {}", seconds(clock.now().saturating_add(40 * DAY)));
    let asked = |head: &&String| head.contains(&until) && head.contains("x-amz-object-lock-mode: GOVERNANCE");
    let asked: Vec<&str> = heads.iter().filter(asked).map(|head| head.split(" HTTP").next().unwrap()).collect();
    assert_eq!(asked, [format!("PUT /backups/a/{manifest}"), format!("POST /backups/a/{pack}?uploads=")]);
    assert!(heads.iter().filter(|head| head.contains("x-amz-object-lock-legal-hold: ON")).count() == 2);
    let renewal = heads.iter().find(|head| head.starts_with(&format!("PUT /backups/a/{manifest}?retention"))).unwrap();
    assert!(renewal.contains("x-amz-sdk-checksum-algorithm: SHA256"), "{renewal}");
    assert!(!heads.last().unwrap().contains("object-lock"), "{heads:?}");
}

/// Azurite takes what it is told, and keeps nothing immutable.
#[tokio::test]
async fn azure_is_asked_as_well() {
    let (store, clock) = (Store::start(Kind::Azure), now());
    let road = RoughRoad::start(store.address, &[], 0, Duration::ZERO);
    for (immutability, mode) in
        [(Immutability::governance(40 * DAY), "unlocked"), (Immutability::compliance(40 * DAY).legal_hold(), "locked")]
    {
        let options = store.options(road.address).immutable(immutability);
        let storage = CloudStorage::open(&store.url(&format!("/{mode}")), &options, &on(&clock)).unwrap();
        let ([pack, manifest, _], note) = keys();
        storage.put(&manifest, "content".into(), PutMode::Create).await.unwrap();
        upload(&storage, &pack, 20).await;
        storage.put(&note, "content".into(), PutMode::Create).await.unwrap();
        let until = clock.now().saturating_add(40 * DAY).to_string();
        // How HTTP has its dates, a test of its own shows.
        let policy = [
            format!("x-ms-immutability-policy-mode: {mode}"),
            "x-ms-immutability-policy-until-date: ".to_owned(),
            format!(" {} {} GMT", &until[..4], &until[11..19]),
        ];
        let asked = |head: &&String| policy.iter().all(|line| head.contains(line));
        let heads = road.heads();
        let asked: Vec<_> = heads.iter().filter(asked).collect();
        assert_eq!(asked.len(), 2, "{heads:?}");
        assert!(asked[0].contains(manifest.as_str()) && asked[1].contains("comp=blocklist"), "{asked:?}");
        let holds = heads.iter().filter(|head| head.contains("x-ms-legal-hold: true")).count();
        assert_eq!(holds, if mode == "locked" { 2 } else { 0 });

        assert!(storage.renew(&manifest).await.is_err(), "Azurite does not know it");
        let heads = road.heads();
        let [renewal] = &*heads else { panic!("{heads:?}") };
        assert!(renewal.lines().next().unwrap().contains("comp=immutabilityPolicies"), "{renewal}");
        assert!(policy.iter().all(|line| renewal.contains(line)) && !renewal.contains("x-ms-blob-type"), "{renewal}");
    }
}

/// As its documentation has it: nobody has a server that speaks Google's XML API.
#[tokio::test]
async fn google_is_asked_as_well() {
    let clock = now();
    let ([pack, _, key], _) = keys();
    let until = format!("x-goog-object-lock-retain-until-date: {}", seconds(clock.now().saturating_add(40 * DAY)));
    for (key, renews, is_asked) in [(&pack, false, true), (&pack, true, false), (&key, false, false)] {
        let answer = "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nx-goog-generation: 1\r\nContent-Length: 0\r\n\r\n";
        let (address, asked) = answers(answer.to_owned());
        let options = CloudOptions::new().set("google_base_url", format!("http://{address}"));
        let options = options.set("google_allow_http", "true").set("google_bearer_token", "none");
        let options = options.immutable(Immutability::compliance(40 * DAY));
        let storage = CloudStorage::open("gs://backups", &options, &on(&clock)).unwrap();
        if renews {
            storage.renew(key).await.unwrap();
        } else {
            storage.put(key, "content".into(), PutMode::Create).await.unwrap();
        }
        let head = asked.join().unwrap();
        assert_eq!(head.contains(&until), is_asked, "{head}");
        assert_eq!(head.contains("pack%2D00000007?retention HTTP"), renews, "{head}");
    }
}

#[tokio::test]
async fn where_nothing_can_be_kept_that_is_said() {
    let store = Store::start(Kind::S3);
    let options = store.options(store.address).immutable(Immutability::compliance(30 * DAY));
    let storage = CloudStorage::open(&store.url(""), &options, &system()).unwrap();
    let ([pack, ..], note) = keys();
    storage.put(&note, "content".into(), PutMode::Create).await.unwrap();
    let errors = [
        storage.put(&pack, "content".into(), PutMode::Create).await.unwrap_err(),
        storage.renew(&note).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), PortErrorKind::Invalid, "{}", chain(&error));
        assert!(chain(&error).contains("Lock"), "{}", chain(&error));
    }
    for (url, immutability) in [
        ("s3://bucket", Immutability::compliance(DAY / 2)),
        ("s3://bucket", Immutability::compliance(40_000 * DAY)),
        ("gs://bucket", Immutability::governance(30 * DAY).legal_hold()),
    ] {
        let options = CloudOptions::new().set("google_skip_signature", "true").immutable(immutability);
        let error = CloudStorage::open(url, &options, &system()).unwrap_err();
        assert_eq!(error.kind(), PortErrorKind::Invalid, "{}", chain(&error));
    }
}

/// A bucket with versions is a storage like any other. moto lists directories of which all was deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_with_object_lock_conforms() {
    let store = Store::start_with_object_lock();
    let options = store.options(store.address).immutable(Immutability::compliance(30 * DAY));
    let storage = CloudStorage::open(&store.url(""), &options, &system()).unwrap();
    suite::put_get(&storage).await;
    suite::missing_is_not_found(&storage).await;
    suite::delete_all(&storage).await;
    suite::delete_missing_is_fine(&storage).await;
    suite::overwrite_is_atomic(&storage).await;
    suite::create_keeps_what_exists(&storage).await;
    suite::create_race(&storage).await;
    suite::update_needs_the_version(&storage).await;
    suite::update_race(&storage).await;
    suite::finish_decides(&storage).await;
    suite::list_order(&storage).await;
    suite::list_follows_writes(&storage).await;
}
