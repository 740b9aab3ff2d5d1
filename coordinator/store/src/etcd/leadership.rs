//! Who leads: elections, resignations, and whether this handle may still rely on having been elected.

use super::Inner;
use super::endpoints::{EtcdRefusal, Repeat};
use super::fence::revision;
use super::lease::Lease;
use crate::{CoordinatorName, Leader, StoreError};
use cutover_vocabulary::Epoch;
use etcd_client::{Compare, CompareOp, GetOptions, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// A leadership that this handle won.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) epoch: Epoch,
    /// What `base` was.
    pub(super) base: u64,
    /// The revision of `leader`.
    pub(super) revision: i64,
    /// The revision of `fence`.
    pub(super) fence: AtomicI64,
    /// What the keys of this leadership say.
    pub(super) claim: String,
    lease: Arc<Lease>,
    /// How often the lease had lapsed when it was won.
    lapses: u64,
    /// Etcd said that it is over.
    over: AtomicBool,
}

impl Held {
    /// Whether it may be relied on now. Once it may not, it never may again.
    pub(super) fn stands(&self) -> bool {
        let left = self.lease.left();
        !left.is_zero() && self.lease.lapses() == self.lapses && !self.over.load(Ordering::SeqCst)
    }
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// What lies in `leader` and `elected`.
#[derive(Debug, Serialize, Deserialize)]
struct Claim {
    name: String,
}

/// Who leads, by etcd.
#[derive(Debug)]
pub(super) struct Standing {
    /// The key `leader`.
    leader: Option<KeyValue>,
    /// The revision of `elected`; zero before the first election.
    elected: i64,
    base: u64,
    /// The revision of `fence`, where it was looked at.
    pub(super) fence: i64,
}

impl Standing {
    /// From the answers to [`Inner::standing_looks`].
    pub(super) fn read(answers: Vec<TxnOpResponse>) -> Result<Self, StoreError> {
        let mut keys = answers.into_iter().map(|answer| match answer {
            TxnOpResponse::Get(mut found) => found.take_kvs().into_iter().next(),
            TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
        });
        let mut next = || keys.next().flatten();
        Self::new(next(), next(), next(), next())
    }

    pub(super) fn new(
        leader: Option<KeyValue>,
        elected: Option<KeyValue>,
        base: Option<KeyValue>,
        fence: Option<KeyValue>,
    ) -> Result<Self, StoreError> {
        let number = |key: &KeyValue| key.value_str().ok().and_then(|text| text.parse().ok());
        let base = match &base {
            None => 0,
            Some(key) => number(key).ok_or_else(|| StoreError::Damaged {
                what: "etcd's key base".to_owned(),
                why: format!("{:?} is no number", String::from_utf8_lossy(key.value())),
            })?,
        };
        let revision = |key: &Option<KeyValue>| key.as_ref().map_or(0, KeyValue::mod_revision);
        Ok(Self { elected: revision(&elected), fence: revision(&fence), leader, base })
    }

    fn epoch(&self, revision: i64) -> Epoch {
        Epoch(self.base.saturating_add(u64::try_from(revision).unwrap_or(0)))
    }

    /// The highest epoch that was given.
    pub(super) fn latest(&self) -> Epoch {
        self.epoch(self.elected)
    }

    pub(super) fn is(&self, held: &Held) -> bool {
        self.base == held.base && self.leader.as_ref().is_some_and(|leader| leader.mod_revision() == held.revision)
    }
}

impl Inner {
    /// What [`Standing::read`] reads of a transaction that did not write.
    pub(super) fn standing_looks(&self) -> Vec<TxnOp> {
        [self.keys.leader(), self.keys.elected(), self.keys.base(), self.keys.fence()]
            .map(|key| TxnOp::get(key, Some(GetOptions::new())))
            .into()
    }

    pub(super) fn held(&self) -> Option<Arc<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    pub(super) fn held_with(&self, epoch: Epoch) -> Option<Arc<Held>> {
        self.held().filter(|held| held.epoch == epoch)
    }
    fn set_held(&self, held: Option<Arc<Held>>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
        self.changed.send_modify(|count| *count += 1);
    }

