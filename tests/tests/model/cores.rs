//! What coordinators do: the real core, asked once about each upgrade and input.

use crate::kept::{Kept, Table};
use crate::message::{Message, Messages};
use crate::support::{now, operator, request};
use cutover_core::upgrade::{Ask, Decision, Input, Rejected, Upgrade, Want, decide};
use cutover_vocabulary::fact::{Cause, Fact};
use cutover_vocabulary::hold::{Choice, HoldId, HoldReason};
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Say};
use cutover_vocabulary::outcome::FailureKind;
use cutover_vocabulary::*;
use std::collections::{HashMap, HashSet};

/// What a coordinator is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Told {
    /// It leads now.
    Elected,
    Linked(usize),
    Said(Kept<Message>),
    /// An agent was not heard of for long.
    Silent(usize),
    /// Every deadline has passed.
    Late,
    Abort,
    Rollback,
    Decided(HoldId, Choice),
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// Facts, and this is what they make of the upgrade.
    News(Kept<Upgrade>),
    /// It was known, or is of no account.
    Nothing,
    /// The order was never opened.
    Unknown,
}

#[derive(Debug, Default)]
pub struct Cores {
    upgrades: Table<Upgrade>,
    judged: HashMap<(Kept<Upgrade>, Epoch, Told), Judged>,
    orders: HashMap<(Kept<Upgrade>, Epoch), Vec<Kept<Message>>>,
    led: HashMap<(Kept<Upgrade>, Epoch), Kept<Upgrade>>,
    /// Which upgrade became which.
    became: HashSet<(Kept<Upgrade>, Kept<Upgrade>)>,
}

pub fn agent_of(n: usize) -> AgentName {
    crate::support::agent(["host-a", "host-b"][n])
}

impl Cores {
    pub fn keep(&mut self, upgrade: Upgrade) -> Kept<Upgrade> {
        self.upgrades.keep(upgrade)
    }
    pub fn count(&self) -> usize {
        self.upgrades.len()
    }

    /// What a new leader makes of what is stored.
    pub fn led_by(&mut self, stored: Kept<Upgrade>, epoch: Epoch) -> Kept<Upgrade> {
        if let Some(led) = self.led.get(&(stored, epoch)) {
            return *led;
        }
        let mut upgrade = (*stored).clone();
        upgrade.led_by(epoch);
        let led = self.upgrades.keep(upgrade);
        self.became.insert((stored, led));
        self.led.insert((stored, epoch), led);
        led
    }

    pub fn judge(&mut self, upgrade: Kept<Upgrade>, epoch: Epoch, told: Told) -> Judged {
        if let Some(judged) = self.judged.get(&(upgrade, epoch, told)) {
            return *judged;
        }
        let input = input(told);
        let decision = ask(&upgrade, epoch, told, &input);
        let judged = if decision.facts.is_empty() {
            let unknown = matches!(decision.rejected[..], [Some(Rejected::UnknownOrder(_))]);
            if unknown { Judged::Unknown } else { Judged::Nothing }
        } else {
            let mut after = (*upgrade).clone();
            decision.facts.iter().for_each(|fact| after.apply(fact));
            check(&upgrade, &after, epoch, &input, &decision);
            let after = self.upgrades.keep(after);
            self.became.insert((upgrade, after));
            Judged::News(after)
        };
        self.judged.insert((upgrade, epoch, told), judged);
        judged
    }

    /// All that a leader says of orders that stand.
    pub fn orders(&mut self, messages: &mut Messages, upgrade: Kept<Upgrade>, epoch: Epoch) -> &[Kept<Message>] {
        self.orders.entry((upgrade, epoch)).or_insert_with(|| {
            let said = |(order, want): (&Order, Want)| {
                let say = match want {
                    Want::Do => Say::Do(Box::new(order.clone())),
                    Want::Revoke => Say::Revoke(order.id.clone()),
                };
                let n = usize::from(order.agent != agent_of(0));
                messages.keep(Message::ToAgent(n, CoordinatorMessage { epoch, say }))
            };
            upgrade.orders().map(said).collect()
        })
    }

    /// The reduction by which a state forgets what was dealt with: whatever was once of no account to an upgrade is so to all
    /// that becomes of it.
    pub fn check_what_was_left_out(&self, messages: &Messages) {
        let inputs: Vec<Input> = messages.all().filter_map(|message| answer(&message)).collect();
        let mut known: HashMap<Kept<Upgrade>, Vec<bool>> = HashMap::new();
        for upgrade in self.upgrades.all() {
            let mut dealt_with = Vec::new();
            of_no_account(&upgrade, &inputs, &mut dealt_with);
            known.insert(upgrade, dealt_with);
        }
        for (before, after) in &self.became {
            for (n, input) in inputs.iter().enumerate() {
                assert!(!known[before][n] || known[after][n], "I5: {input:?} was of no account, and is again");
            }
        }
    }
}

