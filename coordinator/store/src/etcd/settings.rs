//! Which etcd, and how it is spoken to.

use std::path::PathBuf;
use std::time::Duration;

/// Which etcd, and how it is spoken to. No secret is in here: password and key stay in their files, which are read anew for
/// every connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdSettings {
    /// Client URLs of its members, `http://HOST:PORT` or `https://HOST:PORT`; at least one.
    pub endpoints: Vec<String>,
    /// What every key begins with, with a slash at its end.
    pub prefix: String,
    /// How long a leader that is not heard stays the leader, in whole seconds.
    pub lease: Duration,
    /// Where etcd asks for a user: its name, and the file that holds its password.
    pub user: Option<(String, PathBuf)>,
    /// For `https://`.
    pub tls: Option<EtcdTls>,
}

/// Certificates for etcd, in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdTls {
    /// The authorities that sign the certificates of etcd's members.
    pub authority: PathBuf,
    /// What is shown to etcd where it asks for certificates: ours, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl EtcdSettings {
    /// The prefix where none is chosen.
    pub const PREFIX: &str = "cutover/";
    /// The lease where none is chosen.
    pub const LEASE: Duration = Duration::from_secs(5);

    /// These endpoints, all else by default.
    pub fn new(endpoints: impl IntoIterator<Item = String>) -> Self {
        Self {
            endpoints: endpoints.into_iter().collect(),
            prefix: Self::PREFIX.to_owned(),
            lease: Self::LEASE,
            user: None,
            tls: None,
        }
    }

    /// How long one endpoint has to answer what may be asked again elsewhere. Short enough that a keep-alive which met a hung
    /// endpoint still reaches another one in time.
    pub(super) fn read_within(&self) -> Duration {
        (self.lease / 4).max(Duration::from_millis(400))
    }

    /// How long a write waits for its answer before that counts as lost.
    pub(super) fn write_within(&self) -> Duration {
        (self.lease / 2).max(Duration::from_millis(800))
    }

    /// How long before the lease's end a leader stops relying on it: for its tasks to end before another leads.
    pub(super) fn margin(ttl: Duration) -> Duration {
        ttl / 5
    }
}
