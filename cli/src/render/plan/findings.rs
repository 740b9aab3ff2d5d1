//! What was noticed: what blocks, what needs approval with the rows that would be lost, and what is good to know.

use crate::render::losses::{self, Rows};
use crate::render::page::Page;
use crate::render::words;
use cutover_vocabulary::finding::{Finding, FindingSubject, Level};
use cutover_vocabulary::plan::Plan;

/// The findings of one level, those together that differ only in whom they are about.
pub(super) fn write(page: &mut Page, plan: &Plan, level: Level) {
    let findings: Vec<&Finding> = plan.findings(level).collect();
    let number = findings.len();
    let heading = match level {
        Level::Block if number == 0 => return,
        Level::Approve if number == 0 => {
            page.gap();
            let line = match plan.binding.questions.is_empty() {
                true => page.ink.good("Nothing needs approval."),
                false => page.ink.heed("No finding needs approval, but the release notes ask something."),
            };
            page.raw(&line);
            return;
        }
        Level::Info if number == 0 => return,
        Level::Block => page.ink.stop(&format!("Blocks the upgrade ({number})")),
        Level::Approve if plan.binding.only_rehearses() => {
            page.ink.heed(&format!("Will need approval before the upgrade itself ({number})"))
        }
        Level::Approve => page.ink.heed(&format!("Needs approval ({number})")),
        Level::Info => page.ink.strong(&format!("Good to know ({number})")),
    };
    page.gap();
    page.raw(&heading);
    for group in groups(&findings) {
        let Some(first) = group.first() else { continue };
        page.item(2, format_args!("{} ({})", first.code, first.source));
        for (about, evidence) in by_evidence(&group) {
            page.entry(4, 18, &about, evidence);
        }
        if !first.remedy.is_empty() {
            page.entry(4, 18, "What to do", &first.remedy);
        }
        page.entry(4, 18, "More", format_args!("docs/findings/{}.md", first.code));
    }
}

/// Findings that differ only in their subject and evidence belong together: a deployment can have hundreds of ledgers.
fn groups<'a>(findings: &[&'a Finding]) -> Vec<Vec<&'a Finding>> {
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    for finding in findings {
        let same = |group: &&mut Vec<&Finding>| {
            group.first().is_some_and(|first| {
                (&first.code, first.source, &first.remedy) == (&finding.code, finding.source, &finding.remedy)
            })
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(finding),
            None => groups.push(vec![finding]),
        }
    }
    groups
}

/// Of findings with one and the same evidence their subjects stand together: a hundred instances that run as plain processes
/// are one reason, not a hundred.
fn by_evidence<'a>(group: &[&'a Finding]) -> Vec<(String, &'a str)> {
    let mut all: Vec<(Vec<&FindingSubject>, &str)> = Vec::new();
    for finding in group {
        match all.iter_mut().find(|(_, evidence)| *evidence == finding.evidence) {
            Some((subjects, _)) => subjects.push(&finding.subject),
            None => all.push((vec![&finding.subject], &finding.evidence)),
        }
    }
    all.into_iter().map(|(subjects, evidence)| (together(&subjects), evidence)).collect()
}

/// `instances a, b; ledger main`
fn together(subjects: &[&FindingSubject]) -> String {
    let (mut instances, mut ledgers, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for subject in subjects {
        match subject {
            FindingSubject::Instance(name) => instances.push(name.to_string()),
            FindingSubject::Ledger(name) => ledgers.push(name.to_string()),
            FindingSubject::Deployment(_) | FindingSubject::Storage | FindingSubject::Path => {
                others.push(subject.to_string());
            }
        }
    }
    let named = |kind: &str, names: Vec<String>| match names.len() {
        0 => None,
        1 => Some(format!("{kind} {}", names.join(", "))),
        _ => Some(format!("{kind}s {}", names.join(", "))),
    };
    let all = [named("instance", instances), named("ledger", ledgers)].into_iter().flatten().chain(others);
    all.collect::<Vec<_>>().join("; ")
}

/// The rows that a migration would lose.
pub(super) fn lost_rows(page: &mut Page, plan: &Plan, rows: Rows) {
    if !plan.binding.lossy {
        return;
    }
    let losing: Vec<_> = plan.observed.ledgers.iter().filter(|survey| survey.losses.count > 0).collect();
    if losing.is_empty() {
        return;
    }
    let total: u64 = losing.iter().map(|survey| survey.losses.count).sum();
    page.gap();
    let heading = page.ink.heed(&format!("The migration would lose {}", words::count(total, "row", "rows")));
    page.raw(&heading);
    page.paragraph(2, "They stay visible in the ledger's `log`, and their values are kept beside the recovery point.");
    for survey in losing {
        losses::ledger(page, 2, &survey.name, &survey.losses, rows);
    }
}
