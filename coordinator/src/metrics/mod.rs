//! `GET /metrics` for Prometheus: plain HTTP on an address of its own, apart from the API.

mod scrape;

use crate::election::Shared;
use crate::run::CannotRun;
use futures::StreamExt as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tracing::{debug, info};

/// How long one caller may take for its question and the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Callers that are answered at once; others wait.
const AT_ONCE: usize = 8;
/// How long to wait after a connection could not be accepted: it happens when file descriptors are short.
const BACK_OFF: Duration = Duration::from_secs(1);
/// The text format of Prometheus.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Takes the address, where the settings name one.
pub(crate) async fn listen(address: Option<SocketAddr>) -> Result<Option<TcpListener>, CannotRun> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await.map_err(|source| CannotRun::Metrics { address, source })?;
    info!(%address, "serves metrics");
    Ok(Some(listener))
}

/// Answers for as long as it is polled. Never ends.
pub(crate) async fn serve(listener: Option<TcpListener>, shared: &Arc<Shared>) {
    let Some(listener) = listener else { return std::future::pending().await };
    let connections = TcpListenerStream::new(listener);
    connections
        .for_each_concurrent(AT_ONCE, |connection| async {
            match connection {
                Ok(connection) => converse(connection, shared).await,
                Err(error) => {
                    debug!(%error, "could not accept a connection for metrics");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        })
        .await;
}

/// One question, one answer.
async fn converse(connection: TcpStream, shared: &Arc<Shared>) {
    let answer = service_fn(|request| async move { Ok::<_, Infallible>(answer(&request, shared)) });
    let mut http = http1::Builder::new();
    let conversation =
        http.timer(TokioTimer::new()).keep_alive(false).serve_connection(TokioIo::new(connection), answer);
    match tokio::time::timeout(ANSWER_WITHIN, conversation).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a scrape was broken off"),
        Err(_) => debug!("a scrape took longer than {} s", ANSWER_WITHIN.as_secs()),
    }
}

fn answer(request: &Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET) => respond(StatusCode::OK, CONTENT_TYPE, TEXT, scrape::text(shared)),
        ("/metrics", _) => respond(StatusCode::METHOD_NOT_ALLOWED, ALLOW, "GET", "ask with GET\n".to_owned()),
        (_, _) => respond(StatusCode::NOT_FOUND, CONTENT_TYPE, TEXT, "there is only /metrics here\n".to_owned()),
    }
}

fn respond(status: StatusCode, header: HeaderName, value: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header, hyper::header::HeaderValue::from_static(value));
    response
}
