//! `settle`: what the upgrade does next by itself; and `orders`: what stands now.

use super::conflict::conflicts;
use super::holds;
use super::phases::{Rules, rules};
use super::sequence::{Reached, way_back};
use super::state::{StageState, StepState, Upgrade};
use cutover_vocabulary::fact::{Ending, Fact};
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::outcome::FailureKind;
use cutover_vocabulary::phase::{Border, Stage};
use cutover_vocabulary::{Elapsed, Now, Order, OrderId, Phase, Subject, Work};
use std::sync::Arc;

/// How long a step rests after its first attempt that failed in a way that may pass by itself; four times as long after each
/// further one.
const FIRST_REST: Elapsed = Elapsed(2_000);
/// How long it rests at most.
const REST: Elapsed = Elapsed(30_000);

/// Whether an order is to be worked on or withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Work on it.
    Do,
    /// Answer what became of it, and leave it.
    Revoke,
}

impl Upgrade {
    /// What happens next without any input, if something does. Each fact that this returns makes its own condition
    /// false once it is folded, so a loop over it ends.
    pub fn settle(&self, now: Now) -> Option<Fact> {
        if self.ended.is_some() {
            return None;
        }
        self.overdue(now).or_else(|| self.settle_at_once(now))
    }

    /// What of [`Upgrade::settle`] does not look at every order. While no time passes, no further order becomes overdue, so
    /// `decide` asks for those once and then only for this.
    pub(super) fn settle_at_once(&self, now: Now) -> Option<Fact> {
        if self.ended.is_some() {
            return None;
        }
        self.revoke_left_behind()
            .or_else(|| self.lift_answered())
            .or_else(|| if self.holds.is_empty() && self.paused.is_none() { self.advance(now) } else { None })
    }

    /// Every order that stands, each with whether it is to be done or withdrawn. Derived from facts alone: a new leader
    /// sends the same.
    pub fn orders(&self) -> impl Iterator<Item = (&Order, Want)> {
        self.orders.values().map(|open| (&*open.order, if open.revoked { Want::Revoke } else { Want::Do }))
    }

    /// When `settle` has to be asked again at the latest, as a length of leadership.
    pub fn wake_at(&self) -> Option<Elapsed> {
        if self.ended.is_some() {
            return None;
        }
        let deadlines =
            self.orders.iter().filter(|(id, _)| !self.held_overdue(id)).map(|(_, open)| self.deadline(open));
        let goes_on = self.holds.is_empty() && self.paused.is_none();
        let resting = self.resting.values().filter(|rest| goes_on && rest.epoch == self.epoch).map(|rest| rest.until);
        deadlines.chain(resting).min()
    }

    /// How long a step rests after so many failed attempts, before it is tried once more by itself: a server that restarts or
    /// fails over needs some seconds, and attempts without a rest would all be over before it is back.
    pub(super) fn rest_after(&self, attempt: u16, kind: FailureKind) -> Option<Elapsed> {
        let passes = kind == FailureKind::Transient && attempt < self.plan.binding.limits.attempts;
        passes.then(|| {
            Elapsed(FIRST_REST.0.saturating_mul(4_u64.saturating_pow(u32::from(attempt.saturating_sub(1)))).min(REST.0))
        })
    }

    /// Whether it is too early for a further attempt. An election ends every rest.
    fn rests(&self, subject: &Subject, now: Now) -> bool {
        self.resting.get(subject).is_some_and(|rest| rest.epoch == self.epoch && now.leading_for < rest.until)
    }

    /// The deadline of an order as a length of the present leadership; an election restarts it.
    fn deadline(&self, open: &super::state::OpenOrder) -> Elapsed {
        let (epoch, since) = open.since;
        let since = if epoch == self.epoch { since } else { Elapsed(0) };
        let limits = &self.plan.binding.limits;
        let limit = match &open.order.work {
            Work::Migrate { .. } | Work::Rehearse { .. } => limits.migration,
            Work::Drain { patience, for_good: _ } => patience.plus(*patience).plus(limits.step),
            Work::Bake { length, .. } => length.plus(limits.step),
            Work::Inspect
            | Work::StageRelease { .. }
            | Work::Attest
            | Work::AttestStorage { .. }
            | Work::Secure { .. }
            | Work::Register { .. }
            | Work::Prove { .. }
            | Work::Switch { .. }
            | Work::SwitchBack { .. }
            | Work::StartClosed { .. }
            | Work::Verify { .. }
            | Work::Open { .. }
            | Work::Restore { .. } => limits.step,
        };
        since.plus(limit)
    }

