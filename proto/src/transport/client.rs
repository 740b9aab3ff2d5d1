//! Connecting.

use super::{CONNECT_WITHIN, Endpoint, KEEP_ALIVE, KEEP_ALIVE_ANSWER};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Channel, Endpoint as Target, Uri};
use tower::service_fn;

/// Nobody could be reached at an address.
#[derive(Debug, thiserror::Error)]
#[error("nobody answers at {endpoint}: is the coordinator running there, and may this user use its socket?")]
pub struct CannotConnect {
    /// The address.
    pub endpoint: Endpoint,
    /// What the transport said.
    #[source]
    pub source: tonic::transport::Error,
}

/// Connects now, within [`CONNECT_WITHIN`]. A channel that loses its connection makes another by itself.
pub async fn connect(endpoint: &Endpoint) -> Result<Channel, CannotConnect> {
    let connected = match endpoint.clone() {
        Endpoint::Unix(path) => target().connect_with_connector(service_fn(move |_: Uri| unix(path.clone()))).await,
        Endpoint::Loopback(address) => target().connect_with_connector(service_fn(move |_: Uri| tcp(address))).await,
    };
    connected.map_err(|source| CannotConnect { endpoint: endpoint.clone(), source })
}

/// Connects when it is first used; until then and while nobody answers, calls fail with `Unavailable`.
pub fn connect_lazy(endpoint: &Endpoint) -> Channel {
    match endpoint.clone() {
        Endpoint::Unix(path) => target().connect_with_connector_lazy(service_fn(move |_: Uri| unix(path.clone()))),
        Endpoint::Loopback(address) => target().connect_with_connector_lazy(service_fn(move |_: Uri| tcp(address))),
    }
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
