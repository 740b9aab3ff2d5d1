//! Why there is no plan, or none may start, as a caller reads it.

use cutover_core::plan::MayNotStart;
use cutover_proto::{Code, Refused};
use cutover_vocabulary::finding::Finding;
use cutover_vocabulary::plan::PlanDigest;
use std::collections::BTreeSet;

pub(super) fn may_not_start(digest: &PlanDigest, why: MayNotStart) -> Refused {
    match why {
        MayNotStart::Blocked { findings } => refuse_findings(Code::Blocked, "the plan is blocked", &findings),
        MayNotStart::NeedsApproval { findings, questions } if questions.is_empty() => {
            refuse_findings(Code::NeedsApproval, "a person must approve this first", &findings)
        }
        MayNotStart::NeedsApproval { findings, questions } => {
            let asked: Vec<String> = questions.iter().map(|(id, question)| format!("{id}: {question}")).collect();
            let open: Vec<String> =
                findings.iter().map(|finding| format!("{} about {}", finding.code, finding.subject)).collect();
            let also = if open.is_empty() { String::new() } else { format!("; and approve {}", open.join(", ")) };
            let ids: Vec<String> = questions.keys().map(ToString::to_string).collect();
            Refused::new(
                Code::NeedsApproval,
                format!("a person must answer this first: {}{also}", asked.join(" ")),
                format!(
                    "cutover approve {} --answer '{}=WHAT WAS SEEN TO'",
                    digest.0.short(),
                    ids.join("=…' --answer '")
                ),
            )
            .with("questions", ids.join(", "))
            .with("findings", open.join(", "))
        }
        MayNotStart::Stale { changes } => Refused::new(
            Code::PlanStale,
            format!("plan {} is not true any more: {}", digest.0.short(), changes.join("; ")),
            "plan again, look at what changed, and start the new plan",
        )
        .with("changes", changes.join("; ")),
    }
}

pub(super) fn refuse_findings(code: Code, what: &str, findings: &[Finding]) -> Refused {
    let text = |finding: &Finding| format!("{} about {}: {}", finding.code, finding.subject, finding.evidence);
    let texts: Vec<String> = findings.iter().map(text).collect();
    let remedies: BTreeSet<&str> = findings.iter().map(|finding| finding.remedy.as_str()).collect();
    let names: Vec<String> = findings.iter().map(|finding| format!("{} {}", finding.code, finding.subject)).collect();
    let remedy = remedies.into_iter().collect::<Vec<_>>().join("; ");
    Refused::new(code, format!("{what}: {}", texts.join("; ")), remedy).with("findings", names.join(", "))
}
