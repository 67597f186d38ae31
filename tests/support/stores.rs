//! Object stores for tests: moto's server for S3, Azurite for Azure Blob Storage. Each listens on loopback, and ends with its value.
#![allow(dead_code, reason = "each test has some use for some of it")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use pitr::adapter::{CloudOptions, CloudStorage, system};
use sha2::Sha256;

/// The account that Azurite has, and its published key.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

const BUCKET: &str = "backups";

/// A store that runs.
pub(crate) struct Store {
    kind: Kind,
    pub(crate) address: SocketAddr,
    child: Child,
    directory: tempfile::TempDir,
    /// Of the request that makes its bucket.
    fields: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    S3,
    Azure,
}

impl Store {
    /// A new store with one empty bucket.
    pub(crate) fn start(kind: Kind) -> Self {
        Self::start_with(kind, "")
    }

    /// One of S3, with a bucket that has versions, and locks them.
    pub(crate) fn start_with_object_lock() -> Self {
        Self::start_with(Kind::S3, "x-amz-bucket-object-lock-enabled: true\r\n")
    }

    /// One whose bucket is made with these lines in the header.
    fn start_with(kind: Kind, fields: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = free_address();
        let child = spawn(kind, address, directory.path());
        let store = Self { kind, address, child, directory, fields };
        store.make_bucket();
        store
    }

    /// Ends it at once, whatever it is doing.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Lets it come back after a [`kill`](Self::kill): moto empty, Azurite with what it had.
    pub(crate) fn revive(&mut self) {
        self.child = spawn(self.kind, self.address, self.directory.path());
        self.make_bucket();
    }

    /// What reaches it, or what stands before it at `address`.
    pub(crate) fn options(&self, address: SocketAddr) -> CloudOptions {
        let options = CloudOptions::new();
        match self.kind {
            Kind::S3 => options
                .set("aws_endpoint", format!("http://{address}"))
                .set("aws_allow_http", "true")
                .set("aws_region", "us-east-1")
                .set("aws_access_key_id", "nobody")
                .set("aws_secret_access_key", "knows"),
            Kind::Azure => options
                .set("azure_storage_endpoint", format!("http://{address}/{ACCOUNT}"))
                .set("azure_allow_http", "true")
                .set("azure_storage_account_name", ACCOUNT)
                .set("azure_storage_account_key", ACCOUNT_KEY),
        }
    }

    pub(crate) fn url(&self, directory: &str) -> String {
        let scheme = match self.kind {
            Kind::S3 => "s3",
            Kind::Azure => "az",
        };
        format!("{scheme}://{BUCKET}{directory}")
    }

    /// The storage in `directory` of its bucket: nothing, or `/` and a name.
    pub(crate) fn storage(&self, directory: &str) -> CloudStorage {
        CloudStorage::open(&self.url(directory), &self.options(self.address), &system()).unwrap()
    }

