//! Who listens on a port and who is connected to it, by the kernel's own table.
//!
//! The table is asked for over netlink, as `ss` does, because only there it says when a connection last carried anything. Where
//! that is not to be had, `/proc/net/tcp` tells who is connected, and every connection counts as busy.

use super::ServiceError;
use cutover_vocabulary::Elapsed;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, TCP_CLOSE_WAIT, TCP_LISTEN};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr as NetlinkAddr};
use procfs::net::{TcpNetEntry, TcpState, tcp, tcp6};
use procfs::process::{FDTarget, Process, all_processes};
use std::io;
use std::net::SocketAddr;

/// What the kernel says about one TCP port of this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortState {
    /// Whether anybody listens there.
    pub listening: bool,
    /// Connections that a client has to it and that are not finished.
    pub connections: Vec<Connection>,
}

/// A client's connection to a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Who is at its other end.
    pub peer: SocketAddr,
    /// Whether it is open in both directions. A client that has closed its half may still wait for an answer.
    pub open: bool,
    /// Bytes that the ledger has not read, or that its client has not confirmed.
    pub queued: u32,
    /// When it last carried anything. None: the kernel does not say.
    pub carried: Option<Carried>,
}

/// When a connection last carried anything, seen from the ledger, to the kernel's tick of 1 to 10 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Whether the client ever sent anything.
    pub asked: bool,
    /// How long ago bytes of the client came.
    pub received: Elapsed,
    /// How long ago bytes were sent to it.
    pub sent: Elapsed,
}

/// Looks at a port, on every local address.
///
/// # Errors
/// When the table cannot be read.
pub fn look(port: u16) -> Result<PortState, ServiceError> {
    ask(port).or_else(|_| read(port))
}

/// Which process listens on a port, in words for people; none where that cannot be told.
pub fn listener(port: u16) -> Option<String> {
    let tables = [tcp().unwrap_or_default(), tcp6().unwrap_or_default()];
    let mut entries = tables.iter().flatten();
    let inode = entries.find(|it| it.state == TcpState::Listen && it.local_address.port() == port)?.inode;
    let has_it = |process: &Process| {
        let mut open = process.fd().ok()?.flatten();
        open.find(|fd| matches!(fd.target, FDTarget::Socket(socket) if socket == inode)).map(drop)
    };
    let process = all_processes().ok()?.flatten().find(|process| has_it(process).is_some())?;
    let name = process.stat().map(|stat| stat.comm).unwrap_or_default();
    Some(format!("process {} ({name})", process.pid))
}

/// The kernel's table over netlink.
fn ask(port: u16) -> io::Result<PortState> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddr::new(0, 0))?;
    let mut state = PortState::default();
    for (family, mut socket_id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        socket_id.source_port = port;
        let request = InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::INFO,
            states: StateFlags::LISTEN | StateFlags::ESTABLISHED | StateFlags::SYN_RECV | StateFlags::CLOSE_WAIT,
            socket_id,
        };
        for answer in dump(&socket, request)? {
            let header = &answer.header;
            if header.socket_id.source_port != port {
                continue;
            }
            if header.state == TCP_LISTEN {
                state.listening = true;
            } else {
                state.connections.push(Connection {
                    peer: peer(SocketAddr::new(
                        header.socket_id.destination_address,
                        header.socket_id.destination_port,
                    )),
                    open: header.state != TCP_CLOSE_WAIT,
                    queued: header.recv_queue.saturating_add(header.send_queue),
                    carried: answer
                        .nlas
                        .iter()
                        .find_map(|nla| if let Nla::TcpInfo(info) = nla { carried(info) } else { None }),
                });
            }
        }
    }
    Ok(state)
}

