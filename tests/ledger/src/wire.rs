//! A small HTTP client on a blocking socket, for seeding and for the contract suite: one request a connection.

use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// 200.
    pub status: u16,
    /// Header lines, lower case.
    pub headers: String,
    /// The body, decoded.
    pub body: String,
}

impl Reply {
    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// Sends one request and reads the answer to its end.
///
/// # Errors
/// When the connection cannot be made, or ends before an answer is whole.
pub fn request(address: &str, method: &str, path: &str, body: Option<&str>) -> io::Result<Reply> {
    request_with(address, method, path, body, "")
}

/// As [`request`], with header lines (each ending in CR LF).
///
/// # Errors
/// As [`request`].
pub fn request_with(address: &str, method: &str, path: &str, body: Option<&str>, headers: &str) -> io::Result<Reply> {
    let mut stream = send(address, method, path, body, headers)?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw)?;
    parse(&raw)
}

/// Sends one request and leaves the answer unread.
///
/// # Errors
/// When the connection cannot be made or breaks.
pub fn send(address: &str, method: &str, path: &str, body: Option<&str>, headers: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, format!("{address} has no address"));
    for candidate in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&candidate, Duration::from_secs(5)) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(Duration::from_secs(120)))?;
                let body = body.unwrap_or_default();
                write!(
                    stream,
                    "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\
                     Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn parse(raw: &[u8]) -> io::Result<Reply> {
    let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended before the answer was whole");
    let end = raw.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(cut)?;
    let headers = String::from_utf8_lossy(&raw[..end]).to_lowercase();
    let status = headers.split_whitespace().nth(1).and_then(|status| status.parse().ok()).ok_or_else(cut)?;
    let rest = &raw[end + 4..];
    let body =
        if headers.contains("transfer-encoding: chunked") { unchunk(rest).ok_or_else(cut)? } else { rest.to_vec() };
    Ok(Reply { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?.trim(), 16).ok()?;
        rest = rest.get(line + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
