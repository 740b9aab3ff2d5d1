//! Where an upgrade stands.

use super::hold;
use super::ink::Ink;
use super::next::Next;
use super::page::Page;
use super::stages;
use super::words;
use cutover_proto::v1::{Leader, UpgradeSummary};
use cutover_vocabulary::Elapsed;
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::plan::Strategy;
use cutover_vocabulary::status::{LedgerStatus, Said, State, Status};

/// The whole page.
pub fn page(status: &Status, next: &Next, ink: Ink) -> String {
    let mut page = Page::new(ink);
    head(&mut page, status);
    stages::write(&mut page, status);
    instances(&mut page, status);
    ledgers(&mut page, status);
    closing(&mut page, status, next);
    page.finish()
}

/// The state with the colour that it deserves.
pub fn state(state: State, ink: Ink) -> String {
    let word = state.to_string();
    match state {
        State::Completed | State::Rehearsed => ink.good(&word),
        State::Held | State::Paused => ink.heed(&word),
        State::GoingBack | State::Aborted | State::RolledBack | State::TakenOver => ink.stop(&word),
        State::Running => ink.strong(&word),
    }
}

fn head(page: &mut Page, status: &Status) {
    let title = format!(
        "Upgrade {} of {} from {} to {}: {}",
        status.id,
        status.deployment,
        status.from,
        status.target,
        state(status.state, page.ink)
    );
    page.raw(&title);
    let by = status.started.1.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    page.entry(2, 11, "How", words::strategy(status.strategy, status.instances.len()));
    page.entry(2, 11, "Plan", status.plan.0.short());
    if let Some(runner) = &status.runner {
        page.entry(2, 11, "Runner", format_args!("agent {runner}, which alone works on the storage"));
    }
    page.entry(2, 11, "Started", format_args!("{}{by}", words::moment(status.started.0)));
    if let Some(ended) = status.ended {
        let by_hand = status.end.as_ref().map_or_else(|| words::moment(ended), said);
        page.entry(2, 11, "Ended", by_hand);
    }
    if let Some(downtime) = status.downtime {
        let over = status.ended.is_some() || status.instances.iter().any(|instance| instance.up.is_some());
        let text = if over { "in all" } else { "so far; it began with the first drain" };
        page.entry(2, 11, "Downtime", format_args!("{downtime} {text}"));
    }
    if let Some(waiting) = &status.waiting_for {
        page.entry(2, 11, "Waits for", waiting);
    }
    if status.paused {
        let who = status.pause.as_ref().map_or_else(|| "yes".to_owned(), said);
        let held = match status.state {
            State::Held => ": once the hold is decided it stays where it is until it is resumed",
            State::Running
            | State::Paused
            | State::GoingBack
            | State::Completed
            | State::Aborted
            | State::RolledBack
            | State::TakenOver
            | State::Rehearsed => "",
        };
        page.entry(2, 11, "Paused", format_args!("{who}{held}"));
    }
    if let Some(closed) = status.closed {
        let who = status.close.as_ref().map_or_else(|| words::moment(closed), said);
        page.entry(2, 11, "Closed", format_args!("{who}; its recovery points are not needed any more"));
    }
    if let Some(why) = &status.turned_back {
        page.entry(2, 11, "Went back", why);
    }
}

/// When, who, and why in their words.
fn said(said: &Said) -> String {
    let why = if said.reason.is_empty() { String::new() } else { format!(": {}", said.reason) };
    format!("{} by {}{why}", words::moment(said.at), said.by)
}

fn instances(page: &mut Page, status: &Status) {
    page.heading("Instances");
    for instance in &status.instances {
        // Who is let in is not down any more, so whatever was seen of a stop came after that.
        let text = match (instance.down, instance.stopping, &instance.up) {
            (Some(at), _, _) => format!("down since {}", words::moment(at)),
            (None, Some(at), _) => format!("told to stop at {}; nothing has proved it down", words::moment(at)),
            (None, None, Some((at, version))) => format!("answers with {version} since {}", words::moment(*at)),
            (None, None, None) => "not touched".to_owned(),
        };
        page.entry(2, 16, instance.name.as_str(), format_args!("{text} (agent {})", instance.agent));
    }
}

fn ledgers(page: &mut Page, status: &Status) {
    page.heading("Ledgers");
    for ledger in &status.ledgers {
        page.entry(2, 16, ledger.name.as_str(), came_of(ledger, status));
    }
}

