//! How the three programs reach each other: addresses, sockets and limits, the same for server and client.

mod client;
mod connection;
mod endpoint;
mod lock;
mod server;
mod tls;

pub use client::{CannotConnect, connect, connect_lazy, connect_with};
pub use connection::{Caller, Connection};
pub use endpoint::{Endpoint, InvalidEndpoint, Remote};
pub use lock::take_lock;
pub use server::{CannotListen, Listening, builder, listen, listen_on};
pub use tls::{CannotUseTls, Certificate, EXPIRES_SOON_DAYS, Names, Tls, TlsFiles};

use std::time::Duration;

/// Largest message that either side takes. It is gRPC's own default, so that foreign clients need no setting; pages and
/// chunks are cut to stay below it.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// How often an idle connection is probed, so that a link whose other host is gone is noticed.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How long a probe may stay unanswered before the connection counts as dead.
pub const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(10);

/// How long connecting may take.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(5);
