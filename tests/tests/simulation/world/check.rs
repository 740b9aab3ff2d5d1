//! What must hold at the end.

use super::Simulation;
use crate::coordinator::{self, facts};
use crate::plans::PlanKind;
use crate::support::agent;
use cutover_core::upgrade::Upgrade;
use cutover_vocabulary::fact::{Ending, Fact};
use cutover_vocabulary::*;
use std::collections::{BTreeMap, BTreeSet};

impl Simulation {
    pub(super) fn check(&mut self) {
        let stored = facts(&self.store);
        self.coverage.facts(&format!("{:?}", self.kind), &stored);
        let leader = self.leader().unwrap();
        let mut replayed = Upgrade::replay(coordinator::id(), &stored).unwrap();
        replayed.led_by(leader.epoch);
        assert!(replayed == leader.upgrade, "the facts give another upgrade than the leader has");
        let ending = leader.upgrade.ending();
        if ending == Some(Ending::TakenOver) {
            return;
        }
        let completed = ending == Some(Ending::Completed);
        let members = leader.upgrade.members();
        for (name, host) in self.hosts.iter().filter(|(_, host)| members.contains_key(&host.instance) && !host.dead) {
            if self.kind == PlanKind::Rejoin && !completed {
                let down = !host.running || host.by_hand;
                assert!(down && !host.closed && host.fenced, "{name}: it stays down behind its fence");
                continue;
            }
            assert!(host.running && !host.fenced && !host.closed, "{name} does not serve clients");
            assert_eq!(host.new_binary, completed, "{name} runs the wrong release");
        }
        for host in self.hosts.values() {
            assert!(host.effects.values().all(|times| *times <= 1), "an order had effect twice");
        }
        self.storage.check_end(completed);
        self.check_orders(&stored);
    }

    /// Every order was opened once, and settled once.
    pub(super) fn check_orders(&self, stored: &[fact::Recorded]) {
        let mut opened: BTreeMap<&OrderId, &AgentName> = BTreeMap::new();
        let mut settled: BTreeSet<&OrderId> = BTreeSet::new();
        for recorded in stored {
            match &recorded.fact {
                Fact::AttemptOpened { order } => {
                    assert!(opened.insert(&order.id, &order.agent).is_none(), "{} opened twice", order.id);
                }
                Fact::StepSucceeded { order, .. }
                | Fact::EvidenceRefused { order, .. }
                | Fact::StepFailed { order, .. }
                | Fact::Revoked { order, .. } => assert!(settled.insert(order), "{order} settled twice"),
                // A person settled what its agent had in hand.
                Fact::MemberExcused { instance, .. } => {
                    let gone = agent(&format!("host-{instance}"));
                    settled.extend(opened.iter().filter(|(_, agent)| ***agent == gone).map(|(id, _)| *id));
                }
                _ => {}
            }
        }
        let open: Vec<_> = opened.keys().filter(|id| !settled.contains(*id)).collect();
        assert!(open.is_empty(), "never settled: {open:?}");
    }
}
