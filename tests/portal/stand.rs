//! A repository, and a portal to it.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::support::example;

/// A portal that runs, and what it said at its start.
pub(crate) struct Stand {
    pub(crate) host: String,
    pub(crate) token: String,
    portal: Child,
    // Dropped last: the portal works in it.
    _room: TempDir,
}

/// A repository in a room of its own, after these commands of `pitrctl`.
fn repository(commands: &[&[&str]]) -> TempDir {
    let room = tempfile::Builder::new().prefix("pitr-").permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
    std::fs::create_dir(room.path().join("servers")).unwrap();
    for arguments in [&["init"][..]].iter().chain(commands) {
        let said = program(&room, "pitrctl").args(*arguments).output().unwrap();
        assert!(said.status.success(), "{arguments:?}: {said:?}");
    }
    room
}

fn program(room: &TempDir, name: &str) -> Command {
    let mut command = Command::new(example(name));
    command.env("PITR_REPOSITORY", room.path().join("repository")).env("PITR_KEY", room.path().join("key"));
    command
}

impl Stand {
    /// A portal to a repository that was made by these commands of `pitrctl`.
    pub(crate) fn new(commands: &[&[&str]]) -> Self {
        let room = repository(commands);
        let mut portal = program(&room, "portal");
        portal.args(["--port", "0", "--servers"]).arg(room.path().join("servers")).stdout(Stdio::piped());
        let mut portal = portal.spawn().unwrap();
        let mut said = BufReader::new(portal.stdout.take().unwrap()).lines().map(Result::unwrap);
        let address = said.next().unwrap();
        let host = address.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        let token = said.next().unwrap().strip_prefix("token: ").unwrap().to_owned();
        Self { host, token, portal, _room: room }
    }

    /// What the portal answers to a request with these headers and this body.
    pub(crate) fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut connection = TcpStream::connect(&self.host).unwrap();
        let mut request = format!("{line} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "Host") {
            request += &format!("Host: {}\r\n", self.host);
        }
        headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
        connection.write_all(format!("{request}\r\n{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// The cookie of somebody who came in.
    pub(crate) fn come_in(&self) -> String {
        let answer = self.ask("POST /login", &[FORM], &format!("token={}", self.token));
        assert_eq!(answer.status, 303, "{answer:?}");
        answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }
}

pub(crate) const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// What makes a form one of the session.
    pub(crate) fn form(&self) -> &str {
        let (_, rest) = self.body.split_once(r#"name="form" value=""#).unwrap();
        rest.split('"').next().unwrap()
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        // In good order, as the servers that it made end with it.
        drop(Command::new("kill").args(["-TERM", &self.portal.id().to_string()]).status());
        drop(self.portal.wait());
    }
}
