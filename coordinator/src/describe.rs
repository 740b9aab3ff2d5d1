//! Facts as sentences: what happened, to what, and why; one line each, for an operator who is tired.

use cutover_vocabulary::fact::{Cause, Ending, Fact, Settlement};
use cutover_vocabulary::hold::{Choice, Hold, HoldReason};
use cutover_vocabulary::name::shown;
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::phase::{Border, Stage};
use cutover_vocabulary::{Evidence, Failure, OrderId, Outcome, Phase, Recorded, Subject};

/// One line. Nothing in it can move a terminal's cursor.
pub fn describe(recorded: &Recorded) -> String {
    let text = match &recorded.fact {
        Fact::Started { plan, approval } => {
            let binding = &plan.binding;
            let members = count(binding.members.len(), "instance");
            let ledgers = count(binding.ledgers.len(), "ledger");
            let losing: u64 = approval.iter().flat_map(|a| a.losses.values()).map(|losses| losses.count).sum();
            let losing = if losing == 0 { String::new() } else { format!("; approved to lose {losing} row(s)") };
            format!(
                "started{}: {} from {} to {}, {members}, {ledgers}{losing}",
                by(&recorded.by),
                binding.deployment,
                binding.from,
                binding.target.version
            )
        }
        Fact::StageEntered { stage, run, .. } => {
            let again = if *run > 1 { format!(" (for the {run}. time)") } else { String::new() };
            format!("{}{again}: {}", stage.phase, purpose(*stage))
        }
        Fact::BorderCrossed { border } => match border {
            // What going back costs from here is another thing in a roll; the plan, the holds and `--what-if` say it.
            Border::MigrateAuthorised => "the storage may be migrated from here on".to_owned(),
            Border::OpenAuthorised => "clients may be let in on the target from here on".to_owned(),
        },
        Fact::AttemptOpened { order } => {
            let again = if order.id.attempt > 1 { format!(", attempt {}", order.id.attempt) } else { String::new() };
            format!("{}: asked agent {}{again}", step(&order.id), order.agent)
        }
        Fact::StepSucceeded { order, evidence } => format!("{}: {}", step(order), shows(evidence)),
        Fact::EvidenceRefused { order, evidence } => {
            format!("{}: {}, and that is not enough to go on", step(order), shows(evidence))
        }
        Fact::StepFailed { order, failure } => format!("{} failed: {}", step(order), failed(failure)),
        Fact::RevokeAsked { order } => format!("{}: asked its agent to leave it", step(order)),
        Fact::Revoked { order, settlement } => match settlement {
            Settlement::NeverBegun => format!("{}: left, it was never begun", step(order)),
            Settlement::Stopped(failure) => format!("{}: withdrawn; {}", step(order), failed(failure)),
            Settlement::Finished(outcome) => format!("{}: it had finished: {}", step(order), came_of(outcome)),
        },
        Fact::LateOutcome { order, outcome } => {
            format!("{}: answered after it was withdrawn: {}", step(order), came_of(outcome))
        }
        Fact::Held { hold } => held(hold),
        Fact::HoldDecided { hold, choice, reason } => {
            let reason = if reason.is_empty() { String::new() } else { format!(": {}", shown(reason)) };
            format!("hold {hold} decided{}: {choice}{}{reason}", by(&recorded.by), meaning(*choice))
        }
        Fact::HoldLifted { hold } => format!("hold {hold} lifted: its cause is gone"),
        Fact::ProofVoided { instance, seen } => {
            format!("instance {instance} does not count as down any more: {}", shown(seen))
        }
        Fact::MemberJoined { instance, member } => {
            format!("instance {instance} of agent {} takes part from here on; it ran {}", member.agent, member.version)
        }
        Fact::MemberExcused { instance, reason, evidence } => format!(
            "instance {instance} takes no part any more{}: {}; shown by: {}",
            by(&recorded.by),
            shown(reason),
            shown(evidence)
        ),
        Fact::RunnerChosen { agent } => format!("agent {agent} touches the storage from here on"),
        Fact::TurnedBack { why, stages } => {
            let way = match stages.as_slice() {
                [] => "no instance was stopped, so nothing is to be done".to_owned(),
                stages => stages.iter().map(|Stage { phase, .. }| phase.word()).collect::<Vec<_>>().join(", "),
            };
            format!("goes back{}: {}; by: {way}", by(&recorded.by), shown(why))
        }
        Fact::Paused => format!("paused{}: no new orders until it is resumed", by(&recorded.by)),
        Fact::Resumed => format!("resumed{}", by(&recorded.by)),
        Fact::Ended { ending, reason } => match ending {
            Ending::Completed => "completed: all instances answer on the new version".to_owned(),
            Ending::Aborted => "aborted: gone back, and no data was touched".to_owned(),
            Ending::RolledBack => "rolled back: gone back, and no write was lost".to_owned(),
            Ending::Rehearsed => "rehearsed: nothing was stopped, and only copies were touched".to_owned(),
            Ending::TakenOver => {
                let reason = reason.as_deref().unwrap_or("a person took it over");
                format!(
                    "ended by hand{}, what was asked of agents counts as settled: {}",
                    by(&recorded.by),
                    shown(reason)
                )
            }
        },
        Fact::Closed => format!("closed{}: the recovery points are not needed any more", by(&recorded.by)),
    };
    one_line(&text)
}

