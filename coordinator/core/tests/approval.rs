//! What an approval is bound to, and what a start refuses: nothing that was not agreed to, and nothing that has changed.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod support;

use cutover_core::plan::{self, Approve, MayNotStart, NotApprovable, may_start};
use cutover_vocabulary::finding::{FindingCode, FindingSubject, Level};
use cutover_vocabulary::plan::{Approval, Noticed, Plan, PreparationId, Strategy};
use cutover_vocabulary::storage::*;
use cutover_vocabulary::*;
use std::collections::{BTreeMap, BTreeSet};
use support::*;

fn about(name: &str) -> FindingSubject {
    FindingSubject::Instance(instance(name))
}
fn of_ledger(name: &str) -> FindingSubject {
    FindingSubject::Ledger(ledger(name))
}
fn of_deployment() -> FindingSubject {
    FindingSubject::Deployment(DeploymentName::new("prod").unwrap())
}

fn agreed(plan: &Plan, which: &Approve) -> Result<Approval, NotApprovable> {
    plan::approve(plan, which, &BTreeMap::new(), operator(), "we know".to_owned(), now(0).wall)
}

fn noticed(code: &str, level: Level, subject: FindingSubject) -> Noticed {
    Noticed { code: FindingCode(code.to_owned()), level, subject }
}

/// What needs approval in two ledgers.
fn lossy() -> Plan {
    Seen { ledgers: vec![("main", 1), ("shop", 2)], ..Seen::default() }.plan()
}

fn asked() -> (PreparationId, String) {
    (PreparationId("log-on-stdout".to_owned()), "What reads it?".to_owned())
}

const LOSS: &str = "account-metadata-without-posting";

#[test]
fn an_approval_names_the_plan_the_findings_and_the_exact_rows() {
    let plan = lossy();
    let approval = agreed(&plan, &Approve::All).unwrap();
    assert_eq!(approval.plan, plan.digest());
    let named: BTreeSet<_> = approval.findings.iter().collect();
    let [main, shop] = ["main", "shop"].map(|name| noticed(LOSS, Level::Approve, of_ledger(name)));
    assert_eq!(named, [&main, &shop].into());
    let rows: Vec<_> =
        approval.losses.iter().map(|(name, losses)| (name.as_str(), losses.count, losses.sha256)).collect();
    assert_eq!(
        rows,
        [("main", 1, losses(1).sha256.unwrap()), ("shop", 2, losses(2).sha256.unwrap())],
        "the digests are over the very rows"
    );
    assert_eq!(may_start(&plan, &plan, Some(&approval)), Ok(()));
}

#[test]
fn what_was_not_approved_keeps_the_start_back_by_name() {
    let plan = lossy();
    let Err(MayNotStart::NeedsApproval { findings, .. }) = may_start(&plan, &plan, None) else { panic!("no approval") };
    assert_eq!(findings.len(), 2);
    let shop = (FindingCode(LOSS.to_owned()), of_ledger("shop"));
    let some = agreed(&plan, &Approve::These(vec![shop])).unwrap();
    assert_eq!(some.losses.keys().map(LedgerName::as_str).collect::<Vec<_>>(), ["shop"], "no rows of the other ledger");
    let Err(MayNotStart::NeedsApproval { findings, .. }) = may_start(&plan, &plan, Some(&some)) else {
        panic!("half of it")
    };
    assert_eq!(findings.iter().map(|finding| finding.subject.clone()).collect::<Vec<_>>(), [of_ledger("main")]);
}

#[test]
fn a_finding_that_the_plan_does_not_have_cannot_be_approved() {
    let plan = lossy();
    for wanted in [
        (FindingCode(LOSS.to_owned()), of_ledger("elsewhere")),
        (FindingCode("file-skipped".to_owned()), FindingSubject::Storage),
        // Nothing to approve: it is for information only.
        (FindingCode("process-manager-has-no-guard".to_owned()), about("a")),
    ] {
        let refused = agreed(&plan, &Approve::These(vec![wanted.clone()])).unwrap_err();
        assert_eq!(refused, NotApprovable::NoSuchFinding(wanted.0.clone(), wanted.1.clone()));
        assert!(refused.to_string().contains(&wanted.0.0) && refused.to_string().contains(&wanted.1.to_string()));
    }
}

#[test]
fn what_blocks_can_neither_be_approved_nor_started() {
    let fine = lossy();
    let approval = agreed(&fine, &Approve::All).unwrap();
    let seen = Seen { ledgers: vec![("main", 1), ("shop", 2)], ..Seen::default() };
    let mut surveys = seen.surveys();
    surveys[0].instances[0].storage.as_mut().unwrap().read_only = Some("/data: read-only".to_owned());
    let blocked =
        plan::make(&cutover_core::catalogue::shipped().unwrap(), &ask(), &seen.registered(), &surveys, now(0).wall)
            .unwrap();
    let refused = agreed(&blocked, &Approve::All).unwrap_err();
    assert_eq!(refused, NotApprovable::Blocked(vec!["storage-read-only".to_owned()]));
    assert!(refused.to_string().contains("storage-read-only"));
    // It came about after the approval: what blocks is said, not that the plan is stale.
    let Err(MayNotStart::Blocked { findings }) = may_start(&fine, &blocked, Some(&approval)) else { panic!("blocked") };
    assert_eq!(findings.iter().map(|finding| finding.code.0.as_str()).collect::<Vec<_>>(), ["storage-read-only"]);
    assert!(matches!(may_start(&blocked, &blocked, None), Err(MayNotStart::Blocked { .. })));
}

