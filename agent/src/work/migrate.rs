//! `Migrate`: `storage upgrade NAME` for one ledger.
//!
//! Looks before and after, and the look decides, not the command's word: a ledger that records the expected migrations is
//! migrated, whatever the command said; one that records what it did before is untouched, because each ledger migrates in one
//! transaction. A stop sends the command SIGTERM, which rolls that transaction back, and then tells what is true. Half done: a
//! hot journal or an uncommitted log, which the next opening rolls back; again does the migration.

use super::bench::Bench;
use super::place;
use super::trouble::Trouble;
use crate::ledger::cli::Upgraded;
use crate::machine;
use cutover_vocabulary::outcome::{Effect, FailureKind, Migrated};
use cutover_vocabulary::release::StagedRelease;
use cutover_vocabulary::storage::{Migrations, RecoveryItem, StorageIdentity};

/// What the order says.
pub(super) struct Ask<'a> {
    pub(super) target: &'a StagedRelease,
    pub(super) storage: &'a StorageIdentity,
    pub(super) expected: &'a Migrations,
    pub(super) mark: Option<&'a str>,
    pub(super) apart: bool,
    pub(super) serving: bool,
}

pub(super) async fn migrate(bench: &Bench<'_>, ask: Ask<'_>) -> Result<Migrated, Trouble> {
    let Ask { target, storage, expected, mark, apart, serving } = ask;
    let name = bench.ledger()?;
    // Reading the binary takes as long as all the looks, and waits for none of them.
    let checking = bench.check(target);
    let place = place::ordered(bench.settings, &bench.order.deployment, storage)?;
    let scratch = bench.scratch()?;
    let item = RecoveryItem::Ledger(name.clone());
    let lock = place::apart(|| place.storage.lock(Some(&item), &bench.order.id.to_string()))?;
    place::apart(|| place.quiet(Some(&item), serving))?;
    let begun = machine::uptime();
    let look = || place::apart(|| place.storage.migrations(name, &scratch)).map_err(Trouble::from);
    let before = look()?;
    if before == *expected {
        return Ok(Migrated { changed: false, migrations: before, took: machine::uptime().since(begun) });
    }
    let cli = bench.cli(target, checking.await?, &place)?;
    bench.unless_stopped(&format!("`storage upgrade` of ledger {name}"))?;
    let stop = || bench.stop();
    let listed = cli.list(&stop).await?;
    if apart {
        place::apart(|| place.storage.stagger())?;
    }
    // Whoever wrote since has clients who were told that it is there; what was kept does not hold it.
    let now = place::apart(|| place.storage.mark(name, &scratch))?;
    if mark.is_some_and(|mark| mark != now) {
        return Err(Trouble::refused(
            format!(
                "ledger {name} was written to since its recovery point was taken: {}, now {now}",
                mark.unwrap_or_default()
            ),
            "find out who wrote (an instance that was started by hand?) and end it; a retry takes new recovery points",
        ));
    }
    if !place::apart(|| lock.is_held()) {
        return Err(Trouble::new(
            FailureKind::Transient,
            format!("the lock on ledger {name} was lost before its migration began"),
            "see to the database's connections, then try again",
        ));
    }
    let said = cli.upgrade(name, &listed, &stop).await;
    let took = machine::uptime().since(begun);
    if said.is_err() {
        // A server goes on with the statement of a client that is gone; what is true is told only once that has ended.
        place::apart(|| place.quiet(Some(&item), serving)).map_err(|error| {
            Trouble::from(error)
                .while_trying(format_args!("waiting for the migration of ledger {name} to end"))
                .effect(Effect::Unknown)
        })?;
    }
    let after = look().map_err(|trouble| {
        trouble.while_trying(format_args!("looking at ledger {name} after its migration")).effect(Effect::Unknown)
    })?;
    if after == *expected {
        // Its tables are new: without statistics the first requests would be planned blindly.
        place::apart(|| place.storage.analyse(name)).map_err(|error| Trouble::from(error).effect(Effect::Unknown))?;
        return Ok(Migrated { changed: true, migrations: after, took });
    }
    let effect = if after == before { Effect::None } else { Effect::Unknown };
    Err(match said {
        Err(error) => Trouble::from(error).while_trying(format_args!("migrating ledger {name}")).effect(effect),
        Ok(Upgraded::Migrated | Upgraded::LeftInPlace) => Trouble::new(
            FailureKind::Failed,
            format!(
                "`storage upgrade` of ledger {name} ended well, but the ledger records migrations {}, expected were {}",
                shown(&after),
                shown(expected)
            ),
            "the command may have worked on another storage, or the release is not what its version says; restore, then look",
        )
        .effect(effect),
    })
}

fn shown(migrations: &Migrations) -> String {
    match &migrations.0 {
        None => "none at all".to_owned(),
        Some(numbers) => numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(" "),
    }
}
