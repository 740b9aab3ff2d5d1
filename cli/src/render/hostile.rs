//! Whatever text comes from outside, a page holds nothing that moves a cursor, changes a colour or turns the order of letters.

use super::fleet;
use super::going_back;
use super::ink::Ink;
use super::losses::Rows;
use super::next::Next;
use super::page::Page;
use super::{facts, plan, sample, status};
use cutover_proto::v1;
use cutover_vocabulary::fact::{Cause, Fact, Recorded};
use cutover_vocabulary::hold::{Hold, HoldReason};
use cutover_vocabulary::name::is_plain;
use cutover_vocabulary::order::{Epoch, OrderId, StepId};
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::phase::{Phase, Stage};
use cutover_vocabulary::status::{Said, State, WhatIf};
use cutover_vocabulary::storage::{Difference, Opener, Section, SessionKind, StorageIdentity, StorageSession};
use cutover_vocabulary::{
    AgentName, Digest, Elapsed, Failure, InstanceName, LedgerName, OperatorName, Subject, UpgradeId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Escapes of a terminal, ends of lines, overridden directions, what is not seen, and very much of it.
fn hostile() -> String {
    format!(
        "\u{1b}]0;title\u{7}\u{1b}[2J\r\n\t\u{9b}31m\u{7f}\u{202e}\u{2066}\u{200f}\u{61c}\u{200b}\u{feff} {}",
        "long".repeat(500)
    )
}

/// Every text of a value that may be anything, spoilt; and how many there were. What a type refuses (a chosen name, a digest)
/// never reaches a page, so it stays.
fn spoilt<T: Serialize + DeserializeOwned>(value: &T) -> (T, usize) {
    let mut json = serde_json::to_value(value).unwrap();
    let mut places = Vec::new();
    texts(&json, String::new(), &mut places);
    let mut count = 0;
    for place in places {
        let mut tried = json.clone();
        if let Some(Value::String(text)) = tried.pointer_mut(&place) {
            text.push_str(&hostile());
        }
        let read = serde_json::from_value::<T>(tried.clone()).ok();
        if read.is_some_and(|read| serde_json::to_value(read).unwrap() == tried) {
            json = tried;
            count += 1;
        }
    }
    (serde_json::from_value(json).unwrap(), count)
}

/// Where texts are, as JSON pointers.
fn texts(json: &Value, at: String, places: &mut Vec<String>) {
    match json {
        Value::String(_) => places.push(at),
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(number, value)| texts(value, format!("{at}/{number}"), places));
        }
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            texts(value, format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), places);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[track_caller]
fn clean(page: &str) {
    let dirt = page.chars().find(|c| *c != '\n' && !is_plain(*c));
    assert_eq!(dirt, None, "{page:?}");
}

fn text() -> String {
    "text".to_owned()
}

fn reasons() -> Vec<HoldReason> {
    let order = || OrderId {
        upgrade: UpgradeId::new("u-1").unwrap(),
        step: StepId { stage: 7, run: 1, subject: Subject::Ledger(LedgerName::new("main").unwrap()) },
        phase: Phase::Migrate,
        attempt: 1,
    };
    let failure = |kind| Failure { kind, message: text(), remedy: text(), effect: Effect::Unknown };
    let ledger = || LedgerName::new("main").unwrap();
    let (instance, agent) = (|| InstanceName::new("a").unwrap(), || AgentName::new("host-a").unwrap());
    let postgres = || StorageIdentity::Postgres { system_identifier: text(), timeline: 1, database: text() };
    let session = |pid| StorageSession {
        pid,
        role: text(),
        client: text(),
        application: text(),
        kind: SessionKind::Writer,
        since: Some(sample::at(0)),
    };
    let difference =
        Difference { section: Section::Balances, row: text(), before: Some(text()), after: Some(text()), class: None };
    vec![
        HoldReason::StepFailed { order: order(), failure: failure(FailureKind::Failed) },
        HoldReason::UncleanStop { instance: instance(), failure: failure(FailureKind::Unclean) },
        HoldReason::UncleanStop { instance: instance(), failure: failure(FailureKind::StillRuns) },
        HoldReason::Strangers {
            openers: vec![Opener { pid: 1, command: text(), file: text() }],
            not_visible: vec![text()],
            sessions: vec![session(7), session(0)],
            storage: Some(postgres()),
        },
        HoldReason::Strangers { openers: vec![], not_visible: vec![text()], sessions: vec![], storage: None },
        HoldReason::Strangers {
            openers: vec![Opener { pid: 1, command: text(), file: text() }],
            not_visible: vec![],
            sessions: vec![],
            storage: None,
        },
        HoldReason::PlanDrifted { changes: vec![text()] },
        HoldReason::OtherStorage { planned: postgres(), found: postgres() },
        HoldReason::LedgersChanged { appeared: vec![ledger()], vanished: vec![ledger()] },
        HoldReason::LossesChanged { ledger: ledger(), approved: 1, now: 2, sha256: None },
        HoldReason::UnexplainedDifferences { ledger: ledger(), differences: vec![difference], count: 2 },
        HoldReason::Inconsistent { ledger: ledger(), what: vec![text()] },
        HoldReason::AgentLost { agent: agent(), orders: vec![order()], heard: None, members: vec![instance()] },
        HoldReason::Overdue { order: order() },
        HoldReason::ProofVoided { instance: instance(), seen: text() },
        HoldReason::InstanceAppeared { instance: instance(), agent: agent(), seen: text() },
        HoldReason::TakenOver { agent: agent(), note: text() },
    ]
}

