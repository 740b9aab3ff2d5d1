//! What operators ask of an upgrade.

use super::decide::Draft;
use super::input::{Ask, Rejected};
use super::state::Upgrade;
use cutover_vocabulary::fact::{Cause, Ending, Fact};
use cutover_vocabulary::hold::{Choice, Hold, HoldId, HoldReason};
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::phase::{Border, Stage};
use cutover_vocabulary::storage::RecoveryItem;
use cutover_vocabulary::{OperatorName, OrderId, Phase, RequestId, Subject};

impl Draft {
    /// Carries out an operator's call. The same request id again changes nothing and is no error.
    pub(super) fn asked(&mut self, by: &OperatorName, request: &RequestId, ask: &Ask) -> Result<(), Rejected> {
        if self.upgrade.knows_request(request) {
            return Ok(());
        }
        let said = |reason: &str| Cause::Operator {
            name: by.clone(),
            request: request.clone(),
            reason: reason.trim().to_owned(),
        };
        // Most facts hold the reason themselves.
        let by = said("");
        if self.upgrade.finished() && !matches!(ask, Ask::Close { .. }) {
            return Err(Rejected::Ended);
        }
        match ask {
            Ask::Decide { hold, choice, reason } => self.decide_hold(by, *hold, *choice, reason),
            Ask::Abort { reason } if !self.upgrade.may_have_effect() => self.turn_back(by, reason),
            Ask::Abort { .. } if self.upgrade.past_return() => Err(Rejected::OpenedAlready),
            Ask::Abort { .. } => Err(Rejected::MigratedAlready),
            Ask::Rollback { reason } if self.upgrade.may_have_effect() => self.turn_back(by, reason),
            Ask::Rollback { .. } => Err(Rejected::NothingMigrated),
            // What is so already needs no fact, and is no error: these calls are idempotent.
            Ask::Pause { .. } if self.upgrade.paused.is_some() => Ok(()),
            Ask::Pause { reason } => {
                self.happen(said(reason), Fact::Paused);
                Ok(())
            }
            Ask::Resume { .. } if self.upgrade.paused.is_none() => Ok(()),
            Ask::Resume { reason } => {
                self.happen(said(reason), Fact::Resumed);
                Ok(())
            }
            Ask::Excuse { instance, reason, evidence } => self.excuse(by, instance, reason, evidence),
            Ask::Close { reason } if !self.upgrade.finished() => self.end_by_hand(by, reason),
            Ask::Close { .. } if self.upgrade.closed.is_some() => Ok(()),
            Ask::Close { reason } => {
                self.happen(said(reason), Fact::Closed);
                Ok(())
            }
        }
    }

    /// What a person took over, a person ends: nothing else ever would, and the deployment is free only then.
    fn end_by_hand(&mut self, by: Cause, reason: &str) -> Result<(), Rejected> {
        if !self.upgrade.taken_over() {
            return Err(Rejected::NotEnded);
        }
        if reason.trim().is_empty() {
            return Err(Rejected::NoReason);
        }
        self.happen(by, Fact::Ended { ending: Ending::TakenOver, reason: Some(reason.to_owned()) });
        Ok(())
    }

    /// Whoever asks to go back wants it to move: a paused upgrade is resumed by it.
    fn turn_back(&mut self, by: Cause, reason: &str) -> Result<(), Rejected> {
        let stages = self.upgrade.may_turn_back()?;
        if self.upgrade.paused.is_some() {
            self.happen(by.clone(), Fact::Resumed);
        }
        self.happen(by, Fact::TurnedBack { why: reason.to_owned(), stages });
        Ok(())
    }

