//! A store in etcd, for several coordinators.
//!
//! **Epoch = `base` + the revision of `leader`.** One `put` takes leadership and renews it, and etcd's revisions only grow, so a
//! handle that leads already gets a greater epoch by one transaction. (The key's create revision would need a delete and a
//! create.) `base` is what an operator raises ([`Store::raise_epochs`]) after etcd was restored from a snapshot or made
//! anew, because then revisions begin lower than agents have seen.
//!
//! | key, below the prefix | holds | under a lease |
//! |---|---|---|
//! | `leader` | who leads; absent: nobody | the handle's |
//! | `elected` | the same, written with it: its revision stays "the last leadership that was given" | |
//! | `base` | a number; absent: 0 | |
//! | `fence` | written by a leader to void its own lost writes | |
//! | `h/UPGRADE` | the end of the chain: `seq` and `hash` | |
//! | `u/UPGRADE/b/SEQ` | one batch, by the number of its last fact: texts, a newline between two | |
//! | `u/UPGRADE/n/NONCE` | the last fact's number | |
//! | `d/KEY` | a document; etcd's version of the key is its revision | |
//! | `u/UPGRADE/p/DIGEST/N` | the pieces of a batch larger than a value | |
//! | `c/DIGEST`, `c/DIGEST/N` | a chunk's index, and its pieces | |
//! | `m/NAME` | a coordinator that is there, with its address | the handle's |
//!
//! Every write is one transaction that compares the revision of `leader`, `base` and `fence` (`fence.rs`). Beside that fence a
//! leader stops by itself before its lease can end (`lease.rs`), so that of two leaders never both act.
//!
//! No value is larger than 256 KiB and no transaction than 1 MiB: etcd takes 1.5 MiB and 128 operations.

mod clock;
mod dial;
mod endpoints;
mod fence;
mod keys;
mod leadership;
mod lease;
mod presence;
mod read;
mod settings;
mod watch;
mod write;

pub use endpoints::EtcdRefusal;
pub use settings::{EtcdSettings, EtcdTls};

use crate::contract::{
    Appended, Batch, Leader, MAX_CHUNK_BYTES, MAX_DOCUMENT_BYTES, Present, Put, Store, Stored, UpgradeHead,
};
use crate::{CoordinatorName, Key, Nonce, Revision, StoreError, seal};
use cutover_vocabulary::{Digest, Epoch, UpgradeId};
use endpoints::Endpoints;
use fence::Doubts;
use keys::Keys;
use leadership::Held;
use lease::Session;
use presence::Announced;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;
use watch::Vacancies;

/// Most bytes of one answer: twice what any look asks for at once. The client's own limit of 4 MiB would make pages of lists with
/// large documents fail.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

fn kv(client: &etcd_client::Client) -> etcd_client::KvClient {
    client.kv_client().max_decoding_message_size(MAX_ANSWER_BYTES)
}

/// An error with its causes, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// One handle on an etcd. Its tasks begin when it first tries to lead, follows or is announced, and end with it.
#[derive(Debug)]
pub struct EtcdStore {
    inner: Arc<Inner>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What the handle's tasks share with it.
#[derive(Debug)]
struct Inner {
    keys: Keys,
    endpoints: Endpoints,
    session: Session,
    held: Mutex<Option<Arc<Held>>>,
    electing: tokio::sync::Mutex<()>,
    doubts: Doubts,
    vacancies: Vacancies,
    announced: Mutex<Option<Announced>>,
    /// Counts what may have ended a leadership.
    changed: tokio::sync::watch::Sender<u64>,
}

impl EtcdStore {
    /// A handle. It connects when it is first used, so that a coordinator starts while etcd is away.
    ///
    /// # Errors
    /// When a file that the settings name cannot be used.
    pub fn open(settings: EtcdSettings) -> Result<Self, StoreError> {
        dial::read(&settings)?;
        let inner = Inner {
            keys: Keys::new(&settings.prefix),
            endpoints: Endpoints::new(settings),
            session: Session::default(),
            held: Mutex::default(),
            electing: tokio::sync::Mutex::default(),
            doubts: Doubts::default(),
            vacancies: Vacancies::default(),
            announced: Mutex::default(),
            changed: tokio::sync::watch::Sender::new(0),
        };
        Ok(Self { inner: Arc::new(inner), tasks: Mutex::default() })
    }

    /// Begins what goes on beside calls.
    fn begin(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.is_empty() {
            tasks.push(tokio::spawn(self.inner.clone().keep_lease()));
            tasks.push(tokio::spawn(self.inner.clone().watch_leader()));
        }
    }
}

impl Drop for EtcdStore {
    /// Nobody need wait for the lease of a handle that was dropped. A process that dies leaves it to etcd.
    fn drop(&mut self) {
        for task in self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
        if let (Some(lease), Ok(runtime)) = (self.inner.session.present(), tokio::runtime::Handle::try_current()) {
            let inner = self.inner.clone();
            runtime.spawn(async move { inner.revoke(&lease).await });
        }
    }
}

#[async_trait::async_trait]
impl Store for EtcdStore {
    async fn lead(&self, who: &CoordinatorName) -> Result<Option<Epoch>, StoreError> {
        self.begin();
        self.inner.elect(who).await
    }