/// Messages of agents and reasons of people may hold anything.
fn one_line(text: &str) -> String {
    shown(&text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>()).to_string()
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// How many there are beside the first; nothing where there is none.
fn and_others(number: usize) -> String {
    if number == 0 { String::new() } else { format!(", and {}", count(number, "other")) }
}

/// Who, and why in their words where those stand beside the fact.
fn by(cause: &Cause) -> String {
    match cause {
        Cause::Operator { name, reason, .. } if reason.is_empty() => format!(" by {name}"),
        Cause::Operator { name, reason, .. } => format!(" by {name} ({})", shown(reason)),
        Cause::Agent(agent) => format!(" because of agent {agent}"),
        Cause::Machine => String::new(),
    }
}

fn step(order: &OrderId) -> String {
    match &order.step.subject {
        Subject::Instance(_) | Subject::Ledger(_) => format!("{} of {}", order.phase, order.step.subject),
        Subject::Storage => format!("{} of the storage", order.phase),
    }
}

fn failed(failure: &Failure) -> String {
    let effect = match failure.effect {
        Effect::None => "",
        Effect::Unknown => "; something may have been changed",
    };
    let remedy = if failure.remedy.is_empty() { String::new() } else { format!(" ({})", failure.remedy) };
    format!("{}{effect}{remedy}", failure.message)
}

fn came_of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(evidence) => shows(evidence),
        Outcome::Failed(failure) => failed(failure),
    }
}

fn purpose(stage: Stage) -> &'static str {
    match (stage.phase, stage.wave) {
        (Phase::Drain, Some(_)) => return "stop the instances of this wave cleanly; the others serve",
        (Phase::ConfirmDrained, Some(_)) => return "prove once more that the instances of this wave are down",
        (_, _) => {}
    }
    match stage.phase {
        Phase::Preflight => "is everything still as the plan saw it?",
        Phase::Stage => "have the target release unpacked and verified on every host",
        Phase::Rehearse => "migrate a copy, and start the target on it",
        Phase::Drain => "stop every instance cleanly",
        Phase::ConfirmDrained => "prove once more that everything is down and nobody is on the storage",
        Phase::Secure => "take recovery points, and prove that they restore",
        Phase::Migrate => "migrate every ledger",
        Phase::Prove => "compare every ledger with what it held before",
        Phase::Switch => "make the target the release that starts",
        Phase::StartClosed => "start one instance where no client reaches it",
        Phase::Verify => "is it the right version, and does it read every ledger?",
        Phase::Open => "let clients in on the new version",
        Phase::Restore => "put back the ledgers that may have changed",
        Phase::SwitchBack => "make the former release the one that starts",
        Phase::Reopen => "let clients in on the former version",
        Phase::Bake => "do old and new instances go on serving?",
    }
}

