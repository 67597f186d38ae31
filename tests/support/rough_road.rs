//! A proxy that treats a part of what passes badly.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::random::Random;

/// What a request may meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is reset before the store hears of the request.
    LostRequest,
    /// The store has done it, and the connection is reset before the answer.
    LostAnswer,
    /// The answer ends in the middle of its body, or of its head.
    CutAnswer,
    /// The connection is reset in the middle of the answer.
    BrokenAnswer,
    /// 503, asking to be left alone for a second.
    SlowDown,
    /// The answer names another version.
    WrongETag,
}

/// Any of these, but for the one that nobody can notice.
pub(crate) const ALL: [Fault; 5] =
    [Fault::LostRequest, Fault::LostAnswer, Fault::CutAnswer, Fault::BrokenAnswer, Fault::SlowDown];

/// A proxy before a store that serves one request a connection, so that each meets its own fate.
pub(crate) struct RoughRoad {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    store: SocketAddr,
    latency: Duration,
    faults: Vec<Fault>,
    /// One request in as many meets one; none if it is zero.
    one_in: AtomicU64,
    random: Mutex<Random>,
    met: AtomicU64,
    passed: AtomicU64,
    /// The heads of all that reached the store.
    heads: Mutex<Vec<String>>,
    has_ended: AtomicBool,
}

impl RoughRoad {
    pub(crate) fn start(store: SocketAddr, faults: &[Fault], one_in: u64, latency: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            store,
            latency,
            faults: faults.to_vec(),
            one_in: one_in.into(),
            random: Mutex::new(Random::new(one_in)),
            met: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            heads: Mutex::default(),
            has_ended: AtomicBool::new(false),
        });
        let road = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if road.has_ended.load(Ordering::Relaxed) {
                    return;
                }
                let (road, connection) = (Arc::clone(&road), connection.unwrap());
                // Whoever goes away in the middle ends its own connection only.
                std::thread::spawn(move || drop(road.serve(connection)));
            }
        });
        Self { address, shared }
    }

    /// How many requests met a fault.
    pub(crate) fn met(&self) -> u64 {
        self.shared.met.load(Ordering::Relaxed)
    }

    /// How many requests reached the store.
    pub(crate) fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }

    /// What reached the store since this was asked before: the heads of requests.
    #[allow(dead_code, reason = "some tests look at nothing")]
    pub(crate) fn heads(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.heads.lock().unwrap())
    }

    /// Lets one request in `one_in` meet a fault from now on; none if it is zero.
    pub(crate) fn set(&self, one_in: u64) {
        self.shared.one_in.store(one_in, Ordering::Relaxed);
    }
}

impl Drop for RoughRoad {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn draw(&self) -> Option<Fault> {
        let one_in = usize::try_from(self.one_in.load(Ordering::Relaxed)).unwrap();
        let mut random = self.random.lock().unwrap();
        let meets = one_in > 0 && random.index(one_in) == 0;
        meets.then(|| {
            self.met.fetch_add(1, Ordering::Relaxed);
            self.faults[random.index(self.faults.len())]
        })
    }

    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let Some(request) = read_request(&mut client)? else { return Ok(()) };
        std::thread::sleep(self.latency);
        let fault = self.draw();
        match fault {
            Some(Fault::LostRequest) => return reset(client),
            Some(Fault::SlowDown) => return client.write_all(SLOW_DOWN.as_bytes()),
            _ => {}
        }
        let mut answer = self.ask(&request)?;
        match fault {
            Some(Fault::LostAnswer) => return reset(client),
            Some(Fault::CutAnswer | Fault::BrokenAnswer) => {
                let length = self.random.lock().unwrap().index(answer.len());
                answer.truncate(length);
            }
            Some(Fault::WrongETag) => answer = with_another_etag(answer),
            _ => {}
        }
        client.write_all(&answer)?;
        if fault == Some(Fault::BrokenAnswer) {
            return reset(client);
        }
        client.shutdown(Shutdown::Write)?;
        // The other side closes once it has read everything.
        client.read(&mut [0]).map(drop)
    }

    fn ask(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.passed.fetch_add(1, Ordering::Relaxed);
        let end = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(request.len());
        self.heads.lock().unwrap().push(String::from_utf8_lossy(&request[..end]).into_owned());
        let mut store = TcpStream::connect(self.store)?;
        store.write_all(request)?;
        let mut answer = Vec::new();
        store.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

const SLOW_DOWN: &str = "HTTP/1.1 503 Slow Down\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 43\r\n\r\n\
    <Error><Code>SlowDown</Code></Error>       ";

/// The whole request, which asks for the connection to be closed after the answer; `None` if there is none.
fn read_request(client: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut read = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let head = loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        match client.read(&mut buffer)? {
            0 => return Ok(None),
            length => read.extend_from_slice(&buffer[..length]),
        }
    };
    let length = header(&read[..head], "content-length").map_or(0, |value| value.parse().unwrap());
    while read.len() < head + 4 + length {
        match client.read(&mut buffer)? {
            0 => return Ok(None),
            length => read.extend_from_slice(&buffer[..length]),
        }
    }
    read.splice(head..head, *b"\r\nConnection: close");
    Ok(Some(read))
}

fn header(head: &[u8], wanted: &str) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let found = headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
    found.map(|(_, value)| value.trim().to_owned())
}

/// What is in quotes after the name of the header is a digest, or looks like one.
fn with_another_etag(answer: Vec<u8>) -> Vec<u8> {
    let lower = answer.to_ascii_lowercase();
    let mut answer = answer;
    if let Some(at) = lower.windows(7).position(|window| window == b"\r\netag:")
        && let Some(quote) = answer[at..].iter().position(|byte| *byte == b'"')
    {
        answer[at + quote + 1] ^= 1;
    }
    answer
}

/// Closes so that the other side sees a reset.
fn reset(client: TcpStream) -> io::Result<()> {
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO))
}
