//! Who may connect, and how.

use std::fs;
use std::path::Path;
use std::process::Command;

use pitr::port::{PortErrorKind, WalSource};

use crate::support::{Cluster, oldest, run, server};

async fn attempt(conninfo: &str) -> Result<(), PortErrorKind> {
    let outcome = server(conninfo).identify().await;
    outcome.map(drop).map_err(|error| {
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("secret") && !shown.contains("wrong"), "{shown}");
        error.kind()
    })
}

#[tokio::test]
async fn every_way_to_prove_who_we_are() {
    let cluster = Cluster::init(&oldest(), &[]);
    cluster.allow(&[
        "local replication trusted trust",
        "local replication clear   password",
        "local replication hashed  md5",
        "local replication salted  scram-sha-256",
        "host replication trusted 127.0.0.1/32 trust",
        "host replication clear   127.0.0.1/32 password",
        "host replication hashed  127.0.0.1/32 md5",
        "host replication salted  127.0.0.1/32 scram-sha-256",
    ]);
    cluster.up();
    cluster.sql(
        "create role trusted login replication; create role clear login replication password 'secret';
         set password_encryption = md5; create role hashed login replication password 'secret';
         set password_encryption = 'scram-sha-256'; create role salted login replication password 'secret';",
    );
    cluster.sql("create role nobody login; create role stranger login replication password 'secret'");
    for place in [Cluster::local, Cluster::tcp] {
        assert_eq!(attempt(&place(&cluster, "trusted")).await, Ok(()));
        for user in ["clear", "hashed", "salted"] {
            let conninfo = place(&cluster, user);
            assert_eq!(attempt(&format!("{conninfo} password=secret")).await, Ok(()), "{conninfo}");
            assert_eq!(attempt(&format!("{conninfo} password=wrong")).await, Err(PortErrorKind::Denied), "{conninfo}");
            assert_eq!(attempt(&conninfo).await, Err(PortErrorKind::Denied), "{conninfo}");
        }
        let stranger = format!("{} password=secret", place(&cluster, "stranger"));
        assert_eq!(attempt(&stranger).await, Err(PortErrorKind::Denied), "no line of pg_hba.conf");
    }
    let bound = format!("{} password=secret channel_binding=require", cluster.tcp("salted"));
    assert_eq!(attempt(&bound).await, Err(PortErrorKind::Denied), "there is nothing to bind to");

    let passfile = cluster.path().join("passfile");
    fs::write(&passfile, format!("localhost:{}:replication:salted:secret\n", cluster.port)).unwrap();
    run(Command::new("chmod").arg("600").arg(&passfile));
    let conninfo = format!("{} passfile={}", cluster.tcp("salted"), passfile.display());
    assert_eq!(attempt(&conninfo).await, Ok(()));
    run(Command::new("chmod").arg("644").arg(&passfile));
    assert_eq!(attempt(&conninfo).await, Err(PortErrorKind::Denied));
}

#[tokio::test]
async fn hosts_are_tried_in_order() {
    let cluster = Cluster::start(&oldest(), &[]);
    let hosts = format!("host=/nowhere,{},/nowhere port={} user=postgres", cluster.path().display(), cluster.port);
    assert_eq!(attempt(&hosts).await, Ok(()));
    assert_eq!(attempt(&format!("{hosts} target_session_attrs=read-write")).await, Ok(()));
    assert_eq!(attempt(&format!("{hosts} target_session_attrs=prefer-standby")).await, Ok(()));
    assert_eq!(attempt(&format!("{hosts} target_session_attrs=standby")).await, Err(PortErrorKind::Unavailable));
    assert_eq!(attempt("host=/nowhere user=postgres").await, Err(PortErrorKind::Unavailable));
    let directory = cluster.path().to_str().unwrap().replace('/', "%2F");
    assert_eq!(attempt(&format!("postgresql://postgres@{directory}:{}/", cluster.port)).await, Ok(()));
}

