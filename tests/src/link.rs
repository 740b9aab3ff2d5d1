//! A connection that can be cut or slow: a small proxy between two programs.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[derive(Debug, Default)]
struct State {
    cut: bool,
    ended: bool,
    delay: Duration,
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
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { delay, ..State::default() }));
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
    for (from, to) in ways {
        let state = state.clone();
        std::thread::spawn(move || pump(from, to, &state));
    }
    Ok(())
}

/// Carries one way, until an end is closed; then both are.
fn pump(mut from: TcpStream, mut to: TcpStream, state: &Mutex<State>) {
    let mut piece = [0_u8; 64 * 1024];
    while let Ok(n) = from.read(&mut piece) {
        if n == 0 {
            break;
        }
        let delay = lock(state).delay;
        std::thread::sleep(delay);
        if to.write_all(&piece[..n]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
