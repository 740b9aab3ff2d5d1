//! What every write compares first, and how a write whose answer was lost is voided.
//!
//! A request whose answer was lost may still be on its way, and arrive after somebody looked for what it wrote. So before such a
//! look the leader writes the key `fence`, and every write compares that key's revision: whatever was sent before cannot be
//! done any more once the fence is written. Other writes of this handle that it meets on their way are refused too; they were
//! certainly not done, and are sent again.

use super::Inner;
use super::endpoints::Repeat;
use super::leadership::{Held, Standing};
use crate::StoreError;
use cutover_vocabulary::Epoch;
use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse, TxnResponse};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes of this handle whose fate is not known.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    raised: AtomicU64,
    settled: AtomicU64,
}

/// A write that is under way. Dropped before it was answered, it leaves a doubt: also where its caller was dropped.
struct UnderWay<'a>(Option<&'a Doubts>);
impl UnderWay<'_> {
    fn answered(mut self) {
        self.0 = None;
    }
}
impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(doubts) = self.0 {
            doubts.raised.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// What came of a fenced write.
pub(super) enum Written {
    /// It was done.
    Done,
    /// It was not: the epoch does not lead.
    Fenced { by: Epoch },
    /// It was not: the leadership holds, so one of the write's own comparisons does not. What its own looks found.
    Differs(Vec<TxnOpResponse>),
}

impl Inner {
    /// Writes in one transaction, only while `epoch` leads through this handle and `compares` hold; otherwise does `looks`.
    pub(super) async fn write(
        &self,
        doing: &'static str,
        epoch: Epoch,
        compares: Vec<Compare>,
        writes: Vec<TxnOp>,
        looks: Vec<TxnOp>,
    ) -> Result<Written, StoreError> {
        loop {
            let Some(held) = self.held_with(epoch).filter(|held| held.stands()) else {
                return Ok(Written::Fenced { by: self.fenced_by(epoch).await });
            };
            let fence = held.fence.load(Ordering::SeqCst);
            let mut all = self.leads(&held);
            all.push(Compare::mod_revision(self.keys.fence(), CompareOp::Equal, fence));
            all.extend(compares.iter().cloned());
            let mut otherwise = self.standing_looks();
            let ours = otherwise.len();
            otherwise.extend(looks.iter().cloned());
            let transaction = Txn::new().when(all).and_then(writes.clone()).or_else(otherwise);
            let under_way = UnderWay(Some(&self.doubts));
            let answer = self.transact(doing, Repeat::Harmful, transaction).await;
            match answer {
                // Its fate is decided; nothing is on its way.
                Err(error) if error.nothing_was_stored() || matches!(error, StoreError::EtcdFull { .. }) => {
                    under_way.answered();
                    return Err(error);
                }
                Err(error) => return Err(error),
                Ok(answer) => {
                    under_way.answered();
                    if answer.succeeded() {
                        return Ok(Written::Done);
                    }
                    let mut found = answer.op_responses();
                    let own = found.split_off(ours.min(found.len()));
                    let standing = Standing::read(found)?;
                    if !standing.is(&held) {
                        held.end();
                        self.changed.send_modify(|count| *count += 1);
                        return Ok(Written::Fenced { by: standing.latest() });
                    }
                    if standing.fence == fence {
                        return Ok(Written::Differs(own));
                    }
                    held.fence.fetch_max(standing.fence, Ordering::SeqCst);
                }
            }
        }
    }

    /// Makes sure that no write of this handle whose answer was lost can still be done. After it, looks are final.
    pub(super) async fn settle_doubts(&self) -> Result<(), StoreError> {
        let raised = self.doubts.raised.load(Ordering::SeqCst);
        if self.doubts.settled.load(Ordering::SeqCst) >= raised {
            return Ok(());
        }
        // Without a leadership there is nothing to void: writes under former ones are refused for good, as their revision of
        // `leader` does not come back.
        if let Some(held) = self.held() {
            let put = TxnOp::put(self.keys.fence(), held.claim.clone(), None);
            let transaction = Txn::new().when(self.leads(&held)).and_then([put]);
            let answer = self.transact("void a lost write", Repeat::Harmless, transaction).await?;
            if answer.succeeded() {
                held.fence.fetch_max(revision(&answer), Ordering::SeqCst);
            } else {
                held.end();
                self.changed.send_modify(|count| *count += 1);
            }
        }
        self.doubts.settled.fetch_max(raised, Ordering::SeqCst);
        Ok(())
    }

    /// That this leadership is the present one.
    fn leads(&self, held: &Arc<Held>) -> Vec<Compare> {
        vec![Compare::mod_revision(self.keys.leader(), CompareOp::Equal, held.revision), self.base_is(held.base)]
    }

    pub(super) fn base_is(&self, base: u64) -> Compare {
        match base {
            0 => Compare::version(self.keys.base(), CompareOp::Equal, 0),
            raised => Compare::value(self.keys.base(), CompareOp::Equal, raised.to_string()),
        }
    }

    pub(super) async fn transact(
        &self,
        doing: &'static str,
        repeat: Repeat,
        transaction: Txn,
    ) -> Result<TxnResponse, StoreError> {
        let call = |client: etcd_client::Client| {
            let transaction = transaction.clone();
            async move { super::kv(&client).txn(transaction).await }
        };
        self.endpoints.call(doing, repeat, call).await
    }
}

/// At which revision etcd answered; that of its writes, if it wrote.
pub(super) fn revision(answer: &TxnResponse) -> i64 {
    answer.header().map_or(0, etcd_client::ResponseHeader::revision)
}
