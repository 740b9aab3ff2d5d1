//! TLS 1.3 from files: what this side shows, whom it believes, and what it says when the two do not meet.
//!
//! - [`files`]: the three files, and what can be wrong with them.
//! - [`certificate`]: what a certificate says of itself.
//! - `accept`: handshakes of those who call.
//! - `dial`: the handshake with whom we call.
//! - `failure`: why a handshake failed, in words.

mod accept;
mod certificate;
mod dial;
mod failure;
mod files;

pub(super) use accept::Accepting;
pub use certificate::{Certificate, Names};
pub(super) use dial::{CannotDial, dial};
pub use files::{CannotUseTls, EXPIRES_SOON_DAYS, TlsFiles};

use files::Loaded;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::{info, warn};

/// This side of TLS. The files are read anew for every connection, so that what replaces them is used without a restart; where
/// the new ones cannot be used, what was read before is used on, and the log says what to do.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    files: TlsFiles,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    loaded: Option<Arc<Loaded>>,
    /// The same fault at every connection is logged once.
    said: String,
}

impl fmt::Debug for Tls {
    /// The key is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.files).finish()
    }
}

impl Tls {
    /// Of these files, which are read when they are first used.
    pub fn new(files: TlsFiles) -> Self {
        Self(Arc::new(Inner { files, state: Mutex::default() }))
    }

    /// The files.
    pub fn files(&self) -> &TlsFiles {
        &self.0.files
    }

    /// What the files say now, or said when they last could be used.
    async fn loaded(&self) -> Result<Arc<Loaded>, CannotUseTls> {
        let inner = self.0.clone();
        // Files may lie on a slow disk, and connections must not wait for each other.
        tokio::task::spawn_blocking(move || inner.look()).await.unwrap_or(Err(CannotUseTls::Stopped))
    }

    /// The names that this side's certificate says.
    ///
    /// # Errors
    /// Where the files cannot be used.
    pub async fn names(&self) -> Result<Names, CannotUseTls> {
        Ok(self.loaded().await?.certificate.names.clone())
    }
}

impl Inner {
    fn look(&self) -> Result<Arc<Loaded>, CannotUseTls> {
        // Every change below leaves whole values behind.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.loaded.clone();
        match (Loaded::read(&self.files, before.as_ref()), before) {
            (Ok(fresh), before) => {
                if before.is_none_or(|before| !Arc::ptr_eq(&before, &fresh)) {
                    tell(&self.files, &fresh.certificate);
                }
                state.loaded = Some(fresh.clone());
                state.said.clear();
                Ok(fresh)
            }
            (Err(error), Some(before)) => {
                let text = error.to_string();
                if text != state.said {
                    let until = before.certificate.not_after;
                    warn!("{text}; the certificate that was read before is used on, valid until {until}");
                    state.said = text;
                }
                Ok(before)
            }
            (Err(error), None) => Err(error),
        }
    }
}

fn tell(files: &TlsFiles, certificate: &Certificate) {
    let Certificate { names, not_after, .. } = certificate;
    let path = files.certificate.display();
    let days = certificate.days_left(files::now());
    if days < EXPIRES_SOON_DAYS {
        warn!(
            "certificate {path} expires in {days} day(s), on {not_after}: put a new one in its place; no restart is needed"
        );
    } else {
        info!(%names, "uses certificate {path}, valid until {not_after}");
    }
}
