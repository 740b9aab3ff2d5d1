//! Holds, with a summary of their reason that any client can show.

use super::{moment, stored, to_wire};
use crate::malformed::{Malformed, each, json, wanted, word};
use crate::v1 as pb;
use cutover_vocabulary::hold::{Hold, HoldId, HoldReason, Offer};
use cutover_vocabulary::name::shown;
use cutover_vocabulary::outcome::FailureKind;
use cutover_vocabulary::storage::{Difference, Opener, StorageSession};
use cutover_vocabulary::{AgentName, InstanceName, Timestamp};
use std::collections::BTreeMap;

impl From<HoldReason> for pb::HoldReason {
    fn from(reason: HoldReason) -> Self {
        let (code, text, fields) = summary(&reason);
        let fields: BTreeMap<_, _> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { code: code.to_owned(), text, fields, json: stored(&reason) }
    }
}
/// Only the JSON decides; the summary beside it is derived.
impl TryFrom<pb::HoldReason> for HoldReason {
    type Error = Malformed;
    fn try_from(wire: pb::HoldReason) -> Result<Self, Malformed> {
        json("json", &wire.json)
    }
}

impl From<Offer> for pb::Offer {
    fn from(offer: Offer) -> Self {
        let Offer { choice, cost } = offer;
        Self { choice: pb::Choice::from(choice).into(), cost }
    }
}
impl TryFrom<pb::Offer> for Offer {
    type Error = Malformed;
    fn try_from(wire: pb::Offer) -> Result<Self, Malformed> {
        Ok(Self { choice: word::<pb::Choice, _>("choice", wire.choice)?, cost: wire.cost })
    }
}

impl From<Hold> for pb::Hold {
    fn from(hold: Hold) -> Self {
        let Hold { id, reason, phase, since, choices } = hold;
        Self {
            id: id.0,
            reason: Some(reason.into()),
            phase: pb::Phase::from(phase).into(),
            since: Some(to_wire(since)),
            choices: choices.into_iter().map(Into::into).collect(),
        }
    }
}
impl TryFrom<pb::Hold> for Hold {
    type Error = Malformed;
    fn try_from(wire: pb::Hold) -> Result<Self, Malformed> {
        Ok(Self {
            id: HoldId(wire.id),
            reason: wanted("reason", wire.reason)?,
            phase: word::<pb::Phase, _>("phase", wire.phase)?,
            since: moment("since", wire.since)?,
            choices: each("choices", wire.choices)?,
        })
    }
}

type Summary = (&'static str, String, Vec<(&'static str, String)>);

