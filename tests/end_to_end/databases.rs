//! Restores of some of a server's databases.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use pitr::adapter::postgres::{DataDirectory, InitOptions, LocalServer, RunningServer, StopMode};
use pitr::engine::{ErrorKind, MissingDatabases, Restore, RestoreSettings, WalFeed};
use pitr::plan::Target;
use tokio_postgres::{Client, NoTls};

use crate::delta::rows;
use crate::stand::{Stand, chain, connect, directory_for_servers, owned};

/// A server with two databases of the same content, of which one will be wanted.
struct Scene {
    stand: Stand,
    client: Client,
}

/// One with the wanted database alone.
struct Partial {
    local: LocalServer,
    server: RunningServer,
}

const NAMES: [&str; 2] = ["wanted", "unwanted"];
const FILL: &str = "CREATE TABLE big AS SELECT n, md5((n % 100)::text) AS word FROM generate_series(1, 50000) n";
/// As [`RestoreSettings::only_databases`] says.
const FORGET_SUBSCRIPTIONS: &str = "DELETE FROM pg_subscription WHERE subdbid = \
    (SELECT oid FROM pg_database WHERE datname = 'unwanted')";

impl Scene {
    async fn new(major: u32, checksums: bool) -> Self {
        let mut options = InitOptions::default();
        options.checksums = checksums;
        let stand = Stand::new(major, &options).await;
        let client = stand.client().await;
        Self { stand, client }
    }

    async fn execute(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// In both databases.
    async fn execute_in_each(&self, statements: &[&str]) {
        for name in NAMES {
            let client = self.client_of(name).await;
            for sql in statements {
                client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
        }
    }

    async fn client_of(&self, name: &str) -> Client {
        connect(&url_of(&self.stand.url(), name)).await
    }

    async fn oid(&self, name: &str) -> u32 {
        let sql = "SELECT oid FROM pg_database WHERE datname = $1";
        self.client.query_one(sql, &[&name]).await.unwrap().get(0)
    }

    /// Makes the databases, as `options` say, and does in each what `before` says, then, after a snapshot, what `after` says.
    async fn play(&mut self, options: &str, before: &[&str], after: &[&str]) {
        for name in NAMES {
            self.execute(&format!("CREATE DATABASE {name} {options}")).await;
        }
        self.execute_in_each(&[&[FILL], before].concat()).await;
        self.stand.archive();
        self.stand.snapshot().await;
        self.execute_in_each(after).await;
        self.stand.wait_all_archived().await;
        self.stand.stop_archiving().await;
    }

    async fn begin_restore(&self, data: &Path, oids: &[u32]) -> pitr::engine::Result<(Arc<DataDirectory>, WalFeed)> {
        let plan = self.stand.server.plan(&mut self.stand.catalog().await, &Target::Latest.into()).await.unwrap();
        let target = Arc::new(owned(DataDirectory::new(data)));
        let settings = RestoreSettings::default().only_databases(oids.iter().copied());
        let restore = Restore::new(&self.stand.server, plan.unwrap(), target.clone()).settings(settings);
        restore.run().await.map(|feed| (target, feed))
    }

    /// Restores the wanted database, which is then what it was; the other one cannot be connected to.
    async fn restore_wanted(&mut self) -> Partial {
        let data = self.stand.place();
        let (target, feed) = self.begin_restore(&data, &[self.oid("wanted").await]).await.unwrap();
        let partial = self.recover(&data, target, feed).await;
        let wanted = connect(&url_of(&partial.server.connection_string(), "wanted")).await;
        assert_eq!(rows(&wanted).await, rows(&self.client_of("wanted").await).await);
        partial.assert_refuses("unwanted").await;
        partial
    }

    async fn recover(&self, data: &Path, target: Arc<DataDirectory>, feed: WalFeed) -> Partial {
        let local = LocalServer::new(self.stand.install.clone(), data).setting("fsync", "off");
        let (server, fed) = tokio::join!(local.start(), feed.run());
        let (server, ()) = (server.unwrap(), fed.unwrap());
        target.finish_recovery().await.unwrap();
        Partial { local, server }
    }
}

impl Partial {
    async fn client(&self) -> Client {
        connect(&self.server.connection_string()).await
    }

    /// PostgreSQL refuses connections to `database` before it reads any catalog of it.
    async fn assert_refuses(&self, database: &str) {
        let url = url_of(&self.server.connection_string(), database);
        let refused = tokio_postgres::connect(&url, NoTls).await.map(drop).unwrap_err();
        let refused = refused.as_db_error().unwrap();
        assert!(refused.message().contains("not a valid data directory"), "{refused}");
    }

    async fn end(self) {
        self.client().await.batch_execute("DROP DATABASE unwanted").await.unwrap();
        self.server.stop(StopMode::Fast).await.unwrap();
    }
}

/// The connection string `url`, but to the database `name`.
fn url_of(url: &str, name: &str) -> String {
    let parts: Vec<_> = url.split_whitespace().filter(|part| !part.starts_with("dbname=")).collect();
    format!("{} dbname={name}", parts.join(" "))
}

/// The log that is replayed writes a valid map of its catalogs into the database that is left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_catalogs_were_rewritten_is_left_out() {
    let mut scene = Scene::new(15, true).await;
    let after = ["UPDATE big SET word = 'new' WHERE n % 100 = 0", "CREATE TABLE late AS SELECT 1 AS n", "VACUUM FULL"];
    scene.play("", &[], &after).await;
    let (wanted, unwanted) = (scene.oid("wanted").await, scene.oid("unwanted").await);
    let data = scene.stand.place();
    let error = scene.begin_restore(&data, &[wanted, 4_000_000, 4_000_001]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{}", chain(&error));
    let missing = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<MissingDatabases>());
    assert_eq!(missing.unwrap().oids, [4_000_000, 4_000_001]);
    assert!(!data.exists(), "something was written");

    let (target, feed) = scene.begin_restore(&data, &[wanted]).await.unwrap();
    let files = fs::read_dir(data.join(format!("base/{unwanted}"))).unwrap();
    let blocks: u64 = files.map(|file| file.unwrap().metadata().unwrap().blocks()).sum();
    assert!(blocks < 200, "{blocks} blocks of 512 bytes");
    let partial = scene.recover(&data, target, feed).await;
    let client = connect(&url_of(&partial.server.connection_string(), "wanted")).await;
    assert_eq!(rows(&client).await, rows(&scene.client_of("wanted").await).await);
    partial.assert_refuses("unwanted").await;
    partial.end().await;
}

/// Without checksums and `wal_log_hints`, the log of a page that becomes all-visible has no image of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_in_a_tablespace_that_was_vacuumed_is_left_out() {
    let mut scene = Scene::new(15, false).await;
    let place = directory_for_servers(&scene.stand.scratch.path().join("space"));
    scene.execute(&format!("CREATE TABLESPACE space LOCATION '{place}'")).await;
    let subscribe = "CREATE SUBSCRIPTION changes CONNECTION 'dbname=none' PUBLICATION none WITH (connect = false)";
    scene.play("TABLESPACE space", &[subscribe], &["VACUUM big", "VACUUM FULL pg_proc"]).await;
    let Partial { local, server } = scene.restore_wanted().await;

