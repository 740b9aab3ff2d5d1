//! Handshakes of those who call.

use super::{Certificate, Tls, failure};
use crate::transport::connection::{Caller, Connection};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

/// How long a handshake may take: less than a caller waits for it ([`crate::transport::CONNECT_WITHIN`]), so that a queue moves on.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(4);

/// Most handshakes at once with one address; more of it are closed. Nobody may keep others out without a certificate; and of many
/// agents behind one address of a router that come at once some try again.
const MOST_WITH_ONE: usize = 64;

/// Most handshakes at once; who comes then waits in the kernel's queue. Each holds a file descriptor, of which a process has 1024
/// where nobody raised that.
const MOST_HANDSHAKES: usize = 256;

/// A port under TLS. Handshakes run beside each other and beside the accepting of more: nobody waits for another's.
#[derive(Debug)]
pub(in crate::transport) struct Accepting {
    listener: TcpListener,
    tls: Tls,
    under_way: JoinSet<(IpAddr, Option<Connection>)>,
    /// How many with each address.
    with: HashMap<IpAddr, usize>,
}

impl Accepting {
    pub(in crate::transport) fn new(listener: TcpListener, tls: Tls) -> Self {
        Self { listener, tls, under_way: JoinSet::new(), with: HashMap::new() }
    }

    pub(in crate::transport) fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        loop {
            match self.under_way.poll_join_next(context) {
                Poll::Ready(Some(Ok((peer, connection)))) => {
                    self.leave(peer);
                    // One that failed has its own line in the log.
                    let Some(connection) = connection else { continue };
                    return Poll::Ready(Ok(connection));
                }
                Poll::Ready(Some(Err(error))) => {
                    warn!(%error, "a handshake ended in a fault of the coordinator");
                    continue;
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
            if self.under_way.len() >= MOST_HANDSHAKES {
                return Poll::Pending;
            }
            match self.listener.poll_accept(context) {
                Poll::Ready(Ok((stream, address))) => {
                    let peer = address.ip();
                    let with = self.with.entry(peer).or_default();
                    if *with >= MOST_WITH_ONE {
                        debug!(%address, "closed a connection: {MOST_WITH_ONE} others of this address have not shaken hands yet");
                        continue;
                    }
                    *with += 1;
                    let shaken = shake_hands(stream, address, self.tls.clone());
                    self.under_way.spawn(async move { (peer, shaken.await) });
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Accepting {
    fn leave(&mut self, peer: IpAddr) {
        if let Entry::Occupied(mut with) = self.with.entry(peer) {
            *with.get_mut() -= 1;
            if *with.get() == 0 {
                with.remove();
            }
        }
    }
}

async fn shake_hands(stream: TcpStream, address: SocketAddr, tls: Tls) -> Option<Connection> {
    match timeout(HANDSHAKE_WITHIN, accept(stream, address, &tls)).await {
        Ok(Ok(connection)) => Some(connection),
        Ok(Err(why)) => {
            warn!("refused a connection: {why}");
            None
        }
        Err(_) => {
            debug!(%address, "a caller did not shake hands within {} s", HANDSHAKE_WITHIN.as_secs());
            None
        }
    }
}

async fn accept(stream: TcpStream, address: SocketAddr, tls: &Tls) -> Result<Connection, String> {
    let caller = format!("a caller from {address}");
    let config = tls.loaded().await.map_err(|error| error.to_string())?.server.clone();
    stream.set_nodelay(true).map_err(|error| format!("{caller} is gone: {error}"))?;
    let accepted = TlsAcceptor::from(config).accept(stream).await;
    let stream = accepted.map_err(|error| failure::words(&error, &caller, tls.files(), "clientAuth"))?;
    let certificate = of(&stream).map_err(|why| format!("{caller} shows a certificate that cannot be read: {why}"))?;
    Ok(Connection::tls(stream, Caller::Tls { names: certificate.names, address }))
}

/// The certificate that the caller showed; it was verified in the handshake.
fn of(stream: &TlsStream<TcpStream>) -> Result<Certificate, String> {
    let (_, session) = stream.get_ref();
    let shown = session.peer_certificates().and_then(<[_]>::first);
    Certificate::of_der(shown.ok_or_else(|| "there is none".to_owned())?)
}
