//! Connections that came in, and who is at their other end.

use super::tls::Names;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// Who is at the other end, as the system or a certificate says. In the extensions of every request.
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
    /// Whoever has the key of a certificate that an authority of ours has signed.
    Tls {
        /// The names in that certificate.
        names: Names,
        /// From where.
        address: SocketAddr,
    },
}

#[derive(Debug)]
enum Socket {
    Unix(UnixStream),
    Loopback(TcpStream),
    /// In a box, since it is many times larger than the others.
    Tls(Box<TlsStream<TcpStream>>, Caller),
}

/// One connection.
#[derive(Debug)]
pub struct Connection(Socket);
impl Connection {
    pub(super) fn unix(stream: UnixStream) -> Self {
        Self(Socket::Unix(stream))
    }
    pub(super) fn loopback(stream: TcpStream) -> Self {
        Self(Socket::Loopback(stream))
    }
    pub(super) fn tls(stream: TlsStream<TcpStream>, caller: Caller) -> Self {
        Self(Socket::Tls(Box::new(stream), caller))
    }
}
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
            Socket::Tls(_, caller) => caller.clone(),
        }
    }
}
impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Socket::Unix(stream) => Pin::new(stream).poll_read(context, into),
            Socket::Loopback(stream) => Pin::new(stream).poll_read(context, into),
            Socket::Tls(stream, _) => Pin::new(stream).poll_read(context, into),
        }
    }
}
impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Socket::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Socket::Loopback(stream) => Pin::new(stream).poll_write(context, bytes),
            Socket::Tls(stream, _) => Pin::new(stream).poll_write(context, bytes),
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
            Socket::Tls(stream, _) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Socket::Unix(stream) => Pin::new(stream).poll_flush(context),
            Socket::Loopback(stream) => Pin::new(stream).poll_flush(context),
            Socket::Tls(stream, _) => Pin::new(stream).poll_flush(context),
        }
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Loopback(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Tls(stream, _) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
