//! A connection to etcd that can be held: what a client sends is kept back, however the client ends, and arrives later.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

#[derive(Debug, Default)]
struct State {
    /// What clients send is kept back.
    held: bool,
    /// What etcd answers is kept back.
    unanswered: bool,
    /// Nothing passes either way, and whoever connects waits for ever.
    cut: bool,
    /// How many bytes are kept back now.
    kept: usize,
    ended: bool,
}

/// Carries connections on to one address.
#[derive(Debug)]
pub struct Proxy {
    /// Where to connect.
    pub address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Proxy {
    /// One in front of that address.
    pub fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind(cutover_trial_postgres::free_address().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<(Mutex<State>, Condvar)>::default();
        let state = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if state.0.lock().unwrap().ended {
                    return;
                }
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(upstream)) else { continue };
                for socket in [&client, &server] {
                    socket.set_nodelay(true).unwrap();
                }
                let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (to, back) = (state.clone(), state.clone());
                std::thread::spawn(move || pump(client, server, &to, true));
                std::thread::spawn(move || pump(server_too, client_too, &back, false));
            }
        });
        Self { address, shared }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on keeps back what clients send; answers to what was sent before still pass.
    pub fn hold(&self) {
        self.change(|state| state.held = true);
    }
    /// Lets it all arrive, also what was sent by clients that are gone. A connection that was held carries nothing afterwards.
    pub fn release(&self) {
        self.change(|state| state.held = false);
    }
    /// From now on keeps back what etcd answers; what clients send still arrives.
    pub fn hold_answers(&self) {
        self.change(|state| state.unanswered = true);
    }
    /// Lets the answers arrive.
    pub fn release_answers(&self) {
        self.change(|state| state.unanswered = false);
    }
    /// From now on nothing passes either way, as behind a firewall that drops packets.
    pub fn cut(&self) {
        self.change(|state| state.cut = true);
    }
    /// Lets everything pass again.
    pub fn mend(&self) {
        self.change(|state| state.cut = false);
    }
    /// How many bytes are kept back.
    pub fn kept(&self) -> usize {
        self.shared.0.lock().unwrap().kept
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.0.lock().unwrap());
        self.shared.1.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.change(|state| state.ended = true);
        let _ = TcpStream::connect(self.address);
    }
}

/// Carries one way. Of a connection that was held, what came within a moment is delivered, and nothing that came later: neither
/// that the client gave up nor that it ended, so that etcd does what was asked.
fn pump(mut from: TcpStream, mut to: TcpStream, shared: &(Mutex<State>, Condvar), from_client: bool) {
    const MOMENT: Duration = Duration::from_millis(300);
    let mut piece = [0_u8; 64 * 1024];
    while let Ok(n) = from.read(&mut piece) {
        let mut bytes = piece[..n].to_vec();
        let mut state = shared.0.lock().unwrap();
        let kept = |state: &State| if from_client { state.held } else { state.unanswered };
        let waits = |state: &State| (state.cut || kept(state)) && !state.ended;
        let held = state.held && from_client && !state.ended && n > 0;
        if held {
            drop(state);
            from.set_read_timeout(Some(MOMENT)).unwrap();
            while let Ok(n @ 1..) = from.read(&mut piece) {
                bytes.extend_from_slice(&piece[..n]);
            }
            state = shared.0.lock().unwrap();
        }
        state.kept += bytes.len();
        while waits(&state) {
            state = shared.1.wait(state).unwrap();
        }
        state.kept -= bytes.len();
        drop(state);
        if n == 0 || to.write_all(&bytes).is_err() {
            break;
        }
        if held {
            let mut state = shared.0.lock().unwrap();
            while !state.ended {
                state = shared.1.wait(state).unwrap();
            }
        }
    }
    let _ = from.shutdown(Shutdown::Read);
    let _ = to.shutdown(Shutdown::Write);
}