#[tokio::test]
async fn tls_verifies_what_sslmode_says() {
    let cluster = Cluster::init(&oldest(), &["ssl = on"]);
    let (own, other) = (Authority::new(cluster.path(), "own"), Authority::new(cluster.path(), "other"));
    own.issue("localhost", &cluster.data().join("server"), "sha384");
    other.issue("client", &cluster.path().join("client"), "sha256");
    cluster.configure(&[&format!("ssl_ca_file = '{}'", other.certificate())]);
    cluster.allow(&[
        "hostssl replication salted 127.0.0.1/32 scram-sha-256",
        "hostssl replication client 127.0.0.1/32 cert",
        "hostnossl replication plain 127.0.0.1/32 trust",
    ]);
    cluster.up();
    cluster.sql("create role salted login replication password 'secret'; create role client login replication");
    cluster.sql("create role plain login replication");

    let port = cluster.port;
    let to = |host: &str, options: &str| {
        format!("host={host} hostaddr=127.0.0.1 port={port} user=salted password=secret {options}")
    };
    let (ours, theirs) = (own.certificate(), other.certificate());
    let (full, ca) =
        (format!("sslmode=verify-full sslrootcert={ours}"), format!("sslmode=verify-ca sslrootcert={ours}"));
    for options in [&full, &ca, "sslmode=require", "sslmode=prefer", "sslmode=allow", ""] {
        assert_eq!(attempt(&to("localhost", options)).await, Ok(()), "{options}");
        assert_eq!(attempt(&to("localhost", &format!("{options} channel_binding=require"))).await, Ok(()), "{options}");
    }
    assert_eq!(attempt(&to("elsewhere", &full)).await, Err(PortErrorKind::Denied), "another name");
    assert_eq!(attempt(&to("elsewhere", &ca)).await, Ok(()), "the name does not matter");
    for mode in ["verify-full", "verify-ca", "require"] {
        let options = format!("sslmode={mode} sslrootcert={theirs}");
        assert_eq!(attempt(&to("localhost", &options)).await, Err(PortErrorKind::Denied), "{mode}: another authority");
    }
    let system = to("localhost", "sslrootcert=system");
    assert_ne!(attempt(&system).await, Ok(()), "not an authority that the system knows");
    assert_eq!(attempt(&to("localhost", "sslmode=disable")).await, Err(PortErrorKind::Denied));

    let client = cluster.path().join("client");
    let certificate = format!("sslcert={0}.crt sslkey={0}.key", client.display());
    let own_name = format!("host=localhost hostaddr=127.0.0.1 port={port} user=client {full}");
    assert_eq!(attempt(&format!("{own_name} {certificate}")).await, Ok(()));
    assert_eq!(attempt(&own_name).await, Err(PortErrorKind::Denied), "no client certificate");

    let plain = |mode: &str| format!("host=localhost hostaddr=127.0.0.1 port={port} user=plain sslmode={mode}");
    for mode in ["disable", "allow", "prefer"] {
        assert_eq!(attempt(&plain(mode)).await, Ok(()), "{mode}");
    }
    assert_eq!(attempt(&plain("require")).await, Err(PortErrorKind::Denied));
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_is_required() {
    let cluster = Cluster::start(&oldest(), &[]);
    assert_eq!(attempt(&format!("{} sslmode=prefer", cluster.tcp("postgres"))).await, Ok(()));
    assert_eq!(attempt(&format!("{} sslmode=require", cluster.tcp("postgres"))).await, Err(PortErrorKind::Denied));
}

/// A certificate authority, by the `openssl` program.
struct Authority {
    stem: String,
}

impl Authority {
    fn new(directory: &Path, name: &str) -> Self {
        let stem = directory.join(name).to_str().unwrap().to_owned();
        let (key, certificate) = (format!("{stem}.key"), format!("{stem}.crt"));
        let subject = format!("/CN={name}");
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &subject,
            "-keyout",
            &key,
            "-out",
            &certificate,
        ]);
        Self { stem }
    }

    fn certificate(&self) -> String {
        format!("{}.crt", self.stem)
    }

    /// Makes `stem.key` and `stem.crt` for `name`, owned by whom the directory belongs to.
    fn issue(&self, name: &str, stem: &Path, digest: &str) {
        let stem = stem.to_str().unwrap();
        let [key, request, certificate, extensions] = ["key", "csr", "crt", "ext"].map(|end| format!("{stem}.{end}"));
        fs::write(&extensions, format!("subjectAltName=DNS:{name}\n")).unwrap();
        let subject = format!("/CN={name}");
        openssl(&[
            "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", &subject, "-keyout", &key, "-out", &request,
        ]);
        let digest = format!("-{digest}");
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &self.certificate(),
            "-CAkey",
            &format!("{}.key", self.stem),
            "-CAcreateserial",
            "-days",
            "2",
            &digest,
            "-extfile",
            &extensions,
            "-out",
            &certificate,
        ]);
        let directory = Path::new(stem).parent().unwrap().to_str().unwrap();
        run(Command::new("chown").args(["--reference", directory, &key, &certificate]));
        run(Command::new("chmod").args(["600", &key]));
    }
}

fn openssl(arguments: &[&str]) {
    run(Command::new("openssl").args(arguments));
}
