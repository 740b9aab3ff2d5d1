//! The fenced registry: deployments, instances, plans, approvals, answered requests. Documents of the store, written
//! only by the leader and only where nobody wrote in between.

use crate::plans::Wish;
use cutover_core::plan::StrategyAsk;
use cutover_proto::{Code, Refused};
use cutover_store::{InvalidKey, Key, MAX_CHUNK_BYTES, Put, Revision, Store, StoreError};
use cutover_vocabulary::plan::{Approval, Plan, PlanDigest};
use cutover_vocabulary::storage::StorageIdentity;
use cutover_vocabulary::{
    AgentName, DeploymentName, Digest, Elapsed, Epoch, InstanceName, RequestId, UpgradeId, Version,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Documents under one leadership.
pub(crate) struct Registry {
    store: Arc<dyn Store>,
    epoch: Epoch,
}

/// One instance as its agent named it. Membership is stored: an instance stays registered when its agent is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registered {
    pub(crate) deployment: DeploymentName,
    pub(crate) instance: InstanceName,
    pub(crate) agent: AgentName,
    pub(crate) machine: String,
    /// It was let go: its name is free for whoever speaks for it next.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) gone: bool,
}

/// One deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deployment {
    /// How many upgrades it had, started or not.
    #[serde(default)]
    pub(crate) upgrades: u64,
    /// The latest upgrade, written before its first fact: where that is missing, it never began.
    #[serde(default)]
    pub(crate) latest: Option<Latest>,
    /// The one before it, which did begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<UpgradeId>,
    /// The storage that the latest survey found.
    #[serde(default)]
    pub(crate) storage: Option<StorageIdentity>,
    /// Instances that must exist, by the word of whoever declared it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) declared: BTreeSet<InstanceName>,
}

/// What was agreed to of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Agreed {
    pub(crate) approval: Approval,
    /// The deployment's latest upgrade at that time: an approval is for the next one alone. Not a moment, for coordinators'
    /// clocks differ.
    pub(crate) after: Option<UpgradeId>,
}

/// A deployment's latest upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Latest {
    pub(crate) id: UpgradeId,
    /// The call that started it.
    pub(crate) request: RequestId,
}

/// How a plan was asked for; enough to make it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlanEntry {
    pub(crate) deployment: DeploymentName,
    pub(crate) target: Version,
    strategy: StrategyWord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wave: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bake: Option<Elapsed>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rehearse_only: bool,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    instances: BTreeSet<InstanceName>,
    /// The plan's JSON, cut.
    pub(crate) chunks: Vec<Digest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StrategyWord {
    Auto,
    Downtime,
    Rolling,
    Rejoin,
}

impl PlanEntry {
    pub(crate) fn new(deployment: DeploymentName, target: Version, wish: Wish, chunks: Vec<Digest>) -> Self {
        let Wish { target: _, strategy, wave, bake, rehearse_only, instances } = wish;
        let strategy = match strategy {
            StrategyAsk::Auto => StrategyWord::Auto,
            StrategyAsk::Downtime => StrategyWord::Downtime,
            StrategyAsk::Rolling => StrategyWord::Rolling,
            StrategyAsk::Rejoin => StrategyWord::Rejoin,
        };
        Self { deployment, target, strategy, wave, bake, rehearse_only, instances, chunks }
    }
    /// What was asked for.
    pub(crate) fn wish(&self) -> Wish {
        let strategy = match self.strategy {
            StrategyWord::Auto => StrategyAsk::Auto,
            StrategyWord::Downtime => StrategyAsk::Downtime,
            StrategyWord::Rolling => StrategyAsk::Rolling,
            StrategyWord::Rejoin => StrategyAsk::Rejoin,
        };
        Wish {
            target: Some(self.target.clone()),
            strategy,
            wave: self.wave,
            bake: self.bake,
            rehearse_only: self.rehearse_only,
            instances: self.instances.clone(),
        }
    }
}