    /// When it turned back, orders of the way forward are withdrawn; the way back begins once they are settled.
    fn revoke_left_behind(&self) -> Option<Fact> {
        let back = self.back_from?;
        let left = self.orders.iter().find(|(id, open)| id.step.stage < back && !open.revoked);
        left.map(|(id, _)| Fact::RevokeAsked { order: id.clone() })
    }

    fn lift_answered(&self) -> Option<Fact> {
        let answered = self.holds.values().find(|hold| match &hold.reason {
            HoldReason::Overdue { order } => !self.orders.contains_key(order),
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
            | HoldReason::ProofVoided { .. }
            | HoldReason::InstanceAppeared { .. }
            | HoldReason::TakenOver { .. } => false,
        });
        answered.map(|hold| Fact::HoldLifted { hold: hold.id })
    }

    fn held_overdue(&self, id: &OrderId) -> bool {
        self.holds.values().any(|hold| matches!(&hold.reason, HoldReason::Overdue { order } if order == id))
    }

    /// Silence and deadlines settle nothing: they only ask a person.
    pub(super) fn overdue(&self, now: Now) -> Option<Fact> {
        let back = self.back_from.unwrap_or(0);
        let late = |(id, open): &(&OrderId, &super::state::OpenOrder)| {
            // What is about to be withdrawn gets its time from there.
            let left_behind = id.step.stage < back && !open.revoked;
            now.leading_for >= self.deadline(open) && !left_behind && !self.held_overdue(id)
        };
        let (id, _) = self.orders.iter().find(late)?;
        let hold = holds::make(self, HoldReason::Overdue { order: id.clone() }, id.phase, now.wall);
        Some(Fact::Held { hold: Box::new(hold) })
    }

    fn advance(&self, now: Now) -> Option<Fact> {
        let complete = self.open_steps == 0 && self.orders.is_empty();
        if self.between() && !self.orders.is_empty() {
            return None;
        }
        if self.between() || self.at.is_none() || complete { self.next_stage() } else { self.next_attempt(now) }
    }

    fn next_stage(&self) -> Option<Fact> {
        let next = match (self.between(), self.at) {
            (true, _) => self.back_from.unwrap_or_default(),
            (false, Some(at)) => at + 1,
            (false, None) => 0,
        };
        match self.stages.get(usize::from(next)) {
            None => Some(Fact::Ended { ending: self.ending_now(), reason: None }),
            // What is not changed yet and not kept any more is kept again first: there is no other way into a migration.
            Some(state) if state.stage.phase == Phase::Migrate && self.unsecured() => self.enter_secure(),
            Some(StageState { stage: Stage { border: Some(border), .. }, .. }) if !self.crossed(*border) => {
                Some(Fact::BorderCrossed { border: *border })
            }
            Some(state) => Some(Fact::StageEntered { number: next, run: state.run + 1, stage: state.stage }),
        }
    }

    fn unsecured(&self) -> bool {
        self.untouched().any(|item| !self.points.contains_key(&item))
    }

    fn enter_secure(&self) -> Option<Fact> {
        let secure = || self.stages.iter().position(|state| state.stage.phase == Phase::Secure)?.try_into().ok();
        let number = self.round_of(Phase::Secure).or_else(secure)?;
        let state = self.stages.get(usize::from(number))?;
        Some(Fact::StageEntered { number, run: state.run + 1, stage: state.stage })
    }

    fn ending_now(&self) -> Ending {
        match (self.going_back(), self.may_have_effect()) {
            (false, _) if self.plan.binding.only_rehearses() => Ending::Rehearsed,
            (false, _) => Ending::Completed,
            (true, false) => Ending::Aborted,
            (true, true) => Ending::RolledBack,
        }
    }