/// What became of a ledger. On the way back, what was done on the way forward says nothing of what it holds now.
fn came_of(ledger: &LedgerStatus, status: &Status) -> String {
    let size = ledger.point.as_ref().map(|point| words::bytes(point.bytes));
    if ledger.restored {
        return match size {
            Some(size) => format!("restored: it holds what its recovery point holds ({size})"),
            None => "restored".to_owned(),
        };
    }
    let mut said = vec![match size {
        Some(size) => format!("recovery point proved ({size})"),
        None => "no recovery point yet".to_owned(),
    }];
    match (status.state, status.strategy) {
        (_, Strategy::Rejoin) => return "not touched by a rejoin".to_owned(),
        (State::Aborted | State::Rehearsed, _) | (State::RolledBack, Strategy::Downtime) => {
            return "not changed by this upgrade".to_owned();
        }
        (State::RolledBack, Strategy::Rolling) if ledger.migrated.is_none() => {
            return "not changed by this upgrade".to_owned();
        }
        (State::RolledBack, Strategy::Rolling) => {
            said.push("stays migrated: the former version goes on with it".to_owned())
        }
        (
            State::Running | State::Paused | State::Held | State::GoingBack | State::Completed | State::TakenOver,
            Strategy::Downtime | Strategy::Rolling,
        ) => {}
    }
    if let Some(took) = ledger.migrated {
        said.push(format!("migrated in {took}"));
    } else if let Some(so_far) = ledger.migrating {
        said.push(progress(so_far, ledger.rehearsed));
    }
    if ledger.after.is_some() {
        said.push(match ledger.lost.count {
            0 => "proved: nothing lost".to_owned(),
            lost => format!("proved: {} lost", words::count(lost, "approved row", "approved rows")),
        });
    }
    if status.turned_back.is_some()
        && status.strategy == Strategy::Downtime
        && status.ended.is_none()
        && ledger.migrated.is_some()
    {
        said.push("not restored yet".to_owned());
    }
    said.join("; ")
}

/// How far a migration may be. PostgreSQL locks what it changes to the end, so nothing but time can be measured.
fn progress(so_far: Elapsed, rehearsed: Option<Elapsed>) -> String {
    match rehearsed {
        Some(whole) if so_far < whole => {
            let percent = so_far.as_millis() * 100 / whole.as_millis().max(1);
            format!("migrating for {so_far}; its rehearsal took {whole}, so about {percent} %")
        }
        Some(whole) => format!("migrating for {so_far}; longer than its rehearsal, which took {whole}"),
        None => format!("migrating for {so_far}"),
    }
}

fn closing(page: &mut Page, status: &Status, next: &Next) {
    holds(page, status, next);
    if status.state == State::Held {
        return;
    }
    page.heading("Next");
    match status.state {
        State::Running | State::GoingBack => page.command(4, &next.watch(&status.id)),
        State::Paused => page.command(4, &next.resume(&status.id)),
        State::Held => {}
        State::Completed => {
            recovery_points(page, status);
            match status.closed {
                None => {
                    page.paragraph(2, "Once the recovery points are not needed any more:");
                    page.command(4, &next.close(&status.id));
                }
                Some(_) => page
                    .paragraph(2, "Nothing. Cutover removes no recovery point: remove them where you want the room."),
            }
        }
        State::Rehearsed => {
            page.paragraph(2, "Plan the upgrade itself:");
            page.command(4, &next.plan(&status.deployment, &status.target));
        }
        State::Aborted | State::RolledBack | State::TakenOver => {
            page.paragraph(2, "See what happened, then plan again:");
            let (facts, plan) = (next.facts(&status.id), next.plan(&status.deployment, &status.target));
            page.command(4, &facts);
            if facts != plan {
                page.command(4, &plan);
            }
        }
    }
}

/// What a person must decide, with the commands; nothing where nothing is held.
pub fn holds(page: &mut Page, status: &Status, next: &Next) {
    for hold in &status.holds {
        hold::write(page, &status.id, hold, next);
    }
    if status.state == State::Held {
        page.heading("Next");
        if status.holds.iter().any(|hold| matches!(hold.reason, HoldReason::TakenOver { .. })) {
            page.paragraph(
                2,
                "Nothing else is decided here. Once the person on the host is done, end it with what became of it:",
            );
            page.command(4, &next.close_by_hand(&status.id));
            return;
        }
        page.paragraph(2, "Choose one of the commands above.");
        if status.paused {
            page.paragraph(2, "It is paused as well: after that it goes on only with");
            page.command(4, &next.resume(&status.id));
        }
    }
}

