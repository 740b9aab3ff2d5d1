//! Bad input at the wire, over real sockets: whatever comes is answered by a status that says what is wrong, nothing panics, and the
//! coordinator goes on serving.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod fields;
mod frames;
mod leaving;
mod link;
mod raw;
#[path = "../support/mod.rs"]
mod support;

use cutover_proto::Refused;
use cutover_proto::transport::{Endpoint, connect_lazy};
use cutover_proto::v1::fleet_client::FleetClient;
use cutover_proto::v1::{self as pb};
use support::{panics, until};
use tonic::Status;

/// Texts that no name, version or digest may be, and that a terminal, a shell or a database might take for more than text.
const HOSTILE: &[&str] = &[
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "a\0b",
    "a\nb\r",
    "\u{9b}31m",
    "'; DROP TABLE facts; --",
    "\" OR \"\"=\"",
    "../../etc/passwd",
    "$(reboot)",
    "%s%n",
    "prod\u{202e}",
    "-rf",
];

/// That a coordinator leads and answers, and that nothing of it panicked.
async fn serves(endpoint: &Endpoint) {
    panics::none();
    until("the coordinator to serve", || async {
        let leader = FleetClient::new(connect_lazy(endpoint)).get_leader(pb::GetLeaderRequest {}).await.ok()?;
        leader.into_inner().leading.then_some(())
    })
    .await;
}

/// A refusal of ours that blames this field, and that can be printed as it is.
fn blames(status: &Status, field: &str) {
    let refused = Refused::of(status).unwrap_or_else(|| panic!("no refusal of ours: {status:?}"));
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{refused:?}");
    assert_eq!(refused.metadata.get("field").map(String::as_str), Some(field), "{refused:?}");
    can_be_printed(&refused);
}

fn can_be_printed(refused: &Refused) {
    for text in [&refused.message, &refused.remedy] {
        assert!(!text.contains(char::is_control), "{text:?}");
    }
}
