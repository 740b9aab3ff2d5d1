//! The ledger's HTTP API, as far as it is read. Reads only names that exist: a GET on `/{name}/stats` creates the ledger.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cutover_vocabulary::{LedgerName, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// How much of an answer is read, in bytes: `/_info` lists every ledger.
const LARGEST: usize = 8 << 20;

/// Something that went wrong with a request.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nobody answers there.
    #[error("nobody answers at {address}: {source}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The answer did not come, or broke off.
    #[error("GET {path} at {address} was not answered: {why}")]
    Broken {
        /// Where.
        address: SocketAddr,
        /// What.
        path: String,
        /// Why not.
        why: String,
    },
    /// The answer is an error.
    #[error("GET {path} at {address} was answered with {status}: {body}")]
    Status {
        /// Where.
        address: SocketAddr,
        /// What.
        path: String,
        /// Which status.
        status: StatusCode,
        /// What else it said, shortened.
        body: String,
    },
    /// The answer is not the ledger's.
    #[error("{address} answers, but not as a ledger: {why}")]
    NotALedger {
        /// Where.
        address: SocketAddr,
        /// What is missing.
        why: String,
    },
}
impl HttpError {
    /// Whether the same request may be answered well in a moment. A ledger whose sessions its database server ended (a restart, a
    /// failover) answers one or two requests with an error of its own, and the next ones well (measured, every release on PostgreSQL).
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken { .. } => true,
            Self::Status { status, .. } => status.is_server_error(),
            Self::NotALedger { .. } => false,
        }
    }
}

/// An answer, as far as it was read.
struct Answer {
    body: Vec<u8>,
    /// Whether it went on beyond [`LARGEST`].
    cut: bool,
}

/// A ledger that listens.
#[derive(Debug, Clone)]
pub struct Http {
    address: SocketAddr,
    limit: Duration,
    /// Tried one after the other where the ledger refuses; a service that asks for none passes over the first.
    credentials: Arc<[SecretString]>,
}

impl Http {
    /// At an address, with a limit for each request.
    pub fn new(address: SocketAddr, limit: Duration) -> Self {
        Self { address, limit, credentials: Arc::new([]) }
    }
    /// With names and passwords that its settings hold.
    #[must_use]
    pub fn with(mut self, credentials: Vec<SecretString>) -> Self {
        self.credentials = credentials.into();
        self
    }

    /// `/_info`: the version that answers. Creates nothing, in any release.
    pub async fn version(&self) -> Result<Version, HttpError> {
        let Answer { body, cut } = self.get("/_info").await?;
        let not = |why: String| HttpError::NotALedger { address: self.address, why };
        if cut {
            let why = format!("it is longer than {LARGEST} bytes");
            return Err(HttpError::Broken { address: self.address, path: "/_info".to_owned(), why });
        }
        let value: serde_json::Value =
            serde_json::from_slice(&body).map_err(|error| not(format!("/_info: {error}")))?;
        let text = value.pointer("/data/version").and_then(serde_json::Value::as_str);
        let text = text.ok_or_else(|| not("/_info names no version".to_owned()))?;
        Version::parse(text).map_err(|error| not(error.to_string()))
    }

    /// `/_health`: that it is well. Releases before 1.3 have no such page, and are well if they answer.
    pub async fn well(&self) -> Result<(), HttpError> {
        match self.get("/_health").await {
            Err(HttpError::Status { status: StatusCode::NOT_FOUND, .. }) => self.get("/_info").await.map(drop),
            answer => answer.map(drop),
        }
    }

    /// `/{ledger}/stats` and its newest transactions: that the ledger can be read. Only for a ledger that is known to exist. A page
    /// of transactions may be of any length, so an answer that is longer than what is read of it is good.
    pub async fn read(&self, ledger: &LedgerName) -> Result<(), HttpError> {
        self.get(&format!("/{}/stats", encoded(ledger.as_str()))).await?;
        self.get(&format!("/{}/transactions", encoded(ledger.as_str()))).await?;
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<Answer, HttpError> {
        let mut answer = self.get_as(path, self.credentials.first()).await;
        for credentials in self.credentials.iter().skip(1) {
            match answer {
                // Releases up to 1.3.1 refuse with 403, later ones with 401 (measured).
                Err(HttpError::Status { status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, .. }) => {}
                Ok(_) | Err(_) => break,
            }
            answer = self.get_as(path, Some(credentials)).await;
        }
        answer
    }

    async fn get_as(&self, path: &str, credentials: Option<&SecretString>) -> Result<Answer, HttpError> {
        let broken = |why: String| HttpError::Broken { address: self.address, path: path.to_owned(), why };
        match tokio::time::timeout(self.limit, self.get_without_limit(path, credentials)).await {
            Ok(answer) => answer,
            Err(_) => Err(broken(format!("no answer within {} ms", self.limit.as_millis()))),
        }
    }

    async fn get_without_limit(&self, path: &str, credentials: Option<&SecretString>) -> Result<Answer, HttpError> {
        let broken = |why: String| HttpError::Broken { address: self.address, path: path.to_owned(), why };
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|source| HttpError::Connect { address: self.address, source })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(error.to_string()))?;
        let mut request = Request::get(path).header("host", self.address.to_string()).header("connection", "close");
        if let Some(credentials) = credentials {
            request = request.header("authorization", format!("Basic {}", BASE64.encode(credentials.expose_secret())));
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| broken(error.to_string()))?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(|error| broken(error.to_string()))?;
            let status = answer.status();
            let (mut body, mut read, mut cut) = (answer.into_body(), Vec::new(), false);
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(|error| broken(error.to_string()))?.into_data() else { continue };
                cut = read.len() + data.len() > LARGEST;
                if cut {
                    break;
                }
                read.extend_from_slice(&data);
            }
            if !status.is_success() {
                let body = String::from_utf8_lossy(&read).chars().take(200).collect();
                return Err(HttpError::Status { address: self.address, path: path.to_owned(), status, body });
            }
            Ok(Answer { body: read, cut })
        };
        // The connection is driven here, so that it is closed when this returns: a drain counts connections.
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            ended = connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(broken(error.to_string())),
            },
        }
    }
}

/// A ledger's name as one segment of a path.
fn encoded(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// A ledger that gives every request this status and more than is read of an answer.
    async fn answers_at_length(status: &'static str) -> Http {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let length = 2 * LARGEST;
                let _ = stream.read(&mut [0; 1024]).await;
                let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
                // Whoever has read enough closes.
                let _ = stream.write_all(&vec![b' '; length]).await;
            }
        });
        Http::new(address, Duration::from_secs(20))
    }

    #[tokio::test]
    async fn a_ledger_whose_answer_is_longer_than_what_is_read_of_it_can_be_read() {
        let ledger = LedgerName::new("main").unwrap();
        answers_at_length("200 OK").await.read(&ledger).await.unwrap();
        let failed = answers_at_length("503 Service Unavailable").await.read(&ledger).await;
        assert!(matches!(failed, Err(HttpError::Status { status: StatusCode::SERVICE_UNAVAILABLE, .. })), "{failed:?}");
        let version = answers_at_length("200 OK").await.version().await;
        assert!(matches!(version, Err(HttpError::Broken { .. })), "{version:?}");
    }

    #[test]
    fn a_name_cannot_leave_its_segment_of_the_path() {
        assert_eq!(encoded("a/../b?c"), "a%2F..%2Fb%3Fc");
    }
}