    fn decide_hold(&mut self, by: Cause, id: HoldId, choice: Choice, reason: &str) -> Result<(), Rejected> {
        let hold = self.upgrade.holds.get(&id).ok_or(Rejected::NoSuchHold(id))?.clone();
        if self.upgrade.taken_over() && !matches!(hold.reason, HoldReason::TakenOver { .. }) {
            return Err(Rejected::NothingToDo("a person took it over on a host: `close` ends it"));
        }
        if !hold.offers(choice) {
            let offered = hold.choices.iter().map(|offer| offer.choice.word()).collect::<Vec<_>>().join(", ");
            return Err(Rejected::NotOffered { hold: id, choice, offered });
        }
        // What was taken over stays frozen, so the same answer again says nothing new.
        if self.upgrade.left_frozen && choice == Choice::Wait && matches!(hold.reason, HoldReason::TakenOver { .. }) {
            return Ok(());
        }
        // What cannot be carried out is refused before the decision counts as one.
        let again = match choice {
            Choice::Retry => self.upgrade.retry_from(&hold)?,
            Choice::Abort | Choice::Rollback => self.upgrade.may_turn_back().map(|_| None)?,
            Choice::Accept => self.upgrade.accept_from(&hold)?,
            Choice::Wait => None,
        };
        self.happen(by.clone(), Fact::HoldDecided { hold: id, choice, reason: reason.to_owned() });
        match choice {
            Choice::Abort | Choice::Rollback => self.turn_back(by, reason),
            Choice::Retry | Choice::Accept | Choice::Wait => {
                if let Some(number) = again {
                    self.enter_again(number);
                }
                Ok(())
            }
        }
    }
}

impl Upgrade {
    fn may_turn_back(&self) -> Result<Vec<Stage>, Rejected> {
        if let Some(why) = &self.turned_back {
            return Err(Rejected::GoesBackAlready(why.clone()));
        }
        if self.taken_over() {
            return Err(Rejected::NothingToDo("a person took it over on the host; what they did is theirs to finish"));
        }
        self.way_back_now().ok_or(Rejected::OpenedAlready)
    }

    fn phase_at(&self, number: u16) -> Option<Phase> {
        self.stages.get(usize::from(number)).map(|state| state.stage.phase)
    }

    /// The round of attestations with which a retry of the stage `at` begins, if one stands before it.
    pub(super) fn round_before(&self, at: u16) -> Option<u16> {
        let needs = match self.phase_at(at)? {
            // The order that failed may have lifted the fence and let clients in. A round would find the instance running; on
            // the way back, the drain and the restore that follow from that would undo what clients wrote.
            Phase::Open | Phase::Reopen => return None,
            // A verification that failed has ended the closed copy, or this round does: another one must be started. Rolling,
            // the round stands before the switch, which finds itself done.
            Phase::Verify => {
                let start = at.checked_sub(1)?;
                let before = start.checked_sub(1)?;
                if self.phase_at(before) == Some(Phase::Switch) { before } else { start }
            }
            Phase::Preflight
            | Phase::Stage
            | Phase::Rehearse
            | Phase::Drain
            | Phase::ConfirmDrained
            | Phase::Secure
            | Phase::Migrate
            | Phase::Prove
            | Phase::Switch
            | Phase::StartClosed
            | Phase::Bake
            | Phase::Restore
            | Phase::SwitchBack => at,
        };
        needs.checked_sub(1).filter(|before| self.phase_at(*before) == Some(Phase::ConfirmDrained))
    }

    /// The round of attestations before the first stage of a phase on the way forward.
    pub(super) fn round_of(&self, phase: Phase) -> Option<u16> {
        let number = self.stages.iter().position(|state| state.stage.phase == phase)?;
        self.round_before(number.try_into().ok()?)
    }

    /// Where to begin again when somebody was seen who may have written: before what was kept of the storage, or, once all of it
    /// may have been migrated, before what was proved of it. None where neither was done yet, and on the way back.
    fn before_what_was_seen(&self, at: u16) -> Option<u16> {
        // In a rolling upgrade instances write all the while.
        if self.going_back() || self.rolling() {
            return None;
        }
        let voided = if self.untouched().next().is_some() { Phase::Secure } else { Phase::Migrate };
        let voided = (0..=at).find(|number| self.phase_at(*number) == Some(voided))?;
        self.round_before(voided)
    }

    /// Whether a migration was refused with nothing changed: somebody may have written since the recovery point was taken, so
    /// only another one makes trying again safe.
    pub(super) fn was_refused(&self, order: &OrderId, failure: &cutover_vocabulary::Failure) -> bool {
        let untouched = RecoveryItem::of(&order.step.subject).is_some_and(|item| !self.touched.contains_key(&item));
        order.phase == Phase::Migrate
            && failure.kind == FailureKind::Refused
            && failure.effect == Effect::None
            && untouched
            && !self.going_back()
    }