    /// All names in its bucket, those that no key can have among them. Only S3's.
    pub(crate) fn names(&self) -> Vec<String> {
        let (status, _, body) = ask(self.address, &format!("GET /{BUCKET}?list-type=2")).unwrap();
        assert_eq!(status, 200, "{body}");
        let keys = body.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap_or_default().to_owned());
        keys.collect()
    }

    /// The storage class of an object, as a listing of S3 or Azure's description tells it.
    pub(crate) fn class(&self, name: &str) -> Option<String> {
        let (request, before, after) = match self.kind {
            Kind::S3 => (format!("GET /{BUCKET}?list-type=2&prefix={name}"), "<StorageClass>", "<"),
            Kind::Azure => (format!("HEAD /{ACCOUNT}/{BUCKET}/{name}?{}", signature()), "x-ms-access-tier: ", "\r"),
        };
        let (status, head, body) = ask(self.address, &request).unwrap();
        assert_eq!(status, 200, "{head}");
        let (_, rest) = [head, body].into_iter().find_map(|text| {
            let (before, rest) = text.split_once(before)?;
            Some((before.to_owned(), rest.to_owned()))
        })?;
        rest.split(after).next().map(str::to_owned)
    }

    /// What S3 says of an object in this header.
    pub(crate) fn header(&self, name: &str, header: &str) -> Option<String> {
        let (status, head, _) =
            ask(self.address, &format!("HEAD /{BUCKET}/{name}?AWSAccessKeyId=nobody&Signature=any&Expires=9999999999"))
                .unwrap();
        assert_eq!(status, 200, "{head}");
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(name, _)| name.eq_ignore_ascii_case(header)).map(|(_, value)| value.to_owned())
    }

    /// Asks S3 for something in its bucket, as one who has the credentials: the status and the body.
    pub(crate) fn ask(&self, method: &str, rest: &str) -> (u16, String) {
        let between = if rest.contains('?') { '&' } else { '?' };
        let credentials = "AWSAccessKeyId=nobody&Signature=any&Expires=9999999999";
        let (status, _, body) = ask(self.address, &format!("{method} /{BUCKET}{rest}{between}{credentials}")).unwrap();
        (status, body)
    }

    /// All versions of S3's objects, and marks that some were deleted: of each its name, its version, and whether it is a mark.
    pub(crate) fn versions(&self) -> Vec<(String, String, bool)> {
        let (status, body) = self.ask("GET", "?versions=&max-keys=100000");
        assert_eq!(status, 200, "{body}");
        let element = |text: &str, name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>")).unwrap();
            rest.split_once('<').unwrap().0.to_owned()
        };
        let listed = |kind: &str, is_mark: bool| -> Vec<_> {
            let begin = format!("<{kind}>");
            let entries = body.split(&begin).skip(1);
            entries.map(|entry| (element(entry, "Key"), element(entry, "VersionId"), is_mark)).collect()
        };
        [listed("Version", false), listed("DeleteMarker", true)].concat()
    }

    /// Lets nobody delete an object of Azure's but who has its lease.
    pub(crate) fn lease(&self, name: &str) {
        let request = format!("PUT /{ACCOUNT}/{BUCKET}/{name}?comp=lease&{}", signature());
        let fields = "x-ms-lease-action: acquire\r\nx-ms-lease-duration: -1\r\n";
        let (status, head, _) = ask_with(self.address, &request, fields).unwrap();
        assert_eq!(status, 201, "{head}");
    }

    /// Waits until it answers, too.
    fn make_bucket(&self) {
        let target = match self.kind {
            Kind::S3 => format!("/{BUCKET}"),
            Kind::Azure => format!("/{ACCOUNT}/{BUCKET}?restype=container&{}", signature()),
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match ask_with(self.address, &format!("PUT {target}"), self.fields) {
                Ok((200 | 201 | 409, ..)) => return,
                answer => assert!(Instant::now() < deadline, "{:?} made no bucket: {answer:?}", self.kind),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.kill();
    }
}

/// moto's server, but for one write at a time: by itself it decides on conditional writes that race as if each were alone.
const MOTO: &str = "
import sys, threading
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

moto, writing = DomainDispatcherApplication(create_backend_app), threading.Lock()

def serve(environ, start_response):
    if environ['REQUEST_METHOD'] in ('GET', 'HEAD'):
        return moto(environ, start_response)
    with writing:
        return list(moto(environ, start_response))

run_simple(sys.argv[1], int(sys.argv[2]), serve, threaded=True)
";

fn command(kind: Kind, address: SocketAddr, directory: &Path) -> Command {
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".stores");
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    match kind {
        Kind::S3 => {
            let mut command = Command::new(installed.join("moto/bin/python"));
            command.args(["-c", MOTO, &host, &port]);
            // Of versions, so that there are pages of them in a small test.
            command.env("MOTO_S3_DEFAULT_MAX_KEYS", "50");
            command
        }
        Kind::Azure => {
            let mut command = Command::new("node");
            command.arg(installed.join("azurite/node_modules/azurite/dist/src/blob/main.js"));
            command.args(["--blobHost", &host, "--blobPort", &port, "--silent", "--skipApiVersionCheck"]);
            command.args(["--disableTelemetry", "--location"]);
            command.arg(directory);
            command
        }
    }
}

fn spawn(kind: Kind, address: SocketAddr, directory: &Path) -> Child {
    let mut command = command(kind, address, directory);
    command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("{kind:?} does not start ({error}): run scripts/setup-stores"))
}

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// HMAC-SHA256.
pub(crate) fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The status, head and body of what is answered to a request without a body.
fn ask(address: SocketAddr, request: &str) -> std::io::Result<(u16, String, String)> {
    ask_with(address, request, "")
}

/// The same, with lines for the header.
fn ask_with(address: SocketAddr, request: &str, fields: &str) -> std::io::Result<(u16, String, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let head =
        format!("{request} HTTP/1.1\r\nHost: {address}\r\n{fields}Content-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.unwrap_or_default(), head.to_owned(), body.to_owned()))
}

/// The shared access signature of an account, for as long as tests may ever run.
fn signature() -> String {
    let (version, expiry) = ("2021-12-02", "2099-01-01T00:00:00Z");
    let text = format!("{ACCOUNT}\nrwdlac\nb\nco\n\n{expiry}\n\n\n{version}\n\n");
    let signature = BASE64_STANDARD.encode(mac(&BASE64_STANDARD.decode(ACCOUNT_KEY).unwrap(), &text));
    let escaped = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("sv={version}&ss=b&srt=co&sp=rwdlac&se={}&sig={escaped}", expiry.replace(':', "%3A"))
}