#[test]
fn no_text_of_a_plan_reaches_the_terminal_as_it_is() {
    let (plan, spoilt) = spoilt(&sample::plan());
    assert!(spoilt > 10, "{spoilt}");
    for rows in [Rows::Listed, Rows::Counted] {
        clean(&plan::page(&plan, Some(&Next::at(Some("unix:/tmp/\u{1b}[2J"))), rows, Ink::PLAIN));
    }
}

#[test]
fn no_text_of_a_status_or_of_any_hold_reaches_the_terminal_as_it_is() {
    let mut held = sample::held();
    let said = Some(Said { at: sample::at(0), by: OperatorName::new("ada").unwrap(), reason: text() });
    (held.pause, held.close, held.end) = (said.clone(), said.clone(), said);
    (held.paused, held.closed, held.turned_back) = (true, Some(sample::at(0)), Some(text()));
    held.stages[0].failures.push(text());
    for reason in reasons() {
        let hold = Hold { reason, ..sample::hold() };
        held.holds = vec![hold];
        let (mut status, spoilt) = spoilt(&held);
        assert!(spoilt > 5, "{spoilt}");
        for state in State::ALL {
            status.state = *state;
            clean(&status::page(&status, &Next::at(None), Ink::PLAIN));
        }
    }
}

#[test]
fn no_text_of_a_fleet_a_list_or_a_way_back_reaches_the_terminal_as_it_is() {
    let spoilt = || hostile();
    let instance = v1::Instance { name: spoilt(), deployment: spoilt(), agent: spoilt(), ..Default::default() };
    let deployment =
        v1::Deployment { name: spoilt(), instances: vec![spoilt()], upgrade: Some(spoilt()), ..Default::default() };
    let coordinator = v1::Coordinator { name: spoilt(), address: Some(spoilt()), leads: false };
    let coordinators = vec![coordinator.clone(), coordinator];
    let leader = v1::Leader { name: Some(spoilt()), this_coordinator: spoilt(), coordinators, ..Default::default() };
    clean(&super::status::led_by(&leader, Ink::PLAIN));
    clean(&fleet::page(&leader, std::slice::from_ref(&deployment), std::slice::from_ref(&instance), Ink::PLAIN));
    let claim = v1::RefusedClaim {
        instance: spoilt(),
        agent: spoilt(),
        machine: spoilt(),
        why: spoilt(),
        ..Default::default()
    };
    let details = v1::DeploymentDetails {
        deployment: Some(deployment),
        instances: vec![instance],
        missing: vec![spoilt()],
        claims: vec![claim],
    };
    clean(&fleet::deployment(&details, Ink::PLAIN));
    let summary = v1::UpgradeSummary {
        id: spoilt(),
        deployment: spoilt(),
        from: spoilt(),
        target: spoilt(),
        waiting_for: spoilt(),
        ..Default::default()
    };
    clean(&status::list(&[summary], Ink::PLAIN));
    let what = WhatIf {
        allowed: true,
        meaning: spoilt(),
        stages: vec![Stage::of(Phase::Restore)],
        ledgers: vec![LedgerName::new(spoilt()).unwrap()],
    };
    clean(&going_back::page(&what, &spoilt(), false, Ink::PLAIN));
}

#[test]
fn no_sentence_of_a_fact_reaches_the_terminal_as_it_is() {
    let recorded = Recorded {
        v: Recorded::V,
        seq: 1,
        at: sample::at(0),
        epoch: Epoch(1),
        leading_for: Elapsed(0),
        by: Cause::Machine,
        prev: Digest::of(b""),
        fact: Fact::Resumed,
    };
    let mut page = Page::new(Ink::PLAIN);
    facts::write(&mut page, &recorded, &hostile());
    clean(&page.finish());
    clean(&facts::line(&recorded, &hostile()));
}