    // What recovery was allowed, it is not allowed for good.
    server.stop(StopMode::Fast).await.unwrap();
    let partial = Partial { server: local.start().await.unwrap(), local };
    let client = partial.client().await;
    let allowed: String = client.query_one("SHOW ignore_invalid_pages", &[]).await.unwrap().get(0);
    assert_eq!(allowed, "off");

    // PostgreSQL drops no database with a subscription, and drops none of these from elsewhere.
    let dropped = client.batch_execute("DROP DATABASE unwanted").await.unwrap_err();
    assert!(dropped.as_db_error().unwrap().message().contains("subscription"), "{dropped}");
    client.batch_execute(FORGET_SUBSCRIPTIONS).await.unwrap();
    partial.end().await;
}

/// The log of overflow pages of a hash index has no image of the bucket's first page, which stays as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_with_a_squeezed_hash_index_is_left_out_of_postgres_18() {
    let mut scene = Scene::new(18, true).await;
    let before = [
        "CREATE TABLE same (n int, word text)",
        "CREATE INDEX ON same USING hash (word)",
        "INSERT INTO same SELECT n, 'same' FROM generate_series(1, 5000) n",
    ];
    scene.play("", &before, &["DELETE FROM same WHERE n > 1000 AND n % 2 = 0", "VACUUM same"]).await;
    scene.restore_wanted().await.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_is_left_out_whose_log_has_no_images_of_pages() {
    let mut scene = Scene::new(15, true).await;
    scene.execute("ALTER SYSTEM SET full_page_writes = off").await;
    scene.execute("SELECT pg_reload_conf()").await;
    scene.play("", &[], &["UPDATE big SET word = 'new' WHERE n % 10 = 0"]).await;
    scene.restore_wanted().await.end().await;
}