/// Where the recovery points lie.
pub fn recovery_points(page: &mut Page, status: &Status) {
    let points = status.ledgers.iter().filter_map(|ledger| ledger.point.as_ref()).chain(&status.system);
    for point in points {
        page.paragraph(2, format_args!("recovery point of {}:", point.item));
        match point.sha256 {
            Some(sha256) => {
                page.command(4, &point.place);
                page.paragraph(4, format_args!("SHA-256 {sha256}"));
            }
            None => page.paragraph(4, "it did not exist before the upgrade"),
        }
    }
}

/// All upgrades, one line each.
pub fn list(upgrades: &[UpgradeSummary], ink: Ink) -> String {
    let mut page = Page::new(ink);
    if upgrades.is_empty() {
        page.paragraph(0, "There has been no upgrade yet. Plan one: cutover plan DEPLOYMENT --to VERSION");
    }
    for upgrade in upgrades {
        let state =
            cutover_proto::v1::State::try_from(upgrade.state).ok().and_then(|state| State::try_from(state).ok());
        let word = state.map_or_else(|| "unknown".to_owned(), |state| state.to_string());
        let waits =
            if upgrade.waiting_for.is_empty() { String::new() } else { format!("; waits for {}", upgrade.waiting_for) };
        let text = format!("{} {} -> {}: {word}{waits}", upgrade.deployment, upgrade.from, upgrade.target);
        page.entry(0, 22, &upgrade.id, text);
    }
    page.finish()
}

/// Who leads and who follows, below what the leader said.
pub fn led_by(leader: &Leader, ink: Ink) -> String {
    let mut page = Page::new(ink);
    if let Some(name) = &leader.name {
        page.raw("");
        page.paragraph(0, format_args!("Coordinator {name} leads (epoch {}).", leader.epoch));
    }
    coordinators(&mut page, leader);
    page.finish()
}

