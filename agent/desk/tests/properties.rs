//! What holds whatever the network and the host do: duplicates, reorderings, cuts, crashes between any two actions.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its orders has failed")]

mod common;

use common::*;
use cutover_desk::{Action, Desk, Entry, Event};
use cutover_vocabulary::fact::Settlement;
use cutover_vocabulary::link::{AgentMessage, Refusal, Say};
use cutover_vocabulary::{Elapsed, Epoch, Order, OrderId, Outcome, Subject, Work};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Debug, Clone)]
enum Happening {
    Do { order: usize, epoch: u64 },
    OtherContent { order: usize },
    Revoke { order: usize, epoch: u64 },
    Acknowledge { order: usize, epoch: u64 },
    Ends { order: usize, done: bool },
    Welcome { epoch: u64 },
    LinkUp,
    LinkDown,
    Remind,
    TakeOver { upgrade: usize },
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    let order = || 0..pool().len();
    let epoch = || prop_oneof![1 => Just(1_u64), 8 => Just(2), 1 => Just(3)];
    prop_oneof![
        8 => (order(), epoch()).prop_map(|(order, epoch)| Happening::Do { order, epoch }),
        1 => order().prop_map(|order| Happening::OtherContent { order }),
        3 => (order(), epoch()).prop_map(|(order, epoch)| Happening::Revoke { order, epoch }),
        4 => (order(), epoch()).prop_map(|(order, epoch)| Happening::Acknowledge { order, epoch }),
        6 => (order(), any::<bool>()).prop_map(|(order, done)| Happening::Ends { order, done }),
        1 => epoch().prop_map(|epoch| Happening::Welcome { epoch }),
        2 => Just(Happening::LinkUp),
        1 => Just(Happening::LinkDown),
        1 => Just(Happening::Remind),
        1 => (0..2_usize).prop_map(|upgrade| Happening::TakeOver { upgrade }),
        2 => Just(Happening::Restart),
    ]
}

/// Orders of two upgrades, some of which conflict.
fn pool() -> Vec<Order> {
    let drain = Work::Drain { patience: Elapsed::from_secs(1), for_good: false };
    let attest = Work::AttestStorage { storage: storage() };
    ["u0", "u1"]
        .into_iter()
        .flat_map(|upgrade| {
            [
                order(upgrade, 1, instance("ledger-a"), Work::Inspect),
                order(upgrade, 2, instance("ledger-a"), drain.clone()),
                order(upgrade, 2, instance("ledger-b"), drain.clone()),
                order(upgrade, 3, Subject::Storage, attest.clone()),
            ]
        })
        .collect()
}

/// The host around a desk: what is durable, what runs, what was sent.
struct World {
    desk: Desk,
    journal: Vec<Entry>,
    running: BTreeSet<OrderId>,
    begun: BTreeSet<OrderId>,
    acknowledged: BTreeSet<OrderId>,
}

impl World {
    fn new() -> Self {
        let (desk, _) = Desk::restore(host(), []);
        Self { desk, journal: vec![], running: BTreeSet::new(), begun: BTreeSet::new(), acknowledged: BTreeSet::new() }
    }

    /// Power comes back: only the journal is left.
    fn restart(&mut self) {
        let (desk, actions) = Desk::restore(host(), self.journal.clone());
        self.desk = desk;
        self.running.clear();
        self.begun.clear();
        self.carry_out(actions);
    }

