//! A connection that can be cut or slow: a small proxy between two programs.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often a link that keeps something back looks whether it still does.
const LOOK: Duration = Duration::from_millis(5);
/// What a coordinator says that is larger than this is an order or an answer: a welcome is smaller.
const WELCOME_BYTES: usize = 32;
/// A frame of data, by its type.
const DATA: u8 = 0;

#[derive(Debug, Default)]
struct State {
    cut: bool,
    ended: bool,
    delay: Duration,
    /// What a coordinator says over it is read, frame by frame.
    framed: bool,
    /// Orders of a coordinator are kept back.
    keeps_orders: bool,
    /// One is kept back now.
    kept: bool,
    /// Both ends of everything that was ever carried: shutting down one that is gone does nothing.
    carried: Vec<TcpStream>,
}

/// Carries every connection to its address on to another one, until it is cut.
#[derive(Debug)]
pub struct Link {
    /// Where to connect.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Link {
    /// A link to that address, which holds back everything for so long, each way.
    pub fn to(upstream: SocketAddr, delay: Duration) -> Self {
        Self::with(upstream, State { delay, ..State::default() })
    }
    /// One from an agent to a coordinator without TLS, which can keep back its orders alone.
    pub fn to_coordinator(upstream: SocketAddr) -> Self {
        Self::with(upstream, State { framed: true, ..State::default() })
    }

    fn with(upstream: SocketAddr, state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if lock(&shared).ended {
                    return;
                }
                // One that cannot be carried is closed: nobody is there.
                if let Ok(client) = client {
                    let _ = carry(client, upstream, &shared);
                }
            }
        });
        Self { address, state }
    }

    /// Ends what is connected, and lets nobody in until it is mended.
    pub fn cut(&self) {
        let mut state = lock(&self.state);
        state.cut = true;
        for end in state.carried.drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
    /// Lets in again.
    pub fn mend(&self) {
        lock(&self.state).cut = false;
    }
    /// From now on keeps back orders of a coordinator and whatever it says after one, and lets its welcome pass.
    pub fn keep_orders(&self) {
        lock(&self.state).keeps_orders = true;
    }
    /// Whether one is kept back now.
    pub fn keeps_an_order(&self) -> bool {
        lock(&self.state).kept
    }
    /// Lets them arrive.
    pub fn deliver_orders(&self) {
        lock(&self.state).keeps_orders = false;
    }
    /// From now on it holds back everything for so long, each way; returns for how long it did.
    pub fn delay(&self, delay: Duration) -> Duration {
        std::mem::replace(&mut lock(&self.state).delay, delay)
    }
}
impl Drop for Link {
    fn drop(&mut self) {
        lock(&self.state).ended = true;
        self.cut();
        // The listener waits for somebody.
        let _ = TcpStream::connect(self.address);
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn carry(client: TcpStream, upstream: SocketAddr, state: &Arc<Mutex<State>>) -> std::io::Result<()> {
    if lock(state).cut {
        return Ok(());
    }
    let server = TcpStream::connect(upstream)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ends = [client.try_clone()?, server.try_clone()?];
    let ways = [(client.try_clone()?, server.try_clone()?), (server, client)];
    {
        let mut state = lock(state);
        if state.cut {
            return Ok(());
        }
        state.carried.extend(ends);
    }
    let framed = [false, lock(state).framed];
    for ((from, to), framed) in ways.into_iter().zip(framed) {
        let state = state.clone();
        std::thread::spawn(move || pump(from, to, &state, framed));
    }
    Ok(())
}

/// Carries one way, until an end is closed; then both are.
fn pump(mut from: TcpStream, mut to: TcpStream, state: &Mutex<State>, framed: bool) {
    let mut piece = [0_u8; 64 * 1024];
    let mut unframed = Vec::new();
    while let Ok(n) = from.read(&mut piece) {
        if n == 0 {
            break;
        }
        let delay = lock(state).delay;
        std::thread::sleep(delay);
        let written = if framed {
            unframed.extend_from_slice(&piece[..n]);
            frames(&mut unframed).iter().flat_map(|frame| messages(frame, state)).try_for_each(|frame| {
                keep(&frame, state);
                to.write_all(&frame)
            })
        } else {
            to.write_all(&piece[..n])
        };
        if written.is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Takes the whole frames of HTTP/2 (RFC 9113, 4.1): three bytes of length, one of its type, five more, and its content.
fn frames(bytes: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut whole = Vec::new();
    while let Some(&[a, b, c]) = bytes.first_chunk() {
        let length = 9 + usize::from(a) * 65_536 + usize::from(b) * 256 + usize::from(c);
        if bytes.len() < length {
            break;
        }
        let rest = bytes.split_off(length);
        whole.push(std::mem::replace(bytes, rest));
    }
    whole
}

/// A frame of data as one frame a message, where messages are kept back: a welcome goes out in one frame with what follows it.
/// A message of gRPC is a byte, four bytes of length, and its content; those of a link are smaller than a frame.
fn messages(frame: &[u8], state: &Mutex<State>) -> Vec<Vec<u8>> {
    let (head, mut rest) = frame.split_at(9);
    if head[3] != DATA || !lock(state).keeps_orders {
        return vec![frame.to_vec()];
    }
    let mut all = Vec::new();
    while let Some(&[_, a, b, c, d]) = rest.first_chunk() {
        let length = 5 + u32::from_be_bytes([a, b, c, d]) as usize;
        let (message, behind) = rest.split_at(length.min(rest.len()));
        let size = u32::try_from(message.len()).unwrap().to_be_bytes();
        // Only the last one may end the stream.
        let flags = if behind.is_empty() { head[4] } else { 0 };
        all.push([&size[1..], &[DATA, flags], &head[5..], message].concat());
        rest = behind;
    }
    if all.is_empty() { vec![frame.to_vec()] } else { all }
}

/// Waits for as long as this frame is to be kept back.
fn keep(frame: &[u8], state: &Mutex<State>) {
    if frame[3] != DATA || frame.len() <= 9 + WELCOME_BYTES {
        return;
    }
    loop {
        let mut state = lock(state);
        state.kept = state.keeps_orders && !state.cut && !state.ended;
        if !state.kept {
            return;
        }
        drop(state);
        std::thread::sleep(LOOK);
    }
}
