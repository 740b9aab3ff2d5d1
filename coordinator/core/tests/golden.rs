//! Stored facts are forever: one file a variant, written once and never accepted anew. A file that does not parse any
//! more, or that is written differently, means that a stored upgrade can't be read any more.
//!
//! A new variant fails here until its file exists: run with `WRITE_MISSING=1`, read the file, commit it.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

mod support;

use cutover_core::upgrade::Ask;
use cutover_vocabulary::fact::{Ending, Fact, Recorded, Settlement};
use cutover_vocabulary::hold::{Choice, Hold, HoldId, HoldReason, Offer};
use cutover_vocabulary::outcome::*;
use cutover_vocabulary::phase::*;
use cutover_vocabulary::plan::{Plan, Preparation, PreparationId, PreparationState, Strategy};
use cutover_vocabulary::storage::*;
use cutover_vocabulary::*;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use support::*;

/// One example of every variant, and of every evidence, work and reason inside them. Exhaustive: `name` must know a new
/// variant before this compiles.
fn examples() -> BTreeMap<String, Recorded> {
    let mut all = BTreeMap::new();
    let mut play = Play::start(Seen::default().plan());
    let order = play.until_phase(Phase::Migrate);
    play.outcome(&order, failure(FailureKind::Failed));
    let hold = play.hold().id;
    play.ask(1, Ask::Decide { hold, choice: Choice::Rollback, reason: "no".to_owned() });
    play.until_end();
    let mut forward = Play::start(Seen::default().plan());
    forward.until_end();
    let asked = Play::start(with_questions());
    let mut rejoin = Play::start(Seen { away: vec!["c"], ..Seen::three_at(NEW, 6) }.rejoin());
    rejoin.until_phase(Phase::ConfirmDrained);
    for recorded in play.facts.iter().chain(&forward.facts).chain(&asked.facts).chain(&rejoin.facts) {
        all.entry(name(&recorded.fact)).or_insert_with(|| recorded.clone());
        let fact = as_before(&recorded.fact);
        all.entry(name(&fact)).or_insert_with(|| Recorded { fact, ..recorded.clone() });
    }
    for fact in rare(&order, forward.facts.len()) {
        let example = Recorded { fact, ..forward.facts[3].clone() };
        all.entry(name(&example.fact)).or_insert(example);
    }
    all
}

/// As earlier versions wrote it.
fn as_before(fact: &Fact) -> Fact {
    let mut fact = fact.clone();
    match &mut fact {
        Fact::Started { plan, .. } => {
            let plan = Arc::make_mut(plan);
            (plan.binding.before, plan.binding.lost) = Default::default();
        }
        Fact::AttemptOpened { order } => {
            if let Work::Open { storage, .. } | Work::StartClosed { storage, .. } = &mut Arc::make_mut(order).work {
                *storage = None;
            }
        }
        _ => {}
    }
    fact
}

/// A plan with a question, of every way in which a preparation can stand.
fn with_questions() -> Plan {
    let mut plan = Seen { ledgers: vec![("main", 0)], ..Seen::default() }.plan();
    let id = PreparationId("log-on-stdout".to_owned());
    let question = "What reads the ledger's log?".to_owned();
    plan.binding.questions.insert(id.clone(), question.clone());
    let states = [
        PreparationState::Asks { question },
        PreparationState::DoesNotApply { why: "this storage is sqlite".to_owned() },
        PreparationState::Done { how: "nothing was found".to_owned() },
        PreparationState::Found { codes: vec![finding::FindingCode("several-writers".to_owned())] },
    ];
    let preparation = |state| Preparation {
        id: id.clone(),
        note: "the log goes to stdout".to_owned(),
        remedy: "read it there".to_owned(),
        source: finding::Source::CompanyFile,
        state,
    };
    plan.observed.preparations = states.into_iter().map(preparation).collect();
    plan
}

