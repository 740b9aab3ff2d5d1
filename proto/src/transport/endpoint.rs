//! Addresses.

use rustls_pki_types::ServerName;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a coordinator listens: a Unix socket, a loopback port, or any port under TLS. No other without TLS, which alone tells
/// who speaks there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// A socket in the file system; who may use it, its permissions say.
    Unix(PathBuf),
    /// A loopback port; whoever is on the host may use it.
    Loopback(SocketAddr),
    /// A port that others on the network may reach; who may use it, certificates say.
    Tls(Remote),
}

/// A host and a port of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Remote {
    host: String,
    port: u16,
}
impl Remote {
    /// A host by its DNS name or its address in numbers; none where the text is neither.
    pub fn new(host: &str, port: u16) -> Option<Self> {
        ServerName::try_from(host).ok().map(|_| Self { host: host.to_owned(), port })
    }
    /// The host, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }
    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// The same host with another port.
    pub(super) fn at(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }
    /// Of `host:port`, with brackets around an IPv6 address.
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(host) => host.strip_suffix(']').filter(|host| host.contains(':'))?,
            None => Some(host).filter(|host| !host.contains(':'))?,
        };
        Self::new(host, port.parse().ok()?)
    }
}
impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// A text that is no usable address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} cannot be used as an address: {why}")]
pub struct InvalidEndpoint {
    /// The text as given.
    pub text: String,
    /// Why not, and what to write instead.
    pub why: String,
}

/// Longest path of a socket in bytes. The kernel takes 107 (unix(7)); a few are kept for the name under which the
/// socket is made before it is moved into place.
const LONGEST_PATH: usize = 100;

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;
    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let refuse = |why: String| Err(InvalidEndpoint { text: text.to_owned(), why });
        if let Some(path) = text.strip_prefix("unix:") {
            // gRPC's own name syntax writes the same as unix:///path.
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                path if !path.starts_with('/') => refuse("the path after unix: must begin with /".to_owned()),
                path if path.len() > LONGEST_PATH => refuse(format!(
                    "the path has {} bytes and a socket's path may have {LONGEST_PATH}: choose a shorter folder",
                    path.len()
                )),
                path if path.ends_with('/') || path.contains('\0') => refuse("the path names no file".to_owned()),
                path => Ok(Self::Unix(PathBuf::from(path))),
            };
        }
        if let Some(remote) = text.strip_prefix("https://") {
            let known = Remote::parse(remote.strip_suffix('/').unwrap_or(remote));
            return known.map(Self::Tls).ok_or(()).or_else(|()| {
                refuse("a host and a port must follow https://, like https://coordinator.example.com:7443".to_owned())
            });
        }
        let Some(address) = text.strip_prefix("http://") else {
            return refuse("write it as unix:/path, http://127.0.0.1:port or https://host:port".to_owned());
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        match address.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Loopback(address)),
            Ok(address) => refuse(format!(
                "{} is not a loopback address, and without TLS anybody on the network could give orders: use \
                 https://{address} with certificates, unix:/path, or http://127.0.0.1:{}",
                address.ip(),
                address.port()
            )),
            Err(_) => refuse(
                "a loopback address in numbers and a port must follow http://, like http://127.0.0.1:7080; other hosts \
                 are named under TLS, like https://coordinator.example.com:7443"
                    .to_owned(),
            ),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Loopback(address) => write!(f, "http://{address}"),
            Self::Tls(remote) => write!(f, "https://{remote}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written_the_same() {
        for text in [
            "unix:/run/cutover/coordinator.sock",
            "http://127.0.0.1:7080",
            "http://[::1]:7080",
            "https://coordinator.example.com:7443",
            "https://10.0.0.7:7443",
            "https://[2001:db8::7]:7443",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!("unix:///run/c.sock".parse(), Ok(Endpoint::Unix("/run/c.sock".into())));
    }

    #[test]
    fn an_address_that_others_on_the_network_could_reach_is_refused_for_want_of_tls() {
        for text in ["http://0.0.0.0:7080", "http://10.0.0.7:7080", "http://coordinator:7080"] {
            let refused = text.parse::<Endpoint>().unwrap_err();
            assert!(refused.why.contains("TLS"), "{refused}");
        }
    }

    #[test]
    fn a_text_that_is_no_address_says_what_to_write() {
        for text in ["", "127.0.0.1:7080", "unix:run/c.sock", "unix:/", "http://127.0.0.1", "unix:/x\0"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text:?}");
        }
        for text in [
            "https://",
            "https://host",
            "https://:1",
            "https://::1:7",
            "https://a b:1",
            "https://h:70000",
            "https://h:1/x",
        ] {
            let refused = text.parse::<Endpoint>().unwrap_err();
            assert!(refused.why.contains("like https://"), "{refused}");
        }
        let long = format!("unix:/{}", "x".repeat(110)).parse::<Endpoint>().unwrap_err();
        assert!(long.why.contains("shorter folder"), "{long}");
    }
}
