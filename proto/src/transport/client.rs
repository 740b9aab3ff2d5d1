//! Connecting.

use super::endpoint::Remote;
use super::tls::{CannotDial, Tls, dial};
use super::{CONNECT_WITHIN, Endpoint, KEEP_ALIVE, KEEP_ALIVE_ANSWER};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Channel, Endpoint as Target, Uri};
use tower::service_fn;

/// Nobody could be reached at an address, or not under TLS.
#[derive(Debug, thiserror::Error)]
pub enum CannotConnect {
    /// Nobody answers there.
    #[error("nobody answers at {endpoint}: is the coordinator running there, and may this user use its socket?")]
    Nobody {
        /// The address.
        endpoint: Endpoint,
        /// What the transport said.
        #[source]
        source: tonic::transport::Error,
    },
    /// Under TLS: nobody answers, the certificates here cannot be used, or the two sides do not accept each other.
    #[error("{0}")]
    Tls(String),
    /// An address under TLS, and no certificates.
    #[error("{0} is spoken to with certificates: name certificate, key and authority")]
    NoCertificates(Endpoint),
}

/// Connects where no certificates are needed; see [`connect_with`].
pub async fn connect(endpoint: &Endpoint) -> Result<Channel, CannotConnect> {
    connect_with(endpoint, None).await
}

/// Connects now, within [`CONNECT_WITHIN`]. A channel that loses its connection makes another by itself; under TLS with what the
/// files say by then.
///
/// # Errors
/// Where nobody answers, or the two sides do not accept each other.
pub async fn connect_with(endpoint: &Endpoint, tls: Option<&Tls>) -> Result<Channel, CannotConnect> {
    let connected = match endpoint.clone() {
        Endpoint::Unix(path) => target().connect_with_connector(service_fn(move |_: Uri| unix(path.clone()))).await,
        Endpoint::Loopback(address) => target().connect_with_connector(service_fn(move |_: Uri| tcp(address))).await,
        Endpoint::Tls(remote) => {
            let tls = tls.cloned().ok_or_else(|| CannotConnect::NoCertificates(endpoint.clone()))?;
            let dials = service_fn(move |_: Uri| secure(remote.clone(), tls.clone()));
            target().connect_timeout(AFTER_DIALLING).connect_with_connector(dials).await
        }
    };
    connected.map_err(|source| match dialled_in_vain(&source) {
        Some(why) => CannotConnect::Tls(why.to_string()),
        None => CannotConnect::Nobody { endpoint: endpoint.clone(), source },
    })
}

/// Connects when it is first used; until then and while nobody answers, calls fail with `Unavailable`. Where no certificates are
/// needed alone: under TLS every call fails so.
pub fn connect_lazy(endpoint: &Endpoint) -> Channel {
    match endpoint.clone() {
        Endpoint::Unix(path) => target().connect_with_connector_lazy(service_fn(move |_: Uri| unix(path.clone()))),
        Endpoint::Loopback(address) => target().connect_with_connector_lazy(service_fn(move |_: Uri| tcp(address))),
        Endpoint::Tls(remote) => target().connect_with_connector_lazy(service_fn(move |_: Uri| {
            let why = CannotConnect::NoCertificates(Endpoint::Tls(remote.clone()));
            async { Err::<TokioIo<TcpStream>, _>(why) }
        })),
    }
}

/// Dialling has its own limit and says why it was in vain; this one is behind it.
const AFTER_DIALLING: Duration = CONNECT_WITHIN.saturating_add(Duration::from_secs(1));

/// Why a connection under TLS was not made, somewhere in what the transport says.
fn dialled_in_vain(error: &tonic::transport::Error) -> Option<&CannotDial> {
    let first: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |error| error.source()).find_map(|error| error.downcast_ref())
}

/// The URI only fills the `:authority` of requests; the connectors know where to go, and no proxy or resolver is asked.
fn target() -> Target {
    Target::from_static("http://localhost")
        .connect_timeout(CONNECT_WITHIN)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_ANSWER)
        .keep_alive_while_idle(true)
}

async fn unix(path: std::path::PathBuf) -> std::io::Result<TokioIo<UnixStream>> {
    UnixStream::connect(path).await.map(TokioIo::new)
}

async fn tcp(address: std::net::SocketAddr) -> std::io::Result<TokioIo<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(stream))
}

async fn secure(remote: Remote, tls: Tls) -> Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>, CannotDial> {
    dial(&remote, &tls).await.map(TokioIo::new)
}
