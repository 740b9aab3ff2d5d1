//! Who listens on a port and who is connected to it, by the kernel's own table.

use super::ServiceError;
use procfs::net::{TcpNetEntry, TcpState, tcp, tcp6};

/// What the kernel says about one TCP port of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortState {
    /// Whether anybody listens there.
    pub listening: bool,
    /// Connections that a client has to it and that are not finished: a request may be in flight on each.
    pub connections: u32,
}

/// Looks at a port, on every local address.
///
/// A client that has closed its half (`CLOSE_WAIT` here) may still wait for an answer, so it counts as connected.
///
/// # Errors
/// When the table cannot be read.
pub fn look(port: u16) -> Result<PortState, ServiceError> {
    let unreadable = |error: procfs::ProcError| ServiceError::Connections(error.to_string());
    let mut state = PortState { listening: false, connections: 0 };
    let mut count = |entry: &TcpNetEntry| {
        if entry.local_address.port() != port {
            return;
        }
        match entry.state {
            TcpState::Listen => state.listening = true,
            TcpState::Established | TcpState::SynRecv | TcpState::NewSynRecv | TcpState::CloseWait => {
                state.connections += 1;
            }
            TcpState::SynSent
            | TcpState::FinWait1
            | TcpState::FinWait2
            | TcpState::TimeWait
            | TcpState::Close
            | TcpState::LastAck
            | TcpState::Closing => {}
        }
    };
    tcp().map_err(unreadable)?.iter().for_each(&mut count);
    match tcp6() {
        Ok(entries) => entries.iter().for_each(&mut count),
        // A kernel without IPv6 has no such table.
        Err(procfs::ProcError::NotFound(_)) => {}
        Err(error) => return Err(unreadable(error)),
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_counts_until_both_sides_have_closed_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(look(port).unwrap(), PortState { listening: true, connections: 0 });
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert_eq!(look(port).unwrap().connections, 1);
        drop(client);
        assert_eq!(look(port).unwrap().connections, 1, "the server may still be working on its request");
        drop(server);
        assert_eq!(look(port).unwrap().connections, 0);
        drop(listener);
        assert!(!look(port).unwrap().listening);
    }
}
