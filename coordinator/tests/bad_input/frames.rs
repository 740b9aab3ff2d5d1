//! Bytes that are no message, and no gRPC at all.

use super::raw::{call, frame, message, methods};
use super::support::Site;
use super::{blames, can_be_printed, serves};
use cutover_proto::Refused;
use cutover_proto::transport::{Endpoint, MAX_MESSAGE_BYTES, connect};
use cutover_proto::v1 as pb;
use cutover_proto::v1::upgrades_client::UpgradesClient;
use prost::Message as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_message_get_a_status_from_every_method() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    serves(&site.endpoint).await;
    let channel = connect(&site.endpoint).await.unwrap();
    let broken: &[(&str, Vec<u8>)] = &[
        ("nothing", Vec::new()),
        ("half a head", vec![0, 0]),
        ("a head alone", frame(0, 5, b"")),
        ("a frame that ends early", frame(0, 100, b"\x0a\x04prod")),
        ("a field without its number", message(b"\x00")),
        ("a text that ends early", message(b"\x0a\x7fprod")),
        ("a text that is no UTF-8", message(b"\x0a\x02\xff\xfe")),
        (
            "a number that does not end",
            message(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ),
        ("a group that never ends", message(&[0x0b; 200])),
        ("compressed, by nothing that was agreed", frame(1, 4, b"abcd")),
        ("a flag that does not exist", frame(7, 4, b"abcd")),
        ("four gigabytes, it says", frame(0, u32::MAX, b"abcd")),
        ("a byte more than the largest", frame(0, u32::try_from(MAX_MESSAGE_BYTES).unwrap() + 1, b"")),
    ];
    for path in methods() {
        for (what, body) in broken {
            let status = call(&channel, &path, body.clone()).await;
            // An agent may go before it said anything, and a message without fields has none that could be wrong.
            let nothing_said = path.ends_with("Attach") && matches!(*what, "nothing" | "a head alone");
            let no_such_field = *what == "a text that is no UTF-8" && status.code() == Code::Ok;
            if nothing_said || no_such_field && EMPTY.iter().any(|name| path.ends_with(name)) {
                continue;
            }
            let refused = Refused::of(&status).unwrap_or_else(|| panic!("{path}, {what}: {status:?}"));
            assert_eq!((refused.code.clone(), status.code()), (INVALID, Code::InvalidArgument), "{path}, {what}");
            assert!(refused.message.starts_with("the message cannot be read"), "{path}, {what}: {refused:?}");
            can_be_printed(&refused);
        }
    }
    let unknown = call(&channel, "/cutover.v1.Upgrades/NoSuchMethod", message(b"")).await;
    assert_eq!(unknown.code(), Code::Unimplemented);
    serves(&site.endpoint).await;
    coordinator.stop().await;
}

/// Methods whose request has no fields.
const EMPTY: &[&str] = &["ListDeployments", "GetLeader"];
const INVALID: cutover_proto::Code = cutover_proto::Code::InvalidArgument;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_as_large_as_allowed_is_read_and_a_byte_more_is_refused() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    serves(&site.endpoint).await;
    let mut client = UpgradesClient::new(connect(&site.endpoint).await.unwrap());
    let asked = |bytes: usize| pb::SteerRequest {
        upgrade: "prod-1".to_owned(),
        reason: "x".repeat(bytes),
        request_id: "r-1".to_owned(),
        operator: "ops".to_owned(),
    };
    let around = asked(MAX_MESSAGE_BYTES).encoded_len() - MAX_MESSAGE_BYTES;
    let largest = asked(MAX_MESSAGE_BYTES - around);
    assert_eq!(largest.encoded_len(), MAX_MESSAGE_BYTES);
    blames(&client.close(largest).await.unwrap_err(), "reason");
    let larger = client.close(asked(MAX_MESSAGE_BYTES - around + 1)).await.unwrap_err();
    let refused = Refused::of(&larger).unwrap_or_else(|| panic!("{larger:?}"));
    assert!(refused.message.contains("too large") && refused.remedy.contains("4194304"), "{refused:?}");
    serves(&site.endpoint).await;
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_speak_no_grpc_are_dropped_and_hold_up_nobody() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    serves(&site.endpoint).await;
    let Endpoint::Unix(socket) = &site.endpoint else { panic!("the site has a Unix socket") };
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    // A frame of HTTP/2: its length, type and flags, its stream.
    let header = |length: u32, kind: u8, flags: u8, stream: u32| {
        [&length.to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes()].concat()
    };
    let after = |frame: Vec<u8>| [&preface[..], &header(0, 4, 0, 0), &frame].concat();
    let wrong = [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        vec![0xff; 4096],
        after(header(0x00ff_ffff, 0, 0, 1)),
        after([header(4, 8, 0, 0), vec![0, 0, 0, 0]].concat()),
        after([header(5, 1, 4, 1), vec![0xff; 5]].concat()),
        after([header(6, 4, 1, 0), vec![0; 6]].concat()),
    ];
    // One that says half a sentence and waits is there all the time.
    let mut waits = UnixStream::connect(socket).await.unwrap();
    waits.write_all(&preface[..10]).await.unwrap();
    for bytes in wrong {
        let mut connection = UnixStream::connect(socket).await.unwrap();
        connection.write_all(&bytes).await.unwrap();
        let end = async {
            let mut answer = Vec::new();
            // That it was reset is an end as well.
            let _ = connection.read_to_end(&mut answer).await;
        };
        let dropped = tokio::time::timeout(Duration::from_secs(20), end).await;
        assert!(dropped.is_ok(), "still open after {:02x?}", &bytes[..bytes.len().min(40)]);
        serves(&site.endpoint).await;
    }
    drop(waits);
    coordinator.stop().await;
}
