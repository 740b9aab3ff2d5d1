//! `decide`: judges inputs in turn against a draft of the upgrade, then lets it settle.

use super::holds;
use super::input::{Decision, Input, Rejected};
use super::phases::{Verdict, rules};
use super::settled::SettledBy;
use super::state::{Drained, Happened, Upgrade};
use cutover_vocabulary::fact::{Cause, Fact, Settlement};
use cutover_vocabulary::hold::{HoldId, HoldReason};
use cutover_vocabulary::instance::{InstanceReport, RunState};
use cutover_vocabulary::link::Refusal;
use cutover_vocabulary::order::Epoch;
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::plan::{Approval, Plan};
use cutover_vocabulary::{
    AgentName, Evidence, Failure, Now, OperatorName, OrderId, Outcome, Phase, RequestId, Timestamp,
};
use std::sync::Arc;

/// The first fact of an upgrade. That the plan may start (digest, approval), the plan module says.
pub fn start(
    plan: Plan,
    approval: Option<Approval>,
    by: OperatorName,
    request: RequestId,
    epoch: Epoch,
    now: Now,
) -> Happened {
    let by = Cause::Operator { name: by, request, reason: String::new() };
    let fact = Fact::Started { plan: Arc::new(plan), approval };
    Happened { at: now.wall, epoch, leading_for: now.leading_for, by, fact }
}

/// Judges inputs in turn against a draft of the upgrade, then lets it settle. Changes nothing: the caller stores the
/// facts, then applies them. A failed store means: forget the draft, load again, decide again.
pub fn decide(upgrade: &Upgrade, epoch: Epoch, now: Now, inputs: &[Input]) -> Decision {
    let mut draft = Draft { upgrade: upgrade.clone(), epoch, now, facts: Vec::new() };
    draft.upgrade.epoch = epoch;
    let rejected = inputs.iter().map(|input| draft.judge(input).err()).collect();
    draft.settle();
    Decision { facts: draft.facts, rejected }
}

pub(super) struct Draft {
    pub(super) upgrade: Upgrade,
    epoch: Epoch,
    pub(super) now: Now,
    facts: Vec<Happened>,
}

impl Draft {
    pub(super) fn happen(&mut self, by: Cause, fact: Fact) {
        let Now { wall, leading_for } = self.now;
        let happened = Happened { at: wall, epoch: self.epoch, leading_for, by, fact };
        self.upgrade.apply(&happened);
        self.facts.push(happened);
    }

    fn settle(&mut self) {
        loop {
            // A late outcome that was recorded in this call is not overdue; what is withdrawn in it has as long again.
            while let Some(fact) = self.upgrade.overdue(self.now) {
                self.happen(Cause::Machine, fact);
            }
            let before = self.facts.len();
            while let Some(fact) = self.upgrade.settle_at_once(self.now) {
                self.happen(Cause::Machine, fact);
            }
            if self.facts.len() == before {
                return;
            }
        }
    }

    fn judge(&mut self, input: &Input) -> Result<(), Rejected> {
        match input {
            Input::Asked { by, request, ask } => self.asked(by, request, ask),
            Input::Outcome { agent, order, outcome } => self.outcome(agent, order, outcome),
            Input::Revoked { agent, order, settlement } => self.revoked(agent, order, settlement),
            Input::Refused { agent, order, why } => self.refused(agent, order, why),
            Input::Observed { agent, report } => {
                self.observed(agent, report);
                Ok(())
            }
            Input::Appeared { agent, report } => {
                self.appeared(agent, report);
                Ok(())
            }
            Input::Silent { agent, heard } => {
                self.silent(agent, *heard);
                Ok(())
            }
            Input::Heard { agent } => {
                self.heard(agent);
                Ok(())
            }
            Input::TakenOver { agent, .. } if !self.upgrade.ever_concerned(agent) => {
                Err(Rejected::Stranger(agent.clone()))
            }
            Input::TakenOver { agent, note } => {
                self.taken_over(agent, note);
                Ok(())
            }
            Input::Tick => Ok(()),
        }
    }

    pub(super) fn hold(&mut self, by: Cause, reason: HoldReason, phase: Phase) {
        let hold = holds::make(&self.upgrade, reason, phase, self.now.wall);
        self.happen(by, Fact::Held { hold: Box::new(hold) });
    }

    /// The order if it is open; `None` if it was settled before.
    fn open_order(&self, agent: &AgentName, id: &OrderId) -> Result<Option<Phase>, Rejected> {
        match self.upgrade.orders.get(id) {
            Some(open) if open.order.agent != *agent => {
                Err(Rejected::OtherAgent { order: id.clone(), to: open.order.agent.clone(), from: agent.clone() })
            }
            Some(_) => Ok(Some(id.phase)),
            None if self.upgrade.settled(id).is_some() => Ok(None),
            None => Err(Rejected::UnknownOrder(id.clone())),
        }
    }

