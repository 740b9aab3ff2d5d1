//! `apply`: folds a fact. Total, and without judgement: what a fact means was decided before it was stored.

use super::settled::{SettledBy, Steps};
use super::state::{Drained, Happened, OpenOrder, Rest, StageState, StepState, Upgrade};
use cutover_vocabulary::fact::{Cause, Fact, Settlement};
use cutover_vocabulary::hold::{Choice, HoldId, HoldReason};
use cutover_vocabulary::order::Epoch;
use cutover_vocabulary::outcome::{Effect, FailureKind, StorageAttestation};
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::status::Said;
use cutover_vocabulary::storage::RecoveryItem;
use cutover_vocabulary::{Elapsed, Evidence, Order, OrderId, Outcome, Phase, Subject, Timestamp, Work};
use std::sync::Arc;

/// What a person said with a fact, in the fact or beside it; nothing where no person caused it.
fn said(by: &Cause, within: Option<&str>, at: Timestamp) -> Option<Said> {
    match by {
        Cause::Operator { name, reason, .. } => {
            Some(Said { at, by: name.clone(), reason: within.unwrap_or(reason).to_owned() })
        }
        Cause::Agent(_) | Cause::Machine => None,
    }
}

impl Upgrade {
    /// Folds one fact.
    pub fn apply(&mut self, happened: &Happened) {
        self.apply_parts(happened.at, happened.epoch, happened.leading_for, &happened.by, &happened.fact);
    }

    pub(super) fn apply_parts(&mut self, at: Timestamp, epoch: Epoch, leading_for: Elapsed, by: &Cause, fact: &Fact) {
        self.seq += 1;
        self.epoch = epoch;
        self.note_request(by);
        match fact {
            // Only ever first; `begin` folds it.
            Fact::Started { .. } => {}
            Fact::StageEntered { number, run, stage } => self.enter(*number, *run, *stage, at),
            Fact::BorderCrossed { border } => {
                self.borders.insert(*border, at);
            }
            Fact::AttemptOpened { order } => self.open(order, (epoch, leading_for), at),
            Fact::StepSucceeded { order, evidence } => {
                self.orders.remove(order);
                self.learn(&order.step.subject, evidence, at);
                if let Evidence::StorageAttested(attestation) = evidence {
                    self.seen_before_restoring(order, attestation);
                }
                if !self.set_step(order, StepState::Done { attempt: order.attempt }, at) {
                    self.settled.note(order.clone(), SettledBy::Outcome);
                }
                if order.phase == Phase::Restore {
                    self.is_as_it_was(&order.step.subject);
                }
            }
            Fact::EvidenceRefused { order, evidence } => {
                self.settle_order(order, SettledBy::Outcome);
                self.learn(&order.step.subject, evidence, at);
                self.set_step(order, StepState::Refused { attempt: order.attempt }, at);
            }
            Fact::StepFailed { order, failure } => {
                self.settle_order(order, SettledBy::Outcome);
                if let Some(stage) = self.stages.get_mut(usize::from(order.step.stage)) {
                    stage.failures.push(failure.message.clone());
                }
                if failure.effect == Effect::None {
                    self.changed_nothing(order, failure.kind);
                }
                if self.set_step(order, StepState::Open { failed: order.attempt }, at)
                    && let Some(length) = self.rest_after(order.attempt, failure.kind)
                {
                    let rest = Rest { epoch, since: leading_for, until: leading_for.plus(length) };
                    self.resting.insert(order.step.subject.clone(), rest);
                }
            }
            Fact::RevokeAsked { order } => {
                if let Some(open) = self.orders.get_mut(order) {
                    open.revoked = true;
                    // Its agent has as long again to answer the revoke.
                    open.since = (epoch, leading_for);
                }
            }
            Fact::Revoked { order, settlement } => {
                self.settle_order(order, SettledBy::Revoke);
                self.set_step(order, StepState::Open { failed: order.attempt }, at);
                match settlement {
                    Settlement::Finished(Outcome::Done(evidence)) => self.learn(&order.step.subject, evidence, at),
                    Settlement::NeverBegun => self.had_no_effect(order),
                    Settlement::Finished(Outcome::Failed(failure)) | Settlement::Stopped(failure) => {
                        if failure.effect == Effect::None {
                            self.changed_nothing(order, failure.kind);
                        }
                    }
                }
            }
            Fact::LateOutcome { order, outcome } => {
                self.settled.note(order.clone(), SettledBy::Late);
                self.late(order, outcome, at);
            }
            Fact::Held { hold } => {
                self.next_hold = hold.id.0 + 1;
                self.may_be_written |= super::holds::somebody_may_have_written(&hold.reason);
                self.holds.insert(hold.id, (**hold).clone());
            }
            Fact::HoldDecided { hold, choice, .. } => self.decided(*hold, *choice, (epoch, leading_for), at),
            Fact::HoldLifted { hold } => {
                self.holds.remove(hold);
            }
            Fact::ProofVoided { instance, .. } => {
                if let Some(Drained::Proved { since, .. }) = self.drained.get(instance) {
                    self.drained.insert(instance.clone(), Drained::Voided { since: *since });
                }
            }
            Fact::MemberJoined { instance, member } => self.fold_joined(instance, member),
            Fact::MemberExcused { instance, .. } => self.fold_excused(instance, at),
            Fact::RunnerChosen { agent } => self.fold_runner(agent),
            Fact::TurnedBack { why, stages } => {
                self.joining.clear();
                self.back_from = Some(self.stages.len().try_into().unwrap_or(u16::MAX));
                self.turned_back = Some(why.clone());
                self.stages.extend(stages.iter().copied().map(StageState::new));
                self.holds.clear();
                self.clear_steps();
            }
            Fact::Paused => self.paused = Some((at, said(by, None, at))),
            Fact::Resumed => self.paused = None,
            Fact::Ended { ending, reason } => {
                self.ended = Some((*ending, at));
                self.end = said(by, reason.as_deref(), at);
                // Only what a person declared ended has any left.
                for (id, _) in std::mem::take(&mut self.orders) {
                    self.settled.note(id, SettledBy::Person);
                }
                self.holds.clear();
                self.clear_steps();
            }
            Fact::Closed => self.closed = Some((at, said(by, None, at))),
        }
    }

