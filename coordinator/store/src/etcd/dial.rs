//! A client of one endpoint: its channel, certificates and password.

use super::settings::{EtcdSettings, EtcdTls};
use crate::StoreError;
use etcd_client::{Certificate, Channel, Client, ConnectOptions, Identity, TlsOptions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;
use tonic::transport::Endpoint;

/// Oftener than every five seconds etcd takes for an attack, and ends the connection (`--grpc-keepalive-min-time`).
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_ANSWER: Duration = Duration::from_secs(5);

/// Why there is no client.
pub(super) enum CannotDial {
    /// Settings or files are not as they must be.
    Settings(StoreError),
    /// Etcd did not let us in, or did not answer.
    Etcd(etcd_client::Error),
}

/// Makes a client. It connects when it is first used, unless a user must be shown first. A channel of its own: balanced over all
/// endpoints, calls fail for as long as one of them is dead.
pub(super) async fn dial(url: &str, settings: &EtcdSettings) -> Result<Client, CannotDial> {
    let refuse = |why: String| CannotDial::Settings(StoreError::EtcdFile { what: url.to_owned(), why });
    let files = read(settings).map_err(CannotDial::Settings)?;
    let mut endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|error| refuse(error.to_string()))?
        .connect_timeout(settings.read_within())
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER);
    if let Some(tls) = files.tls {
        endpoint = endpoint.tls_config(tls).map_err(|error| refuse(super::chain(&error)))?;
    }
    let mut options = ConnectOptions::new().with_require_leader(true);
    if let Some((user, password)) = files.user {
        options = options.with_user(user, password).with_auto_token_refresh(true);
    }
    let connecting = Client::from_channel(Channel::Tonic(endpoint.connect_lazy()), Some(options));
    match tokio::time::timeout(settings.read_within(), connecting).await {
        Ok(connected) => connected.map_err(CannotDial::Etcd),
        Err(_elapsed) => {
            Err(CannotDial::Etcd(tonic::Status::deadline_exceeded("no answer to user and password").into()))
        }
    }
}

/// What the settings name.
pub(super) struct Files {
    user: Option<(String, String)>,
    tls: Option<TlsOptions>,
}

/// Reads what the settings name. They are small, and read only where a connection is made.
pub(super) fn read(settings: &EtcdSettings) -> Result<Files, StoreError> {
    let user = match &settings.user {
        Some((user, file)) => {
            let password = secret(file)?;
            Some((user.clone(), password.trim_end_matches(['\n', '\r']).to_owned()))
        }
        None => None,
    };
    let tls = match &settings.tls {
        Some(EtcdTls { authority, identity }) => {
            let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(text(authority)?));
            if let Some((certificate, key)) = identity {
                tls = tls.identity(Identity::from_pem(text(certificate)?, secret(key)?));
            }
            Some(tls)
        }
        None => None,
    };
    Ok(Files { user, tls })
}

fn text(path: &Path) -> Result<String, StoreError> {
    std::fs::read_to_string(path)
        .map_err(|error| StoreError::EtcdFile { what: path.display().to_string(), why: error.to_string() })
}

/// A file that nobody but its owner may read.
fn secret(path: &Path) -> Result<String, StoreError> {
    let refuse = |why: String| StoreError::EtcdFile { what: path.display().to_string(), why };
    let mode = std::fs::metadata(path).map_err(|error| refuse(error.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        let why = format!("others than its owner may read it (mode {:04o}); chmod 0600 it", mode & 0o7777);
        return Err(refuse(why));
    }
    text(path)
}
