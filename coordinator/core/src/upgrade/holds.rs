//! Holds: what can be chosen, what each choice costs, and which step a hold is about.

use super::state::Upgrade;
use cutover_vocabulary::hold::{Choice, Hold, HoldId, HoldReason, Offer};
use cutover_vocabulary::outcome::FailureKind;
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::{AgentName, InstanceName, Phase, Subject, Timestamp};

/// The step that a hold is about; none where it is about the whole upgrade.
pub(super) fn subject_of(hold: &Hold) -> Option<Subject> {
    match &hold.reason {
        HoldReason::StepFailed { order, .. } => Some(order.step.subject.clone()),
        HoldReason::UncleanStop { instance, .. } => Some(Subject::Instance(instance.clone())),
        HoldReason::Strangers { .. } | HoldReason::OtherStorage { .. } | HoldReason::LedgersChanged { .. } => {
            Some(Subject::Storage)
        }
        // A rehearsal is one step over all ledgers; what differs is of one of them.
        HoldReason::UnexplainedDifferences { .. } | HoldReason::Inconsistent { .. }
            if hold.phase == Phase::Rehearse =>
        {
            Some(Subject::Storage)
        }
        HoldReason::LossesChanged { ledger, .. }
        | HoldReason::UnexplainedDifferences { ledger, .. }
        | HoldReason::Inconsistent { ledger, .. } => Some(Subject::Ledger(ledger.clone())),
        HoldReason::PlanDrifted { .. }
        | HoldReason::AgentLost { .. }
        | HoldReason::Overdue { .. }
        | HoldReason::ProofVoided { .. }
        | HoldReason::InstanceAppeared { .. }
        | HoldReason::TakenOver { .. } => None,
    }
}

/// Whether a hold has nothing to ask any more once this instance has gone, and its agent with it where one is named.
pub(super) fn ends_with(reason: &HoldReason, instance: &InstanceName, gone: Option<&AgentName>) -> bool {
    match reason {
        HoldReason::AgentLost { agent, .. } => gone == Some(agent),
        HoldReason::StepFailed { order, .. } => order.step.subject == Subject::Instance(instance.clone()),
        HoldReason::UncleanStop { instance: other, .. } | HoldReason::InstanceAppeared { instance: other, .. } => {
            other == instance
        }
        // What it wrote while it was up stays.
        HoldReason::ProofVoided { .. }
        | HoldReason::Strangers { .. }
        | HoldReason::PlanDrifted { .. }
        | HoldReason::OtherStorage { .. }
        | HoldReason::LedgersChanged { .. }
        | HoldReason::LossesChanged { .. }
        | HoldReason::UnexplainedDifferences { .. }
        | HoldReason::Inconsistent { .. }
        | HoldReason::Overdue { .. }
        | HoldReason::TakenOver { .. } => false,
    }
}

fn offer(choice: Choice, cost: &str) -> Offer {
    Offer { choice, cost: cost.to_owned() }
}

/// Whether the reason is that somebody was seen who may have written.
pub(super) fn somebody_may_have_written(reason: &HoldReason) -> bool {
    match reason {
        HoldReason::Strangers { .. } | HoldReason::ProofVoided { .. } | HoldReason::InstanceAppeared { .. } => true,
        // An instance that was to be down runs, or is not fenced any more.
        HoldReason::StepFailed { order, failure } => {
            order.phase == Phase::ConfirmDrained
                && matches!(order.step.subject, Subject::Instance(_))
                && matches!(failure.kind, FailureKind::Refused | FailureKind::StillRuns)
        }
        HoldReason::UncleanStop { .. }
        | HoldReason::PlanDrifted { .. }
        | HoldReason::OtherStorage { .. }
        | HoldReason::LedgersChanged { .. }
        | HoldReason::LossesChanged { .. }
        | HoldReason::UnexplainedDifferences { .. }
        | HoldReason::Inconsistent { .. }
        | HoldReason::AgentLost { .. }
        | HoldReason::Overdue { .. }
        | HoldReason::TakenOver { .. } => false,
    }
}

