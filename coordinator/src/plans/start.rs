//! Starting a plan: exactly one upgrade of a deployment at a time, announced before its first fact.

use super::refusals::may_not_start;
use crate::leadership::Leadership;
use crate::registry::{Agreed, Answer, Deployment, Latest, keys};
use crate::upgrade_loop::append::Verdict;
use crate::upgrade_loop::load::Loaded;
use crate::upgrade_loop::tell;
use cutover_core::plan;
use cutover_core::upgrade::{Upgrade, start};
use cutover_proto::{Code, Refused};
use cutover_store::Revision;
use cutover_vocabulary::plan::{Approval, Plan};
use cutover_vocabulary::{DeploymentName, Digest, OperatorName, RequestId, Timestamp, UpgradeId};
use std::sync::Arc;
use tracing::Instrument as _;

impl Leadership {
    /// Starts a plan: looks again first, and refuses what has changed or is not agreed to.
    pub(crate) async fn start(
        self: &Arc<Self>,
        digest: &str,
        by: OperatorName,
        request: &RequestId,
    ) -> Result<UpgradeId, Refused> {
        let (revision, mut call) = self.recall(request, &("start", digest, &by)).await?;
        if let Some(Answer::Upgrade(id)) = call.answer {
            return Ok(id);
        }
        let agreed = self.kept_plan(digest).await?;
        let entry = &agreed.entry;
        let _one_at_a_time = self.starting(&entry.deployment).await;
        // Refused before anybody is asked to look: the look takes a while, and the answer would be the same.
        let (_, present) = self.next_upgrade(&entry.deployment, request).await?;
        let id = match present {
            Begin::Begun(id) => id,
            Begin::New { last, .. } => {
                let fresh = self.look(&entry.deployment, &entry.wish()).await?;
                let key = keys::approval(&agreed.plan.digest()).map_err(|error| self.refuse(error.into()))?;
                let (_, agreed_to) = self.registry.read::<Agreed>(&key).await.map_err(|error| self.refuse(error))?;
                // An approval is for one upgrade: what was agreed to before the last one began is not agreed to again.
                let approval = agreed_to.filter(|it| it.after == last).map(|it| it.approval);
                plan::may_start(&agreed.plan, &fresh, approval.as_ref())
                    .map_err(|why| may_not_start(&agreed.plan.digest(), why))?;
                self.begin(fresh, approval, by, request).await?
            }
        };
        call.answer = Some(Answer::Upgrade(id.clone()));
        self.remember_call(request, revision, &call).await?;
        Ok(id)
    }

    /// Which upgrade a start would begin now, by the deployment's document and the facts that there are.
    pub(super) async fn next_upgrade(
        self: &Arc<Self>,
        name: &DeploymentName,
        request: &RequestId,
    ) -> Result<(Revision, Begin), Refused> {
        self.sees_all_of(name)?;
        let key = keys::deployment(name).map_err(|error| self.refuse(error.into()))?;
        let (revision, present) = self.registry.read::<Deployment>(&key).await.map_err(|error| self.refuse(error))?;
        let deployment = present.unwrap_or_default();
        let Some(latest) = deployment.latest.clone() else {
            let last = deployment.before.clone();
            return Ok((revision, Begin::New { deployment, last }));
        };
        match self.upgrade(&latest.id).await {
            // The start was answered by a coordinator that died before it could say so.
            Ok(_) if latest.request == *request => {
                self.is_latest(name, &latest.id);
                Ok((revision, Begin::Begun(latest.id)))
            }
            Ok(handle) if handle.now().upgrade.finished() => {
                let last = Some(latest.id);
                let deployment = Deployment { latest: None, before: last.clone(), ..deployment };
                Ok((revision, Begin::New { deployment, last }))
            }
            Ok(_) => Err(Refused::new(
                Code::DeploymentBusy,
                format!("deployment {name} has upgrade {}, which has not ended", latest.id),
                "follow or end that one first: `cutover status`",
            )
            .with("upgrade", &latest.id)),
            // It was announced and has no facts: it never began, and its number is free.
            Err(refused) if refused.code == Code::NoSuchUpgrade => {
                let upgrades = deployment.upgrades.saturating_sub(1);
                let last = deployment.before.clone();
                let deployment = Deployment { upgrades, latest: None, ..deployment };
                Ok((revision, Begin::New { deployment, last }))
            }
            Err(refused) => Err(refused),
        }
    }

