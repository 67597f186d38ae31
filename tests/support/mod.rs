//! Real PostgreSQL servers, and the examples, for tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use tempfile::TempDir;

/// The programs of one major version.
#[derive(Clone, Debug)]
pub(crate) struct PgInstall {
    bin: PathBuf,
}

impl PgInstall {
    /// Finds the programs of a major version; a test that needs them fails without them, it is never skipped.
    pub(crate) fn find(major: u32) -> Self {
        let candidates = [
            std::env::var_os(format!("PITR_PG{major}_BIN")).map(PathBuf::from),
            std::env::var_os("PITR_PG_BIN").map(PathBuf::from),
            Some(PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"))),
            Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!(".pg/{major}/bin"))),
        ];
        let found = candidates.iter().flatten().find(|bin| version(bin) == Some(major));
        let bin = found.unwrap_or_else(|| {
            panic!("no PostgreSQL {major}: set PITR_PG{major}_BIN, or install it to one of {candidates:?}")
        });
        Self { bin: bin.clone() }
    }

    /// Runs a program to its end, as a user that PostgreSQL accepts.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.bin.join(program));
        command.args(arguments).env("TZ", "UTC").env("LC_ALL", "C.UTF-8").current_dir("/");
        run_unprivileged(&mut command);
        command.output().unwrap_or_else(|error| panic!("{program} does not run: {error}"))
    }

    /// Runs a program that must succeed; returns what it printed.
    pub(crate) fn expect(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn version(bin: &Path) -> Option<u32> {
    let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().find_map(|word| word.split('.').next()?.parse().ok())
}

/// PostgreSQL refuses to run as root; its own user takes over then.
#[cfg(unix)]
fn run_unprivileged(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    if let Some((uid, gid)) = other_user() {
        command.uid(uid).gid(gid);
    }
}

/// User and group of `postgres` if this is root.
fn other_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse::<u32>().ok()
    };
    (id(&["-u"]) == Some(0))
        .then(|| (id(&["-u", "postgres"]).expect("a user postgres"), id(&["-g", "postgres"]).expect("its group")))
}

/// A server in a directory of its own, which listens on a socket there. It ends with its value.
#[derive(Debug)]
pub(crate) struct PgServer {
    install: PgInstall,
    /// `psql` and its like come with version 15 only.
    client: PgInstall,
    home: TempDir,
}

impl PgServer {
    /// A new cluster, not running yet, with these settings.
    pub(crate) fn create(install: PgInstall, initdb: &[&str], settings: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        if let Some((uid, gid)) = other_user() {
            std::os::unix::fs::chown(home.path(), Some(uid), Some(gid)).unwrap();
        }
        let server = Self { install, client: PgInstall::find(15), home };
        let data = server.data();
        let arguments = ["-D", path(&data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"];
        server.install.expect("initdb", &[&arguments, initdb].concat());
        let own = format!("listen_addresses = ''\nunix_socket_directories = '{}'\n", path(server.home.path()));
        let file = data.join("postgresql.auto.conf");
        std::fs::write(&file, [&own, &settings.join("\n"), "\n"].concat()).unwrap();
        server
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The directory of the log's segments.
    pub(crate) fn wal(&self) -> PathBuf {
        self.data().join("pg_wal")
    }

    pub(crate) fn start(&self) {
        self.pg_ctl(&["start", "-l", path(&self.home.path().join("log"))]);
    }

    /// Stops the server: `fast`, or `immediate` as in a crash.
    pub(crate) fn stop(&self, mode: &str) {
        self.pg_ctl(&["stop", "-m", mode]);
    }

    /// Ends recovery, on a new timeline.
    pub(crate) fn promote(&self) {
        self.pg_ctl(&["promote"]);
    }

    /// Runs statements, each on its own; returns the rows of the last, unadorned, with tabs between columns.
    pub(crate) fn sql(&self, statements: &str) -> String {
        let (host, options) = (path(self.home.path()), ["-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1"]);
        let file = self.home.path().join("statements.sql");
        std::fs::write(&file, statements).unwrap();
        self.client.expect("psql", &[&["-h", host, "-U", "postgres", "-f", path(&file)], &options[..]].concat())
    }

    /// Runs `pgbench`, with a script if one is given.
    pub(crate) fn pgbench(&self, arguments: &[&str], script: Option<&str>) {
        let file = self.home.path().join("script.sql");
        std::fs::write(&file, script.unwrap_or_default()).unwrap();
        let script = if script.is_some() { vec!["-n", "-f", path(&file)] } else { Vec::new() };
        let host = ["-h", path(self.home.path()), "-U", "postgres"];
        self.client.expect("pgbench", &[&host, arguments, &script, &["postgres"][..]].concat());
    }

    fn pg_ctl(&self, arguments: &[&str]) {
        let output = self.install.run("pg_ctl", &[&["-D", path(&self.data()), "-w", "-s"], arguments].concat());
        let log = std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        assert!(output.status.success(), "pg_ctl {arguments:?}: {output:?}\n{log}");
    }
}

impl Drop for PgServer {
    fn drop(&mut self) {
        let data = self.data();
        if data.join("postmaster.pid").exists() {
            self.install.run("pg_ctl", &["-D", path(&data), "-s", "-m", "immediate", "stop"]);
        }
    }
}

/// A path as text, which those of temporary directories are.
pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// The example `name`, as it is now: a run of single tests does not build examples.
pub(crate) fn example(name: &str) -> PathBuf {
    static BUILT: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap();
    if !built.iter().any(|known| known == name) {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--features", "full", "--example", name]);
        // What cargo tells a test would make it build dependencies anew.
        let told = |variable: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| variable.starts_with(prefix));
        std::env::vars().filter(|(variable, _)| told(variable)).for_each(|(variable, _)| {
            build.env_remove(variable);
        });
        assert!(build.status().unwrap().success(), "the example {name} does not build");
        built.push(name.to_owned());
    }
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().with_file_name("examples").join(name)
}