    fn outcome(&mut self, agent: &AgentName, id: &OrderId, outcome: &Outcome) -> Result<(), Rejected> {
        let by = Cause::Agent(agent.clone());
        let Some(phase) = self.open_order(agent, id)? else {
            // Settled before: a duplicate, or the late outcome of an order that was withdrawn.
            match self.upgrade.settled(id) {
                Some(SettledBy::Revoke | SettledBy::Person) => {
                    self.happen(by, Fact::LateOutcome { order: id.clone(), outcome: outcome.clone() });
                }
                Some(SettledBy::Outcome | SettledBy::Late) | None => {}
            }
            return Ok(());
        };
        let current = self.upgrade.at == Some(id.step.stage) && !self.upgrade.between();
        match outcome {
            Outcome::Done(evidence) if current => self.done(by, phase, id, evidence),
            // It turned back meanwhile: what was shown is learnt, and decides nothing any more.
            Outcome::Done(evidence) => {
                self.happen(by, Fact::StepSucceeded { order: id.clone(), evidence: evidence.clone() });
            }
            Outcome::Failed(failure) => {
                self.happen(by.clone(), Fact::StepFailed { order: id.clone(), failure: failure.clone() });
                if current {
                    self.after_failure(by, phase, id, failure);
                }
            }
        }
        Ok(())
    }

    fn done(&mut self, by: Cause, phase: Phase, id: &OrderId, evidence: &Evidence) {
        match rules(phase).judge(&self.upgrade, &id.step.subject, evidence) {
            Verdict::Enough => {
                self.happen(by, Fact::StepSucceeded { order: id.clone(), evidence: evidence.clone() });
                if let Evidence::Inspected(found) = evidence {
                    self.joined(&id.step.subject, found);
                }
            }
            Verdict::Hold(reason) => {
                self.happen(by.clone(), Fact::EvidenceRefused { order: id.clone(), evidence: evidence.clone() });
                self.hold(by, reason, phase);
            }
            Verdict::Wrong => {
                let failure = Failure {
                    kind: FailureKind::Refused,
                    message: format!("the agent answered {id} with evidence that does not belong to it"),
                    remedy: "update the agent: it and the coordinator must be of one version".to_owned(),
                    effect: Effect::Unknown,
                };
                self.happen(by.clone(), Fact::StepFailed { order: id.clone(), failure: failure.clone() });
                self.after_failure(by, phase, id, &failure);
            }
        }
    }

    /// What follows a failed attempt. Before `MigrateAuthorised` no data was touched, so going back is harmless and
    /// happens by itself; after it a person decides. A stop that was not clean is always a person's to judge.
    fn after_failure(&mut self, by: Cause, phase: Phase, id: &OrderId, failure: &Failure) {
        let again = match failure.kind {
            FailureKind::Transient | FailureKind::Interrupted => id.attempt < self.upgrade.plan.binding.limits.attempts,
            FailureKind::Refused
            | FailureKind::Failed
            | FailureKind::Unclean
            | FailureKind::StillRuns
            | FailureKind::TimedOut => false,
        };
        if again {
            return;
        }
        let instance = match &id.step.subject {
            cutover_vocabulary::Subject::Instance(name) => Some(name.clone()),
            cutover_vocabulary::Subject::Ledger(_) | cutover_vocabulary::Subject::Storage => None,
        };
        if let (FailureKind::Unclean | FailureKind::StillRuns, Some(instance), Phase::Drain) =
            (failure.kind, instance, phase)
        {
            return self.hold(by, HoldReason::UncleanStop { instance, failure: failure.clone() }, phase);
        }
        let harmless = !self.upgrade.may_have_effect() && !self.upgrade.taken_over();
        match self.upgrade.way_back_now() {
            Some(stages) if harmless => {
                let why = format!("{phase} of {} failed: {}", id.step.subject, failure.message);
                self.happen(Cause::Machine, Fact::TurnedBack { why, stages });
            }
            Some(_) | None => {
                self.hold(by, HoldReason::StepFailed { order: id.clone(), failure: failure.clone() }, phase);
            }
        }
    }

    fn revoked(&mut self, agent: &AgentName, id: &OrderId, settlement: &Settlement) -> Result<(), Rejected> {
        if self.open_order(agent, id)?.is_some() {
            let fact = Fact::Revoked { order: id.clone(), settlement: settlement.clone() };
            self.happen(Cause::Agent(agent.clone()), fact);
        }
        Ok(())
    }

