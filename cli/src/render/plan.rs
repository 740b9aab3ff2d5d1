//! A plan as an operator reads it: what blocks, what needs approval, what is good to know, what would happen to whom in
//! which order, and what to type next.

mod findings;

use super::ink::Ink;
use super::losses::Rows;
use super::next::Next;
use super::page::Page;
use super::words;
use cutover_vocabulary::finding::Level;
use cutover_vocabulary::phase::{Phase, Stage};
use cutover_vocabulary::plan::{Binding, PathWords, Plan, Preparation, PreparationState, Strategy};

/// The whole page; without `next` it says nothing of what to type, for callers who know better. `rows`: whether the rows that
/// would be lost are written out.
pub fn page(plan: &Plan, next: Option<&Next>, rows: Rows, ink: Ink) -> String {
    let mut page = Page::new(ink);
    head(&mut page, plan);
    for level in [Level::Block, Level::Approve, Level::Info] {
        findings::write(&mut page, plan, level);
        if level == Level::Approve {
            findings::lost_rows(&mut page, plan, rows);
        }
    }
    preparations(&mut page, plan);
    path(&mut page, plan);
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
    let verdict = verdict(page.ink, plan);
    page.raw(&verdict);
    let instances: Vec<String> = binding
        .members
        .iter()
        .map(|(name, member)| format!("{name} ({}, agent {})", member.version, member.agent))
        .collect();
    page.entry(2, 11, "How", words::strategy(binding.strategy, binding.members.len()));
    page.entry(2, 11, "Instances", instances.join(", "));
    if binding.strategy == Strategy::Rejoin {
        let beside = match binding.beside.len() {
            0 => "nobody".to_owned(),
            _ => few("instance", binding.beside.keys()),
        };
        page.entry(2, 11, "Beside", format_args!("{beside}, not touched"));
        page.entry(2, 11, "Storage", format_args!("{}, not touched", words::storage(&binding.storage)));
        page.entry(2, 11, "Release", format_args!("archive SHA-256 {}", binding.target.archive));
        return page.entry(2, 11, "Seen", seen(plan));
    }
    page.entry(2, 11, "Storage", words::storage(&binding.storage));
    page.entry(2, 11, "Runner", format_args!("agent {}, which alone works on the storage", binding.runner));
    page.entry(2, 11, "Release", format_args!("archive SHA-256 {}", binding.target.archive));
    page.entry(2, 11, "Seen", seen(plan));
}

fn seen(plan: &Plan) -> String {
    format!("{}; looked at again when it starts", words::moment(plan.observed.at))
}

/// What comes of it, before all the reasons: whoever is called at night reads this line first.
fn verdict(ink: Ink, plan: &Plan) -> String {
    let number = |level| plan.findings(level).count() as u64;
    if plan.binding.only_rehearses() && plan.level() != Some(Level::Block) {
        return ink.good("It can start: a rehearsal, which stops nothing and changes only a copy.");
    }
    match plan.level() {
        Some(Level::Block) => {
            let what = words::count(number(Level::Block), "finding blocks it", "findings block it");
            ink.stop(&format!("It cannot start: {what}."))
        }
        Some(Level::Approve) => {
            let approved = match number(Level::Approve) {
                0 => None,
                number => Some(words::count(number, "finding is approved", "findings are approved")),
            };
            let answered = match plan.binding.questions.len() as u64 {
                0 => None,
                number => Some(words::count(number, "question is answered", "questions are answered")),
            };
            let what: Vec<String> = approved.into_iter().chain(answered).collect();
            ink.heed(&format!("It can start once {}.", what.join(" and ")))
        }
        Some(Level::Info) | None => ink.good("It can start."),
    }
}

/// Questions first, then what a check found, what is done, and what does not apply.
fn preparations(page: &mut Page, plan: &Plan) {
    let all = &plan.observed.preparations;
    if all.is_empty() {
        return;
    }
    let order = |preparation: &&Preparation| match preparation.state {
        PreparationState::Asks { .. } => 0,
        PreparationState::Found { .. } => 1,
        PreparationState::Done { .. } => 2,
        PreparationState::DoesNotApply { .. } => 3,
    };
    let mut sorted: Vec<&Preparation> = all.iter().collect();
    sorted.sort_by_key(order);
    page.heading("Release notes: what to prepare");
    for Preparation { id, note, remedy, source, state } in sorted {
        match state {
            PreparationState::DoesNotApply { why } => {
                page.item(2, format_args!("{id}: does not apply, {why}"));
                continue;
            }
            PreparationState::Done { how } => page.item(2, format_args!("{id} ({source}): {how}")),
            PreparationState::Found { codes } => {
                let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
                page.item(2, format_args!("{id} ({source}): see {}", codes.join(", ")));
                page.entry(4, 18, "What to do", remedy);
            }
            PreparationState::Asks { question } => {
                page.item(2, format_args!("{id} ({source}): needs your answer"));
                page.entry(4, 18, "Question", question);
                page.entry(4, 18, "What to do", remedy);
            }
        }
        page.entry(4, 18, "What changes", note);
    }
}