#[test]
fn an_approval_of_another_plan_counts_for_nothing() {
    let (plan, other) = (lossy(), Seen::default().plan());
    assert_ne!(plan.digest(), other.digest());
    let approval = agreed(&other, &Approve::All).unwrap();
    assert!(matches!(may_start(&plan, &plan, Some(&approval)), Err(MayNotStart::NeedsApproval { .. })));
}

#[test]
fn a_plan_whose_lost_rows_are_others_now_is_stale_by_name() {
    let plan = lossy();
    let approval = agreed(&plan, &Approve::All).unwrap();
    // As many rows, but others.
    let seen = Seen { ledgers: vec![("main", 1), ("shop", 2)], ..Seen::default() };
    let mut surveys = seen.surveys();
    let storage = surveys[0].instances[0].storage.as_mut().unwrap();
    let shop = storage.ledgers.iter_mut().find(|survey| survey.name == ledger("shop")).unwrap();
    shop.losses.rows[0].key = "address".to_owned();
    shop.losses.sha256 = Some(Digest::of_json(&shop.losses.rows));
    let of = |ask: &plan::PlanAsk| {
        let catalogue = cutover_core::catalogue::shipped().unwrap();
        plan::make(&catalogue, ask, &seen.registered(), &surveys, now(0).wall).unwrap()
    };
    let fresh = of(&ask());
    // Whoever approves a plan that was made anew meanwhile approves what that one shows.
    assert_ne!(fresh.digest(), plan.digest());
    let Err(MayNotStart::Stale { changes }) = may_start(&plan, &fresh, Some(&approval)) else { panic!("other rows") };
    assert_eq!(changes, ["ledger shop: it would now lose other rows than this plan shows"]);
    // A rehearsal loses none.
    assert_eq!(of(&plan::PlanAsk { rehearse_only: true, ..ask() }).binding.lost, BTreeMap::new());
}

#[test]
fn what_was_only_observed_does_not_make_a_plan_stale() {
    let plan = lossy();
    let approval = agreed(&plan, &Approve::All).unwrap();
    let mut fresh = plan.clone();
    fresh.observed.at = now(3_600_000).wall;
    for survey in &mut fresh.observed.ledgers {
        survey.transactions += 1_000;
        survey.bytes *= 2;
    }
    assert_eq!(may_start(&plan, &fresh, Some(&approval)), Ok(()));
}