    fn clear_steps(&mut self) {
        self.put_steps_aside();
        self.ready.clear();
        self.resting.clear();
        self.open_steps = 0;
    }

    fn enter(&mut self, number: u16, run: u16, stage: cutover_vocabulary::phase::Stage, at: Timestamp) {
        self.put_steps_aside();
        let voided = self.at.map(|at| self.before_a_voided_proof(at));
        self.at = Some(number);
        // Where a stage begins again, what was asked about its last run is asked again if it is still so: an answer to it
        // must not pass for one about a step of this run. That a proof was voided is not found again, so it stays where this does not
        // begin as early as its own retry.
        self.holds.retain(|_, hold| match hold.reason {
            HoldReason::AgentLost { .. }
            | HoldReason::Overdue { .. }
            | HoldReason::InstanceAppeared { .. }
            | HoldReason::TakenOver { .. } => true,
            HoldReason::StepFailed { .. }
            | HoldReason::UncleanStop { .. }
            | HoldReason::Strangers { .. }
            | HoldReason::PlanDrifted { .. }
            | HoldReason::OtherStorage { .. }
            | HoldReason::LedgersChanged { .. }
            | HoldReason::LossesChanged { .. }
            | HoldReason::UnexplainedDifferences { .. }
            | HoldReason::Inconsistent { .. } => false,
            HoldReason::ProofVoided { .. } => voided.is_some_and(|begins| number > begins),
        });
        if matches!(stage.phase, Phase::Drain | Phase::Secure) && !self.going_back() && stage.wave.is_none() {
            // What was kept of a storage that may have been written to since is no recovery point any more.
            self.void_points();
            self.may_be_written &= !self.touched.is_empty();
        }
        if stage.phase == Phase::Drain && !self.rolling() {
            self.shut_out.get_or_insert((at, None));
        }
        if stage.phase == Phase::Drain && !self.crossed(Border::MigrateAuthorised) {
            self.storage = None;
        }
        let subjects = self.subjects(stage.phase);
        self.steps = subjects.iter().cloned().map(|subject| (subject, StepState::Open { failed: 0 })).collect();
        self.ready = subjects.into_iter().collect();
        self.resting.clear();
        self.open_steps = self.steps.len().try_into().unwrap_or(u32::MAX);
        let total = self.open_steps;
        if let Some(state) = self.stages.get_mut(usize::from(number)) {
            state.run = run;
            state.entered = Some(at);
            state.left = (total == 0).then_some(at);
            state.steps = (0, total);
        }
    }