/// An operator's call: what was asked, and the answer where the upgrade's facts do not hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    /// Over the whole question; the same id with another question is refused.
    pub(crate) question: Digest,
    #[serde(default)]
    pub(crate) answer: Option<Answer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    Plan {
        chunks: Vec<Digest>,
    },
    Approval(Approval),
    Upgrade(UpgradeId),
    /// An instance was let go; with the upgrade that it took part in.
    Excused(Option<UpgradeId>),
    /// An upgrade was steered, and no fact of it says so: it was already as it was asked to be.
    Done,
}

/// The registry could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("not written: epoch {epoch} does not lead any more, the latest leadership is epoch {by}")]
    Fenced { epoch: Epoch, by: Epoch },
    #[error("{key} was changed by another call at the same moment")]
    Conflict { key: Key },
    #[error("could not use {key} in the registry")]
    Store { key: String, source: StoreError },
    #[error("{key} in the registry is not what this version of Cutover writes there: {why}")]
    Foreign { key: Key, why: String },
    #[error("{bytes} bytes are too many for {key} in the registry; at most {limit} fit")]
    TooLarge { key: Key, bytes: usize, limit: usize },
    #[error(transparent)]
    Key(#[from] InvalidKey),
}

impl From<RegistryError> for Refused {
    fn from(error: RegistryError) -> Self {
        let text = error.to_string();
        match error {
            RegistryError::Fenced { .. } => Self::not_leader(None),
            RegistryError::Conflict { .. } => {
                Self::new(Code::StoreUnavailable, text, "ask again with the same request id")
            }
            RegistryError::Store { source, .. } => Self::new(
                Code::StoreUnavailable,
                format!("{text}: {source}"),
                "ask again with the same request id; if it lasts, look at the coordinator's log",
            ),
            RegistryError::Foreign { .. } | RegistryError::TooLarge { .. } | RegistryError::Key(_) => {
                Self::new(Code::Internal, text, "look at the coordinator's log")
            }
        }
    }
}

impl Registry {
    pub(crate) fn new(store: Arc<dyn Store>, epoch: Epoch) -> Self {
        Self { store, epoch }
    }

    /// One document with its revision; `Revision::NONE` and none where there is none.
    pub(crate) async fn read<T: DeserializeOwned>(&self, key: &Key) -> Result<(Revision, Option<T>), RegistryError> {
        let found = self.store.get(key).await;
        match found.map_err(|source| RegistryError::Store { key: key.to_string(), source })? {
            Some((revision, bytes)) => Ok((revision, Some(decode(key, &bytes)?))),
            None => Ok((Revision::NONE, None)),
        }
    }

    /// Writes a document that has not changed since it was read with `expected`. Its revision then.
    pub(crate) async fn write<T: Serialize>(
        &self,
        key: &Key,
        expected: Revision,
        value: &T,
    ) -> Result<Revision, RegistryError> {
        let foreign = |why: serde_json::Error| RegistryError::Foreign { key: key.clone(), why: why.to_string() };
        let bytes = serde_json::to_vec(value).map_err(foreign)?;
        match self.store.put(self.epoch, key, expected, &bytes).await {
            Put::Stored(revision) => Ok(revision),
            Put::Fenced { by } => Err(RegistryError::Fenced { epoch: self.epoch, by }),
            Put::Conflict { .. } => Err(RegistryError::Conflict { key: key.clone() }),
            Put::TooLarge { bytes, limit } => Err(RegistryError::TooLarge { key: key.clone(), bytes, limit }),
            // The answer was lost: what lies there now tells whether it was stored.
            Put::Unknown(source) => match self.store.get(key).await {
                Ok(Some((revision, present))) if present == bytes => Ok(revision),
                Ok(_) | Err(_) => Err(RegistryError::Store { key: key.to_string(), source }),
            },
        }
    }

    /// Every document below a prefix.
    pub(crate) async fn list<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(Key, T)>, RegistryError> {
        let found = self.store.list(prefix).await;
        let found = found.map_err(|source| RegistryError::Store { key: prefix.to_owned(), source })?;
        found.into_iter().map(|(key, _, bytes)| decode(&key, &bytes).map(|value| (key, value))).collect()
    }

