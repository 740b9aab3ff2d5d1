//! How orders were settled: what a late outcome means, as long as the upgrade is kept.
//!
//! Nearly all are settled by the success of their step, and a step that is done says by which attempt. So only the others are
//! written down one by one; a fold of 100,000 facts spent a fifth of its time on writing down all.

use super::state::{StepState, Upgrade};
use cutover_vocabulary::{OrderId, Subject};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// How an order was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SettledBy {
    /// By its outcome: the same again is a duplicate.
    Outcome,
    /// By a revoke: an outcome that comes after it may show an effect.
    Revoke,
    /// By a person who declared that nobody works on it any more: as after a revoke.
    Person,
    /// Not by its outcome, and its late outcome is stored.
    Late,
}

/// Steps by what they are about.
pub(super) type Steps = BTreeMap<Subject, StepState>;

/// What is not told by the steps of the present stage.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Settled {
    /// Settled otherwise than by the success of a step that is still there.
    others: BTreeMap<OrderId, SettledBy>,
    /// Steps of earlier stages and earlier runs of them, by number and run.
    earlier: BTreeMap<(u16, u16), Steps>,
}

impl Settled {
    /// Writes down an order. What was written down later counts.
    pub(super) fn note(&mut self, order: OrderId, by: SettledBy) {
        self.others.insert(order, by);
    }
    /// Keeps the steps of a run that is over.
    pub(super) fn keep(&mut self, stage: u16, run: u16, steps: Steps) {
        if steps.is_empty() {
            return;
        }
        match self.earlier.entry((stage, run)) {
            Entry::Vacant(free) => _ = free.insert(steps),
            Entry::Occupied(mut there) => there.get_mut().extend(steps),
        }
    }
}

impl Upgrade {
    /// How an order of this upgrade was settled, if it was.
    pub(super) fn settled(&self, order: &OrderId) -> Option<SettledBy> {
        if let Some(by) = self.settled.others.get(order) {
            return Some(*by);
        }
        let number = (order.step.stage, order.step.run);
        let stage = self.stages.get(usize::from(number.0)).filter(|_| order.upgrade == self.id)?;
        let present = (self.at == Some(number.0) && stage.run == number.1).then_some(&self.steps);
        let done = |steps: &Steps| match steps.get(&order.step.subject) {
            Some(StepState::Done { attempt }) => *attempt == order.attempt && order.attempt > 0,
            Some(StepState::Open { .. } | StepState::Refused { .. }) | None => false,
        };
        let known = stage.stage.phase == order.phase
            && (present.is_some_and(done) || self.settled.earlier.get(&number).is_some_and(done));
        known.then_some(SettledBy::Outcome)
    }

    /// Whether these facts gave this order, settled or not. Where an agent has one that they did not, they are not all that
    /// happened: an order is only ever sent after its fact was stored.
    pub fn gave(&self, order: &OrderId) -> bool {
        self.orders.contains_key(order) || self.settled(order).is_some()
    }

    /// The steps of the present stage count no more; by which attempts they were done stays known.
    pub(super) fn put_steps_aside(&mut self) {
        let before = std::mem::take(&mut self.steps);
        if let (Some(at), Some(stage)) = (self.at, self.current()) {
            let run = stage.run;
            self.settled.keep(at, run, before);
        }
    }
}