    /// Handles an event; with `crash` the power fails after that many actions.
    fn tell(&mut self, event: Event, crash: Option<usize>) -> Vec<Action> {
        let actions = self.desk.handle(event);
        match crash {
            Some(after) if after < actions.len() => {
                self.carry_out(actions.into_iter().take(after).collect());
                self.restart();
                vec![]
            }
            Some(_) | None => {
                self.carry_out(actions.clone());
                let folded = Desk::replay(host(), self.journal.clone());
                let mut live = self.desk.clone();
                live.handle(Event::LinkDown);
                assert_eq!(folded, live, "what the desk knows is the fold of its journal");
                actions
            }
        }
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Journal(entry) => self.journal.push(entry),
                Action::Begin { order, .. } => {
                    assert!(self.accepted(&order.id), "begun before it was journalled");
                    assert!(self.outcome(&order.id).is_none(), "begun after it had ended");
                    assert!(self.begun.insert(order.id.clone()), "begun twice without a restart between");
                    assert!(self.tombstone(&order.id).is_none(), "begun although it was revoked before");
                    self.running.insert(order.id);
                }
                Action::Stop(id) => {
                    assert!(self.running.contains(&id), "stopped what does not run");
                    assert!(self.journal.contains(&Entry::Revoked(id)), "stopped before the revoke was journalled");
                }
                Action::Send(message) => self.sent(message),
                Action::SendBack(message) => assert!(
                    matches!(message, AgentMessage::Refused { why: Refusal::OldEpoch { .. }, .. }),
                    "a leader of the past is told that alone: {message:?}"
                ),
                Action::Permitted { epoch, .. } => {
                    assert!(epoch >= self.desk.epoch(), "a leader of the past permits nothing")
                }
                Action::TurnAway { welcomed, known } => assert!(welcomed < known),
            }
        }
    }

    fn sent(&self, message: AgentMessage) {
        match message {
            AgentMessage::Outcome { order, outcome, .. } => {
                assert_eq!(self.outcome(&order), Some(&outcome), "sent before it was journalled");
            }
            AgentMessage::Revoked { order, settlement } => match settlement {
                Settlement::NeverBegun => {
                    assert!(!self.accepted(&order), "was begun");
                    assert!(self.journal.contains(&Entry::Revoked(order)), "said before the tombstone was journalled");
                }
                Settlement::Stopped(failure) => {
                    assert_eq!(self.outcome(&order), Some(&Outcome::Failed(failure)));
                }
                Settlement::Finished(outcome) => assert_eq!(self.outcome(&order), Some(&outcome)),
            },
            AgentMessage::Refused { order, why } => {
                assert!(why == Refusal::OtherContent || !self.accepted(&order), "refused what was begun: {why}");
            }
            AgentMessage::TakenOver { upgrade, .. } => {
                assert!(
                    self.journal
                        .iter()
                        .any(|entry| { matches!(entry, Entry::TakenOver { upgrade: taken, .. } if *taken == upgrade) })
                );
            }
            AgentMessage::Hello(_) | AgentMessage::Report(_) | AgentMessage::Surveyed { .. } => {}
        }
    }

    fn accepted(&self, id: &OrderId) -> bool {
        self.journal.iter().any(|entry| matches!(entry, Entry::Accepted(order) if order.id == *id))
    }

    fn outcome(&self, id: &OrderId) -> Option<&Outcome> {
        self.journal.iter().find_map(|entry| match entry {
            Entry::Finished { order, outcome } if order == id => Some(outcome.as_ref()),
            Entry::Finished { .. }
            | Entry::Epoch(_)
            | Entry::Accepted(_)
            | Entry::Revoked(_)
            | Entry::Acknowledged(_)
            | Entry::TakenOver { .. }
            | Entry::Forgotten(_) => None,
        })
    }

    /// Where the journal revokes an order that it had not accepted.
    fn tombstone(&self, id: &OrderId) -> Option<usize> {
        let revoked = self.journal.iter().position(|entry| *entry == Entry::Revoked(id.clone()))?;
        let accepted = self.journal.iter().position(|entry| matches!(entry, Entry::Accepted(order) if order.id == *id));
        accepted.is_none_or(|accepted| revoked < accepted).then_some(revoked)
    }

    fn happens(&mut self, happening: Happening, crash: Option<usize>) {
        let pool = pool();
        let event = match happening {
            Happening::Do { order, epoch } => heard(epoch, Say::Do(Box::new(pool[order].clone()))),
            Happening::OtherContent { order } => {
                let other = Order { work: Work::Attest, ..pool[order].clone() };
                if !self.accepted(&other.id) {
                    return;
                }
                heard(2, Say::Do(Box::new(other)))
            }
            Happening::Revoke { order, epoch } => heard(epoch, Say::Revoke(pool[order].id.clone())),
            Happening::Acknowledge { order, epoch } => {
                // A coordinator acknowledges only what it has heard, so the agent has it in its journal.
                let id = &pool[order].id;
                if self.outcome(id).is_none() && self.tombstone(id).is_none() {
                    return;
                }
                self.acknowledged.insert(id.clone());
                heard(epoch, Say::Acknowledge(id.clone()))
            }
            Happening::Ends { order, done: well } => {
                let id = pool[order].id.clone();
                if !self.running.remove(&id) {
                    return;
                }
                let outcome = if well { done() } else { failed() };
                self.tell(Event::Finished { order: id, outcome }, crash);
                return;
            }
            Happening::Welcome { epoch } => heard(epoch, Say::Welcome),
            Happening::LinkUp => link_up(&self.desk),
            Happening::LinkDown => Event::LinkDown,
            Happening::Remind => Event::Remind,
            Happening::TakeOver { upgrade } => taken_over(["u0", "u1"][upgrade]),
            Happening::Restart => return self.restart(),
        };
        self.tell(event, crash);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_begun_twice_sent_before_it_is_durable_or_lost(
        happenings in prop::collection::vec((happening(), prop::option::weighted(0.15, 0..3_usize)), 1..60)
    ) {
        let mut world = World::new();
        for (happening, crash) in happenings {
            world.happens(happening, crash);
        }
        // What runs ends, a link stands: then every order that was accepted is answered, but for those whose answer
        // was stored.
        for id in std::mem::take(&mut world.running) {
            world.tell(Event::Finished { order: id, outcome: done() }, None);
        }
        let actions = world.tell(link_up(&world.desk), None);
        for order in pool() {
            let answered = actions.iter().any(|action| match action {
                Action::Send(AgentMessage::Outcome { order: id, .. } | AgentMessage::Revoked { order: id, .. }) => {
                    *id == order.id
                }
                Action::Send(_)
                | Action::SendBack(_)
                | Action::Permitted { .. }
                | Action::TurnAway { .. }
                | Action::Begin { .. }
                | Action::Stop(_)
                | Action::Journal(_) => false,
            });
            let owed = world.accepted(&order.id) || world.tombstone(&order.id).is_some();
            let stored = world.journal.contains(&Entry::Acknowledged(order.id.clone()));
            prop_assert_eq!(answered, owed && !stored, "{}", order.id);
            prop_assert!(!stored || world.acknowledged.contains(&order.id));
            prop_assert!(!world.accepted(&order.id) || world.outcome(&order.id).is_some());
        }
        prop_assert!(actions.iter().all(|action| matches!(action, Action::Send(_))));
    }

    #[test]
    fn the_epoch_never_falls(epochs in prop::collection::vec(0..9_u64, 1..20)) {
        let (mut desk, _) = Desk::restore(host(), []);
        let mut highest = Epoch(0);
        for epoch in epochs {
            desk.handle(heard(epoch, Say::Welcome));
            highest = highest.max(Epoch(epoch));
            prop_assert_eq!(desk.epoch(), highest);
        }
    }
}
