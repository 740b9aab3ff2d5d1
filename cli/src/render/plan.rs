//! A plan as an operator reads it: what blocks, what needs approval, what is good to know, what would happen to whom in
//! which order, and what to type next.

use super::ink::Ink;
use super::losses::{self, Rows};
use super::next::Next;
use super::page::Page;
use super::words;
use cutover_vocabulary::finding::{Finding, Level};
use cutover_vocabulary::phase::{Phase, Stage};
use cutover_vocabulary::plan::{Binding, Plan};

/// The whole page; without `next` it says nothing of what to type, for callers who know better. `rows`: whether the rows that
/// would be lost are written out.
pub fn page(plan: &Plan, next: Option<&Next>, rows: Rows, ink: Ink) -> String {
    let mut page = Page::new(ink);
    head(&mut page, plan);
    for level in [Level::Block, Level::Approve, Level::Info] {
        findings(&mut page, plan, level);
        if level == Level::Approve {
            lost_rows(&mut page, plan, rows);
        }
    }
    ledgers(&mut page, plan);
    stages(&mut page, &plan.binding);
    if let Some(next) = next {
        next_step(&mut page, plan, next);
    }
    page.finish()
}

fn head(page: &mut Page, plan: &Plan) {
    let binding = &plan.binding;
    let title = format!(
        "Plan {}: {} from {} to {}",
        plan.digest().0.short(),
        binding.deployment,
        binding.from,
        binding.target.version
    );
    page.heading(&title);
    let instances: Vec<String> = binding
        .members
        .iter()
        .map(|(name, member)| format!("{name} ({}, agent {})", member.version, member.agent))
        .collect();
    page.entry(2, 11, "How", words::strategy(binding.strategy, binding.members.len()));
    page.entry(2, 11, "Instances", instances.join(", "));
    page.entry(2, 11, "Storage", words::storage(&binding.storage));
    page.entry(2, 11, "Runner", format_args!("agent {}", binding.runner));
    page.entry(2, 11, "Release", format_args!("archive SHA-256 {}", binding.target.archive));
    page.entry(2, 11, "Seen", words::moment(plan.observed.at));
}