/// One change each to a plan, and how it must be named.
type Change = (&'static str, fn(&mut Plan));

#[test]
fn a_stale_plan_names_every_change_with_then_and_now() {
    let plan = lossy();
    let approval = agreed(&plan, &Approve::All).unwrap();
    let changes: &[Change] = &[
        ("deployment: prod, now trial", |p| p.binding.deployment = DeploymentName::new("trial").unwrap()),
        ("present version: 1.3.1, now 1.3.0", |p| p.binding.from = version((1, 3, 0))),
        ("release: 1.4.6 with archive", |p| p.binding.target.archive = Digest::of(b"another")),
        ("strategy: downtime, now rolling", |p| p.binding.strategy = Strategy::Rolling),
        ("runner: host-a, now host-b", |p| p.binding.runner = agent("host-b")),
        ("storage: sqlite /var/lib/numary/numary_*.db, now sqlite /var/lib/numary/other_*.db", |p| {
            let StorageIdentity::Sqlite { db_name, .. } = &mut p.binding.storage else { panic!("SQLite") };
            *db_name = "other".to_owned();
        }),
        ("the migration: loses rows, now it loses none", |p| p.binding.lossy = false),
        ("stages: preflight, ", |p| {
            p.binding.stages.pop();
        }),
        ("limits: drain 30.0 s, now 31.0 s", |p| p.binding.limits.drain = Elapsed::from_secs(31)),
        ("limits: attempts 3, now 4, lanes 2, now 3", |p| {
            (p.binding.limits.attempts, p.binding.limits.lanes) = (4, 3);
        }),
        ("instance a is gone", |p| p.binding.members.clear()),
        ("instance b is new", |p| {
            let member = p.binding.members[&instance("a")].clone();
            p.binding.members.insert(instance("b"), member);
        }),
        ("instance a: 1.3.1 by host-a, now 1.3.0 by host-a", |p| {
            p.binding.members.get_mut(&instance("a")).unwrap().version = version((1, 3, 0));
        }),
        ("instance a: 1.3.1 by host-a, now 1.3.1 by host-z", |p| {
            p.binding.members.get_mut(&instance("a")).unwrap().agent = agent("host-z");
        }),
        ("binary of instance a: ", |p| {
            p.binding.members.get_mut(&instance("a")).unwrap().binary = Digest::of(b"patched");
        }),
        ("settings of instance a are others now", |p| {
            p.binding.members.get_mut(&instance("a")).unwrap().settings = Digest::of(b"others");
        }),
        ("ledger shop is gone", |p| {
            p.binding.ledgers.remove(&ledger("shop"));
        }),
        ("ledger third is new", |p| {
            p.binding.ledgers.insert(ledger("third"), Migrations(Some(vec![0, 1])));
        }),
        ("migrations of ledger shop afterwards: 0 1, now 0 1 2", |p| {
            p.binding.ledgers.insert(ledger("shop"), Migrations(Some(vec![0, 1, 2])));
        }),
        ("ledger shop may record migrations 0 before, now 0 1: somebody migrated it", |p| {
            p.binding.before.insert(ledger("shop"), Migrations(Some(vec![0, 1])));
        }),
        ("ledger main: it would now lose other rows than this plan shows", |p| {
            p.binding.lost.insert(ledger("main"), Digest::of(b"others"));
        }),
        ("finding account-metadata-without-posting about ledger shop is gone", |p| {
            p.binding.findings.retain(|finding| finding.subject != of_ledger("shop"));
        }),
        ("question log-on-stdout is new", |p| {
            p.binding.questions.insert(asked().0, asked().1);
        }),
        ("finding mixed-versions about deployment prod is new", |p| {
            p.binding.findings.push(noticed("mixed-versions", Level::Approve, of_deployment()));
        }),
    ];
    for (text, change) in changes {
        let mut fresh = plan.clone();
        change(&mut fresh);
        let Err(MayNotStart::Stale { changes }) = may_start(&plan, &fresh, Some(&approval)) else { panic!("{text}") };
        let [named] = changes.as_slice() else { panic!("{text}: exactly one change, not {changes:?}") };
        assert!(named.starts_with(text), "{text:?}, not {named:?}");
    }
    // All of them at once: each is named.
    let mut fresh = plan.clone();
    fresh.binding.from = version((1, 3, 0));
    fresh.binding.limits.lanes = 9;
    fresh.binding.ledgers.clear();
    let Err(MayNotStart::Stale { changes }) = may_start(&plan, &fresh, Some(&approval)) else { panic!("stale") };
    assert_eq!(
        changes,
        ["present version: 1.3.1, now 1.3.0", "limits: lanes 2, now 9", "ledger main is gone", "ledger shop is gone"]
    );
}

#[test]
fn a_question_keeps_the_start_back_until_a_person_answers_it_in_words_bound_to_that_plan() {
    let mut plan = lossy();
    let (id, question) = asked();
    plan.binding.questions.insert(id.clone(), question.clone());
    assert_eq!(plan.level(), Some(Level::Approve));
    let give = |plan: &Plan, answers: &[(&str, &str)]| {
        let answers = answers.iter().map(|(id, text)| (PreparationId((*id).to_owned()), (*text).to_owned())).collect();
        plan::approve(plan, &Approve::All, &answers, operator(), "we know".to_owned(), now(0).wall)
    };
    let unanswered = give(&plan, &[]).unwrap();
    let refused = may_start(&plan, &plan, Some(&unanswered));
    assert_eq!(
        refused,
        Err(MayNotStart::NeedsApproval { findings: Vec::new(), questions: BTreeMap::from([(id.clone(), question)]) })
    );
    assert_eq!(give(&plan, &[("log-on-stdout", "  ")]), Err(NotApprovable::EmptyAnswer(id.clone())));
    let unknown = give(&plan, &[("elsewhere", "yes")]).unwrap_err();
    assert!(unknown.to_string().contains("no question elsewhere; it asks log-on-stdout"), "{unknown}");
    let answered = give(&plan, &[("log-on-stdout", "journald reads both")]).unwrap();
    assert_eq!(may_start(&plan, &plan, Some(&answered)), Ok(()));
    // The same answer to another plan is none.
    let mut other = plan.clone();
    other.binding.limits.lanes = 9;
    assert!(matches!(may_start(&other, &other, Some(&answered)), Err(MayNotStart::NeedsApproval { .. })));
}

#[test]
fn a_question_of_its_own_stands_alone() {
    let mut plan = Seen { ledgers: vec![("main", 0)], ..Seen::default() }.plan();
    assert_ne!(plan.level(), Some(Level::Approve));
    plan.binding.questions.insert(asked().0, asked().1);
    assert_eq!(plan.level(), Some(Level::Approve), "nothing but the question");
    assert!(matches!(may_start(&plan, &plan, None), Err(MayNotStart::NeedsApproval { .. })));
}
