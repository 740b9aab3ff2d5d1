//! Approval: a person agrees by name to what a plan cannot decide alone.

use super::make::noticed;
use cutover_vocabulary::finding::{FindingCode, FindingSubject, Level};
use cutover_vocabulary::plan::{Approval, ApprovedLosses, Plan, PreparationId};
use cutover_vocabulary::{OperatorName, Timestamp};
use std::collections::BTreeMap;

/// What is agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approve {
    /// Every finding of level approve in this very plan.
    All,
    /// These.
    These(Vec<(FindingCode, FindingSubject)>),
}

/// Why a plan cannot be approved so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotApprovable {
    /// It has findings that no approval lifts.
    #[error("the plan is blocked by {}; nothing can be approved before that is mended", .0.join(", "))]
    Blocked(Vec<String>),
    /// It has no such finding.
    #[error("the plan has no finding {0} about {1} that needs approval")]
    NoSuchFinding(FindingCode, FindingSubject),
    /// It asks no such question.
    #[error("the plan has no question {0}; it asks {asked}", asked = if .1.is_empty() { "nothing".to_owned() } else { .1.join(", ") })]
    NoSuchQuestion(PreparationId, Vec<String>),
    /// The answer says nothing.
    #[error("the answer to {0} is empty; say in your own words what was seen to")]
    EmptyAnswer(PreparationId),
}

/// An approval of a plan with answers to its questions; bound to its digest, and to the very rows whose loss is agreed to.
pub fn approve(
    plan: &Plan,
    which: &Approve,
    answers: &BTreeMap<PreparationId, String>,
    by: OperatorName,
    reason: String,
    at: Timestamp,
) -> Result<Approval, NotApprovable> {
    let blocking: Vec<String> = plan.findings(Level::Block).map(|finding| finding.code.to_string()).collect();
    if !blocking.is_empty() {
        return Err(NotApprovable::Blocked(blocking));
    }
    for (id, answer) in answers {
        if !plan.binding.questions.contains_key(id) {
            let asked = plan.binding.questions.keys().map(ToString::to_string).collect();
            return Err(NotApprovable::NoSuchQuestion(id.clone(), asked));
        }
        if answer.trim().is_empty() {
            return Err(NotApprovable::EmptyAnswer(id.clone()));
        }
    }
    let all: Vec<_> = plan.findings(Level::Approve).map(noticed).collect();
    let findings = match which {
        Approve::All => all,
        Approve::These(wanted) => {
            let find = |(code, subject): &(FindingCode, FindingSubject)| {
                let found = all.iter().find(|finding| finding.code == *code && finding.subject == *subject);
                found.cloned().ok_or_else(|| NotApprovable::NoSuchFinding(code.clone(), subject.clone()))
            };
            wanted.iter().map(find).collect::<Result<_, _>>()?
        }
    };
    let agreed = |ledger: &cutover_vocabulary::storage::LedgerSurvey| {
        // Every class of loss of this ledger that the plan shows must be among what is agreed to.
        ledger.losses.by_class.keys().all(|class| {
            findings.iter().any(|finding| {
                finding.code.0 == class.code() && finding.subject == FindingSubject::Ledger(ledger.name.clone())
            })
        })
    };
    let losses = plan.observed.ledgers.iter().filter(|ledger| agreed(ledger)).filter_map(|ledger| {
        let sha256 = ledger.losses.sha256?;
        Some((ledger.name.clone(), ApprovedLosses { count: ledger.losses.count, sha256 }))
    });
    let losses = losses.collect();
    Ok(Approval { plan: plan.digest(), by, at, reason, findings, losses, answers: answers.clone() })
}