fn shows(evidence: &Evidence) -> String {
    match evidence {
        Evidence::Inspected(found) => match &found.running {
            Some(version) => format!("runs {version}, on {}", found.storage),
            None => format!("does not answer, on {}", found.storage),
        },
        Evidence::Staged(staged) => {
            format!("{} is verified and unpacked, its binary is {}", staged.release.version, staged.binary.short())
        }
        Evidence::Rehearsed(rehearsal) => {
            let longest = rehearsal.took.iter().max_by_key(|(_, took)| *took);
            let longest =
                longest.map_or_else(String::new, |(ledger, took)| format!(", the longest was {ledger} with {took}"));
            let migrated = count(rehearsal.took.len(), "ledger");
            match rehearsal.difference_count {
                0 => format!("a copy of {migrated} migrated and started{longest}"),
                differences => {
                    format!("a copy of {migrated} migrated with {differences} unexplained difference(s){longest}")
                }
            }
        }
        Evidence::Drained(proof) => {
            let guard = if proof.guarded { "fenced" } else { "fenced for its agent only" };
            match proof.connections {
                0 => format!("down and {guard}"),
                connections => format!("down and {guard}, but {connections} connection(s) were open when it stopped"),
            }
        }
        Evidence::StorageAttested(found) => match found.openers.as_slice() {
            [] if found.not_visible.is_empty() => {
                format!("quiet, {} in {}", count(found.ledgers.len(), "ledger"), found.storage)
            }
            [] => format!("cannot tell who has it open: {}", found.not_visible.join(", ")),
            [opener, others @ ..] => {
                format!("{} (pid {}) has it open{}", shown(&opener.command), opener.pid, and_others(others.len()))
            }
        },
        Evidence::Secured(point) => {
            let lost = match point.losses.count {
                0 => String::new(),
                rows => format!("; the migration will lose {rows} row(s)"),
            };
            format!(
                "recovery point of the {} at {}, proved to restore in {}{lost}",
                point.item,
                shown(&point.place),
                point.restore_took
            )
        }
        Evidence::Registered { ledgers } => format!("the target lists {}", count(ledgers.len(), "ledger")),
        Evidence::Migrated(migrated) if migrated.changed => format!("migrated in {}", migrated.took),
        Evidence::Migrated(_) => "was migrated already".to_owned(),
        Evidence::Proved(proof) => match (proof.difference_count, proof.inconsistencies.len()) {
            (0, 0) => "holds what it must hold".to_owned(),
            (differences, inconsistencies) => {
                format!("{differences} unexplained difference(s), {inconsistencies} contradiction(s) within itself")
            }
        },
        Evidence::Switched { binary } => format!("starts binary {} from now on", binary.short()),
        Evidence::StartedClosed { address } => format!("runs at {}, where no client looks", shown(address)),
        Evidence::Verified { version, ledgers } => {
            format!("answers as {version} and read {}", count(ledgers.len(), "ledger"))
        }
        Evidence::Opened { version, at } => format!("serves clients with {version} since {at}"),
        Evidence::Restored(restored) if restored.changed => {
            let moved = match &restored.moved_to {
                Some(place) => format!("restored; what was there lies at {}", shown(place)),
                None => "restored".to_owned(),
            };
            restored.notes.iter().fold(moved, |text, note| format!("{text}; {}", shown(note)))
        }
        Evidence::Restored(_) => "had not changed, and was left alone".to_owned(),
        Evidence::Baked { version, looks, served } => {
            let seen = count(usize::try_from(*looks).unwrap_or(usize::MAX), "time");
            let answered = if served.is_nothing() { String::new() } else { format!("; {served}") };
            format!("served as {version} all the while, seen {seen}{answered}")
        }
    }
}