    /// Where the upgrade goes on when what a hold shows is accepted, if not from here. Who joins is looked at, gets the target
    /// release and is drained like all others; and what was kept or proved counts only since then.
    fn accept_from(&self, hold: &Hold) -> Result<Option<u16>, Rejected> {
        match &hold.reason {
            HoldReason::InstanceAppeared { .. } if self.orders.is_empty() => {
                let first = (0..).map_while(|number| Some((number, self.phase_at(number)?)));
                Ok(first.filter(|(_, phase)| *phase == Phase::Preflight).map(|(number, _)| number).next())
            }
            HoldReason::InstanceAppeared { .. } => Err(Rejected::OrdersOut(self.orders.len())),
            HoldReason::StepFailed { .. }
            | HoldReason::UncleanStop { .. }
            | HoldReason::Strangers { .. }
            | HoldReason::PlanDrifted { .. }
            | HoldReason::OtherStorage { .. }
            | HoldReason::LedgersChanged { .. }
            | HoldReason::LossesChanged { .. }
            | HoldReason::UnexplainedDifferences { .. }
            | HoldReason::Inconsistent { .. }
            | HoldReason::AgentLost { .. }
            | HoldReason::Overdue { .. }
            | HoldReason::ProofVoided { .. }
            | HoldReason::TakenOver { .. } => Ok(None),
        }
    }

    /// Where to begin again when an instance that was proved down was seen up.
    pub(super) fn before_a_voided_proof(&self, at: u16) -> u16 {
        if self.crossed(Border::MigrateAuthorised) && !self.going_back() && !self.rolling() {
            // The border is crossed right before the stage is entered.
            return self.before_what_was_seen(at).or(self.round_before(at)).unwrap_or(at);
        }
        self.last_drain(at)
    }

    /// The last stage up to here in which instances were drained, on the way that is gone now.
    fn last_drain(&self, at: u16) -> u16 {
        let first = self.back_from.unwrap_or(0);
        (first..=at).rev().find(|number| self.phase_at(*number) == Some(Phase::Drain)).unwrap_or(at)
    }

    /// Where a retry begins: `None` for the failed step alone. A stage that needs a quiet storage begins again with its
    /// round of attestations; a voided proof before any migration begins again with the drain.
    fn retry_from(&self, hold: &Hold) -> Result<Option<u16>, Rejected> {
        let Some(at) = self.at else { return Ok(None) };
        let attested = self.round_before(at);
        let whole = match &hold.reason {
            HoldReason::ProofVoided { .. } => Some(self.before_a_voided_proof(at)),
            HoldReason::InstanceAppeared { .. } => Some(self.last_drain(at)),
            HoldReason::Strangers { .. } | HoldReason::LedgersChanged { .. }
                if self.before_what_was_seen(at).is_some() =>
            {
                self.before_what_was_seen(at)
            }
            HoldReason::StepFailed { order, failure }
                if order.phase == Phase::ConfirmDrained
                    && matches!(failure.kind, FailureKind::Refused | FailureKind::Unclean | FailureKind::StillRuns)
                    && matches!(order.step.subject, Subject::Instance(_))
                    && self.before_what_was_seen(at).is_some() =>
            {
                self.before_what_was_seen(at)
            }
            HoldReason::StepFailed { order, failure } if self.was_refused(order, failure) => {
                self.round_of(Phase::Secure)
            }
            HoldReason::PlanDrifted { .. } | HoldReason::OtherStorage { .. } => Some(attested.unwrap_or(at)),
            // The step alone would find no closed copy, however often.
            HoldReason::StepFailed { order, .. } if order.phase == Phase::Verify => Some(attested.unwrap_or(at)),
            // Only another run takes another recovery point: one attempt more is given the one that was taken.
            HoldReason::LossesChanged { .. } if self.orders.is_empty() => attested,
            HoldReason::StepFailed { .. }
            | HoldReason::UncleanStop { .. }
            | HoldReason::Strangers { .. }
            | HoldReason::LedgersChanged { .. }
            | HoldReason::LossesChanged { .. }
            | HoldReason::UnexplainedDifferences { .. }
            | HoldReason::Inconsistent { .. }
            | HoldReason::AgentLost { .. }
            | HoldReason::Overdue { .. }
            | HoldReason::TakenOver { .. } => {
                // Beside lanes that still run, or other holds that are still open, only the step itself is tried again.
                return Ok(attested.filter(|_| self.orders.is_empty() && self.holds.len() == 1));
            }
        };
        if self.orders.is_empty() { Ok(whole) } else { Err(Rejected::OrdersOut(self.orders.len())) }
    }
}
