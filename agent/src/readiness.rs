//! `GET /ready/INSTANCE` for load balancers: plain HTTP on an address of its own. It says the instance's name and one reason,
//! looks when it is asked, and does nothing otherwise.

use crate::host::Host;
use futures::StreamExt as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tracing::{debug, info};

/// How long one caller may take for its question and the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Callers that are answered at once; others wait.
const AT_ONCE: usize = 16;
/// How long to wait after a connection could not be accepted: it happens when file descriptors are short.
const BACK_OFF: Duration = Duration::from_secs(1);
/// What comes before an instance's name.
const PATH: &str = "/ready/";

/// Why nobody can be answered.
#[derive(Debug)]
pub struct CannotListen {
    /// At which address.
    pub address: SocketAddr,
    /// Why not.
    pub source: std::io::Error,
}

/// Takes the address, where the settings name one.
///
/// # Errors
/// When it cannot be taken.
pub async fn listen(address: Option<SocketAddr>) -> Result<Option<TcpListener>, CannotListen> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await.map_err(|source| CannotListen { address, source })?;
    info!(%address, "answers load balancers");
    Ok(Some(listener))
}

/// Answers for as long as it is polled. Never ends.
pub async fn serve(listener: Option<TcpListener>, host: &Host) {
    let Some(listener) = listener else { return std::future::pending().await };
    let connections = TcpListenerStream::new(listener);
    connections
        .for_each_concurrent(AT_ONCE, |connection| async {
            match connection {
                Ok(connection) => converse(connection, host).await,
                Err(error) => {
                    debug!(%error, "could not accept a load balancer's connection");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        })
        .await;
}

/// One question, one answer.
async fn converse(connection: TcpStream, host: &Host) {
    let answer = service_fn(|request| async move { Ok::<_, Infallible>(answer(&request, host).await) });
    let mut http = http1::Builder::new();
    let conversation =
        http.timer(TokioTimer::new()).keep_alive(false).serve_connection(TokioIo::new(connection), answer);
    match tokio::time::timeout(ANSWER_WITHIN, conversation).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a load balancer broke off"),
        Err(_) => debug!("a load balancer took longer than {} s", ANSWER_WITHIN.as_secs()),
    }
}

async fn answer(request: &Request<Incoming>, host: &Host) -> Response<Full<Bytes>> {
    let Some(instance) = request.uri().path().strip_prefix(PATH) else {
        return respond(StatusCode::NOT_FOUND, "there is only /ready/INSTANCE here\n".to_owned());
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, "ask with GET\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match host.ready(instance).await {
        None => respond(StatusCode::NOT_FOUND, "no such instance here\n".to_owned()),
        Some(Ok(())) => respond(StatusCode::OK, format!("{instance}: ready\n")),
        Some(Err(why)) => respond(StatusCode::SERVICE_UNAVAILABLE, format!("{instance}: {why}\n")),
    }
}

fn respond(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