/// The way back as a choice, if there is one now.
fn back(upgrade: &Upgrade, reason: &HoldReason) -> Option<Offer> {
    if upgrade.going_back() || upgrade.past_return() {
        None
    } else if upgrade.rejoins() {
        let choice = if upgrade.may_have_effect() { Choice::Rollback } else { Choice::Abort };
        let cost = match upgrade.drain_begun() {
            true => {
                "stop the instances that are brought in, and leave them down and fenced: what they had before is older than the \
                 storage and is not started again; the others serve meanwhile, and nothing that was written is lost"
            }
            false => "end the rejoin; no instance was stopped, and each stays as it was found",
        };
        Some(offer(choice, cost))
    } else if upgrade.rolling() && upgrade.may_have_effect() {
        Some(offer(
            Choice::Rollback,
            "stop the instances that were moved, the last wave first and one wave at a time, and start the former version there, \
             on the storage as it is; the others serve meanwhile, and nothing that was written is lost",
        ))
    } else if upgrade.crossed(Border::MigrateAuthorised)
        && (upgrade.may_be_written || somebody_may_have_written(reason))
    {
        Some(offer(
            Choice::Rollback,
            "restore the ledgers that were migrated from their recovery points and start the former version; \
             what whoever was seen here wrote since is not in them: it is only in the files that the restore moves aside",
        ))
    } else if upgrade.crossed(Border::MigrateAuthorised) {
        Some(offer(
            Choice::Rollback,
            "restore the ledgers that were migrated from their recovery points and start the former version; \
             no acknowledged write is lost, because no client has written since",
        ))
    } else if upgrade.plan.binding.only_rehearses() {
        Some(offer(Choice::Abort, "end the rehearsal; no instance was stopped and no data was touched"))
    } else {
        Some(offer(Choice::Abort, "let the instances in again on the former version; no data was touched"))
    }
}

fn accept_cost(upgrade: &Upgrade, reason: &HoldReason) -> Option<&'static str> {
    match reason {
        HoldReason::InstanceAppeared { .. } if upgrade.going_back() => None,
        HoldReason::InstanceAppeared { .. } if upgrade.rejoins() => {
            Some("it joins: it is stopped, gets the target release and is let in on it; the others serve meanwhile")
        }
        HoldReason::InstanceAppeared { .. } if upgrade.rolling() => {
            Some("it joins: it gets the target release and moves with the last wave; it serves until then")
        }
        HoldReason::InstanceAppeared { .. } if upgrade.crossed(Border::OpenAuthorised) => {
            Some("it joins: it is stopped, gets the target release and is let in on it; the others serve meanwhile")
        }
        HoldReason::InstanceAppeared { .. } if upgrade.crossed(Border::MigrateAuthorised) => Some(
            "it joins: it gets the target release and is stopped like all others, and every ledger is compared again before \
             going on: what it wrote shows there; clients wait meanwhile",
        ),
        HoldReason::InstanceAppeared { .. } if upgrade.plan.binding.only_rehearses() => {
            Some("it joins the rehearsal: it is looked at and gets the release unpacked; nothing is stopped")
        }
        HoldReason::InstanceAppeared { .. } => Some(
            "it joins: it gets the target release and is stopped like all others, and new recovery points are taken, \
             because it may have written",
        ),
        // Whoever runs there may write: that is no drain, whoever agrees to it.
        HoldReason::UncleanStop { failure, .. } if failure.kind == FailureKind::StillRuns => None,
        HoldReason::UncleanStop { .. } => Some(
            "go on although requests may have been cut off: clients that got no answer must look up their reference \
             before they write again",
        ),
        HoldReason::LossesChanged { .. } => Some("lose these rows instead of the approved ones; they stay in `log`"),
        HoldReason::UnexplainedDifferences { .. } => {
            Some("go on with data that differs from before in the listed rows; only a restore brings them back")
        }
        // What a copy must record cannot be agreed to: nothing would tell what the ledger must.
        HoldReason::Inconsistent { .. } if upgrade.phase() == Some(Phase::Rehearse) => None,
        HoldReason::Inconsistent { .. } => Some("go on with a storage that disagrees with itself as listed"),
        HoldReason::StepFailed { .. }
        | HoldReason::Strangers { .. }
        | HoldReason::PlanDrifted { .. }
        | HoldReason::OtherStorage { .. }
        | HoldReason::LedgersChanged { .. }
        | HoldReason::AgentLost { .. }
        | HoldReason::Overdue { .. }
        | HoldReason::ProofVoided { .. }
        | HoldReason::TakenOver { .. } => None,
    }
}