    /// Writes a document from what it is now; again where somebody else changed it meanwhile. What it is then,
    /// with its revision.
    pub(crate) async fn replace<T: Serialize + DeserializeOwned>(
        &self,
        key: Result<Key, InvalidKey>,
        change: impl Fn(Option<T>) -> T,
    ) -> Result<(Revision, T), RegistryError> {
        let key = key?;
        loop {
            let (revision, present) = self.read(&key).await?;
            let value = change(present);
            match self.write(&key, revision, &value).await {
                Ok(revision) => return Ok((revision, value)),
                Err(RegistryError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Stores a plan's JSON in chunks: with hundreds of lost rows it is larger than a document may be.
    pub(crate) async fn keep_plan(&self, plan: &Plan) -> Result<Vec<Digest>, RegistryError> {
        let name = format!("plan {}", plan.digest());
        let failed = |source| RegistryError::Store { key: name.clone(), source };
        let bytes = serde_json::to_vec(plan).unwrap_or_default();
        let mut chunks = Vec::new();
        for chunk in bytes.chunks(MAX_CHUNK_BYTES) {
            chunks.push(self.store.put_chunk(self.epoch, chunk).await.map_err(failed)?);
        }
        Ok(chunks)
    }

    /// A plan that was kept.
    pub(crate) async fn kept_plan(&self, chunks: &[Digest]) -> Result<Plan, RegistryError> {
        let mut bytes = Vec::new();
        for chunk in chunks {
            let key = format!("chunk {}", chunk.short());
            let damaged = || StoreError::Damaged { what: key.clone(), why: "it is missing".to_owned() };
            let part = self.store.get_chunk(chunk).await.and_then(|part| part.ok_or_else(damaged));
            bytes.extend(part.map_err(|source| RegistryError::Store { key: key.clone(), source })?);
        }
        decode(&Key::new("plans")?, &bytes)
    }
}

fn decode<T: DeserializeOwned>(key: &Key, bytes: &[u8]) -> Result<T, RegistryError> {
    serde_json::from_slice(bytes).map_err(|why| RegistryError::Foreign { key: key.clone(), why: why.to_string() })
}

/// Where everything lies.
pub(crate) mod keys {
    use super::{InvalidKey, Key, PlanDigest};
    use cutover_vocabulary::{DeploymentName, InstanceName, RequestId, UpgradeId};

    pub(crate) const INSTANCES: &str = "instances/";
    pub(crate) const DEPLOYMENTS: &str = "deployments/";
    pub(crate) const PLANS: &str = "plans/";
    pub(crate) const HOOKS: &str = "hooks/";

    pub(crate) fn instance(name: &InstanceName) -> Result<Key, InvalidKey> {
        Key::new(format!("{INSTANCES}{}", name.as_str()))
    }
    pub(crate) fn deployment(name: &DeploymentName) -> Result<Key, InvalidKey> {
        Key::new(format!("{DEPLOYMENTS}{}", name.as_str()))
    }
    pub(crate) fn deployment_of(key: &Key) -> Option<DeploymentName> {
        DeploymentName::new(key.as_str().strip_prefix(DEPLOYMENTS)?).ok()
    }
    pub(crate) fn plan(digest: &PlanDigest) -> Result<Key, InvalidKey> {
        Key::new(format!("{PLANS}{digest}"))
    }
    pub(crate) fn approval(digest: &PlanDigest) -> Result<Key, InvalidKey> {
        Key::new(format!("approvals/{digest}"))
    }
    pub(crate) fn hook(upgrade: &UpgradeId) -> Result<Key, InvalidKey> {
        Key::new(format!("{HOOKS}{}", upgrade.as_str()))
    }
    pub(crate) fn told_of(key: &Key) -> Option<UpgradeId> {
        UpgradeId::new(key.as_str().strip_prefix(HOOKS)?).ok()
    }
    pub(crate) fn request(id: &RequestId) -> Result<Key, InvalidKey> {
        Key::new(format!("requests/{}", id.as_str()))
    }
}