fn path(page: &mut Page, plan: &Plan) {
    let Some(PathWords { manual, measured, storage }) = &plan.observed.path else { return };
    page.heading("What is known of this path; the strictest holds");
    for (who, lines) in [("Manual", manual), ("Measured", measured), ("This storage", storage)] {
        for (number, line) in lines.iter().enumerate() {
            page.entry(2, 16, if number == 0 { who } else { "" }, line);
        }
    }
}

fn ledgers(page: &mut Page, plan: &Plan) {
    if plan.observed.ledgers.is_empty() {
        return;
    }
    page.heading(&format!("Ledgers ({})", plan.observed.ledgers.len()));
    for survey in &plan.observed.ledgers {
        let migrations = if plan.binding.unknown_target {
            "its rehearsal tells what is migrated".to_owned()
        } else {
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
            }
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
        let name = format!("{number:>2}  {}", words::phase(stage.phase));
        let by_request = stage.phase == Phase::Migrate && binding.first_start;
        let doing = if by_request { words::FIRST_START } else { words::doing(stage.phase) };
        page.entry(2, 22, &name, doing);
        page.entry(2, 22, "", format_args!("on {}", whom(stage, binding)));
    }
}

/// All that is done with one wave, in one entry: it is the same for each.
fn moved(page: &mut Page, binding: &Binding, wave: u16, first: usize) {
    let stages: Vec<&Stage> = binding.stages.iter().filter(|stage| stage.wave == Some(wave)).collect();
    let rejoins = binding.strategy == Strategy::Rejoin;
    let name = match rejoins {
        true => format!("{first:>2}  Bring in"),
        false => format!("{first:>2}  Wave {}", u32::from(wave) + 1),
    };
    let doing: Vec<String> = stages.iter().map(|stage| words::phase(stage.phase).to_lowercase()).collect();
    page.entry(2, 22, &name, doing.join(", "));
    let members: Vec<String> =
        binding.waves.get(usize::from(wave)).into_iter().flatten().map(ToString::to_string).collect();
    let canary = if wave == 0 && !rejoins { ", the canary" } else { "" };
    page.entry(2, 22, "", format_args!("on {}{canary}; watched for {}", members.join(", "), binding.limits.bake));
}

/// On whom a stage works.
fn whom(stage: &Stage, binding: &Binding) -> String {
    let instances = || few("instance", binding.members.keys());
    let ledgers = || few("ledger", binding.ledgers.keys());
    let runner = format_args!("by agent {}", binding.runner).to_string();
    match stage.phase {
        Phase::Preflight | Phase::ConfirmDrained if binding.strategy == Strategy::Rejoin => instances(),
        Phase::Preflight | Phase::ConfirmDrained => format!("{}; the storage, {runner}", instances()),
        Phase::Stage | Phase::Drain | Phase::Switch | Phase::SwitchBack | Phase::Open | Phase::Reopen | Phase::Bake => {
            instances()
        }
        Phase::StartClosed | Phase::Verify => few("instance", binding.members.keys().take(1)),
        Phase::Rehearse => format!("a copy of the storage, {runner}"),
        Phase::Secure | Phase::Restore => format!("{}; the system store, {runner}", ledgers()),
        Phase::Migrate | Phase::Prove => format!("{}, {runner}", ledgers()),
    }
}

/// Some names, or how many there are: of a large fleet the head of the page lists every one, once.
fn few(kind: &str, names: impl ExactSizeIterator<Item = impl ToString>) -> String {
    let number = names.len();
    let list = |names: Vec<String>| names.join(", ");
    match number {
        1 => format!("{kind} {}", list(names.map(|name| name.to_string()).collect())),
        2..=4 => format!("{kind}s {}", list(names.map(|name| name.to_string()).collect())),
        _ => words::count(number as u64, kind, &format!("{kind}s")),
    }
}

