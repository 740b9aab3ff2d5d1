//! A hold: why, since when, what each choice costs, and the exact commands.

use super::next::Next;
use super::page::Page;
use super::words;
use cutover_vocabulary::hold::{Hold, HoldReason};
use cutover_vocabulary::name::shown;
use cutover_vocabulary::storage::{Difference, StorageIdentity, StorageSession};
use cutover_vocabulary::{Failure, UpgradeId};

/// How many lines of evidence a hold shows; `status --json` has all.
const EVIDENCE: usize = 20;

/// Writes one hold.
pub fn write(page: &mut Page, upgrade: &UpgradeId, hold: &Hold, next: &Next) {
    page.gap();
    let heading = page.ink.heed(&format!("Hold {} in {}: a person must decide", hold.id, words::phase(hold.phase)));
    page.raw(&heading);
    page.entry(2, 8, "Why", summary(&hold.reason));
    evidence(page, &hold.reason);
    page.entry(2, 8, "Since", words::moment(hold.since));
    for offer in &hold.choices {
        page.gap();
        page.entry(2, 10, offer.choice.word(), &offer.cost);
        page.command(4, &next.decide(upgrade, hold.id, offer.choice));
    }
}

/// The sentence that the API has for a reason.
pub fn summary(reason: &HoldReason) -> String {
    cutover_proto::v1::HoldReason::from(reason.clone()).text
}

/// What can be read beyond the sentence.
fn evidence(page: &mut Page, reason: &HoldReason) {
    match reason {
        HoldReason::StepFailed { failure, .. } | HoldReason::UncleanStop { failure, .. } => failed(page, failure),
        HoldReason::Strangers { openers, not_visible, sessions, storage } => {
            let seen = openers.iter().map(|opener| {
                format!("{} (pid {}) has {} open", shown(&opener.command), opener.pid, shown(&opener.file))
            });
            listed(page, seen.chain(not_visible.iter().map(|what| format!("not visible: {}", shown(what)))));
            ends(page, sessions, storage.as_ref());
        }
        HoldReason::PlanDrifted { changes } => listed(page, changes.iter().map(|change| shown(change).to_string())),
        HoldReason::OtherStorage { planned, found } => {
            listed(page, [format!("planned: {planned}"), format!("found: {found}")]);
        }
        HoldReason::LedgersChanged { appeared, vanished } => {
            let appeared = appeared.iter().map(|name| format!("appeared: {name}"));
            listed(page, appeared.chain(vanished.iter().map(|name| format!("vanished: {name}"))));
        }
        HoldReason::UnexplainedDifferences { differences, count, .. } => {
            listed(page, differences.iter().map(difference));
            if *count > differences.len() as u64 {
                page.paragraph(10, format_args!("{} in all", words::grouped(*count)));
            }
        }
        HoldReason::Inconsistent { what, .. } => listed(page, what.iter().map(|what| shown(what).to_string())),
        HoldReason::AgentLost { orders, .. } => listed(page, orders.iter().map(|order| format!("unsettled: {order}"))),
        HoldReason::LossesChanged { .. }
        | HoldReason::Overdue { .. }
        | HoldReason::ProofVoided { .. }
        | HoldReason::InstanceAppeared { .. }
        | HoldReason::TakenOver { .. } => {}
    }
}

/// Each session with the statement that ends it.
fn ends(page: &mut Page, sessions: &[StorageSession], storage: Option<&StorageIdentity>) {
    for session in sessions.iter().take(EVIDENCE) {
        page.item(10, session);
        page.command(12, &session.ending());
    }
    if sessions.len() > EVIDENCE {
        page.paragraph(10, format_args!("and {} more", sessions.len() - EVIDENCE));
    }
    if sessions.is_empty() {
        return;
    }
    let place = match storage {
        Some(StorageIdentity::Postgres { database, .. }) => format!("database {}", shown(database)),
        Some(StorageIdentity::Sqlite { .. }) | None => "the ledgers' database".to_owned(),
    };
    let text = format_args!(
        "find out whose it is, and have it ended there; where nobody needs it, run its statement in psql on {place} as its own \
         role, as a member of pg_signal_backend or as a superuser; what it has not committed is lost"
    )
    .to_string();
    page.entry(2, 8, "To do", text);
}

fn failed(page: &mut Page, failure: &Failure) {
    if !failure.remedy.is_empty() {
        page.entry(2, 8, "To do", &failure.remedy);
    }
}

fn difference(difference: &Difference) -> String {
    let side =
        |side: &Option<String>| side.as_deref().map_or_else(|| "nothing".to_owned(), |text| shown(text).to_string());
    format!(
        "{}: {} was {}, is {}",
        section(difference),
        shown(&difference.row),
        side(&difference.before),
        side(&difference.after)
    )
}

fn section(difference: &Difference) -> &'static str {
    use cutover_vocabulary::storage::Section;
    match difference.section {
        Section::Transactions => "transactions",
        Section::Postings => "postings",
        Section::Balances => "balances",
        Section::TransactionMetadata => "transaction metadata",
        Section::AccountMetadata => "account metadata",
    }
}

fn listed(page: &mut Page, lines: impl IntoIterator<Item = String>) {
    let lines: Vec<String> = lines.into_iter().collect();
    for line in lines.iter().take(EVIDENCE) {
        page.item(10, line);
    }
    if lines.len() > EVIDENCE {
        page.paragraph(10, format_args!("and {} more", lines.len() - EVIDENCE));
    }
}

#[cfg(test)]
mod tests {
    use super::super::ink::Ink;
    use super::super::sample;
    use super::*;

    #[test]
    fn a_hold_says_why_since_when_what_each_choice_costs_and_what_to_type() {
        let mut page = Page::new(Ink::PLAIN);
        write(&mut page, &UpgradeId::new("u-1").unwrap(), &sample::hold(), &Next::at(Some("unix:/tmp/c.sock")));
        let text = page.finish();
        for line in [
            "Hold 3 in Migrate: a person must decide",
            "  Since   2026-11-23 14:03:07Z",
            "  retry     try again, beginning with a fresh look",
            "    cutover --coordinator unix:/tmp/c.sock decide u-1 3 retry --reason 'WHY'",
            "    cutover --coordinator unix:/tmp/c.sock decide u-1 3 rollback --reason 'WHY'",
        ] {
            assert!(text.contains(line), "{line:?} in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
