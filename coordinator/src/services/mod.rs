//! The API: gRPC services over the conversions. Nothing is decided here.

pub(crate) mod access;
mod fleet;
mod list;
mod refusals;
mod unread;
mod upgrades;
mod watch;

use crate::election::Shared;
use crate::links::Attach;
use access::{Door, Speaker};
use cutover_proto::transport::{MAX_MESSAGE_BYTES, builder};
use cutover_proto::v1 as pb;
use cutover_proto::{FILE_DESCRIPTOR_SET, malformed, refused::Refused};
use cutover_vocabulary::{OperatorName, RequestId};
use fleet::Fleet;
pub(crate) use refusals::refuse;
use std::collections::BTreeSet;
use std::sync::Arc;
use tonic::body::Body;
use tonic::codegen::InterceptedService;
use tonic::codegen::http::Response;
use tonic::transport::server::Router;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::layer::util::{Identity, Stack};
use tower::util::MapResponseLayer;
pub(crate) use unread::unread;
use upgrades::Upgrades;

/// Of every answer.
type Layers = Stack<MapResponseLayer<fn(Response<Body>) -> Response<Body>>, Identity>;

/// Every service, ready to be served; and what tells the health service who leads. `operators` are let in over TLS.
pub(crate) fn all(
    shared: &Arc<Shared>,
    operators: &Arc<BTreeSet<OperatorName>>,
) -> Result<(Router<Layers>, HealthReporter), tonic_reflection::server::Error> {
    let agents =
        pb::agent_link_server::AgentLinkServer::new(Attach { shared: shared.clone(), operators: operators.clone() });
    let door = Door { operators: operators.clone() };
    let upgrades = pb::upgrades_server::UpgradesServer::new(Upgrades { shared: shared.clone() });
    let fleet = pb::fleet_server::FleetServer::new(Fleet { shared: shared.clone() });
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let say_so: fn(Response<Body>) -> Response<Body> = unread::say_so;
    let router = builder()
        .layer(MapResponseLayer::new(say_so))
        .add_service(agents.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(InterceptedService::new(
            upgrades.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES),
            door.clone(),
        ))
        .add_service(InterceptedService::new(
            fleet.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES),
            door,
        ))
        .add_service(health)
        .add_service(reflection);
    Ok((router, reporter))
}

/// Keeps the health service true: the process serves; agents and upgrades are served only by the leader. Never ends.
pub(crate) async fn report_health(shared: &Shared, reporter: &HealthReporter) {
    let mut leading = shared.leading.subscribe();
    loop {
        let status =
            if leading.borrow_and_update().is_some() { ServingStatus::Serving } else { ServingStatus::NotServing };
        reporter.set_service_status("cutover.v1.Upgrades", status).await;
        reporter.set_service_status("cutover.v1.AgentLink", status).await;
        reporter.set_service_status("cutover.v1.Fleet", ServingStatus::Serving).await;
        if leading.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Longest text of a person that is stored with a fact, in bytes.
const LONGEST_REASON: usize = 4_000;

/// Who calls, and with which call.
fn caller(speaker: &Speaker, operator: &str, request: &str) -> Result<(OperatorName, RequestId), Refused> {
    Ok((speaker.named(operator)?, malformed::text("request_id", request)?))
}

/// A person's reason.
fn reason(text: String) -> Result<String, Refused> {
    words("reason", text)
}

/// A person's words in a field of a request.
fn words(field: &str, text: String) -> Result<String, Refused> {
    if text.len() > LONGEST_REASON {
        let why = format!("it has {} bytes and may have {LONGEST_REASON}", text.len());
        return Err(malformed::Malformed::at(field, why).into());
    }
    Ok(text)
}