fn findings(page: &mut Page, plan: &Plan, level: Level) {
    let findings: Vec<&Finding> = plan.findings(level).collect();
    let number = findings.len();
    let heading = match level {
        Level::Block if number == 0 => return,
        Level::Approve if number == 0 => {
            page.gap();
            let line = page.ink.good("Nothing needs approval.");
            page.raw(&line);
            return;
        }
        Level::Info if number == 0 => return,
        Level::Block => page.ink.stop(&format!("Blocks the upgrade ({number})")),
        Level::Approve => page.ink.heed(&format!("Needs approval ({number})")),
        Level::Info => page.ink.strong(&format!("Good to know ({number})")),
    };
    page.gap();
    page.raw(&heading);
    for group in groups(&findings) {
        let Some(first) = group.first() else { continue };
        page.item(2, format_args!("{} ({})", first.code, first.source));
        for finding in &group {
            page.entry(4, 18, &finding.subject.to_string(), &finding.evidence);
        }
        if !first.remedy.is_empty() {
            page.entry(4, 18, "What to do", &first.remedy);
        }
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

fn lost_rows(page: &mut Page, plan: &Plan, rows: Rows) {
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

fn ledgers(page: &mut Page, plan: &Plan) {
    if plan.observed.ledgers.is_empty() {
        return;
    }
    page.heading(&format!("Ledgers ({})", plan.observed.ledgers.len()));
    for survey in &plan.observed.ledgers {
        let migrations =
            match (&survey.migrations.0, plan.binding.ledgers.get(&survey.name).and_then(|to| to.0.as_ref())) {
                (present, Some(expected)) => {
                    let missing =
                        expected.iter().filter(|number| !present.as_ref().is_some_and(|have| have.contains(number)));
                    match missing.count() {
                        0 => "nothing to migrate".to_owned(),
                        number => words::count(number as u64, "migration to run", "migrations to run"),
                    }
                }
                (_, None) => "its migrations are not recorded".to_owned(),
            };
        let text = format!(
            "{}, {}, {migrations}",
            words::count(survey.transactions, "transaction", "transactions"),
            words::bytes(survey.bytes)
        );
        page.entry(2, 16, survey.name.as_str(), text);
    }
}

/// Every stage with what is done and on whom.
fn stages(page: &mut Page, binding: &Binding) {
    page.heading("What would happen, in this order");
    for (number, stage) in binding.stages.iter().enumerate() {
        if let Some(wave) = stage.wave {
            let first = number.checked_sub(1).and_then(|before| binding.stages.get(before)?.wave) != Some(wave);
            if first {
                moved(page, binding, wave, number);
            }
            continue;
        }
        if let Some(border) = words::border(stage, binding.strategy) {
            page.paragraph(4, format_args!("-- {border} --"));
        }
        let name = format!("{:>2}  {}", number + 1, words::phase(stage.phase));
        page.entry(2, 22, &name, words::doing(stage.phase));
        page.entry(2, 22, "", format_args!("on {}", whom(stage, binding)));
    }
}

/// All that is done with one wave, in one entry: it is the same for each.
fn moved(page: &mut Page, binding: &Binding, wave: u16, first: usize) {
    let stages: Vec<&Stage> = binding.stages.iter().filter(|stage| stage.wave == Some(wave)).collect();
    let name = format!("{:>2}  Wave {}", first + 1, u32::from(wave) + 1);
    let doing: Vec<String> = stages.iter().map(|stage| words::phase(stage.phase).to_lowercase()).collect();
    page.entry(2, 22, &name, doing.join(", "));
    let members: Vec<String> =
        binding.waves.get(usize::from(wave)).into_iter().flatten().map(ToString::to_string).collect();
    let canary = if wave == 0 { ", the canary" } else { "" };
    page.entry(2, 22, "", format_args!("on {}{canary}; watched for {}", members.join(", "), binding.limits.bake));
}

/// On whom a stage works.
fn whom(stage: &Stage, binding: &Binding) -> String {
    let instances = || {
        let names: Vec<String> = binding.members.keys().map(ToString::to_string).collect();
        names.join(", ")
    };
    let ledgers = || match binding.ledgers.len() {
        0..=4 => {
            let names: Vec<String> = binding.ledgers.keys().map(ToString::to_string).collect();
            names.join(", ")
        }
        number => format!("{number} ledgers"),
    };
    match stage.phase {
        Phase::Preflight | Phase::ConfirmDrained => format!("{}; storage, by {}", instances(), binding.runner),
        Phase::Stage | Phase::Drain | Phase::Switch | Phase::SwitchBack | Phase::Open | Phase::Reopen | Phase::Bake => {
            instances()
        }
        Phase::StartClosed | Phase::Verify => {
            binding.members.keys().next().map(ToString::to_string).unwrap_or_default()
        }
        Phase::Rehearse => format!("a copy of the storage, by {}", binding.runner),
        Phase::Secure | Phase::Restore => format!("{}; system store, by {}", ledgers(), binding.runner),
        Phase::Migrate | Phase::Prove => format!("{}, by {}", ledgers(), binding.runner),
    }
}

fn next_step(page: &mut Page, plan: &Plan, next: &Next) {
    let digest = plan.digest();
    page.heading("Next");
    match plan.level() {
        Some(Level::Block) => {
            page.paragraph(2, "This plan cannot start. Do what is said above, then plan again:");
            page.command(4, &next.plan(&plan.binding.deployment, &plan.binding.target.version));
        }
        Some(Level::Approve) => {
            page.paragraph(2, "If you agree to everything under \"Needs approval\", each row listed included:");
            let (approve, start) = (next.approve(digest), next.start(digest));
            page.command(4, &approve);
            if start != approve {
                page.command(4, &start);
            }
        }
        Some(Level::Info) | None => {
            page.paragraph(2, "This plan can start:");
            page.command(4, &next.start(digest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::{WIDTH, columns};
    use super::super::sample;
    use super::*;

    fn shown(plan: &Plan) -> String {
        page(plan, Some(&Next::at(None)), Rows::Listed, Ink::PLAIN)
    }

    #[test]
    fn a_plan_that_needs_approval_lists_every_row_that_would_be_lost_and_says_what_to_type() {
        let plan = sample::plan();
        let digest = plan.digest().0.short();
        let text = shown(&plan);
        let expected = [
            "Needs approval (1)",
            "  - lossy-migration (measured)",
            "    ledger main       what was seen",
            "The migration would lose 3 rows",
            "  ledger main: 3 rows",
            "    - account vip:1: kyc = {\"level\":1}",
            "    - transaction 0: order = \"o0\"",
            "    2 of 3 rows are listed; all of them will lie beside the recovery point",
            "    -- from here the storage changes: going back means restoring --",
        ];
        for line in expected {
            assert!(text.contains(line), "{line:?} in\n{text}");
        }
        assert!(
            text.ends_with(&format!("    cutover approve {digest} --reason 'WHY'\n    cutover start {digest}\n")),
            "{text}"
        );
    }

    #[test]
    fn a_blocked_plan_says_what_blocks_first_and_offers_no_start() {
        let text = shown(&sample::blocked());
        let block = text.find("Blocks the upgrade (1)").unwrap();
        assert!(block < text.find("Good to know").unwrap_or(usize::MAX));
        assert!(!text.contains("cutover start"), "{text}");
        assert!(text.ends_with("    cutover plan prod --to 1.4.6\n"), "{text}");
    }

    #[test]
    fn a_plan_fits_80_columns_and_shows_no_terminal_escapes() {
        let text = shown(&sample::hostile());
        for line in text.lines() {
            assert!(columns(line) <= WIDTH, "{line:?}");
        }
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
