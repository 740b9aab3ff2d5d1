//! Messages that the transport cannot read. It answers them before any service sees them, with a status of its own; a client gets a
//! refusal like any other instead, with a code that it can act on.

use cutover_proto::transport::MAX_MESSAGE_BYTES;
use cutover_proto::{Code, Refused};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::Response;

/// What the transport says of a message that it cannot read, as a refusal; none where the status says something else: what it says
/// of a connection that is gone, and every refusal of ours.
pub(crate) fn unread(status: &Status) -> Option<Refused> {
    let of_transport = Refused::of(status).is_none();
    let cannot_read = matches!(status.code(), tonic::Code::Internal | tonic::Code::OutOfRange);
    (of_transport && cannot_read).then(|| {
        Refused::new(
            Code::InvalidArgument,
            format!("the message cannot be read: {}", status.message()),
            format!("send what the .proto files of this version describe, {MAX_MESSAGE_BYTES} bytes at most"),
        )
    })
}

/// For every answer: a status that came instead of a first message stands in its head.
pub(super) fn say_so(answer: Response<Body>) -> Response<Body> {
    let refused = Status::from_header_map(answer.headers()).and_then(|status| unread(&status));
    refused.map_or(answer, |refused| Status::from(refused).into_http())
}