    async fn resign(&self, epoch: Epoch) -> Result<(), StoreError> {
        self.inner.end_leadership(epoch).await
    }

    async fn leader(&self) -> Result<Option<Leader>, StoreError> {
        self.inner.read_leader().await
    }

    async fn latest_epoch(&self) -> Result<Epoch, StoreError> {
        Ok(self.inner.standing().await?.latest())
    }

    async fn raise_epochs(&self, floor: Epoch) -> Result<(), StoreError> {
        self.inner.raise_base(floor).await
    }

    fn may_lead(&self, epoch: Epoch) -> bool {
        self.inner.held_with(epoch).is_some_and(|held| held.stands())
    }

    async fn lost(&self, epoch: Epoch) {
        self.inner.until_lost(epoch).await;
    }

    async fn leadership_changed(&self) {
        self.begin();
        self.inner.until_vacant().await;
    }

    async fn announce(&self, who: &CoordinatorName, address: &str) -> Result<(), StoreError> {
        self.begin();
        self.inner.announce(who, address).await
    }

    async fn depart(&self) {
        self.inner.depart().await;
    }

    async fn coordinators(&self) -> Result<Vec<Present>, StoreError> {
        self.inner.read_coordinators().await
    }

    async fn append(&self, epoch: Epoch, upgrade: &UpgradeId, expected_seq: u64, batch: &Batch) -> Appended {
        let sealed = match seal::seal(epoch, expected_seq, batch) {
            Ok(sealed) => sealed,
            Err(refused) => return refused,
        };
        match self.inner.write_batch(epoch, upgrade, expected_seq, batch.nonce, &sealed).await {
            Ok(appended) => appended,
            Err(error) => Appended::Unknown(error),
        }
    }

    async fn find_batch(&self, upgrade: &UpgradeId, nonce: &Nonce) -> Result<Option<u64>, StoreError> {
        self.inner.read_nonce(upgrade, nonce).await
    }

    async fn load(&self, upgrade: &UpgradeId, after_seq: u64, limit: usize) -> Result<Vec<Stored>, StoreError> {
        self.inner.read_page(upgrade, after_seq, limit).await
    }

    async fn texts(
        &self,
        upgrade: &UpgradeId,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.inner.read_texts(upgrade, after_seq, limit).await
    }

    async fn restore(
        &self,
        epoch: Epoch,
        upgrade: &UpgradeId,
        expected_seq: u64,
        nonce: &Nonce,
        texts: &[String],
    ) -> Appended {
        let sealed = match seal::reseal(expected_seq, texts) {
            Ok(sealed) => sealed,
            Err(refused) => return refused,
        };
        match self.inner.write_batch(epoch, upgrade, expected_seq, *nonce, &sealed).await {
            Ok(appended) => appended,
            Err(error) => Appended::Unknown(error),
        }
    }

    async fn upgrades(&self) -> Result<Vec<UpgradeHead>, StoreError> {
        self.inner.read_heads().await
    }

    async fn head(&self, upgrade: &UpgradeId) -> Result<Option<UpgradeHead>, StoreError> {
        self.inner.read_head(upgrade).await
    }

    async fn put(&self, epoch: Epoch, key: &Key, expected: Revision, value: &[u8]) -> Put {
        if value.len() > MAX_DOCUMENT_BYTES {
            return Put::TooLarge { bytes: value.len(), limit: MAX_DOCUMENT_BYTES };
        }
        match self.inner.write_document(epoch, key, expected, value).await {
            Ok(put) => put,
            Err(error) => Put::Unknown(error),
        }
    }

    async fn get(&self, key: &Key) -> Result<Option<(Revision, Vec<u8>)>, StoreError> {
        self.inner.read_document(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(Key, Revision, Vec<u8>)>, StoreError> {
        self.inner.read_documents(prefix).await
    }

    async fn put_chunk(&self, epoch: Epoch, bytes: &[u8]) -> Result<Digest, StoreError> {
        if bytes.len() > MAX_CHUNK_BYTES {
            return Err(StoreError::TooLarge { what: "chunk", bytes: bytes.len(), limit: MAX_CHUNK_BYTES });
        }
        self.inner.write_chunk(epoch, bytes).await
    }

    async fn chunks(&self) -> Result<Vec<Digest>, StoreError> {
        self.inner.read_chunk_names().await
    }

    async fn get_chunk(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.read_chunk(digest).await
    }
}
