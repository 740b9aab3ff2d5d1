//! The wire: cutover.v1, its generated code, and the only conversions between wire and vocabulary.
//!
//! - [`v1`]: messages, clients and servers as generated; the comments in `proto/cutover/v1` are the reference.
//! - [`convert`]: `From` towards the wire, `TryFrom` towards the vocabulary.
//! - [`malformed`]: what a message got wrong, and readers for single fields of requests.
//! - [`refused`]: how the API says no.
//! - `transport` (feature, on by default): addresses, sockets and limits.

pub mod convert;
pub mod malformed;
pub mod refused;
#[cfg(feature = "transport")]
pub mod transport;

pub use convert::{heard, spoken};
pub use malformed::Malformed;
pub use refused::{Code, Refused};

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
