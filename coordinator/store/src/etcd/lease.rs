//! The handle's lease: kept alive by a task, valid from the moment a keep-alive was sent.

use super::Inner;
use super::clock::Boot;
use super::endpoints::Repeat;
use super::settings::EtcdSettings;
use crate::StoreError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A lease that etcd gave.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) id: i64,
    /// How long it lives after each keep-alive: what etcd granted, which may be longer than what was asked for.
    ttl: Duration,
    /// Until when it may be relied on, in milliseconds of [`Boot`]: some time before etcd can end it.
    valid_until: AtomicU64,
    /// Etcd said that it is gone.
    gone: AtomicBool,
    /// How often it was not renewed in time. What was won before does not come back when it is renewed late: somebody may have
    /// been told already that it is over.
    lapses: AtomicU64,
}

impl Lease {
    fn new(id: i64, sent: Boot, ttl: i64) -> Self {
        let ttl = Duration::from_secs(u64::try_from(ttl).unwrap_or(0));
        let valid_until = AtomicU64::new(reliable(sent, ttl).0);
        Self { id, ttl, valid_until, gone: AtomicBool::new(false), lapses: AtomicU64::new(0) }
    }

    /// A keep-alive that was sent at `sent` was answered. Only the task of the handle calls this, or the election, one at a time.
    fn renewed(&self, sent: Boot) {
        if self.left().is_zero() {
            self.lapses.fetch_add(1, Ordering::SeqCst);
        }
        self.valid_until.fetch_max(reliable(sent, self.ttl).0, Ordering::SeqCst);
    }

    /// How much longer it may be relied on.
    pub(super) fn left(&self) -> Duration {
        if self.gone.load(Ordering::SeqCst) {
            return Duration::ZERO;
        }
        Boot(self.valid_until.load(Ordering::SeqCst)).left()
    }

    /// How often it lapsed so far; compared with later, after [`Lease::left`] was asked: a renewal counts the lapse first.
    pub(super) fn lapses(&self) -> u64 {
        self.lapses.load(Ordering::SeqCst)
    }
}

fn reliable(sent: Boot, ttl: Duration) -> Boot {
    sent.after(ttl.saturating_sub(EtcdSettings::margin(ttl)))
}

/// The handle's present lease.
#[derive(Debug, Default)]
pub(super) struct Session {
    lease: Mutex<Option<Arc<Lease>>>,
    /// One renewal or grant at a time.
    renewing: tokio::sync::Mutex<()>,
}

impl Session {
    pub(super) fn present(&self) -> Option<Arc<Lease>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn set(&self, lease: Option<Arc<Lease>>) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = lease;
    }
}

impl Inner {
    /// A lease that may be relied on: the present one, renewed where it lapsed, or a new one.
    pub(super) async fn ensure_lease(&self) -> Result<Arc<Lease>, StoreError> {
        match self.session.present() {
            Some(lease) if !lease.left().is_zero() => return Ok(lease),
            Some(_) => self.renew().await?,
            None => {}
        }
        let _one = self.session.renewing.lock().await;
        if let Some(lease) = self.session.present() {
            return Ok(lease);
        }
        let ttl = i64::try_from(self.endpoints.settings().lease.as_secs()).unwrap_or(i64::MAX);
        // A grant whose answer was lost ends by itself.
        let granted = self.endpoints.call("ask for a lease", Repeat::Harmless, |client| async move {
            let sent = Boot::now();
            let granted = client.lease_client().grant(ttl, None).await?;
            Ok((granted.id(), sent, granted.ttl()))
        });
        let (id, sent, ttl) = granted.await?;
        let lease = Arc::new(Lease::new(id, sent, ttl));
        self.session.set(Some(lease.clone()));
        Ok(lease)
    }

    /// Renews the present lease. Where etcd says that it is gone, there is none afterwards.
    pub(super) async fn renew(&self) -> Result<(), StoreError> {
        let _one = self.session.renewing.lock().await;
        let Some(lease) = self.session.present() else { return Ok(()) };
        let id = lease.id;
        let renewed = self.endpoints.call("keep the lease", Repeat::Harmless, |client| async move {
            let sent = Boot::now();
            match client.lease_client().keep_alive(id).await {
                // The client has taken the first answer already: the lease lives. The stream ends here.
                Ok((_keeper, _answers)) => Ok(Some(sent)),
                Err(etcd_client::Error::LeaseKeepAliveError(_)) => Ok(None),
                Err(error) => Err(error),
            }
        });
        match renewed.await? {
            Some(sent) => lease.renewed(sent),
            None => self.lease_is_gone(&lease),
        }
        Ok(())
    }

    /// Ends the lease, and with it every key under it. One try: its end comes by itself.
    pub(super) async fn revoke(&self, lease: &Lease) {
        let id = lease.id;
        let revoke = |client: etcd_client::Client| async move { client.lease_client().revoke(id).await };
        if let Err(error) = self.endpoints.call("end the lease", Repeat::Harmless, revoke).await {
            tracing::debug!(%error, "could not end the lease; it ends by itself");
        }
    }

    /// Etcd does not know the lease any more, and has removed every key under it.
    pub(super) fn lease_is_gone(&self, lease: &Arc<Lease>) {
        lease.gone.store(true, Ordering::SeqCst);
        if self.session.present().is_some_and(|present| present.id == lease.id) {
            self.session.set(None);
        }
        self.changed.send_modify(|count| *count += 1);
    }

    /// Keeps the lease, and what is announced under it, for as long as the handle lives.
    pub(super) async fn keep_lease(self: Arc<Self>) {
        let third = self.endpoints.settings().lease / 3;
        let mut failed = false;
        loop {
            // After a failure sooner: the call itself took its time.
            tokio::time::sleep(if failed { third / 4 } else { third }).await;
            let kept = match self.renew().await {
                Ok(()) => self.keep_announced().await,
                Err(error) => Err(error),
            };
            match kept {
                Ok(()) if failed => {
                    failed = false;
                    tracing::info!("etcd answers again");
                }
                Ok(()) => {}
                Err(error) if failed => tracing::debug!(%error, "still could not keep the lease"),
                Err(error) => {
                    failed = true;
                    tracing::warn!(error = &error as &dyn std::error::Error, "could not keep the lease; tries on");
                }
            }
        }
    }
}