/// Which of these are known to the upgrade and change nothing: of many at once if none does, since most do not.
fn of_no_account(upgrade: &Upgrade, inputs: &[Input], all: &mut Vec<bool>) {
    let decision = decide(upgrade, Epoch(0), now(0), inputs);
    if decision.facts.is_empty() {
        all.extend(decision.rejected.iter().map(Option::is_none));
    } else if inputs.len() == 1 {
        all.push(false);
    } else {
        let (one, other) = inputs.split_at(inputs.len() / 2);
        of_no_account(upgrade, one, all);
        of_no_account(upgrade, other, all);
    }
}

fn ask(upgrade: &Upgrade, epoch: Epoch, told: Told, input: &Input) -> Decision {
    let mut now = now(0);
    if told == Told::Late {
        now.leading_for = Elapsed(1_000_000_000);
    }
    decide(upgrade, epoch, now, std::slice::from_ref(input))
}

fn input(told: Told) -> Input {
    let asked = |n, ask| Input::Asked { by: operator(), request: request(n), ask };
    match told {
        Told::Elected | Told::Late => Input::Tick,
        Told::Linked(n) => Input::Heard { agent: agent_of(n) },
        Told::Said(message) => answer(&message).unwrap_or(Input::Tick),
        Told::Silent(n) => Input::Silent { agent: agent_of(n), heard: None },
        Told::Abort => asked(1, Ask::Abort { reason: "r".to_owned() }),
        Told::Rollback => asked(1, Ask::Rollback { reason: "r".to_owned() }),
        Told::Decided(hold, choice) => {
            let reason = "seen to".to_owned();
            asked(100 + hold.0, Ask::Decide { hold, choice, reason })
        }
    }
}

fn answer(message: &Message) -> Option<Input> {
    let Message::ToCoordinator(n, said) = message else { return None };
    let agent = agent_of(*n);
    Some(match said.clone() {
        AgentMessage::Outcome { order, outcome, .. } => Input::Outcome { agent, order, outcome },
        AgentMessage::Revoked { order, settlement } => Input::Revoked { agent, order, settlement },
        AgentMessage::Refused { order, why } => Input::Refused { agent, order, why },
        other => unreachable!("nobody says {other:?}"),
    })
}

/// What must hold of every decision.
fn check(before: &Upgrade, after: &Upgrade, epoch: Epoch, input: &Input, decision: &Decision) {
    let answered = match input {
        Input::Outcome { order, .. } | Input::Revoked { order, .. } | Input::Refused { order, .. } => Some(order),
        _ => None,
    };
    for happened in &decision.facts {
        assert_eq!(happened.epoch, epoch, "I1: {happened:?}");
        match &happened.fact {
            Fact::StepSucceeded { order, .. }
            | Fact::EvidenceRefused { order, .. }
            | Fact::StepFailed { order, .. }
            | Fact::Revoked { order, .. } => {
                assert!(answered == Some(order), "I5: {order} is settled by {input:?}");
                assert!(matches!(happened.by, Cause::Agent(_)), "I5: {order} is settled by {:?}", happened.by);
            }
            _ => {}
        }
    }
    let gone = before.orders().find(|(order, _)| after.orders().all(|(other, _)| other.id != order.id));
    if let Some((order, _)) = gone {
        assert!(answered == Some(&order.id), "I5: {} is gone after {input:?}", order.id);
    }
    let mut holds = after.holds().map(|hold| &hold.reason);
    match input {
        Input::Heard { agent } => {
            let of = |reason: &HoldReason| matches!(reason, HoldReason::AgentLost { agent: lost, .. } if lost == agent);
            assert!(!holds.any(of), "I12: {agent} was heard, and the facts still say that it is silent");
        }
        Input::Outcome { order, outcome: Outcome::Failed(failure), .. }
            if failure.kind == FailureKind::Unclean
                && !after.going_back()
                && before.orders().any(|(o, _)| o.id == *order) =>
        {
            let of = |reason: &HoldReason| matches!(reason, HoldReason::UncleanStop { .. });
            assert!(holds.any(of), "I13: an instance that was killed passes as drained: {order}");
        }
        _ => {}
    }
}
