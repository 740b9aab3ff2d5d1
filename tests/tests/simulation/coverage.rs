//! What the upgrades of a simulation have met, and what they must.

use crate::mishap::Mishap;
use cutover_vocabulary::Phase;
use cutover_vocabulary::fact::{Ending, Fact, Recorded};
use cutover_vocabulary::hold::{Choice, HoldReason};
use std::collections::BTreeMap;
use std::fmt;

/// How often each thing was met, by its kind and name.
#[derive(Debug, Default)]
pub struct Coverage(BTreeMap<(&'static str, String), u64>);

/// Every kind of fact. [`fact`] does not compile without a new one's name.
const FACTS: [&str; 22] = [
    "started",
    "stage-entered",
    "border-crossed",
    "attempt-opened",
    "step-succeeded",
    "evidence-refused",
    "step-failed",
    "revoke-asked",
    "revoked",
    "late-outcome",
    "held",
    "hold-decided",
    "hold-lifted",
    "proof-voided",
    "member-joined",
    "member-excused",
    "runner-chosen",
    "turned-back",
    "paused",
    "resumed",
    "ended",
    "closed",
];

/// Every kind of hold. [`hold`] does not compile without a new one's name.
const HOLDS: [&str; 14] = [
    "step-failed",
    "unclean-stop",
    "strangers",
    "plan-drifted",
    "other-storage",
    "ledgers-changed",
    "losses-changed",
    "unexplained-differences",
    "inconsistent",
    "agent-lost",
    "overdue",
    "proof-voided",
    "instance-appeared",
    "taken-over",
];

fn hold(reason: &HoldReason) -> &'static str {
    match reason {
        HoldReason::StepFailed { .. } => HOLDS[0],
        HoldReason::UncleanStop { .. } => HOLDS[1],
        HoldReason::Strangers { .. } => HOLDS[2],
        HoldReason::PlanDrifted { .. } => HOLDS[3],
        HoldReason::OtherStorage { .. } => HOLDS[4],
        HoldReason::LedgersChanged { .. } => HOLDS[5],
        HoldReason::LossesChanged { .. } => HOLDS[6],
        HoldReason::UnexplainedDifferences { .. } => HOLDS[7],
        HoldReason::Inconsistent { .. } => HOLDS[8],
        HoldReason::AgentLost { .. } => HOLDS[9],
        HoldReason::Overdue { .. } => HOLDS[10],
        HoldReason::ProofVoided { .. } => HOLDS[11],
        HoldReason::InstanceAppeared { .. } => HOLDS[12],
        HoldReason::TakenOver { .. } => HOLDS[13],
    }
}

fn fact(fact: &Fact) -> &'static str {
    match fact {
        Fact::Started { .. } => FACTS[0],
        Fact::StageEntered { .. } => FACTS[1],
        Fact::BorderCrossed { .. } => FACTS[2],
        Fact::AttemptOpened { .. } => FACTS[3],
        Fact::StepSucceeded { .. } => FACTS[4],
        Fact::EvidenceRefused { .. } => FACTS[5],
        Fact::StepFailed { .. } => FACTS[6],
        Fact::RevokeAsked { .. } => FACTS[7],
        Fact::Revoked { .. } => FACTS[8],
        Fact::LateOutcome { .. } => FACTS[9],
        Fact::Held { .. } => FACTS[10],
        Fact::HoldDecided { .. } => FACTS[11],
        Fact::HoldLifted { .. } => FACTS[12],
        Fact::ProofVoided { .. } => FACTS[13],
        Fact::MemberJoined { .. } => FACTS[14],
        Fact::MemberExcused { .. } => FACTS[15],
        Fact::RunnerChosen { .. } => FACTS[16],
        Fact::TurnedBack { .. } => FACTS[17],
        Fact::Paused => FACTS[18],
        Fact::Resumed => FACTS[19],
        Fact::Ended { .. } => FACTS[20],
        Fact::Closed => FACTS[21],
    }
}

impl Coverage {
    /// Something was met.
    pub fn met(&mut self, kind: &'static str, name: impl fmt::Display) {
        *self.0.entry((kind, name.to_string())).or_default() += 1;
    }
    /// All that an upgrade's facts tell.
    pub fn facts(&mut self, plan: &str, facts: &[Recorded]) {
        for recorded in facts {
            self.met("fact", fact(&recorded.fact));
            match &recorded.fact {
                Fact::StageEntered { stage, .. } => self.met("phase", stage.phase),
                Fact::Held { hold: held } => self.met("hold", hold(&held.reason)),
                Fact::HoldDecided { choice, .. } => self.met("choice", choice),
                Fact::Ended { ending, .. } => self.met("ending", format!("{plan}, {ending:?}")),
                _ => {}
            }
        }
    }
    /// Adds what another upgrade met.
    pub fn add(&mut self, other: Self) {
        for (what, times) in other.0 {
            *self.0.entry(what).or_default() += times;
        }
    }
    /// How many different things were met.
    pub fn points(&self) -> u64 {
        self.0.len() as u64
    }
    /// What must be met and was not.
    pub fn missing(&self) -> Vec<String> {
        let all = |kind, names: Vec<String>| names.into_iter().map(move |name| (kind, name));
        let words = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        all("fact", words(&FACTS))
            .chain(all("hold", words(&HOLDS)))
            .chain(all("choice", Choice::ALL.iter().map(ToString::to_string).collect()))
            .chain(all("phase", Phase::ALL.iter().map(ToString::to_string).collect()))
            .chain(all("mishap", Mishap::ALL.iter().map(|mishap| format!("{mishap:?}")).collect()))
            .chain(all("ending", endings()))
            .filter(|(kind, name)| !self.0.contains_key(&(*kind, name.clone())))
            .map(|(kind, name)| format!("{kind} {name}"))
            .collect()
    }
}

/// Every way in which each plan can end: where nothing is migrated, nothing is rolled back by restoring but by moving back.
fn endings() -> Vec<String> {
    let every = [Ending::Completed, Ending::Aborted, Ending::RolledBack, Ending::TakenOver];
    let of = |plan: &crate::plans::PlanKind| every.map(|ending| format!("{plan:?}, {ending:?}"));
    crate::plans::PlanKind::ALL.iter().flat_map(of).collect()
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        for ((kind, name), times) in &self.0 {
            let sep = if *kind == before { ", " } else { "\n  " };
            if *kind == before {
                write!(f, "{sep}{name} {times}")?;
            } else {
                write!(f, "{sep}{kind}: {name} {times}")?;
            }
            before = kind;
        }
        Ok(())
    }
}