    /// One transaction takes leadership, or renews it: `leader` is absent, or lies under this handle's lease and was not written
    /// since it was looked at. A handle whose answer got lost finds its own lease there and asks again.
    pub(super) async fn elect(&self, who: &CoordinatorName) -> Result<Option<Epoch>, StoreError> {
        let _one = self.electing.lock().await;
        self.seen_vacancies();
        // Each turn something changed that the former one compared; more than a few in a row are an election that others win.
        for _turn in 0..4 {
            let standing = self.standing().await?;
            let present = self.session.present().map(|lease| lease.id);
            if standing.leader.as_ref().is_some_and(|leader| Some(leader.lease()) != present) {
                return Ok(None);
            }
            let lease = self.ensure_lease().await?;
            let lapses = lease.lapses();
            let unchanged = match &standing.leader {
                // Under a lease of ours that ended a moment ago: it is removed with it.
                Some(leader) if leader.lease() != lease.id => continue,
                Some(leader) => Compare::mod_revision(self.keys.leader(), CompareOp::Equal, leader.mod_revision()),
                None => Compare::version(self.keys.leader(), CompareOp::Equal, 0),
            };
            let claim = serde_json::json!(Claim { name: who.to_string() }).to_string();
            let writes = [
                TxnOp::put(self.keys.leader(), claim.clone(), Some(PutOptions::new().with_lease(lease.id))),
                TxnOp::put(self.keys.elected(), claim.clone(), None),
                TxnOp::put(self.keys.fence(), claim.clone(), None),
            ];
            let take = Txn::new().when([unchanged, self.base_is(standing.base)]).and_then(writes);
            match self.transact("take leadership", Repeat::Harmful, take).await {
                Ok(taken) if taken.succeeded() => {
                    let revision = revision(&taken);
                    let epoch = standing.epoch(revision);
                    let (base, fence) = (standing.base, AtomicI64::new(revision));
                    let over = AtomicBool::new(false);
                    self.set_held(Some(Arc::new(Held { epoch, base, revision, fence, claim, lease, lapses, over })));
                    return Ok(Some(epoch));
                }
                Ok(_changed) => {}
                Err(StoreError::EtcdRefused { kind: EtcdRefusal::NoLease, .. }) => self.lease_is_gone(&lease),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    pub(super) async fn end_leadership(&self, epoch: Epoch) -> Result<(), StoreError> {
        let Some(held) = self.held_with(epoch) else { return Ok(()) };
        held.end();
        let ours = Compare::mod_revision(self.keys.leader(), CompareOp::Equal, held.revision);
        let leave = Txn::new().when([ours]).and_then([TxnOp::delete(self.keys.leader(), None)]);
        self.transact("resign", Repeat::Harmless, leave).await?;
        if self.held().is_some_and(|present| Arc::ptr_eq(&present, &held)) {
            self.set_held(None);
        }
        Ok(())
    }

    pub(super) async fn read_leader(&self) -> Result<Option<Leader>, StoreError> {
        let standing = self.standing().await?;
        let Some(leader) = &standing.leader else { return Ok(None) };
        let damaged = |why: String| StoreError::Damaged { what: "etcd's key leader".to_owned(), why };
        let claim: Claim = serde_json::from_slice(leader.value()).map_err(|error| damaged(error.to_string()))?;
        let name = CoordinatorName::new(claim.name).map_err(|error| damaged(error.to_string()))?;
        Ok(Some(Leader { epoch: standing.epoch(leader.mod_revision()), name }))
    }

    /// Whose epoch is in the way, for people. Where etcd does not say in time, the caller's own is all that is known.
    pub(super) async fn fenced_by(&self, epoch: Epoch) -> Epoch {
        let soon = self.endpoints.settings().read_within();
        match tokio::time::timeout(soon, self.standing()).await {
            Ok(Ok(standing)) => standing.latest(),
            Ok(Err(_)) | Err(_) => epoch,
        }
    }

    /// Waits until `epoch` may not be relied on. Looks at the clock in short steps: timers stand still while the machine is
    /// suspended.
    pub(super) async fn until_lost(&self, epoch: Epoch) {
        let mut changed = self.changed.subscribe();
        let step = self.endpoints.settings().lease / 10;
        while let Some(held) = self.held_with(epoch).filter(|held| held.stands()) {
            let soon = held.lease.left().min(step).max(Duration::from_millis(1));
            tokio::select! {
                _ = changed.changed() => {}
                () = tokio::time::sleep(soon) => {}
            }
        }
    }

    pub(super) async fn raise_base(&self, floor: Epoch) -> Result<(), StoreError> {
        if i64::try_from(floor.0).is_err() {
            return Err(StoreError::Damaged {
                what: "the epoch to begin after".to_owned(),
                why: format!("{floor} is larger than this store can count"),
            });
        }
        loop {
            let standing = self.standing().await?;
            let base = standing.base.max(floor.0);
            let mut writes = vec![TxnOp::delete(self.keys.leader(), None)];
            if base > standing.base {
                writes.push(TxnOp::put(self.keys.base(), base.to_string(), None));
            }
            let raise = Txn::new().when([self.base_is(standing.base)]).and_then(writes);
            if self.transact("raise the epochs", Repeat::Harmless, raise).await?.succeeded() {
                return Ok(());
            }
        }
    }
}
