//! Listening.

use super::connection::Connection;
use super::tls::{Accepting, CannotUseTls, Tls};
use super::{Endpoint, KEEP_ALIVE, KEEP_ALIVE_ANSWER, take_lock};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::{Sleep, sleep};
use tokio_stream::Stream;
use tonic::transport::server::Server;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum CannotListen {
    /// Somebody answers there.
    #[error("somebody listens on {endpoint} already: stop that process, or choose another address")]
    InUse {
        /// The address.
        endpoint: Endpoint,
    },
    /// Something that is no socket lies where the socket should be.
    #[error("{path} is in the way of the socket and is not a socket itself: move it away, or choose another path")]
    InTheWay {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("could not listen on {endpoint}: does its folder exist, and may this user write there?")]
    Io {
        /// The address.
        endpoint: Endpoint,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There are no certificates for an address under TLS.
    #[error("{endpoint} needs certificates: name certificate, key and authority")]
    NoCertificates {
        /// The address.
        endpoint: Endpoint,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] CannotUseTls),
}

/// A server with this project's limits. Message sizes are set on each service: `max_decoding_message_size` and
/// `max_encoding_message_size` with [`super::MAX_MESSAGE_BYTES`].
pub fn builder() -> Server {
    Server::builder().http2_keepalive_interval(Some(KEEP_ALIVE)).http2_keepalive_timeout(Some(KEEP_ALIVE_ANSWER))
}

/// Listens where no certificates are needed; see [`listen_on`].
pub async fn listen(endpoint: &Endpoint) -> Result<Listening, CannotListen> {
    listen_on(std::slice::from_ref(endpoint), None).await
}

/// Listens on every address. Give the answer to tonic's `serve_with_incoming`.
///
/// A Unix socket appears in its place with mode 0600 already set, so that there is no moment in which others could
/// connect. A socket that a dead process left is replaced; one on which somebody answers is not. Port 0 takes a free
/// port; [`Listening::endpoints`] tells which. Under TLS, callers without a certificate of our authority are not let in.
///
/// # Errors
/// Where one of the addresses cannot be listened on, or the certificates that it needs cannot be used.
pub async fn listen_on(endpoints: &[Endpoint], tls: Option<&Tls>) -> Result<Listening, CannotListen> {
    let (mut listeners, mut bound) = (Vec::new(), Vec::new());
    for endpoint in endpoints {
        let (listener, at) = listen_at(endpoint, tls).await?;
        listeners.push(listener);
        bound.push(at);
    }
    Ok(Listening { listeners, endpoints: bound, next: 0, rest: None })
}

async fn listen_at(endpoint: &Endpoint, tls: Option<&Tls>) -> Result<(Listener, Endpoint), CannotListen> {
    let io = |source: io::Error| {
        let endpoint = endpoint.clone();
        if source.kind() == ErrorKind::AddrInUse {
            CannotListen::InUse { endpoint }
        } else {
            CannotListen::Io { endpoint, source }
        }
    };
    match endpoint {
        Endpoint::Unix(path) => {
            let (listener, file) = listen_unix(endpoint, path).await?;
            Ok((Listener::Unix { listener, _file: file }, endpoint.clone()))
        }
        Endpoint::Loopback(address) => {
            let listener = TcpListener::bind(address).await.map_err(io)?;
            let bound = Endpoint::Loopback(listener.local_addr().map_err(io)?);
            Ok((Listener::Loopback(listener), bound))
        }
        Endpoint::Tls(remote) => {
            let tls = tls.ok_or_else(|| CannotListen::NoCertificates { endpoint: endpoint.clone() })?;
            // What cannot be used is told now, not to the first who calls.
            tls.names().await?;
            let listener = TcpListener::bind((remote.host(), remote.port())).await.map_err(io)?;
            let bound = Endpoint::Tls(remote.at(listener.local_addr().map_err(io)?.port()));
            Ok((Listener::Tls(Accepting::new(listener, tls.clone())), bound))
        }
    }
}

/// Makes the socket under a name beside the path, closes it to others, and moves it into place. A lock beside it, held
/// as long as it is listened on, keeps two processes that start at once from taking each other's socket for a stale one.
async fn listen_unix(endpoint: &Endpoint, path: &Path) -> Result<(UnixListener, SocketFile), CannotListen> {
    let io = |source| CannotListen::Io { endpoint: endpoint.clone(), source };
    let in_use = || CannotListen::InUse { endpoint: endpoint.clone() };
    let lock = File::options().create(true).truncate(false).write(true).mode(0o600).open(beside(path, "lock"));
    let lock = lock.map_err(io)?;
    if !take_lock(&lock).await.map_err(io)? {
        return Err(in_use());
    }
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => return Err(CannotListen::InTheWay { path: path.to_owned() }),
        // Only a refused connection shows that nobody is behind the socket.
        Ok(_) => match UnixStream::connect(path).await {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Ok(_) | Err(_) => return Err(in_use()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    let made = beside(path, "new");
    match fs::remove_file(&made) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&made).map_err(io)?;
    let placed = fs::set_permissions(&made, Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&made, path))
        .and_then(|()| identity(path));
    match placed {
        Ok(identity) => Ok((listener, SocketFile { path: path.to_owned(), identity, _lock: lock })),
        Err(error) => {
            // The next start removes it as well.
            let _ = fs::remove_file(&made);
            Err(io(error))
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|there| (there.dev(), there.ino()))
}

/// A socket's file; removed when it is not listened on any more, unless another one took its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
    _lock: File,
}
impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|there| there == self.identity) {
            // A file that stays is found stale and replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[derive(Debug)]
enum Listener {
    Unix { listener: UnixListener, _file: SocketFile },
    Loopback(TcpListener),
    Tls(Accepting),
}
impl Listener {
    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        match self {
            Self::Unix { listener, .. } => listener.poll_accept(context).map_ok(|(stream, _)| Connection::unix(stream)),
            Self::Loopback(listener) => listener.poll_accept(context).map(|accepted| {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                Ok(Connection::loopback(stream))
            }),
            Self::Tls(accepting) => accepting.poll_accept(context),
        }
    }
}

/// After the system could not give a connection, as when no file descriptor is left: asking at once again would keep a core busy.
const REST: Duration = Duration::from_millis(50);

/// Connections as they come in. Dropping it ends listening and removes its sockets' files.
#[derive(Debug)]
pub struct Listening {
    listeners: Vec<Listener>,
    endpoints: Vec<Endpoint>,
    /// Whose turn it is: one that is called all the time must not silence the others.
    next: usize,
    rest: Option<Pin<Box<Sleep>>>,
}
impl Listening {
    /// Where it listens, with the ports that were chosen.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }
}
impl Stream for Listening {
    type Item = io::Result<Connection>;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(rest) = &mut this.rest {
            if rest.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            this.rest = None;
        }
        let count = this.listeners.len();
        let turn = this.next;
        let (later, first) = this.listeners.split_at_mut(turn.min(count));
        for (index, listener) in first.iter_mut().chain(later).enumerate() {
            if let Poll::Ready(accepted) = listener.poll_accept(context) {
                this.next = (turn + index + 1) % count;
                if accepted.is_err() {
                    this.rest = Some(Box::pin(sleep(REST)));
                }
                return Poll::Ready(Some(accepted));
            }
        }
        Poll::Pending
    }
}