    fn open(&mut self, order: &Arc<Order>, since: (Epoch, Elapsed), at: Timestamp) {
        let subject = &order.id.step.subject;
        match &order.work {
            Work::Migrate { .. } | Work::Register { .. } => self.may_have_changed(&order.id),
            Work::Drain { .. } => {
                if let Subject::Instance(name) = subject {
                    self.stopping.entry(name.clone()).or_default().insert(order.id.clone(), at);
                }
            }
            Work::Inspect
            | Work::StageRelease { .. }
            | Work::Rehearse { .. }
            | Work::Attest
            | Work::AttestStorage { .. }
            | Work::Secure { .. }
            | Work::Prove { .. }
            | Work::Switch { .. }
            | Work::SwitchBack { .. }
            | Work::StartClosed { .. }
            | Work::Verify { .. }
            | Work::Open { .. }
            | Work::Bake { .. }
            | Work::Restore { .. } => {}
        }
        self.resting.remove(subject);
        // Steps are ordered in the order of this set, so it is nearly always the first.
        let waited = if self.ready.first() == Some(subject) {
            self.ready.pop_first().is_some()
        } else {
            self.ready.remove(subject)
        };
        if !waited {
            self.steps.entry(subject.clone()).or_insert(StepState::Open { failed: order.id.attempt.saturating_sub(1) });
        }
        let open = OpenOrder { order: order.clone(), revoked: false, since };
        self.orders.insert(order.id.clone(), open);
    }

    /// From the moment at which the order exists: its report may be lost.
    fn may_have_changed(&mut self, order: &OrderId) {
        for item in self.in_reach_of(order) {
            self.touched.entry(item).or_default().insert(order.clone());
        }
    }

    /// What an order may change. A migration changes one ledger (measured, of every release that is known); nobody knows what one
    /// does that starts a whole server.
    fn in_reach_of(&self, order: &OrderId) -> Vec<RecoveryItem> {
        let binding = &self.plan.binding;
        if order.phase == Phase::Migrate && binding.first_start && binding.unknown_target {
            binding.ledgers.keys().cloned().map(RecoveryItem::Ledger).chain([RecoveryItem::System]).collect()
        } else {
            RecoveryItem::of(&order.step.subject).into_iter().collect()
        }
    }

    /// Its agent says that it changed nothing.
    fn changed_nothing(&mut self, order: &OrderId, kind: FailureKind) {
        if !self.only_looked_unchanged(order, kind) {
            self.had_no_effect(order);
        }
    }

    /// Of a migration that ran an agent tells that it changed nothing by what the ledger records before and after, which is enough where
    /// a migration is one transaction: measured of every release that is known, and of no other. What it refused it did not begin.
    fn only_looked_unchanged(&self, order: &OrderId, kind: FailureKind) -> bool {
        order.phase == Phase::Migrate && self.plan.binding.unknown_target && kind != FailureKind::Refused
    }

    /// It is known of this order that it changed nothing; of other attempts at the same step that says nothing.
    fn had_no_effect(&mut self, order: &OrderId) {
        if let Subject::Instance(name) = &order.step.subject
            && let Some(orders) = self.stopping.get_mut(name)
        {
            orders.remove(order);
            if orders.is_empty() {
                self.stopping.remove(name);
            }
        }
        for item in self.in_reach_of(order) {
            if let Some(orders) = self.touched.get_mut(&item) {
                orders.remove(order);
                if orders.is_empty() {
                    self.touched.remove(&item);
                }
            }
        }
    }

    /// On the way back, before anything is restored: a ledger that records other migrations than its recovery point was changed,
    /// whatever was said of the order that changed it. An agent that lost its journal says of it that it was never begun.
    fn seen_before_restoring(&mut self, order: &OrderId, attestation: &StorageAttestation) {
        let restoring = |state: &StageState| state.stage.phase == Phase::Restore;
        if !self.stages.iter().any(restoring)
            || self.stages.iter().any(|state| restoring(state) && state.entered.is_some())
        {
            return;
        }
        for (ledger, found) in &attestation.migrations {
            let item = RecoveryItem::Ledger(ledger.clone());
            if self.points.get(&item).is_some_and(|point| point.migrations != *found) {
                self.touched.entry(item).or_default().insert(order.clone());
            }
        }
    }

    /// The item is what its recovery point holds, so nothing that was ordered before counts any more.
    fn is_as_it_was(&mut self, subject: &Subject) {
        if let Some(item) = RecoveryItem::of(subject) {
            self.touched.remove(&item);
        }
    }

    /// What came of an order that was settled without its outcome: only an effect counts. A proof that was given while nobody
    /// waited for it any more proves nothing, and a recovery point of a former runner lies on another host.
    fn late(&mut self, order: &OrderId, outcome: &Outcome, at: Timestamp) {
        let nothing = matches!(outcome, Outcome::Failed(failure)
            if failure.effect == Effect::None && !self.only_looked_unchanged(order, failure.kind));
        if order.phase == Phase::Migrate && !nothing {
            self.may_have_changed(order);
        }
        let known = match &order.step.subject {
            Subject::Instance(name) => self.members.contains_key(name),
            Subject::Ledger(_) | Subject::Storage => true,
        };
        match outcome {
            Outcome::Done(
                evidence @ (Evidence::Migrated(_) | Evidence::Registered { .. } | Evidence::Opened { .. }),
            ) if known => self.learn(&order.step.subject, evidence, at),
            Outcome::Done(_) | Outcome::Failed(_) => {}
        }
    }