/// One question, and every part of its answer.
fn dump(socket: &Socket, request: InetRequest) -> io::Result<Vec<InetResponse>> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut question = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    question.finalize();
    let mut bytes = vec![0; question.buffer_len()];
    question.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answers = Vec::new();
    loop {
        let (part, _) = socket.recv_from_full()?;
        let mut rest = &part[..];
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
            if let NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(answer)) = message.payload {
                answers.push(*answer);
            } else if let NetlinkPayload::Done(done) = message.payload {
                // A dump that failed ends so as well, where a module of the kernel is missing for one: that is no empty table.
                return match done.code {
                    0 => Ok(answers),
                    code => Err(io::Error::from_raw_os_error(-code)),
                };
            } else if let NetlinkPayload::Error(error) = message.payload {
                return Err(error.to_io());
            } else {
                return Err(io::Error::other("the kernel's answer is none about connections"));
            }
            // Messages begin at multiples of four bytes.
            let length = usize::try_from(message.header.length).map_err(io::Error::other)?.next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// What of `struct tcp_info` matters; the kernel only ever adds to its end (linux/tcp.h).
fn carried(info: &[u8]) -> Option<Carried> {
    let word = |at: usize| Some(u32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?));
    let (sent, received) = (word(44)?, word(52)?);
    let bytes_received = u64::from_ne_bytes(info.get(128..136)?.try_into().ok()?);
    let ago = |milliseconds: u32| Elapsed(milliseconds.into());
    Some(Carried { asked: bytes_received > 0, received: ago(received), sent: ago(sent) })
}

/// An IPv4 client of a socket that takes both is shown as itself.
fn peer(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The kernel's table in `/proc`.
fn read(port: u16) -> Result<PortState, ServiceError> {
    let unreadable = |error: procfs::ProcError| ServiceError::Connections(error.to_string());
    let mut state = PortState::default();
    let mut count = |entry: &TcpNetEntry| {
        if entry.local_address.port() != port {
            return;
        }
        match entry.state {
            TcpState::Listen => state.listening = true,
            TcpState::Established | TcpState::SynRecv | TcpState::NewSynRecv | TcpState::CloseWait => {
                state.connections.push(Connection {
                    peer: peer(entry.remote_address),
                    open: entry.state != TcpState::CloseWait,
                    queued: entry.rx_queue.saturating_add(entry.tx_queue),
                    carried: None,
                });
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
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    fn seen_in_time(what: &str, port: u16, condition: impl Fn() -> bool) {
        for _ in 0..20_000 {
            if condition() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("not seen within 20 s: {what}: {:?}", ask(port));
    }

    #[test]
    fn a_connection_counts_until_both_sides_have_closed_it_and_both_tables_agree() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for look in [|port| ask(port).unwrap(), |port| read(port).unwrap()] {
            assert_eq!(look(port), PortState { listening: true, connections: Vec::new() });
            let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (server, _) = listener.accept().unwrap();
            let seen = look(port).connections;
            assert_eq!(seen.len(), 1, "{seen:?}");
            assert_eq!((seen[0].peer, seen[0].open), (client.local_addr().unwrap(), true));
            // What one side closed, the other one's kernel may hear of later.
            drop(client);
            seen_in_time(
                "the server may still be working on its request",
                port,
                || matches!(look(port).connections.as_slice(), [connection] if !connection.open),
            );
            drop(server);
            seen_in_time("nobody is left", port, || look(port).connections.is_empty());
        }
        drop(listener);
        assert!(!look(port).unwrap().listening);
    }

    #[test]
    fn the_kernel_tells_whether_the_client_or_the_ledger_spoke_last() {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut client = TcpStream::connect(("::1", port)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let carried = || ask(port).unwrap().connections[0].carried.unwrap();
        let spoken = |what: &str, condition: &dyn Fn() -> bool| seen_in_time(what, port, condition);
        assert!(!carried().asked);
        spoken("the connection is older than a tick", &|| carried().sent > Elapsed(20));
        client.write_all(b"GET").unwrap();
        spoken("a request waits to be read", &|| ask(port).unwrap().connections[0].queued == 3);
        server.read_exact(&mut [0; 3]).unwrap();
        spoken("a request is under way", &|| carried().asked && carried().received < carried().sent);
        spoken("the request is older than a tick", &|| carried().received > Elapsed(20));
        server.write_all(b"200").unwrap();
        spoken("it was answered", &|| carried().sent < carried().received);
    }
}
