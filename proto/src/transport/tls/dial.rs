//! The handshake with whom we call.

use super::{CannotUseTls, Tls, failure};
use crate::transport::endpoint::Remote;
use crate::transport::{CONNECT_WITHIN, Endpoint};
use rustls_pki_types::ServerName;
use std::io;
use tokio::io::AsyncBufReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection under TLS was not made, and what to do.
#[derive(Debug, thiserror::Error)]
pub(in crate::transport) enum CannotDial {
    /// Nobody answers, or not in time.
    #[error("nobody answers at {0}: {1}; is the coordinator running there, and do firewalls let this host through?")]
    Nobody(Endpoint, io::Error),
    /// Our own files.
    #[error(transparent)]
    Files(#[from] CannotUseTls),
    /// The handshake.
    #[error("{0}")]
    Refused(String),
}

/// Connects, within [`CONNECT_WITHIN`]. It is certain afterwards that the other side has accepted our certificate.
pub(in crate::transport) async fn dial(remote: &Remote, tls: &Tls) -> Result<TlsStream<TcpStream>, CannotDial> {
    let nobody = |error| CannotDial::Nobody(Endpoint::Tls(remote.clone()), error);
    let config = tls.loaded().await?.client.clone();
    let dialled = async {
        let stream = TcpStream::connect((remote.host(), remote.port())).await.map_err(nobody)?;
        stream.set_nodelay(true).map_err(nobody)?;
        let refused =
            |error: io::Error| CannotDial::Refused(failure::words(&error, &other(remote), tls.files(), "serverAuth"));
        let name = ServerName::try_from(remote.host().to_owned()).map_err(|error| refused(io::Error::other(error)))?;
        let mut stream = TlsConnector::from(config).connect(name, stream).await.map_err(refused)?;
        // In TLS 1.3 this side is done before the other has looked at our certificate. An HTTP/2 server speaks first, so its
        // first words tell that it accepted us, and an alert instead of them tells why not.
        if stream.fill_buf().await.map_err(refused)?.is_empty() {
            return Err(refused(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it closed the connection without a word",
            )));
        }
        Ok(stream)
    };
    match timeout(CONNECT_WITHIN, dialled).await {
        Ok(dialled) => dialled,
        Err(late) => Err(nobody(io::Error::new(io::ErrorKind::TimedOut, late))),
    }
}

fn other(remote: &Remote) -> String {
    format!("the coordinator at https://{remote}")
}
