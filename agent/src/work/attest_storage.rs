//! `AttestStorage`: nobody has the storage open, and this is in it.
//!
//! Looks only. A stop ends it at once. Half done means nothing was told.

use super::bench::Bench;
use super::place;
use super::trouble::Trouble;
use crate::machine;
use cutover_storage::sqlite::inventory::ProblemKind;
use cutover_vocabulary::outcome::StorageAttestation;
use cutover_vocabulary::storage::StorageIdentity;

pub(super) fn attest(bench: &Bench<'_>, storage: &StorageIdentity) -> Result<StorageAttestation, Trouble> {
    let place = place::ordered(bench.settings, &bench.order.deployment, storage)?;
    // Before the files are opened here: this process is the one opener that is accounted for.
    let quiet = place.sqlite.quiet(&[std::process::id()])?;
    let inventory = place.sqlite.inventory(&bench.scratch()?)?;
    let mut not_visible: Vec<String> = quiet
        .not_visible
        .iter()
        .filter(|unseen| unseen.could_reach && !bench.settings.unseen_users.contains(&unseen.uid))
        .map(ToString::to_string)
        .collect();
    for problem in &inventory.problems {
        match problem.kind {
            ProblemKind::Corrupt | ProblemKind::Unreadable => {
                not_visible.push(format!("{}: {}", problem.file, problem.reason));
            }
            // Known to the plan as skipped, and no ledger's data.
            ProblemKind::Skipped | ProblemKind::Empty | ProblemKind::Foreign | ProblemKind::NotAFile => {}
        }
    }
    Ok(StorageAttestation {
        storage: place.identity,
        ledgers: inventory.ledgers.iter().map(|ledger| ledger.name.clone()).collect(),
        migrations: inventory.ledgers.into_iter().map(|ledger| (ledger.name, ledger.migrations)).collect(),
        openers: quiet.openers,
        sessions: Vec::new(),
        not_visible,
        at: machine::now(),
    })
}