/// Code, sentence and particulars of a reason. The codes are the tags of its JSON.
fn summary(reason: &HoldReason) -> Summary {
    match reason {
        HoldReason::StepFailed { order, failure } => (
            "step-failed",
            format!("{} of {} failed: {}", order.phase, order.step.subject, shown(&failure.message)),
            vec![("order", order.to_string()), ("remedy", failure.remedy.clone())],
        ),
        HoldReason::UncleanStop { instance, failure } => (
            "unclean-stop",
            match failure.kind {
                FailureKind::StillRuns => format!("{instance} is not down: {}", shown(&failure.message)),
                FailureKind::Transient
                | FailureKind::Refused
                | FailureKind::Failed
                | FailureKind::Unclean
                | FailureKind::Interrupted
                | FailureKind::TimedOut => {
                    format!("{instance} did not end cleanly, requests may have been cut: {}", shown(&failure.message))
                }
            },
            vec![("instance", instance.to_string()), ("remedy", failure.remedy.clone())],
        ),
        HoldReason::Strangers { openers, not_visible, sessions, storage } => (
            "strangers",
            if !sessions.is_empty() {
                format!(
                    "somebody else is on the database: {}",
                    listed(&sessions.iter().map(ToString::to_string).collect::<Vec<_>>())
                )
            } else if openers.is_empty() {
                format!("it cannot be seen whether somebody else has the storage open: {}", listed(not_visible))
            } else {
                format!(
                    "somebody else has the storage open: {}",
                    listed(&openers.iter().map(opener).collect::<Vec<_>>())
                )
            },
            vec![
                ("openers", openers.iter().map(opener).collect::<Vec<_>>().join("\n")),
                ("not-visible", not_visible.join("\n")),
                ("sessions", sessions.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
                ("storage", storage.as_ref().map(ToString::to_string).unwrap_or_default()),
                // In the order of the sessions.
                ("statements", sessions.iter().map(StorageSession::ending).collect::<Vec<_>>().join("\n")),
            ],
        ),
        HoldReason::PlanDrifted { changes } => (
            "plan-drifted",
            format!("what the plan relies on has changed: {}", listed(changes)),
            vec![("changes", changes.join("\n"))],
        ),
        HoldReason::OtherStorage { planned, found } => (
            "other-storage",
            format!("the storage is {found}, but the plan was made for {planned}"),
            vec![("planned", planned.to_string()), ("found", found.to_string())],
        ),
        HoldReason::LedgersChanged { appeared, vanished } => {
            let names = |ledgers: &[cutover_vocabulary::LedgerName]| {
                ledgers.iter().map(ToString::to_string).collect::<Vec<_>>()
            };
            let (appeared, vanished) = (names(appeared), names(vanished));
            let of = |what: &str, names: &[String]| match names {
                [] => String::new(),
                some => format!(" {what}: {}", listed(some)),
            };
            (
                "ledgers-changed",
                format!(
                    "the ledgers are not those of the plan;{}{}",
                    of("not in the plan", &appeared),
                    of("missing from the storage", &vanished)
                ),
                vec![("appeared", appeared.join("\n")), ("vanished", vanished.join("\n"))],
            )
        }
        HoldReason::LossesChanged { ledger, approved, now, sha256 } => (
            "losses-changed",
            format!("the migration of ledger {ledger} would lose {now} row(s) now, and not the {approved} approved"),
            vec![
                ("ledger", ledger.to_string()),
                ("approved", approved.to_string()),
                ("now", now.to_string()),
                ("sha256", sha256.map(String::from).unwrap_or_default()),
            ],
        ),
        HoldReason::UnexplainedDifferences { ledger, differences, count } => (
            "unexplained-differences",
            format!(
                "ledger {ledger} has {count} difference(s) after the migration that no approved loss explains: {}",
                listed(&differences.iter().map(difference).collect::<Vec<_>>())
            ),
            vec![
                ("ledger", ledger.to_string()),
                ("count", count.to_string()),
                ("differences", differences.iter().map(difference).collect::<Vec<_>>().join("\n")),
            ],
        ),
        HoldReason::Inconsistent { ledger, what } => (
            "inconsistent",
            format!("ledger {ledger} does not agree with itself: {}", listed(what)),
            vec![("ledger", ledger.to_string()), ("what", what.join("\n"))],
        ),
        HoldReason::AgentLost { agent, orders, heard, members } => (
            "agent-lost",
            lost(agent, orders.len(), *heard, members),
            vec![
                ("agent", agent.to_string()),
                ("orders", orders.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
                ("heard", heard.map(|at| at.to_string()).unwrap_or_default()),
                ("members", members.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
            ],
        ),
        HoldReason::Overdue { order } => (
            "overdue",
            format!("{} of {} takes longer than expected; nothing was stopped", order.phase, order.step.subject),
            vec![("order", order.to_string())],
        ),
        HoldReason::ProofVoided { instance, seen } => (
            "proof-voided",
            format!("{instance} was proved down, and was then seen: {}", shown(seen)),
            vec![("instance", instance.to_string()), ("seen", seen.clone())],
        ),
        HoldReason::InstanceAppeared { instance, agent, seen } => (
            "instance-appeared",
            format!(
                "{instance} of agent {agent} is on this deployment's storage and no member of the upgrade: {}",
                shown(seen)
            ),
            vec![("instance", instance.to_string()), ("agent", agent.to_string()), ("seen", seen.clone())],
        ),
        HoldReason::TakenOver { agent, note } => (
            "taken-over",
            format!("a person took the upgrade over on the host of agent {agent}: {}", shown(note)),
            vec![("agent", agent.to_string()), ("note", note.clone())],
        ),
    }
}

/// Who is lost, since when, and what waits for it.
fn lost(agent: &AgentName, orders: usize, heard: Option<Timestamp>, members: &[InstanceName]) -> String {
    let since = match heard {
        Some(heard) => format!("was last heard at {heard}"),
        None => "was not heard for a while".to_owned(),
    };
    let speaks = match members {
        [] => String::new(),
        members => format!(", speaks for {}", members.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    match orders {
        0 => format!("agent {agent} {since}{speaks} and is asked next"),
        orders => format!("agent {agent} {since}{speaks} and has {orders} order(s)"),
    }
}

fn opener(opener: &Opener) -> String {
    let Opener { pid, command, file } = opener;
    format!("{} (pid {pid}) has {} open", shown(command), shown(file))
}

fn difference(difference: &Difference) -> String {
    let Difference { section, row, before, after, class: _ } = difference;
    let place = match section {
        cutover_vocabulary::storage::Section::Transactions => "transaction",
        cutover_vocabulary::storage::Section::Postings => "posting",
        cutover_vocabulary::storage::Section::Balances => "balance",
        cutover_vocabulary::storage::Section::TransactionMetadata => "transaction metadata",
        cutover_vocabulary::storage::Section::AccountMetadata => "account metadata",
    };
    let side = |value: &Option<String>| match value {
        Some(value) => shown(value).to_string(),
        None => "nothing".to_owned(),
    };
    format!("{place} {}: before {}, after {}", shown(row), side(before), side(after))
}

/// The first three, and how many more there are.
fn listed(texts: &[String]) -> String {
    let first: Vec<String> = texts.iter().take(3).map(|text| shown(text).to_string()).collect();
    match texts.len().saturating_sub(first.len()) {
        0 => first.join("; "),
        more => format!("{}; and {more} more", first.join("; ")),
    }
}
