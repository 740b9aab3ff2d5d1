//! Bytes that are no message, and no gRPC at all.

use super::raw::{call, frame, message, methods};
use super::support::Site;
use super::{blames, serves};
use cutover_proto::transport::{Endpoint, MAX_MESSAGE_BYTES, connect};
use cutover_proto::v1 as pb;
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
        ("a number that does not end", message(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
        ("a group that never ends", message(&[0x0b; 200])),
        ("compressed, by nothing that was agreed", frame(1, 4, b"abcd")),
        ("a flag that does not exist", frame(7, 4, b"abcd")),
        ("four gigabytes, it says", frame(0, u32::MAX, b"abcd")),
        ("a byte more than the largest", frame(0, u32::try_from(MAX_MESSAGE_BYTES).unwrap() + 1, b"")),
    ];
    for path in methods() {
        for (what, body) in broken {
            let status = call(&channel, &path, body.clone()).await;
            println!("{path} {what}: {:?} {}", status.code(), status.message());
        }
    }
    serves(&site.endpoint).await;
    coordinator.stop().await;
}