    fn next_attempt(&self, now: Now) -> Option<Fact> {
        let phase = self.phase()?;
        let rules = rules(phase);
        for subject in self.in_turn(rules) {
            if !rules.may_begin(self, subject) || self.rests(subject, now) {
                continue;
            }
            let Some(work) = rules.work(self, subject) else {
                return Some(self.hold_unknown(phase, subject, now));
            };
            if self.conflicting(subject, &work) {
                continue;
            }
            return Some(Fact::AttemptOpened { order: Arc::new(self.order(phase, subject, work)?) });
        }
        None
    }

    /// Steps that need an order, in the order in which they get one: by name, or the longest first.
    fn in_turn(&self, rules: &dyn Rules) -> Box<dyn Iterator<Item = &Subject> + '_> {
        // There can be thousands of instances and one attempt is opened at a time: these are not sorted.
        if !rules.longest_first() {
            return Box::new(self.ready.iter());
        }
        let mut subjects: Vec<&Subject> = self.ready.iter().collect();
        subjects.sort_by_cached_key(|subject| std::cmp::Reverse(self.length(subject)));
        Box::new(subjects.into_iter())
    }

    /// How long work on a ledger takes, to compare with others: by the rehearsal where it was measured, else by size.
    fn length(&self, subject: &Subject) -> (Elapsed, u64) {
        let Subject::Ledger(name) = subject else { return (Elapsed(0), 0) };
        let took = self.rehearsed.get(name).copied().unwrap_or(Elapsed(0));
        (took, self.sizes.get(name).copied().unwrap_or(0))
    }

    fn hold_unknown(&self, phase: Phase, subject: &Subject, now: Now) -> Fact {
        let changes = vec![format!("what {phase} of {subject} needs is not known; this is a fault of Cutover")];
        let hold = holds::make(self, HoldReason::PlanDrifted { changes }, phase, now.wall);
        Fact::Held { hold: Box::new(hold) }
    }

    fn order(&self, phase: Phase, subject: &Subject, work: Work) -> Option<Order> {
        let id = self.next_attempt_at(phase, subject)?;
        let agent = self.agent_of(subject).clone();
        Some(Order { id, agent, deployment: self.plan.binding.deployment.clone(), work })
    }

    /// The name of the next order for a step.
    pub(super) fn next_attempt_at(&self, phase: Phase, subject: &Subject) -> Option<OrderId> {
        let failed = match self.steps.get(subject) {
            Some(StepState::Open { failed }) => *failed,
            Some(StepState::Refused { .. } | StepState::Done { .. }) | None => 0,
        };
        Some(OrderId { upgrade: self.id.clone(), step: self.step_id(subject)?, phase, attempt: failed + 1 })
    }

    fn conflicting(&self, subject: &Subject, work: &Work) -> bool {
        // Orders are sorted by stage and run: when the first and the last are of this run, so are all between, and steps
        // of one run about instances never conflict with each other.
        let mine = |id: &OrderId| Some(id.step.stage) == self.at && Some(id.step.run) == self.current().map(|s| s.run);
        let all_mine = self.orders.first_key_value().is_none_or(|(id, _)| mine(id))
            && self.orders.last_key_value().is_none_or(|(id, _)| mine(id));
        if all_mine && matches!(subject, Subject::Instance(_)) {
            return false;
        }
        self.orders.values().any(|open| conflicts((subject, work), (&open.order.id.step.subject, &open.order.work)))
    }

    /// The way back from here; none once traffic was let in, or when it goes back already.
    pub(super) fn way_back_now(&self) -> Option<Vec<Stage>> {
        if self.going_back() || self.finished() {
            return None;
        }
        let drained = self.stages.iter().filter(|state| state.stage.phase == Phase::Drain && state.run > 0);
        let reached = Reached {
            migrate_authorised: self.crossed(Border::MigrateAuthorised),
            open_authorised: self.crossed(Border::OpenAuthorised),
            drained: drained.map(|state| state.stage.wave.unwrap_or(0)).max(),
        };
        way_back(self.way(), reached)
    }
}
