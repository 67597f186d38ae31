//! The program, a place for its repository, and a process that serves.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::support::example;

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let [out, err] = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
        Self { status: output.status.code().unwrap(), out, err }
    }

    /// The one value that it said on standard output.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The one value that it said on standard error.
    pub(crate) fn error(&self) -> Value {
        serde_json::from_str(&self.err).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A repository and its key.
pub(crate) struct Stand {
    pub(crate) room: TempDir,
    serving: Option<Child>,
}

impl Stand {
    /// A room without a repository.
    pub(crate) fn empty() -> Self {
        let open = std::fs::Permissions::from_mode(0o755);
        let room = tempfile::Builder::new().prefix("pitr-").permissions(open).tempdir().unwrap();
        Self { room, serving: None }
    }

    pub(crate) fn new() -> Self {
        let stand = Self::empty();
        stand.ok(&["init"]);
        stand
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.room.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(example("pitrctl"));
        command.args(arguments).env("PITR_REPOSITORY", self.path("repository")).env("PITR_KEY", self.path("key"));
        command.env("USER", "tester").stdin(Stdio::null());
        ["PGPASSWORD", "PGPASSFILE", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"].iter().for_each(|name| {
            command.env_remove(name);
        });
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().unwrap())
    }

    /// What a command says that does what it is asked to.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.status, 0, "{arguments:?}: {said:?}");
        said.out
    }

    /// The same for machines.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let said = self.run(&[arguments, &["--json"]].concat());
        assert_eq!((said.status, &*said.err), (0, ""), "{arguments:?}: {said:?}");
        said.json()
    }

    /// Serves from now on.
    pub(crate) fn serve(&mut self) {
        let servers = self.path("servers");
        std::fs::create_dir_all(&servers).unwrap();
        let log = std::fs::File::create(self.path("serve.log")).unwrap();
        let mut serve = self.command(&["serve", "--json", "--look-every", "1", "--servers", &servers]);
        self.serving = Some(serve.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    /// Serves no longer; what was told meanwhile.
    pub(crate) fn stop(&mut self) -> Vec<Value> {
        let mut child = self.serving.take().expect("it serves");
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let (status, told) = (child.wait().unwrap(), self.told());
        assert!(status.success(), "{status}: {told:?}");
        told
    }

    pub(crate) fn told(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(self.path("serve.log")).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// What a command says for machines once `is_true`, within two minutes.
    pub(crate) fn until(&self, arguments: &[&str], is_true: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let said = self.run(&[arguments, &["--json"]].concat());
            if said.status == 0 && is_true(&said.json()) {
                return said.json();
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "{arguments:?}: {said:?}; {:?}", self.told());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        if let Some(child) = &mut self.serving {
            // In good order, as what it runs ends with it.
            drop(Command::new("kill").args(["-TERM", &child.id().to_string()]).status());
            drop(child.wait());
        }
    }
}
