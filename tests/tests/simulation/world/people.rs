//! The people: what they ask for, and how they answer holds.

use super::Simulation;
use crate::hosts::Host;
use crate::support::{self, operator};
use cutover_core::upgrade::{Ask, Input, Rejected, Upgrade};
use cutover_vocabulary::AgentName;
use cutover_vocabulary::hold::{Choice, Hold, HoldReason};

impl Simulation {
    pub(super) fn ask(&mut self, ask: Ask) -> Option<Option<Rejected>> {
        self.asked += 1;
        let epoch = self.leader()?.epoch;
        self.decide(epoch, Input::Asked { by: operator(), request: support::request(self.asked), ask })
    }

    /// Whether somebody who was asked got what they wanted.
    pub(super) fn taken(&mut self, ask: Ask) -> bool {
        self.ask(ask) == Some(None)
    }

    /// Somebody looks at the upgrade and does what there is to do. While things break they choose as it comes; afterwards they
    /// mend what they can, and go on.
    pub(super) fn operator(&mut self) {
        let Some(leader) = self.leader() else { return };
        let upgrade = leader.upgrade.clone();
        if upgrade.finished() {
            self.ask(Ask::Close { reason: String::new() });
            return;
        }
        let well = self.faults == 0;
        if well && let Some(name) = self.draw_host(|host| host.by_hand) {
            self.say(|| format!("{name}: what was started by hand is stopped"));
            let host = self.host(&name);
            host.running = false;
            host.by_hand = false;
        }
        let taken_over = |hold: &Hold| matches!(hold.reason, HoldReason::TakenOver { .. });
        if upgrade.holds().any(taken_over) && (well || self.random.u32(0..8) == 0) {
            self.ask(Ask::Close { reason: "went back by hand".to_owned() });
            return;
        }
        if well && self.bury(&upgrade) {
            return;
        }
        if well && upgrade.holds().next().is_none() && self.random.u32(0..4) == 0 {
            self.ask(Ask::Resume { reason: String::new() });
            return;
        }
        // Who appeared comes first: as long as it runs, nothing else can be answered for good.
        let appeared = |hold: &&Hold| matches!(hold.reason, HoldReason::InstanceAppeared { .. });
        let hold = upgrade.holds().find(appeared).or_else(|| upgrade.holds().next()).cloned();
        let Some(hold) = hold else { return };
        if well
            && !hold.offers(Choice::Accept)
            && let HoldReason::InstanceAppeared { agent, .. } = &hold.reason
        {
            self.say(|| format!("{agent}: what appeared there is stopped, for it cannot be let in"));
            self.host(agent).running = false;
        }
        self.answer(&hold, well);
    }

    /// Lets a host go that burnt down, or has it back where it cannot be spared.
    pub(super) fn bury(&mut self, upgrade: &Upgrade) -> bool {
        let takes_part = |host: &Host, name: &AgentName| {
            upgrade.members().contains_key(&host.instance) || upgrade.awaited_agents().contains(name)
        };
        let dead = |(name, host): &(&AgentName, &Host)| host.dead && takes_part(host, name);
        let Some((name, instance)) =
            self.hosts.iter().find(dead).map(|(name, host)| (name.clone(), host.instance.clone()))
        else {
            return false;
        };
        let (reason, evidence) = ("burnt down".to_owned(), "no session from its address".to_owned());
        let answer = self.ask(Ask::Excuse { instance, reason, evidence });
        if let Some(Some(Rejected::RunnerNeeded { .. } | Rejected::LastMember(_))) = answer {
            self.say(|| format!("{name} is back"));
            let host = self.host(&name);
            host.dead = false;
            host.running = !host.fenced;
        }
        true
    }

    pub(super) fn answer(&mut self, hold: &Hold, well: bool) {
        let mut wanted: Vec<Choice> = hold.choices.iter().map(|offer| offer.choice).collect();
        self.random.shuffle(&mut wanted);
        if well && self.random.u32(0..4) > 0 {
            // Forward, where that can be.
            wanted.sort_by_key(|choice| match choice {
                Choice::Accept => 0,
                Choice::Retry => 1,
                Choice::Wait => 2,
                Choice::Rollback | Choice::Abort => 3,
            });
        }
        for choice in wanted {
            if self.taken(Ask::Decide { hold: hold.id, choice, reason: "drawn".to_owned() }) {
                return;
            }
        }
    }
}