    /// Announces the upgrade in its deployment's document, then stores its first fact.
    async fn begin(
        self: &Arc<Self>,
        plan: Plan,
        approval: Option<Approval>,
        by: OperatorName,
        request: &RequestId,
    ) -> Result<UpgradeId, Refused> {
        let name = plan.binding.deployment.clone();
        let (revision, begin) = self.next_upgrade(&name, request).await?;
        let mut deployment = match begin {
            Begin::Begun(id) => return Ok(id),
            Begin::New { deployment, .. } => deployment,
        };
        let id = loop {
            deployment.upgrades += 1;
            let id = upgrade_id(&name, deployment.upgrades, request, self.now().wall)?;
            if !self.holds(&id).await? {
                break id;
            }
        };
        deployment.latest = Some(Latest { id: id.clone(), request: request.clone() });
        let key = keys::deployment(&name).map_err(|error| self.refuse(error.into()))?;
        self.registry.write(&key, revision, &deployment).await.map_err(|error| self.refuse(error))?;

        let happened = start(plan, approval, by, request.clone(), self.epoch, self.now());
        let broken = |error: cutover_core::upgrade::BrokenChain| {
            Refused::new(Code::Internal, error.to_string(), "look at the coordinator's log")
        };
        let upgrade = Upgrade::begin(id.clone(), &happened).map_err(broken)?;
        let first = happened.seal(1, Digest::of(b""));
        let hash = first.hash();
        let facts = [first];
        match self.append(&id, 0, &facts).instrument(self.span(&id)).await {
            Verdict::Committed => {
                self.span(&id).in_scope(|| tell(&facts));
                self.lead(&id, Loaded { upgrade, hash });
                self.is_latest(&name, &id);
                Ok(id)
            }
            Verdict::NotStored => Err(Refused::new(
                Code::StoreUnavailable,
                format!("upgrade {id} was not started: its first fact could not be stored"),
                "start it again with the same request id; if it lasts, look at the coordinator's log",
            )),
            Verdict::Lost => Err(Refused::not_leader(None)),
        }
    }
}

/// What a start finds.
#[expect(clippy::large_enum_variant, reason = "one a start")]
pub(super) enum Begin {
    /// This very call has begun it.
    Begun(UpgradeId),
    /// Nothing is in the way of a new one.
    New {
        /// The deployment's document.
        deployment: Deployment,
        /// The last upgrade of it that began.
        last: Option<UpgradeId>,
    },
}

/// `DEPLOYMENT-NUMBER-MARK`; a long name of a deployment is cut, so that the rest fits.
///
/// The mark tells upgrades apart whose stores know nothing of each other: after a store was lost the numbers begin again, and
/// agents keep results, recovery points and former releases under an upgrade's name. Never may those of another one fit.
fn upgrade_id(
    deployment: &DeploymentName,
    number: u64,
    request: &RequestId,
    at: Timestamp,
) -> Result<UpgradeId, Refused> {
    let mark = Digest::of(format!("{request} {}", at.as_millis()).as_bytes()).short();
    let end = format!("-{number}-{}", &mark[..6]);
    let name: String = deployment.as_str().chars().take(63 - end.len()).collect();
    UpgradeId::new(format!("{name}{end}"))
        .map_err(|error| Refused::new(Code::Internal, error.to_string(), "rename the deployment"))
}
