//! Who is there: each coordinator's name and address, under its handle's lease.

use super::Inner;
use super::endpoints::{EtcdRefusal, Repeat};
use crate::{CoordinatorName, Present, StoreError};
use etcd_client::{Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse};
use serde::{Deserialize, Serialize};
use std::sync::PoisonError;

/// What this handle announces.
#[derive(Debug, Clone)]
pub(super) struct Announced {
    name: CoordinatorName,
    address: String,
    /// Under which lease it lies there; none while it does not.
    under: Option<i64>,
    /// It was said that another one has the name.
    taken: bool,
}

/// What lies in a member's key.
#[derive(Debug, Serialize, Deserialize)]
struct Member {
    address: String,
}

impl Inner {
    pub(super) async fn announce(&self, name: &CoordinatorName, address: &str) -> Result<(), StoreError> {
        let wanted = Announced { name: name.clone(), address: address.to_owned(), under: None, taken: false };
        *self.announced.lock().unwrap_or_else(PoisonError::into_inner) = Some(wanted);
        self.put_member().await
    }

    /// With the lease goes everything under it; nothing is announced again.
    pub(super) async fn depart(&self) {
        *self.announced.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(lease) = self.session.present() {
            let soon = self.endpoints.settings().lease;
            let _ = tokio::time::timeout(soon, self.revoke(&lease)).await;
            self.lease_is_gone(&lease);
        }
    }

    /// Announces again what the present lease does not carry.
    pub(super) async fn keep_announced(&self) -> Result<(), StoreError> {
        match self.put_member().await {
            // It was said once; a name is free when its owner's lease has ended.
            Err(StoreError::NameTaken { .. }) => Ok(()),
            done => done,
        }
    }

    async fn put_member(&self) -> Result<(), StoreError> {
        let wanted = self.announced.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(Announced { name, address, under, .. }) = wanted else { return Ok(()) };
        let lease = self.ensure_lease().await?;
        if under == Some(lease.id) {
            return Ok(());
        }
        let key = self.keys.member(&name);
        let value = serde_json::json!(Member { address }).to_string();
        let put = TxnOp::put(key.clone(), value, Some(PutOptions::new().with_lease(lease.id)));
        let look = TxnOp::get(key.clone(), Some(GetOptions::new()));
        let absent = Compare::version(key.clone(), CompareOp::Equal, 0);
        let first = Txn::new().when([absent]).and_then([put.clone()]).or_else([look.clone()]);
        // Ours where the answer to the first one was lost, or where the address is another now.
        let ours = Compare::lease(key, CompareOp::Equal, lease.id);
        let again = Txn::new().when([ours]).and_then([put]).or_else([look]);
        let mut there = String::new();
        for transaction in [first, again] {
            match self.transact("announce this coordinator", Repeat::Harmless, transaction).await {
                Ok(answer) if answer.succeeded() => {
                    self.note(&name, Some(lease.id));
                    return Ok(());
                }
                Ok(answer) => there = address_in(answer.op_responses()),
                Err(error) => {
                    if matches!(error, StoreError::EtcdRefused { kind: EtcdRefusal::NoLease, .. }) {
                        self.lease_is_gone(&lease);
                    }
                    return Err(error);
                }
            }
        }
        self.note(&name, None);
        Err(StoreError::NameTaken { name, address: there })
    }

    /// Keeps under which lease the name lies there, and logs what changed about it.
    fn note(&self, name: &CoordinatorName, under: Option<i64>) {
        let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(announced) = announced.as_mut().filter(|announced| announced.name == *name) else { return };
        if under.is_some() && announced.taken {
            tracing::info!(coordinator = %name, "this coordinator's name is free now, and is its own");
        }
        announced.under = under;
        announced.taken = under.is_none();
    }

    pub(super) async fn read_coordinators(&self) -> Result<Vec<Present>, StoreError> {
        let members = self.keys.members();
        let mut present = Vec::new();
        for key in self.range("list the coordinators", &members, &members).await? {
            let damaged = |why: String| StoreError::Damaged {
                what: format!("etcd's key {}", String::from_utf8_lossy(key.key())),
                why,
            };
            let name = String::from_utf8_lossy(key.key().get(members.len()..).unwrap_or_default()).into_owned();
            let name = CoordinatorName::new(name).map_err(|error| damaged(error.to_string()))?;
            let Member { address } = serde_json::from_slice(key.value()).map_err(|error| damaged(error.to_string()))?;
            present.push(Present { name, address: Some(address) });
        }
        Ok(present)
    }
}

fn address_in(answers: Vec<TxnOpResponse>) -> String {
    let found = answers.into_iter().find_map(|answer| match answer {
        TxnOpResponse::Get(found) => found.kvs().first().map(|key| key.value().to_vec()),
        TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
    });
    found
        .and_then(|value| serde_json::from_slice::<Member>(&value).ok())
        .map(|member| member.address)
        .unwrap_or_default()
}
