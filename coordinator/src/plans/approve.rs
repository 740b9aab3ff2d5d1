//! Keeping what a person agreed to.

use crate::leadership::Leadership;
use crate::registry::{Agreed, Answer, keys};
use cutover_core::plan::{self, Approve, NotApprovable};
use cutover_proto::{Code, Refused};
use cutover_vocabulary::plan::{Approval, PreparationId};
use cutover_vocabulary::{OperatorName, RequestId};
use std::collections::{BTreeMap, BTreeSet};

impl Leadership {
    /// Keeps an approval. What was agreed to before stays agreed to.
    pub(crate) async fn approve(
        &self,
        digest: &str,
        which: &Approve,
        answers: &BTreeMap<PreparationId, String>,
        by: OperatorName,
        reason: String,
        request: &RequestId,
    ) -> Result<Approval, Refused> {
        let question = ("approve", digest, format!("{which:?}"), answers, &by, &reason);
        let (revision, mut call) = self.recall(request, &question).await?;
        if let Some(Answer::Approval(approval)) = call.answer {
            return Ok(approval);
        }
        let kept = self.kept_plan(digest).await?;
        let given =
            plan::approve(&kept.plan, which, answers, by, reason, self.now().wall).map_err(|error| match error {
                NotApprovable::Blocked(ref codes) => {
                    let findings = codes.join(", ");
                    Refused::new(Code::Blocked, error.to_string(), "mend what blocks, then plan again")
                        .with("findings", findings)
                }
                NotApprovable::NoSuchFinding(..) => {
                    Refused::new(Code::InvalidArgument, error.to_string(), "name findings as the plan does")
                        .with("field", "findings")
                }
                NotApprovable::NoSuchQuestion(..) | NotApprovable::EmptyAnswer(_) => Refused::new(
                    Code::InvalidArgument,
                    error.to_string(),
                    "answer the questions that the plan asks, by their ids",
                )
                .with("field", "answers"),
            })?;
        let after = self.latest_id(&kept.entry.deployment);
        let agreed = |present: Option<Agreed>| {
            let present = present.filter(|present| present.after == after).map(|present| present.approval);
            Agreed { approval: together(present, given.clone()), after: after.clone() }
        };
        let kept = self.registry.replace(keys::approval(&given.plan), agreed).await;
        let (_, Agreed { approval, .. }) = kept.map_err(|error| self.refuse(error))?;
        call.answer = Some(Answer::Approval(approval.clone()));
        self.remember_call(request, revision, &call).await?;
        Ok(approval)
    }
}

/// Two approvals of one plan as one: both agreed, each to what they named.
fn together(before: Option<Approval>, now: Approval) -> Approval {
    let Some(before) = before else { return now };
    let findings: BTreeSet<_> = before.findings.into_iter().chain(now.findings).collect();
    let mut losses = before.losses;
    losses.extend(now.losses);
    let mut answers = before.answers;
    answers.extend(now.answers);
    let reason = if before.by == now.by && before.reason == now.reason {
        now.reason
    } else {
        format!("{}: {}; {}: {}", before.by, before.reason, now.by, now.reason)
    };
    Approval {
        findings: findings.into_iter().collect(),
        losses,
        answers,
        reason,
        plan: now.plan,
        by: now.by,
        at: now.at,
    }
}