fn next_step(page: &mut Page, plan: &Plan, next: &Next) {
    let digest = plan.digest();
    page.heading("Next");
    match plan.level() {
        Some(Level::Block) => {
            page.paragraph(2, "Do what is said under \"Blocks the upgrade\", then plan again:");
            page.command(4, &next.plan_again(&plan.binding));
        }
        Some(Level::Approve) => {
            if plan.findings(Level::Approve).next().is_some() {
                page.paragraph(2, "If you agree to everything under \"Needs approval\", each row listed included:");
            } else {
                page.paragraph(2, "Once you have seen to what the release notes ask:");
            }
            let mut approve = next.approve(digest);
            for id in plan.binding.questions.keys() {
                approve.push_str(&format!(" --answer '{id}=WHAT WAS SEEN TO'"));
            }
            page.command(4, &approve);
            if let Some(start) = next.start_after_approval(digest) {
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
    use cutover_vocabulary::plan::PreparationId;

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
    fn a_plan_shows_the_release_notes_with_what_is_asked_first_and_tells_how_to_answer() {
        let mut plan = sample::plan();
        plan.binding.questions.insert(PreparationId("health-route".to_owned()), "Which route is asked?".to_owned());
        let text = shown(&plan);
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part:?} in\n{text}"));
        assert!(at("health-route (measured): needs your answer") < at("redis-lock (measured): see several-writers"));
        assert!(
            at("unit-arguments (measured): nothing was found") < at("pg-trgm: does not apply, this storage is sqlite")
        );
        at("1.4.x from 1.0.0 on: with downtime");
        at("It can start once 1 finding is approved and 1 question is answered.");
        at("--answer 'health-route=WHAT WAS SEEN TO'");
    }

    /// What an operator has in front of them, word for word.
    #[test]
    fn a_blocked_plan_reads_like_this() {
        let text = shown(&sample::noticed());
        let begin = text.find("Blocks the upgrade").unwrap();
        let end = text.find("Release notes").unwrap();
        assert_eq!(&text[begin..end], NOTICED, "{text}");
        assert!(text.contains("\nIt cannot start: 2 findings block it.\n"), "{text}");
    }

    const NOTICED: &str = "\
Blocks the upgrade (2)
  - argument-unknown (this host)
    instances ledger-a, ledger-b
                      1.4.6 does not start with this instance's arguments:
                      unknown flag: --persist-config
    What to do        take these out of the service's arguments, if the present
                      version runs without them; plan again
    More              docs/findings/argument-unknown.md

Needs approval (1)
  - sqlite-first-metadata (measured)
    ledger main       the migration loses 1 metadata row(s): transaction 0 order
    What to do        approve exactly these rows (write them again afterwards
                      where they matter), or copy them elsewhere first
    More              docs/findings/sqlite-first-metadata.md

Good to know (1)
  - session-limits (this storage)
    storage           statement_timeout = 200 ms (set by: user); the commands of
                      Cutover run without these limits
    What to do        nothing for this upgrade; the ledger's commands run by
                      hand would end with `canceling statement`
    More              docs/findings/session-limits.md

";

    #[test]
    fn a_blocked_plan_says_what_blocks_first_and_offers_no_start() {
        let text = shown(&sample::blocked());
        let block = text.find("Blocks the upgrade (1)").unwrap();
        assert!(block < text.find("Good to know").unwrap_or(usize::MAX));
        assert!(!text.contains("cutover start"), "{text}");
        assert!(text.ends_with("    cutover plan prod --to 1.4.6\n"), "{text}");
    }

    #[test]
    fn a_plan_says_whether_it_can_start_before_it_says_why() {
        let second = |plan: &Plan| shown(plan).lines().nth(1).unwrap_or_default().to_owned();
        assert_eq!(second(&sample::plan()), "It can start once 1 finding is approved.");
        assert_eq!(second(&sample::blocked()), "It cannot start: 1 finding blocks it.");
        let mut clean = sample::plan();
        clean.binding.findings.clear();
        clean.observed.findings.clear();
        assert_eq!(second(&clean), "It can start.");
    }

    #[test]
    fn a_large_fleet_is_counted_in_the_stages_and_named_once() {
        let mut plan = sample::plan();
        let (_, member) = plan.binding.members.first_key_value().unwrap();
        let member = member.clone();
        let name = |n: u32| cutover_vocabulary::InstanceName::new(format!("ledger-{n:02}")).unwrap();
        plan.binding.members = (0..40).map(|n| (name(n), member.clone())).collect();
        let text = shown(&plan);
        assert_eq!(text.matches("ledger-39").count(), 1, "{text}");
        assert!(text.contains("on 40 instances; the storage, by agent host-a"), "{text}");
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
