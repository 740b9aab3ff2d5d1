//! The summary as a person reads it.

use super::Summary;
use crate::args::StorageWord;
use crate::render::ink::Ink;
use crate::render::losses::{self, Rows};
use crate::render::page::Page;
use crate::render::status as pages;
use crate::render::words::{self, quoted};
use crate::sandbox::hosts::Host;
use crate::sandbox::place::Sandbox;
use cutover_vocabulary::plan::Strategy;
use cutover_vocabulary::status::State;
use cutover_vocabulary::storage::{RecoveryItem, RecoveryPoint};
use cutover_vocabulary::{Digest, Elapsed};
use std::path::Path;

impl Summary {
    /// For people.
    pub(in crate::sandbox) fn page(&self, sandbox: &Sandbox, ink: Ink) -> String {
        let mut page = Page::new(ink);
        let title = format!("Summary: the upgrade is {}", pages::state(self.status.state, ink));
        page.raw(&title);
        let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "does not answer".to_owned());
        page.entry(2, 11, "Storage", &self.storage);
        for (number, instance) in self.instances.iter().enumerate() {
            let (before, after) = (version(&instance.before), version(&instance.after));
            let text = format!("{}: {before} before, {after} now, asked over HTTP", instance.name);
            page.entry(2, 11, if number == 0 { "Instances" } else { "" }, text);
        }
        self.writes(&mut page);
        self.downtime(&mut page);
        self.digests(&mut page);
        self.lost(&mut page);
        if self.status.ledgers.iter().any(|ledger| ledger.point.is_some()) {
            self.recovery(&mut page, sandbox);
        }
        self.next(&mut page, sandbox);
        page.finish()
    }

    fn writes(&self, page: &mut Page) {
        let Some(tally) = &self.writes else {
            page.entry(2, 11, "Writes", "could not be looked up, because no instance answers");
            return;
        };
        let text = format!(
            "{} acknowledged, {} without an answer ({} of these exist), {} refused, {} turned away while no instance was in \
             rotation",
            words::grouped(tally.acknowledged),
            words::grouped(tally.unanswered),
            words::grouped(tally.unanswered_but_there),
            words::grouped(tally.refused),
            words::grouped(tally.turned_away)
        );
        page.entry(2, 11, "Writes", text);
        if tally.lock_conflicts > 0 {
            let text = format!(
                "{} more answers were 409 and the write was tried again: without a common lock instances refuse each other's \
                 parallel writes, upgrade or not",
                words::grouped(tally.lock_conflicts)
            );
            page.entry(2, 11, "", text);
        }
        if tally.right() {
            page.entry(2, 11, "", "every acknowledged write exists exactly once");
        } else {
            let wrong = format!("{} acknowledged missing, {} doubled", tally.missing.len(), tally.doubled.len());
            let wrong = page.ink.stop(&format!("             WRONG: {wrong}"));
            page.raw(&wrong);
            for reference in tally.missing.iter().chain(&tally.doubled).take(20) {
                page.item(13, reference);
            }
        }
    }

    fn downtime(&self, page: &mut Page) {
        if self.critical_path.is_empty() {
            page.entry(2, 11, "Downtime", "none: no instance was stopped");
            return;
        }
        let sum = self.critical_path.iter().fold(Elapsed(0), |sum, (_, took)| sum.plus(*took));
        let seen = match self.downtime {
            Some(downtime) if self.status.state == State::Completed => {
                format!("{downtime} as the clients saw it; its critical path is {sum}:")
            }
            Some(downtime) => {
                format!("{downtime} as the clients saw it; the stages that came to their end in it took {sum}:")
            }
            // No gap had a failure in it: nobody waited for a wave.
            None if self.status.strategy == Strategy::Rolling => {
                page.entry(
                    2,
                    11,
                    "Downtime",
                    "none: one instance after the other was moved, and no client was turned away",
                );
                return;
            }
            None if self.version_after.is_none() => format!("not over yet; its critical path so far is {sum}:"),
            None => format!("not measured, because the sandbox was stopped meanwhile; its critical path is {sum}:"),
        };
        page.entry(2, 11, "Downtime", seen);
        for (phase, took) in &self.critical_path {
            page.entry(13, 18, words::phase(*phase), took);
        }
        if let Some(downtime) = self.status.downtime {
            page.entry(2, 11, "", format_args!("{downtime} as the coordinator counts it, from the first drain on"));
        }
    }

    fn digests(&self, page: &mut Page) {
        if self.ledgers.iter().all(|ledger| ledger.before.is_none()) {
            return;
        }
        page.heading("Digests");
        let rolled = self.status.strategy == Strategy::Rolling;
        let short = |digest: Option<Digest>| digest.map_or_else(|| "none".to_owned(), |digest| digest.short());
        for ledger in &self.ledgers {
            let restored = self.status.ledgers.iter().any(|status| status.name == ledger.name && status.restored);
            let went_back = match self.status.state {
                State::Aborted | State::RolledBack | State::Rehearsed => true,
                State::Running
                | State::Paused
                | State::Held
                | State::GoingBack
                | State::Completed
                | State::TakenOver => false,
            };
            let migrated =
                self.status.ledgers.iter().any(|status| status.name == ledger.name && status.migrated.is_some());
            if restored || went_back {
                let what = match (restored, rolled && migrated) {
                    (true, _) => "restored to this, and compared",
                    (false, true) => "stays migrated, with what clients wrote since",
                    (false, false) => "was not changed",
                };
                page.entry(2, 11, ledger.name.as_str(), format_args!("{} before: {what}", short(ledger.before)));
                continue;
            }
            let verdict = match (ledger.before, ledger.expected, ledger.after) {
                (_, _, None) => "not proved",
                (Some(before), _, Some(after)) if before == after => "the same",
                (_, Some(expected), Some(after)) if expected == after => "differs by exactly the rows listed below",
                (_, _, Some(_)) if rolled => "clients wrote meanwhile, so it was compared row by row",
                (_, _, Some(_)) => "DIFFERS in another way than was approved",
            };
            let text = format!("{} before, {} after: {verdict}", short(ledger.before), short(ledger.after));
            page.entry(2, 11, ledger.name.as_str(), text);
        }
    }

    fn lost(&self, page: &mut Page) {
        let total: u64 = self.status.ledgers.iter().map(|ledger| ledger.lost.count).sum();
        if total == 0 {
            page.heading(match self.status.state {
                State::Running | State::Paused | State::Held | State::GoingBack => {
                    "Whether the migration lost anything is not known before it is proved."
                }
                State::Completed | State::Aborted | State::RolledBack | State::Rehearsed => "No row was lost.",
                State::TakenOver => "What became of the rows, whoever took it over knows.",
            });
            return;
        }
        page.heading(&format!("The migration lost {}", words::count(total, "row", "rows")));
        if let Some(approval) = &self.approval {
            let text = format!("by {} at {}: {}", approval.by, words::moment(approval.at), approval.reason);
            page.entry(2, 11, "Approved", text);
        }
        for ledger in self.status.ledgers.iter().filter(|ledger| ledger.lost.count > 0) {
            losses::ledger(page, 2, &ledger.name, &ledger.lost, Rows::Listed);
        }
    }

    fn recovery(&self, page: &mut Page, sandbox: &Sandbox) {
        page.heading("Recovery points");
        pages::recovery_points(page, &self.status);
        page.gap();
        if !self.kept {
            page.paragraph(2, "They are removed with the sandbox now; --keep keeps both.");
            return;
        }
        match self.status.state {
            State::Aborted | State::RolledBack | State::Rehearsed => return,
            State::Running | State::Paused | State::Held | State::GoingBack | State::Completed | State::TakenOver => {}
        }
        match sandbox.state.storage {
            StorageWord::Sqlite => self.restore_by_hand(page, sandbox),
            StorageWord::Postgres => {
                page.paragraph(
                    2,
                    "To restore one by hand, while the server runs and no instance does (what was written since is lost): \
                     drop the ledger's schema with CASCADE, then `pg_restore` the file into the database.",
                );
            }
        }
    }

    fn restore_by_hand(&self, page: &mut Page, sandbox: &Sandbox) {
        let Some(data) = sandbox.hosts.first().map(Host::data) else { return };
        page.paragraph(2, "To restore by hand, while no instance runs, and then start the former version (what was written since is lost):");
        let points = self.status.ledgers.iter().filter_map(|ledger| ledger.point.as_ref());
        for point in points.chain(&self.status.system) {
            for command in restore(point, &data) {
                page.command(4, &command);
            }
        }
    }

    fn next(&self, page: &mut Page, sandbox: &Sandbox) {
        page.heading("Next");
        if !self.kept {
            page.paragraph(
                2,
                "The sandbox and its processes are removed now. Look closer with --keep, or try real releases:",
            );
            page.command(4, &format!("{} sandbox --yes --keep --releases DIR", crate::program()));
            return;
        }
        match self.status.state {
            State::Running | State::Paused | State::Held | State::GoingBack => {
                page.paragraph(2, "Go on with it:");
                page.command(4, &sandbox.resume());
            }
            State::Completed | State::Aborted | State::RolledBack | State::TakenOver | State::Rehearsed => {}
        }
        page.paragraph(2, "The sandbox stays, without its processes. Its log, and how to remove it:");
        page.command(4, &sandbox.log().display().to_string());
        page.command(4, &sandbox.clean());
    }
}

/// The commands that put one recovery point back.
fn restore(point: &RecoveryPoint, data: &Path) -> Vec<String> {
    let file = match &point.item {
        RecoveryItem::Ledger(name) => data.join(format!("numary_{}.db", name.as_str())),
        RecoveryItem::System => data.join("numary__system.db"),
    };
    let file = quoted(&file.display().to_string());
    let remove = format!("rm -f {file} {file}-wal {file}-shm {file}-journal");
    match point.sha256 {
        Some(_) => vec![remove, format!("cp {} {file}", quoted(&point.place))],
        None => vec![remove],
    }
}
