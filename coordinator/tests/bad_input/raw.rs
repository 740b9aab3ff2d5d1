//! A client without stubs: it sends what it likes and reads the status.

use cutover_proto::FILE_DESCRIPTOR_SET;
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use std::future::poll_fn;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::Request;
use tonic::codegen::{Bytes, Service as _};
use tonic::transport::Channel;

/// Every method of the API by its path.
pub(crate) fn methods() -> Vec<String> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let services = set.file.iter().flat_map(|file| file.service.iter().map(move |service| (file.package(), service)));
    let paths = services.flat_map(|(package, service)| {
        service.method.iter().map(move |method| format!("/{package}.{}/{}", service.name(), method.name()))
    });
    paths.collect()
}

/// A frame of gRPC: a flag, the length that is declared, and what comes.
pub(crate) fn frame(flag: u8, declared: u32, payload: &[u8]) -> Vec<u8> {
    [&[flag][..], &declared.to_be_bytes(), payload].concat()
}

/// A frame as it should be.
pub(crate) fn message(payload: &[u8]) -> Vec<u8> {
    frame(0, u32::try_from(payload.len()).unwrap(), payload)
}

/// A request with this body.
pub(crate) fn request(path: &str, body: Body) -> Request<Body> {
    Request::post(path).header("content-type", "application/grpc").header("te", "trailers").body(body).unwrap()
}

/// Calls a method with a body of the caller's making.
pub(crate) async fn call(channel: &Channel, path: &str, body: Vec<u8>) -> Status {
    let mut channel = channel.clone();
    poll_fn(|context| channel.poll_ready(context)).await.unwrap();
    let request = request(path, Body::new(Full::new(Bytes::from(body))));
    let answer = match channel.call(request).await {
        Ok(answer) => answer,
        Err(error) => panic!("{path}: no answer, the connection broke: {error:?}"),
    };
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return status;
    }
    let trailers = answer.into_body().collect().await.map(|body| body.trailers().cloned());
    match trailers {
        Ok(Some(trailers)) => Status::from_header_map(&trailers).unwrap_or_else(|| panic!("{path}: {trailers:?}")),
        Ok(None) => panic!("{path}: no status came"),
        Err(status) => status,
    }
}