fn held(hold: &Hold) -> String {
    let why = match &hold.reason {
        HoldReason::StepFailed { order, failure } => format!("{} failed: {}", step(order), failed(failure)),
        HoldReason::UncleanStop { instance, failure } => {
            let how = if failure.kind == FailureKind::StillRuns { "is not down" } else { "did not stop cleanly" };
            format!("instance {instance} {how}: {}", failed(failure))
        }
        HoldReason::Strangers { sessions, .. } if !sessions.is_empty() => {
            format!("{}{}", sessions[0], and_others(sessions.len() - 1))
        }
        HoldReason::Strangers { openers, not_visible, .. } => match openers.first() {
            Some(opener) => format!(
                "{} (pid {}) has {} open{}",
                shown(&opener.command),
                opener.pid,
                shown(&opener.file),
                and_others(openers.len() - 1)
            ),
            None => format!("it cannot be seen who has the storage open: {}", not_visible.join(", ")),
        },
        HoldReason::PlanDrifted { changes } => format!("something differs from the plan: {}", changes.join("; ")),
        HoldReason::OtherStorage { planned, found } => format!("planned was {planned}, found was {found}"),
        HoldReason::LedgersChanged { appeared, vanished } => {
            let list = |names: &[cutover_vocabulary::LedgerName]| {
                names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            };
            format!("the ledgers are not the plan's: new [{}], gone [{}]", list(appeared), list(vanished))
        }
        HoldReason::LossesChanged { ledger, approved, now, .. } => {
            format!("the migration of ledger {ledger} would lose {now} row(s), not the {approved} approved ones")
        }
        HoldReason::UnexplainedDifferences { ledger, count, .. } => {
            format!("ledger {ledger} differs from before in {count} row(s) that no approved loss explains")
        }
        HoldReason::Inconsistent { ledger, what } => {
            format!("ledger {ledger} contradicts itself: {}", what.join("; "))
        }
        HoldReason::AgentLost { agent, orders, heard, .. } => {
            let since = heard.map_or_else(String::new, |heard| format!(" since {heard}"));
            format!("agent {agent} is silent{since} and has {}", count(orders.len(), "order"))
        }
        HoldReason::Overdue { order } => format!("{} takes longer than expected; nothing was stopped", step(order)),
        HoldReason::ProofVoided { instance, seen } => format!("instance {instance} was down, and now {}", shown(seen)),
        HoldReason::InstanceAppeared { instance, agent, seen } => {
            format!("instance {instance} of agent {agent} is no member and was seen: {}", shown(seen))
        }
        HoldReason::TakenOver { agent, note } => {
            format!("a person took it over on the host of agent {agent}: {}", shown(note))
        }
    };
    let choices = hold.choices.iter().map(|offer| offer.choice.word()).collect::<Vec<_>>().join(", ");
    format!("waits for a person (hold {}) in {}: {why}; choices: {choices}", hold.id, hold.phase)
}

fn meaning(choice: Choice) -> &'static str {
    match choice {
        Choice::Retry => " (try again)",
        Choice::Accept => " (go on with it as it is)",
        Choice::Wait => " (wait longer)",
        Choice::Abort => " (go back, no data was touched)",
        Choice::Rollback => " (go back by restoring)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cutover_vocabulary::hold::HoldId;
    use cutover_vocabulary::order::Epoch;
    use cutover_vocabulary::{AgentName, Digest, Elapsed, OperatorName, RequestId, Timestamp};

    fn recorded(by: Cause, fact: Fact) -> Recorded {
        let prev = Digest::of(b"");
        let (at, leading_for) = (Timestamp::from_millis(0), Elapsed(0));
        Recorded { v: Recorded::V, seq: 1, at, epoch: Epoch(1), leading_for, by, prev, fact }
    }

    #[test]
    fn a_decision_names_who_decided_what_and_why() {
        let by = Cause::Operator {
            name: OperatorName::new("ada").unwrap(),
            request: RequestId::new("r-1").unwrap(),
            reason: String::new(),
        };
        let fact = Fact::HoldDecided { hold: HoldId(3), choice: Choice::Retry, reason: "disk was full".to_owned() };
        assert_eq!(describe(&recorded(by, fact)), "hold 3 decided by ada: retry (try again): disk was full");
    }

    #[test]
    fn a_line_is_one_line_and_moves_no_cursor() {
        let by = Cause::Agent(AgentName::new("a").unwrap());
        let fact = Fact::TurnedBack { why: "line\n\u{1b}[2J".to_owned(), stages: vec![] };
        let text = describe(&recorded(by, fact));
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}
