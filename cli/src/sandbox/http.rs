//! The ledger's HTTP API as its clients use it: one request a connection, JSON in and out.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::error::Error as StdError;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    /// Its status.
    pub(super) status: StatusCode,
    /// Its body; null where it is no JSON.
    pub(super) body: Value,
}

/// There was no whole answer: nothing is known of the request's effect.
#[derive(Debug, thiserror::Error)]
#[error("{method} http://{address}{path} got no answer")]
pub(super) struct Unanswered {
    method: Method,
    address: String,
    path: String,
    #[source]
    source: Box<dyn StdError + Send + Sync>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ledger {
    /// Host and port.
    pub(super) address: String,
}

impl Ledger {
    /// Asks.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub(super) async fn get(&self, path: &str) -> Result<Reply, Unanswered> {
        self.send(Method::GET, path, None).await
    }

    /// Writes.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Reply, Unanswered> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// The version that answers.
    pub(super) async fn version(&self) -> Option<String> {
        let reply = self.get("/_info").await.ok()?;
        reply.body["data"]["version"].as_str().map(str::to_owned)
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, Unanswered> {
        let unanswered = |source| Unanswered {
            method: method.clone(),
            address: self.address.clone(),
            path: path.to_owned(),
            source,
        };
        match tokio::time::timeout(PATIENCE, self.exchange(&method, path, body)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(source)) => Err(unanswered(source)),
            Err(late) => Err(unanswered(Box::new(late))),
        }
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply, Box<dyn StdError + Send + Sync>> {
        let stream = TcpStream::connect(&self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.address)
            .header("connection", "close")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let bytes = response.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>((status, bytes))
        };
        // The connection makes progress only while it is polled, and has nothing to say once the answer is whole.
        tokio::pin!(connection);
        tokio::pin!(exchange);
        let (status, bytes) = tokio::select! {
            answer = &mut exchange => answer?,
            ended = &mut connection => {
                ended?;
                exchange.await?
            }
        };
        Ok(Reply { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
    }
}
