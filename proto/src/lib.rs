//! The wire: cutover.v1, its generated code, and the only conversions between wire and vocabulary.

/// `cutover.v1` as generated from `proto/cutover/v1`; the comments there are the reference.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::wildcard_enum_match_arm,
    reason = "generated code, documented in the .proto files"
)]
pub mod v1 {
    tonic::include_proto!("cutover.v1");
}

/// Every message and service of `cutover.v1` with its comments, for server reflection and `docs/api.md`.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("cutover.v1");