/// Who is there, where there are several; and a leader that is not: it may have died, or its name is another one's.
pub(super) fn coordinators(page: &mut Page, leader: &Leader) {
    if leader.coordinators.len() < 2 {
        return;
    }
    for one in &leader.coordinators {
        let what = if one.leads { format!("leads (epoch {})", leader.epoch) } else { "follows".to_owned() };
        let at = one.address.as_deref().map(|address| format!(", at {address}")).unwrap_or_default();
        page.entry(2, 16, &one.name, format_args!("{what}{at}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::{WIDTH, columns};
    use super::super::sample;
    use super::*;
    use cutover_vocabulary::{OperatorName, Version};

    #[test]
    fn a_status_shows_state_stages_holds_and_the_next_command() {
        let text = page(&sample::held(), &Next::at(None), Ink::PLAIN);
        for line in [
            "Upgrade u-1 of prod from 1.3.1 to 1.4.6: held",
            "   0  Preflight         done in 1.0 s, 1 of 1 steps",
            ">  1  Migrate           since 14:03:08, 1 of 2 steps",
            "    cutover decide u-1 3 rollback --reason 'WHY'",
        ] {
            assert!(text.contains(line), "{line:?} in\n{text}");
        }
        for line in text.lines().filter(|line| !line.contains("cutover ")) {
            assert!(columns(line) <= WIDTH, "{line:?}");
        }
    }

    #[test]
    fn a_ledger_that_migrates_shows_how_long_it_took_on_the_copy_and_that_this_is_an_estimate() {
        let mut status = sample::held();
        status.ledgers[0].migrated = None;
        status.ledgers[0].rehearsed = Some(Elapsed::from_secs(200));
        for (so_far, line) in [
            (50, "migrating for 50.0 s; its rehearsal took 3 min 20 s, so about 25 %"),
            (250, "longer than its rehearsal, which took 3 min 20 s"),
        ] {
            status.ledgers[0].migrating = Some(Elapsed::from_secs(so_far));
            let text = page(&status, &Next::at(None), Ink::PLAIN);
            let flowed = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(flowed.contains(line), "{line:?} in\n{text}");
        }
    }

    #[test]
    fn a_held_upgrade_that_is_paused_says_that_a_decision_is_not_enough() {
        let mut status = sample::held();
        status.paused = true;
        let text = page(&status, &Next::at(None), Ink::PLAIN);
        assert!(text.contains("  Paused     yes: once the hold is decided it stays"), "{text}");
        assert!(text.ends_with("goes on only with\n    cutover resume u-1\n"), "{text}");
    }

    /// A page as one line, so that a sentence is found however it was wrapped.
    fn flowed(status: &Status) -> String {
        page(status, &Next::at(None), Ink::PLAIN).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn who_paused_closed_or_ended_it_and_why_is_said() {
        let said = |reason: &str| {
            Some(Said { at: sample::at(5), by: OperatorName::new("ada").unwrap(), reason: reason.to_owned() })
        };
        let mut status = sample::held();
        (status.paused, status.pause) = (true, said("the DBA is called"));
        assert!(flowed(&status).contains("Paused 2026-11-23 14:03:12Z by ada: the DBA is called: once the hold"));
        let mut status = sample::completed();
        (status.closed, status.close) = (status.ended, said("a week went well"));
        assert!(flowed(&status).contains("by ada: a week went well; its recovery points are not needed"));
        (status.state, status.end) = (State::TakenOver, said("restored by hand"));
        assert!(flowed(&status).contains("Ended 2026-11-23 14:03:12Z by ada: restored by hand"));
    }

    #[test]
    fn the_runner_and_the_downtime_so_far_and_in_all_are_named() {
        let text = flowed(&sample::held());
        assert!(text.contains("Runner agent host-a, which alone works on the storage"), "{text}");
        assert!(text.contains("Downtime 2.0 s so far"), "{text}");
        let text = flowed(&sample::completed());
        assert!(text.contains("Downtime 2.0 s in all"), "{text}");
    }

    #[test]
    fn an_instance_that_was_told_to_stop_is_not_said_to_be_untouched() {
        let mut status = sample::held();
        (status.instances[0].down, status.instances[0].stopping) = (None, Some(sample::at(1)));
        let text = flowed(&status);
        assert!(text.contains("told to stop at 2026-11-23 14:03:08Z; nothing has proved it down"), "{text}");
        assert!(!text.contains("not touched"), "{text}");
        // A roll that goes back stops what was let in before.
        status.instances[0].up = Some((sample::at(0), Version::new(1, 4, 6)));
        (status.instances[0].down, status.instances[0].stopping) = (Some(sample::at(2)), None);
        assert!(flowed(&status).contains("down since 2026-11-23 14:03:09Z"));
    }

    #[test]
    fn after_going_back_a_ledger_says_what_it_holds_now() {
        let mut status = sample::completed();
        status.state = State::RolledBack;
        status.ledgers[0].restored = true;
        let text = flowed(&status);
        assert!(text.contains("main restored: it holds what its recovery point holds (65 kB)"), "{text}");
        assert!(!text.contains("migrated in") && !text.contains("proved: "), "{text}");
        status.ledgers[0].restored = false;
        assert!(flowed(&status).contains("main not changed by this upgrade"));
        status.strategy = Strategy::Rolling;
        assert!(flowed(&status).contains("stays migrated: the former version goes on with it"));
        (status.state, status.ended) = (State::GoingBack, None);
        (status.strategy, status.turned_back) = (Strategy::Downtime, Some("no".to_owned()));
        assert!(
            flowed(&status).contains("migrated in 900 ms; proved: 3 approved rows lost; not restored yet"),
            "{}",
            flowed(&status)
        );
    }

    #[test]
    fn a_closed_upgrade_says_so_and_asks_for_nothing_more() {
        let mut status = sample::completed();
        status.closed = status.ended;
        let text = page(&status, &Next::at(None), Ink::PLAIN);
        assert!(text.contains("  Closed     2026-11-23 14:03:10Z"), "{text}");
        assert!(!text.contains("cutover close"), "{text}");
    }

    #[test]
    fn nothing_of_an_ended_upgrade_looks_as_if_it_ran() {
        let mut status = sample::completed();
        (status.state, status.stages[1].left) = (State::RolledBack, None);
        let mut ahead = status.stages[0].clone();
        (ahead.entered, ahead.left, ahead.number) = (None, None, 2);
        status.stages.push(ahead);
        let text = page(&status, &Next::at(None), Ink::PLAIN);
        assert!(text.contains("   1  Migrate           not finished: 1 of 2 steps"), "{text}");
        assert!(text.contains("   2  Preflight         not reached"), "{text}");
        assert!(!text.contains("since 14:03:08,") && !text.contains("ahead"), "{text}");
    }

    #[test]
    fn a_completed_upgrade_says_where_the_recovery_points_are() {
        let text = page(&sample::completed(), &Next::at(None), Ink::PLAIN);
        assert!(text.contains("/var/lib/cutover/recovery/main.db"), "{text}");
        assert!(text.ends_with("    cutover close u-1\n"), "{text}");
    }
}
