//! The watch on `leader`: tells a leader that another one leads, and followers that nobody does.
//!
//! It begins with a look, so it needs no revision that compaction may have taken: what is missed between two watches shows in
//! the next look. Polling stays beside it as a fallback.

use super::Inner;
use super::endpoints::Repeat;
use crate::StoreError;
use etcd_client::{EventType, GetOptions, WatchOptions, WatchStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How often nobody led so far, as the watch saw it.
#[derive(Debug)]
pub(super) struct Vacancies {
    seen: watch::Sender<u64>,
    /// How many there had been when this handle last tried to lead.
    tried: AtomicU64,
}
impl Default for Vacancies {
    fn default() -> Self {
        Self { seen: watch::Sender::new(0), tried: AtomicU64::new(0) }
    }
}

/// After a watch ended.
const PAUSE: Duration = Duration::from_millis(200);

impl Inner {
    /// An election is about to look: vacancies until now need no other one.
    pub(super) fn seen_vacancies(&self) {
        self.vacancies.tried.fetch_max(*self.vacancies.seen.borrow(), Ordering::SeqCst);
    }

    /// Waits until nobody leads, if nobody was tried to be elected since.
    pub(super) async fn until_vacant(&self) {
        let mut seen = self.vacancies.seen.subscribe();
        let tried = self.vacancies.tried.load(Ordering::SeqCst);
        // The sender lives as long as this handle, so this ends with a vacancy alone.
        let _ = seen.wait_for(|seen| *seen > tried).await;
    }

    /// Watches for as long as the handle lives.
    pub(super) async fn watch_leader(self: Arc<Self>) {
        let mut rotations = self.endpoints.rotations();
        let mut known = None;
        loop {
            rotations.mark_unchanged();
            match self.begin_watch(&mut known).await {
                Ok(mut stream) => {
                    tokio::select! {
                        why = self.follow(&mut stream, &mut known) => {
                            tracing::debug!(why, "the watch on the leader ended; begins another");
                            self.endpoints.next().await;
                        }
                        // The endpoint may be hung, and would never end the stream.
                        _ = rotations.changed() => {}
                    }
                }
                Err(error) => tracing::debug!(%error, "could not watch the leader; tries on"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Looks, and watches from right behind that look.
    async fn begin_watch(&self, known: &mut Option<i64>) -> Result<WatchStream, StoreError> {
        let key = self.keys.leader();
        let look = |client: etcd_client::Client| {
            let key = key.clone();
            async move { super::kv(&client).get(key, Some(GetOptions::new())).await }
        };
        let found = self.endpoints.call("read who leads", Repeat::Harmless, look).await?;
        let at = found.header().map_or(0, etcd_client::ResponseHeader::revision);
        self.observe(known, at, found.kvs().first().map(etcd_client::KeyValue::mod_revision));
        let watch = |client: etcd_client::Client| {
            let (key, from) = (key.clone(), WatchOptions::new().with_start_revision(at + 1));
            async move { client.watch_client().watch(key, Some(from)).await }
        };
        self.endpoints.call("watch the leader", Repeat::Harmless, watch).await
    }

    /// Tells what the stream tells, until it ends; says why it did.
    async fn follow(&self, stream: &mut WatchStream, known: &mut Option<i64>) -> String {
        loop {
            let message = match stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return "it was closed".to_owned(),
                Err(error) => return error.to_string(),
            };
            for event in message.events() {
                let Some(key) = event.kv() else { continue };
                let leader = match event.event_type() {
                    EventType::Put => Some(key.mod_revision()),
                    EventType::Delete => None,
                };
                self.observe(known, key.mod_revision(), leader);
            }
            if message.canceled() {
                return match message.compact_revision() {
                    0 => message.cancel_reason().to_owned(),
                    compacted => format!("everything before revision {compacted} was compacted"),
                };
            }
        }
    }

    /// At the revision `at`, the leader's key had this revision, or was absent. `known` is what it had before; `Some(0)` is absent.
    fn observe(&self, known: &mut Option<i64>, at: i64, leader: Option<i64>) {
        let now = leader.unwrap_or(0);
        if *known == Some(now) {
            return;
        }
        *known = Some(now);
        if leader.is_none() {
            self.vacancies.seen.send_modify(|count| *count += 1);
        }
        // What is older than the leadership says nothing about it.
        if let Some(held) = self.held().filter(|held| at >= held.revision && leader != Some(held.revision)) {
            held.end();
            self.changed.send_modify(|count| *count += 1);
        }
    }
}