/// Variants that a plain run does not meet.
fn rare(order: &Order, _: usize) -> Vec<Fact> {
    let failed = Failure {
        kind: FailureKind::Unclean,
        message: "a could not be stopped".to_owned(),
        remedy: "look at it".to_owned(),
        effect: Effect::Unknown,
    };
    let opener = Opener { pid: 9, command: "sqlite3".to_owned(), file: "x.db".to_owned() };
    let difference = Difference {
        section: Section::Balances,
        row: "account bank USD/2".to_owned(),
        before: Some("1".to_owned()),
        after: None,
        class: Some(LossClass::SqliteFirstMetadata),
    };
    let reasons = vec![
        HoldReason::StepFailed { order: order.id.clone(), failure: failed.clone() },
        HoldReason::UncleanStop { instance: instance("a"), failure: failed.clone() },
        HoldReason::Strangers {
            openers: vec![opener],
            not_visible: vec!["others".to_owned()],
            sessions: Vec::new(),
            storage: None,
        },
        HoldReason::PlanDrifted { changes: vec!["a ran 1.3.1, now 1.3.3".to_owned()] },
        HoldReason::OtherStorage { planned: storage(), found: storage() },
        HoldReason::LedgersChanged { appeared: vec![ledger("x")], vanished: vec![ledger("y")] },
        HoldReason::LossesChanged { ledger: ledger("main"), approved: 1, now: 2, sha256: Some(Digest::of(b"rows")) },
        HoldReason::UnexplainedDifferences { ledger: ledger("main"), differences: vec![difference], count: 1 },
        HoldReason::Inconsistent { ledger: ledger("main"), what: vec!["volumes differ".to_owned()] },
        HoldReason::AgentLost { agent: agent("host-a"), orders: vec![order.id.clone()], heard: None, members: vec![] },
        HoldReason::Overdue { order: order.id.clone() },
        HoldReason::ProofVoided { instance: instance("a"), seen: "it runs".to_owned() },
        HoldReason::InstanceAppeared {
            instance: instance("d"),
            agent: agent("host-d"),
            seen: "it is running (pid 7), and answers as 1.3.1".to_owned(),
        },
        HoldReason::TakenOver { agent: agent("host-a"), note: "by hand".to_owned() },
    ];
    let held = reasons.into_iter().enumerate().map(|(n, reason)| {
        let choices = Choice::ALL.iter().map(|choice| Offer { choice: *choice, cost: "time".to_owned() }).collect();
        let (phase, since) = (Phase::Migrate, now(5).wall);
        Fact::Held { hold: Box::new(Hold { id: HoldId(n as u32 + 1), reason, phase, since, choices }) }
    });
    let mut facts: Vec<Fact> = held.collect();
    facts.extend([
        Fact::EvidenceRefused {
            order: order.id.clone(),
            evidence: Evidence::Registered { ledgers: vec![ledger("main")] },
        },
        Fact::RevokeAsked { order: order.id.clone() },
        Fact::Revoked { order: order.id.clone(), settlement: Settlement::NeverBegun },
        Fact::LateOutcome { order: order.id.clone(), outcome: Outcome::Failed(failed) },
        Fact::HoldLifted { hold: HoldId(3) },
        Fact::ProofVoided { instance: instance("a"), seen: "it runs".to_owned() },
        Fact::MemberJoined {
            instance: instance("d"),
            member: Seen::default().plan().binding.members[&instance("a")].clone(),
        },
        Fact::MemberExcused {
            instance: instance("d"),
            reason: "its host burnt down".to_owned(),
            evidence: "pg_stat_activity shows no session from its address".to_owned(),
        },
        Fact::RunnerChosen { agent: agent("host-b") },
        Fact::Ended { ending: Ending::TakenOver, reason: Some("restored by hand".to_owned()) },
        Fact::Paused,
        Fact::Resumed,
        Fact::Closed,
    ]);
    facts
}

/// A file name for a fact: its kind, and what tells its inner variants apart.
fn name(fact: &Fact) -> String {
    let inner = match fact {
        Fact::AttemptOpened { order } => match order.work {
            Work::Drain { for_good: true, .. } => Some("drain-for-good".to_owned()),
            Work::Open { storage: Some(_), .. } => Some("open-on-storage".to_owned()),
            Work::StartClosed { storage: Some(_), .. } => Some("start-closed-on-storage".to_owned()),
            _ => Some(word(&order.work)),
        },
        Fact::StepSucceeded { evidence, .. } => Some(word(evidence)),
        Fact::Held { hold } => Some(word(&hold.reason)),
        Fact::BorderCrossed { border } => Some(border.to_string()),
        Fact::Ended { ending, .. } => Some(word(ending)),
        Fact::Started { plan, .. } => {
            let parts = [
                (plan.binding.strategy == Strategy::Rejoin, "rejoin"),
                (!plan.binding.questions.is_empty(), "with-answers"),
                (!plan.binding.before.is_empty(), "with-before"),
            ];
            let parts: Vec<&str> = parts.into_iter().filter(|(has, _)| *has).map(|(_, part)| part).collect();
            (!parts.is_empty()).then(|| parts.join("-"))
        }
        Fact::StageEntered { .. }
        | Fact::EvidenceRefused { .. }
        | Fact::StepFailed { .. }
        | Fact::RevokeAsked { .. }
        | Fact::Revoked { .. }
        | Fact::LateOutcome { .. }
        | Fact::HoldDecided { .. }
        | Fact::HoldLifted { .. }
        | Fact::ProofVoided { .. }
        | Fact::MemberJoined { .. }
        | Fact::MemberExcused { .. }
        | Fact::RunnerChosen { .. }
        | Fact::TurnedBack { .. }
        | Fact::Paused
        | Fact::Resumed
        | Fact::Closed => None,
    };
    inner.map_or(fact.kind().to_owned(), |inner| format!("{}.{inner}", fact.kind()))
}

/// The tag of an externally tagged value.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value).unwrap() {
        serde_json::Value::String(tag) => tag,
        serde_json::Value::Object(map) => map.keys().next().unwrap().clone(),
        other => panic!("not externally tagged: {other}"),
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

#[test]
fn every_variant_has_a_golden_file_that_reads_and_writes_the_same() {
    let examples = examples();
    assert!(examples.len() >= 55, "{}: {:?}", examples.len(), examples.keys());
    for (name, example) in &examples {
        let path = folder().join(format!("{name}.json"));
        if !path.exists() {
            assert!(
                std::env::var_os("WRITE_MISSING").is_some(),
                "{} is missing: read this file's head",
                path.display()
            );
            std::fs::write(&path, serde_json::to_string_pretty(example).unwrap() + "\n").unwrap();
        }
    }
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Recorded = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(name(&read.fact), stem, "{}", path.display());
        let written: serde_json::Value = serde_json::to_value(&read).unwrap();
        let stored: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(written, stored, "{} would be written differently", path.display());
        assert!(examples.contains_key(stem), "{}: no example reaches this variant any more", path.display());
    }
}

#[test]
fn a_variant_that_this_version_does_not_know_is_an_error_not_a_guess() {
    let text = std::fs::read_to_string(folder().join("paused.json")).unwrap();
    let newer = text.replace("\"paused\"", "{\"teleported\": {\"to\": \"mars\"}}");
    assert!(serde_json::from_str::<Recorded>(&newer).is_err());
}
