//! `Migrate`: `storage upgrade NAME` for one ledger; with a target that has no such command, its first request
//! ([`super::first_start`]).
//!
//! Looks before and after, and the look decides, not the command's word: a ledger that records the expected migrations is
//! migrated, whatever the command said; one that records what it did before is untouched, because each ledger migrates in one
//! transaction. A stop sends the command SIGTERM, which rolls that transaction back, and then tells what is true. Half done: a
//! hot journal or an uncommitted log, which the next opening rolls back; again does the migration.

use super::bench::Bench;
use super::first_start::{self, On};
use super::place;
use super::trouble::Trouble;
use crate::ledger::cli::Cli;
use crate::machine;
use cutover_vocabulary::LedgerName;
use cutover_vocabulary::outcome::{Effect, FailureKind, Migrated};
use cutover_vocabulary::release::StagedRelease;
use cutover_vocabulary::storage::{Migrations, RecoveryItem, StorageIdentity};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the order says.
pub(super) struct Ask<'a> {
    pub(super) target: &'a StagedRelease,
    pub(super) storage: &'a StorageIdentity,
    pub(super) expected: &'a Migrations,
    pub(super) mark: Option<&'a str>,
    pub(super) apart: bool,
    pub(super) serving: bool,
}

/// What migrates.
enum Way {
    /// `storage upgrade`, and what `storage list` named before.
    Command(Cli, Vec<LedgerName>),
    /// A request to the target, in this environment and with what may let us in.
    FirstRequest(PathBuf, BTreeMap<String, SecretString>, Vec<SecretString>),
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
    // What a first request creates is more than it records, and nothing at all is recorded up to 1.2.1.
    if before == *expected && target.storage_commands {
        return Ok(Migrated { changed: false, migrations: before, took: machine::uptime().since(begun) });
    }
    let program = checking.await?;
    bench.unless_stopped(&format!("the migration of ledger {name}"))?;
    let stop = || bench.stop();
    let way = if target.storage_commands {
        let cli = bench.cli(target, program, &place)?;
        let listed = cli.list(&stop).await?;
        Way::Command(cli, listed)
    } else {
        if !place::apart(|| place.storage.exists(name))? {
            return Err(Trouble::refused(
                format!("ledger {name} is not in {storage}, and a request would create it"),
                "find out where it went; nothing is created in its place",
            ));
        }
        let environment = place.command_environment(&bench.order.id.file_name())?;
        Way::FirstRequest(program, environment, place.resolved.credentials())
    };
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
    let said = match way {
        Way::Command(cli, listed) => cli.upgrade(name, &listed, &stop).await.map(drop).map_err(Trouble::from),
        Way::FirstRequest(program, environment, credentials) => {
            let ledgers = std::slice::from_ref(name);
            first_start::read_each(
                bench,
                target,
                &program,
                On { environment, credentials, account: place.account },
                "ledger",
                ledgers,
            )
            .await
            .map(drop)
        }
    };
    let took = machine::uptime().since(begun);
    if said.is_err() || !target.storage_commands {
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
    // That a command left the ledger as it must be is enough; a first request must have been answered as well.
    if after == *expected && (target.storage_commands || said.is_ok()) {
        // Its tables are new: without statistics the first requests would be planned blindly.
        place::apart(|| place.storage.analyse(name)).map_err(|error| Trouble::from(error).effect(Effect::Unknown))?;
        return Ok(Migrated { changed: before != after || !target.storage_commands, migrations: after, took });
    }
    let effect = if after == before && target.storage_commands { Effect::None } else { Effect::Unknown };
    Err(match said {
        Err(trouble) => trouble.while_trying(format_args!("migrating ledger {name}")).effect(effect),
        Ok(()) => Trouble::new(
            FailureKind::Failed,
            format!(
                "the migration of ledger {name} ended well, but the ledger records migrations {}, expected were {}",
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