fn retry_cost(upgrade: &Upgrade, reason: &HoldReason) -> Option<&'static str> {
    match reason {
        HoldReason::Overdue { .. } | HoldReason::AgentLost { .. } => None,
        // What was migrated stays migrated; asking again would show the same.
        HoldReason::UnexplainedDifferences { .. } | HoldReason::Inconsistent { .. } => {
            Some("compare again; the same data gives the same answer")
        }
        HoldReason::ProofVoided { .. } | HoldReason::InstanceAppeared { .. }
            if upgrade.going_back() && upgrade.touched.is_empty() =>
        {
            Some(
                "drain again and go on from there: what was restored is not restored once more, so what it wrote since stays",
            )
        }
        HoldReason::ProofVoided { .. } | HoldReason::InstanceAppeared { .. } if upgrade.going_back() => Some(
            "drain again and go on from there: what it wrote into a ledger that is not restored yet is then only in the \
             files that the restore moves aside",
        ),
        HoldReason::InstanceAppeared { .. } => None,
        HoldReason::ProofVoided { .. } if upgrade.rejoins() => Some("drain the instances that are brought in again"),
        HoldReason::ProofVoided { .. } if upgrade.rolling() => Some("drain the instances of this wave again"),
        HoldReason::ProofVoided { .. } if upgrade.crossed(Border::MigrateAuthorised) => {
            Some("look again; if it is down now, compare every ledger again before going on: what it wrote shows there")
        }
        HoldReason::ProofVoided { .. } => Some("drain again from the start, and take new recovery points"),
        HoldReason::TakenOver { .. } => None,
        HoldReason::StepFailed { order, failure } if upgrade.was_refused(order, failure) => {
            Some("take new recovery points of what is not migrated yet, then try again; clients wait meanwhile")
        }
        HoldReason::StepFailed { .. }
        | HoldReason::UncleanStop { .. }
        | HoldReason::Strangers { .. }
        | HoldReason::PlanDrifted { .. }
        | HoldReason::OtherStorage { .. }
        | HoldReason::LedgersChanged { .. }
        | HoldReason::LossesChanged { .. } => Some("try again, beginning with a fresh look; clients wait meanwhile"),
    }
}

/// What waiting for a lost agent means, and what to do where it will never be back.
fn wait_for(upgrade: &Upgrade, members: &[InstanceName]) -> String {
    let deployment = &upgrade.plan.binding.deployment;
    let excuse =
        |name: &InstanceName| format!("`cutover member excuse {deployment} {name} --reason TEXT --evidence TEXT`");
    let commands: Vec<String> = members.iter().map(excuse).collect();
    let wait =
        "wait until the agent is back; the hold lifts by itself when it is, and its orders are settled by it alone";
    match commands.as_slice() {
        [] => wait.to_owned(),
        commands => format!(
            "{wait}. If its host is gone for good, and somebody has seen that nothing of it is at work on the storage: {}",
            commands.join(", ")
        ),
    }
}

/// A hold with its choices. Never without one.
pub(super) fn make(upgrade: &Upgrade, reason: HoldReason, phase: Phase, since: Timestamp) -> Hold {
    let mut choices = Vec::new();
    if let Some(cost) = retry_cost(upgrade, &reason) {
        choices.push(offer(Choice::Retry, cost));
    }
    if let Some(cost) = accept_cost(upgrade, &reason) {
        choices.push(offer(Choice::Accept, cost));
    }
    match &reason {
        HoldReason::Overdue { .. } => {
            choices.push(offer(Choice::Wait, "wait as long again; nothing was stopped"));
        }
        HoldReason::AgentLost { members, .. } => choices.push(offer(Choice::Wait, &wait_for(upgrade, members))),
        HoldReason::TakenOver { .. } => choices.push(offer(
            Choice::Wait,
            "leave it frozen: a person works on the host; what they did is theirs to finish",
        )),
        HoldReason::StepFailed { .. }
        | HoldReason::UncleanStop { .. }
        | HoldReason::Strangers { .. }
        | HoldReason::PlanDrifted { .. }
        | HoldReason::OtherStorage { .. }
        | HoldReason::LedgersChanged { .. }
        | HoldReason::LossesChanged { .. }
        | HoldReason::UnexplainedDifferences { .. }
        | HoldReason::Inconsistent { .. }
        | HoldReason::ProofVoided { .. }
        | HoldReason::InstanceAppeared { .. } => {}
    }
    if !matches!(reason, HoldReason::TakenOver { .. }) {
        choices.extend(back(upgrade, &reason));
    }
    Hold { id: HoldId(upgrade.next_hold), reason, phase, since, choices }
}
