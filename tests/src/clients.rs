//! Clients that write all the time with unique references, and know afterwards what was promised to them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One instance behind a front.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Where it serves.
    pub address: SocketAddr,
    /// Out of rotation while this file exists.
    pub out: PathBuf,
}

/// A small load balancer: clients connect here, it connects to the instances in turn, and lets nobody in to one that is out
/// of rotation. A request that is under way is finished.
pub struct Front {
    /// Where clients connect.
    pub address: SocketAddr,
    end: Arc<AtomicBool>,
}

impl Front {
    /// In front of one instance; out of rotation while `out` exists.
    pub fn start(backend: SocketAddr, out: PathBuf) -> Self {
        Self::before(vec![Backend { address: backend, out }])
    }

    /// In front of several.
    pub fn before(backends: Vec<Backend>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let stop = end.clone();
        let backends: Arc<[Backend]> = backends.into();
        std::thread::spawn(move || {
            for (n, client) in listener.incoming().enumerate() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let backends = backends.clone();
                std::thread::spawn(move || carry(client, &backends, n));
            }
        });
        Self { address, end }
    }
}
impl Drop for Front {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

const NOBODY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const REFUSED: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A connection to one that is in rotation, in turn; what a client is answered where there is none. One that goes out of rotation
/// meanwhile is passed over, whether or not it still lets in. That one in rotation lets nobody in is for the client to see.
fn connected(backends: &[Backend], turn: usize) -> Result<TcpStream, &'static [u8]> {
    let open: Vec<&Backend> = backends.iter().filter(|backend| !backend.out.exists()).collect();
    for n in 0..open.len() {
        let backend = open[(turn + n) % open.len()];
        let server = TcpStream::connect(backend.address);
        if !backend.out.exists() {
            return server.map_err(|_| REFUSED);
        }
    }
    Err(NOBODY)
}

/// Carries one request, with `Connection: close`, and its answer.
fn carry(mut client: TcpStream, backends: &[Backend], turn: usize) {
    let mut request = Vec::new();
    let mut piece = [0_u8; 4096];
    // A client of these tests sends its whole request at once; its length is in the head.
    loop {
        let Ok(n) = client.read(&mut piece) else { return };
        request.extend_from_slice(&piece[..n]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if n == 0 {
                return;
            }
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.trim().parse().ok());
        if body.len() >= length.unwrap_or(0_usize) || n == 0 {
            break;
        }
    }
    // Only now: a client may take its time.
    let mut server = match connected(backends, turn) {
        Ok(server) => server,
        Err(answer) => {
            let _ = client.write_all(answer);
            return;
        }
    };
    let mut answer = Vec::new();
    if server.write_all(&request).is_ok() {
        let _ = server.read_to_end(&mut answer);
    }
    let _ = client.write_all(&answer);
}

/// One HTTP request; none where no whole answer came.
pub fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: ledger\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let body =
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { dechunk(body) } else { body.to_owned() };
    Some((status, body))
}

fn dechunk(mut rest: &str) -> String {
    let mut whole = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || after.len() < size {
            break;
        }
        whole.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    whole
}

/// The version that answers there.
pub fn version(address: SocketAddr) -> Option<String> {
    let (_, body) = request(address, "GET", "/_info", "")?;
    let value: serde_json::Value = serde_json::from_str(&body).ok()?;
    Some(value["data"]["version"].as_str()?.to_owned())
}

/// What a client was told.
#[derive(Debug, Default, Clone)]
pub struct Told {
    /// References of writes that were acknowledged.
    pub acknowledged: BTreeSet<String>,
    /// References of writes that got no answer: they may or may not exist.
    pub unanswered: BTreeSet<String>,
    /// Writes that were refused with a status.
    pub refused: BTreeMap<u16, u32>,
    /// Writes that collided with another instance's (409) and were tried again: they do without any upgrade.
    pub collided: u32,
    /// The longest time between two acknowledged writes.
    pub longest_gap: Duration,
}

static WRITERS: AtomicUsize = AtomicUsize::new(0);

/// Clients that write until they are told to end.
pub struct Writer {
    end: Arc<AtomicBool>,
    told: Arc<Mutex<Told>>,
    threads: Vec<JoinHandle<()>>,
}

impl Writer {
    /// One client, which writes to these ledgers in turn.
    pub fn start(address: SocketAddr, ledgers: &[&str]) -> Self {
        Self::several(1, address, ledgers)
    }

    /// So many at once.
    pub fn several(clients: usize, address: SocketAddr, ledgers: &[&str]) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let told = Arc::new(Mutex::new(Told::default()));
        let last = Arc::new(Mutex::new(Instant::now()));
        // Together as often as one alone: what is written is read back at the end.
        let pause = Duration::from_millis(2 + 10 * (clients as u64 - 1));
        let client = |client| {
            let ledgers: Vec<String> = ledgers.iter().map(|name| (*name).to_owned()).collect();
            let (stop, mine, last) = (end.clone(), told.clone(), last.clone());
            std::thread::spawn(move || write_on(client, address, &ledgers, &stop, &mine, (&last, pause)))
        };
        let threads = (0..clients).map(client).collect();
        Self { end, told, threads }
    }

    /// How many writes were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.told.lock().unwrap().acknowledged.len()
    }

    /// Ends it and says what it was told.
    pub fn end(mut self) -> Told {
        self.end.store(true, Ordering::Relaxed);
        for thread in std::mem::take(&mut self.threads) {
            thread.join().unwrap();
        }
        self.told.lock().unwrap().clone()
    }
}