    fn refused(&mut self, agent: &AgentName, id: &OrderId, why: &Refusal) -> Result<(), Rejected> {
        let Some(phase) = self.open_order(agent, id)? else { return Ok(()) };
        let by = Cause::Agent(agent.clone());
        let failure = |kind| Failure {
            kind,
            message: format!("agent {agent} refused {id}: {why}"),
            remedy: "look at the agent's host: `cutover-agent local status`".to_owned(),
            effect: Effect::None,
        };
        match why {
            // It passes: another order is in hand there, or a newer leader speaks and this one will learn of it.
            Refusal::Conflicts(_) | Refusal::OldEpoch { .. } => {}
            Refusal::RevokedBefore => {
                let settlement = Settlement::NeverBegun;
                self.happen(by, Fact::Revoked { order: id.clone(), settlement });
            }
            Refusal::NotHere(_) => {
                let failure = failure(FailureKind::Refused);
                self.happen(by.clone(), Fact::StepFailed { order: id.clone(), failure: failure.clone() });
                self.after_failure(by, phase, id, &failure);
            }
            Refusal::OtherContent => {
                let failure = failure(FailureKind::Refused);
                let known = self
                    .upgrade
                    .holds
                    .values()
                    .any(|hold| matches!(&hold.reason, HoldReason::StepFailed { order, .. } if order == id));
                if !known {
                    self.hold(by, HoldReason::StepFailed { order: id.clone(), failure }, phase);
                }
            }
            Refusal::TakenOver(note) => self.taken_over(agent, note),
        }
        Ok(())
    }

    /// A proof ages: an instance that was proved down and is seen up voids it.
    fn observed(&mut self, agent: &AgentName, report: &InstanceReport) {
        let opening = matches!(self.upgrade.phase(), Some(Phase::Open | Phase::Reopen)) || self.upgrade.finished();
        let Some(member) = self.upgrade.members.get(&report.instance) else { return };
        let Some(Drained::Proved { at, fence, .. }) = self.upgrade.drained.get(&report.instance) else { return };
        // A host's clock can be set back. A fence that was lifted, or set anew, was so after the proof was given under it.
        let lifted = report.fence > *fence || (report.fence == *fence && !report.fenced);
        let newer = report.at > *at || lifted;
        let RunState::Running { pid } = report.run else { return };
        if opening || !newer || member.agent != *agent {
            return;
        }
        let by = Cause::Agent(agent.clone());
        let seen = format!("{} runs again (pid {pid})", report.instance);
        let instance = report.instance.clone();
        let phase = self.upgrade.phase().unwrap_or(Phase::Drain);
        self.happen(by.clone(), Fact::ProofVoided { instance: instance.clone(), seen: seen.clone() });
        // A new round of attestations comes anyway while it drains again; everywhere else a person must know.
        if phase != Phase::Drain {
            self.hold(by, HoldReason::ProofVoided { instance, seen }, phase);
        }
    }

    /// A person is asked where something waits for the agent: an order, or the next step.
    fn silent(&mut self, agent: &AgentName, heard: Option<Timestamp>) {
        let upgrade = &self.upgrade;
        if upgrade.finished() || self.lost_hold(agent).is_some() || !upgrade.awaited_agents().contains(agent) {
            return;
        }
        let orders: Vec<OrderId> = upgrade.orders_of(agent).into_iter().cloned().collect();
        let members = upgrade.members.iter().filter(|(_, member)| member.agent == *agent);
        let members = members
            .map(|(name, _)| name)
            .chain(upgrade.joining.iter().filter(|(_, of)| *of == agent).map(|(name, _)| name));
        let members = members.cloned().collect();
        let phase = orders.first().map(|order| order.phase).or_else(|| upgrade.phase()).unwrap_or(Phase::Preflight);
        self.hold(Cause::Machine, HoldReason::AgentLost { agent: agent.clone(), orders, heard, members }, phase);
    }

    fn heard(&mut self, agent: &AgentName) {
        if let Some(hold) = self.lost_hold(agent) {
            self.happen(Cause::Machine, Fact::HoldLifted { hold });
        }
    }

    /// The open hold about a lost agent.
    fn lost_hold(&self, agent: &AgentName) -> Option<HoldId> {
        let of_agent = |hold: &&cutover_vocabulary::Hold| matches!(&hold.reason, HoldReason::AgentLost { agent: lost, .. } if lost == agent);
        self.upgrade.holds.values().find(of_agent).map(|hold| hold.id)
    }

    fn taken_over(&mut self, agent: &AgentName, note: &str) {
        if self.upgrade.taken_over() || self.upgrade.finished() {
            return;
        }
        let phase = self.upgrade.phase().unwrap_or(Phase::Preflight);
        let reason = HoldReason::TakenOver { agent: agent.clone(), note: note.to_owned() };
        self.hold(Cause::Agent(agent.clone()), reason, phase);
    }
}
