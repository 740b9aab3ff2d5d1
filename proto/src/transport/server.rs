//! Listening.

use super::{Endpoint, KEEP_ALIVE, KEEP_ALIVE_ANSWER, take_lock};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_stream::Stream;
use tonic::transport::server::{Connected, Server};

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
}

/// A server with this project's limits. Message sizes are set on each service: `max_decoding_message_size` and
/// `max_encoding_message_size` with [`super::MAX_MESSAGE_BYTES`].
pub fn builder() -> Server {
    Server::builder().http2_keepalive_interval(Some(KEEP_ALIVE)).http2_keepalive_timeout(Some(KEEP_ALIVE_ANSWER))
}

/// Listens. Give the answer to tonic's `serve_with_incoming`.
///
/// A Unix socket appears in its place with mode 0600 already set, so that there is no moment in which others could
/// connect. A socket that a dead process left is replaced; one on which somebody answers is not. Port 0 takes a free
/// port; [`Listening::endpoint`] tells which.
pub async fn listen(endpoint: &Endpoint) -> Result<Listening, CannotListen> {
    let io = |source| CannotListen::Io { endpoint: endpoint.clone(), source };
    match endpoint {
        Endpoint::Unix(path) => {
            let (listener, file) = listen_unix(endpoint, path).await?;
            Ok(Listening { listener: Listener::Unix { listener, _file: file }, endpoint: endpoint.clone() })
        }
        Endpoint::Loopback(address) => {
            let listener = TcpListener::bind(address).await.map_err(|error| {
                if error.kind() == ErrorKind::AddrInUse {
                    CannotListen::InUse { endpoint: endpoint.clone() }
                } else {
                    io(error)
                }
            })?;
            let bound = Endpoint::Loopback(listener.local_addr().map_err(io)?);
            Ok(Listening { listener: Listener::Loopback(listener), endpoint: bound })
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
}

/// Connections as they come in. Dropping it ends listening and removes its socket's file.
#[derive(Debug)]
pub struct Listening {
    listener: Listener,
    endpoint: Endpoint,
}
impl Listening {
    /// Where it listens, with the port that was chosen.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}
impl Stream for Listening {
    type Item = io::Result<Connection>;
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(Some(match &self.listener {
            Listener::Unix { listener, .. } => {
                ready!(listener.poll_accept(context)).map(|(stream, _)| Connection(Socket::Unix(stream)))
            }
            Listener::Loopback(listener) => ready!(listener.poll_accept(context)).and_then(|(stream, _)| {
                stream.set_nodelay(true)?;
                Ok(Connection(Socket::Loopback(stream)))
            }),
        }))
    }
}

/// Who is at the other end, as the system says. In the extensions of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A process of this host, over the Unix socket.
    Unix {
        /// Its user; none when the system does not say.
        uid: Option<u32>,
        /// Its process id; none when the system does not say.
        pid: Option<i32>,
    },
    /// A process of this host, over a loopback port.
    Loopback(Option<SocketAddr>),
}

#[derive(Debug)]
enum Socket {
    Unix(UnixStream),
    Loopback(TcpStream),
}

/// One connection.
#[derive(Debug)]
pub struct Connection(Socket);
impl Connected for Connection {
    type ConnectInfo = Caller;
    fn connect_info(&self) -> Caller {
        match &self.0 {
            Socket::Unix(stream) => {
                let credentials = stream.peer_cred().ok();
                Caller::Unix {
                    uid: credentials.as_ref().map(tokio::net::unix::UCred::uid),
                    pid: credentials.as_ref().and_then(tokio::net::unix::UCred::pid),
                }
            }
            Socket::Loopback(stream) => Caller::Loopback(stream.peer_addr().ok()),
        }
    }
}
impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Socket::Unix(stream) => Pin::new(stream).poll_read(context, into),
            Socket::Loopback(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}
impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Socket::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Socket::Loopback(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Socket::Loopback(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Socket::Unix(stream) => Pin::new(stream).poll_flush(context),
            Socket::Loopback(stream) => Pin::new(stream).poll_flush(context),
        }
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Loopback(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