    pub(super) fn settle_order(&mut self, order: &OrderId, by: SettledBy) {
        let id = self.orders.remove_entry(order).map_or_else(|| order.clone(), |(id, _)| id);
        self.settled.note(id, by);
    }

    /// Only steps of the stage that is current; an order of a stage that was left changes no step.
    /// Whether it was one.
    pub(super) fn set_step(&mut self, order: &OrderId, state: StepState, at: Timestamp) -> bool {
        let current = self.at == Some(order.step.stage)
            && self.current().is_some_and(|stage| stage.run == order.step.run)
            && !self.between();
        if current {
            self.put_step(order.step.subject.clone(), state, at);
        }
        current
    }

    /// It turned back and has not entered the way back yet: what steps say does not count any more.
    pub(super) fn between(&self) -> bool {
        match (self.back_from, self.at) {
            (Some(back), Some(at)) => at < back,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    fn put_step(&mut self, subject: Subject, state: StepState, at: Timestamp) {
        let done = matches!(state, StepState::Done { .. });
        let open = matches!(state, StepState::Open { .. });
        // One look-up for the common change, from out to done: there are as many steps as instances.
        let before = match self.steps.get_mut(&subject) {
            Some(step) => Some(std::mem::replace(step, state)),
            None => self.steps.insert(subject.clone(), state),
        };
        if open {
            self.ready.insert(subject);
        } else {
            self.ready.remove(&subject);
            self.resting.remove(&subject);
        }
        if done && !matches!(before, Some(StepState::Done { .. })) {
            self.open_steps = self.open_steps.saturating_sub(1);
            let open = self.open_steps;
            if let Some(stage) = self.at.and_then(|at| self.stages.get_mut(usize::from(at))) {
                stage.steps.0 += 1;
                if open == 0 {
                    stage.left = Some(at);
                }
            }
        }
    }

    /// A step that is not to be done any more.
    pub(super) fn remove_step(&mut self, subject: &Subject, at: Timestamp) {
        let Some((subject, step)) = self.steps.remove_entry(subject) else { return };
        self.ready.remove(&subject);
        self.resting.remove(&subject);
        let done = matches!(step, StepState::Done { .. });
        if !done {
            self.open_steps = self.open_steps.saturating_sub(1);
        }
        if let (Some(at), Some(stage)) = (self.at, self.current()) {
            let run = stage.run;
            self.settled.keep(at, run, Steps::from([(subject, step)]));
        }
        let open = self.open_steps;
        if let Some(stage) = self.at.and_then(|at| self.stages.get_mut(usize::from(at))) {
            let (finished, all) = stage.steps;
            stage.steps = (finished.saturating_sub(u32::from(done)), all.saturating_sub(1));
            if open == 0 {
                stage.left = Some(at);
            }
        }
    }

    fn decided(&mut self, id: HoldId, choice: Choice, since: (Epoch, Elapsed), at: Timestamp) {
        // What a person took over stays theirs: that hold is never gone.
        if self.holds.get(&id).is_some_and(|hold| matches!(hold.reason, HoldReason::TakenOver { .. })) {
            self.left_frozen = true;
            return;
        }
        let Some(hold) = self.holds.remove(&id) else { return };
        match choice {
            Choice::Accept => {
                if let HoldReason::InstanceAppeared { instance, agent, .. } = &hold.reason {
                    self.joining.insert(instance.clone(), agent.clone());
                }
                // Accepted as restored: nothing puts the item back once more.
                if hold.phase == Phase::Restore
                    && let Some(subject) = super::holds::subject_of(&hold)
                {
                    self.is_as_it_was(&subject);
                }
                if let Some(subject) = super::holds::subject_of(&hold)
                    && self.steps.contains_key(&subject)
                {
                    self.put_step(subject, StepState::Done { attempt: 0 }, at);
                }
            }
            Choice::Retry => {
                if let Some(subject) = super::holds::subject_of(&hold)
                    && let Some(StepState::Refused { attempt }) = self.steps.get(&subject)
                {
                    let failed = *attempt;
                    self.put_step(subject, StepState::Open { failed }, at);
                }
            }
            Choice::Wait => {
                for open in self.orders.values_mut() {
                    open.since = since;
                }
            }
            Choice::Abort | Choice::Rollback => {}
        }
    }
}