/// What one client does, until it is to end. `last` is when anybody's write was acknowledged last.
fn write_on(
    client: usize,
    address: SocketAddr,
    ledgers: &[String],
    stop: &AtomicBool,
    told: &Mutex<Told>,
    (last, pause): (&Mutex<Instant>, Duration),
) {
    // Another writer on the same ledgers must not repeat what one before has written: that is refused with 409 for ever.
    let writer = WRITERS.fetch_add(1, Ordering::Relaxed);
    let (mut n, mut collided) = (client, false);
    while !stop.load(Ordering::Relaxed) {
        // Writers on two instances with the default lock collide: 409, nothing was written, the client asks again.
        if !collided {
            n += 1;
        }
        let ledger = &ledgers[n % ledgers.len()];
        let reference = format!("client-{writer}-{client}-{n}");
        let body = format!(
            r#"{{"postings":[{{"source":"world","destination":"clients:{}","amount":7,"asset":"USD/2"}}],"reference":"{reference}"}}"#,
            n % 50
        );
        let answer = request(address, "POST", &format!("/{ledger}/transactions"), &body);
        let mut told = told.lock().unwrap();
        collided = matches!(answer, Some((409, _)));
        match answer {
            Some((409, _)) => told.collided += 1,
            Some((200, _)) => {
                told.acknowledged.insert(format!("{ledger}/{reference}"));
                let mut last = last.lock().unwrap();
                told.longest_gap = told.longest_gap.max(last.elapsed());
                *last = Instant::now();
            }
            Some((status, _)) => *told.refused.entry(status).or_default() += 1,
            None => {
                told.unanswered.insert(format!("{ledger}/{reference}"));
            }
        }
        drop(told);
        std::thread::sleep(pause);
    }
}

/// Every reference in a ledger, with how often it exists.
pub fn references(address: SocketAddr, ledger: &str) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    let mut after = String::new();
    loop {
        let (status, body) = request(address, "GET", &format!("/{ledger}/transactions{after}"), "").unwrap();
        assert_eq!(status, 200, "{body}");
        let page: serde_json::Value = serde_json::from_str(&body).unwrap();
        let rows = page["cursor"]["data"].as_array().unwrap();
        let Some(last) = rows.last() else { return all };
        for row in rows {
            *all.entry(row["reference"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        after = format!("?after={}", last["txid"]);
    }
}

/// Each acknowledged write exists exactly once; each unanswered one at most once.
pub fn check_exactly_once(address: SocketAddr, ledgers: &[&str], told: &Told) {
    for ledger in ledgers {
        let there = references(address, ledger);
        let of = |set: &BTreeSet<String>| -> Vec<String> {
            set.iter().filter_map(|name| name.strip_prefix(&format!("{ledger}/")).map(str::to_owned)).collect()
        };
        for reference in of(&told.acknowledged) {
            assert_eq!(there.get(&reference), Some(&1), "acknowledged {reference} in {ledger}");
        }
        for reference in of(&told.unanswered) {
            assert!(there.get(&reference).copied().unwrap_or(0) <= 1, "unanswered {reference} in {ledger}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every connection with this status, once something was said on it.
    fn serves(status: u16) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let _ = client.read(&mut [0; 4096]);
                let _ = write!(client, "HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n");
            }
        });
        address
    }

    #[test]
    fn who_goes_out_of_rotation_before_a_request_is_whole_is_not_sent_it() {
        let folder = tempfile::tempdir().unwrap();
        let backend = |name: &str, address| Backend { address, out: folder.path().join(name) };
        let (one, other) = (backend("one", serves(201)), backend("other", serves(202)));
        let front = Front::before(vec![one.clone(), other.clone()]);
        let mut slow: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(front.address).unwrap()).collect();
        slow.iter_mut().for_each(|client| client.write_all(b"GET / HTTP/1.1\r\n").unwrap());
        std::fs::write(&one.out, "").unwrap();
        for mut client in slow {
            client.write_all(b"\r\n").unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
        }
        std::fs::write(&other.out, "").unwrap();
        assert_eq!(request(front.address, "GET", "/", "").unwrap().0, 503, "nobody is in rotation");
    }

    #[test]
    fn who_lets_nobody_in_though_it_is_in_rotation_is_seen_by_clients() {
        let front = Front::start(crate::free_address(), "/nowhere/out".into());
        assert_eq!(request(front.address, "GET", "/", "").unwrap().0, 502);
    }
}
