//! `Register`: `storage scan`, then `storage list`, which must name exactly the planned ledgers.
//!
//! Scanning again registers nothing twice. A stop ends the command: registering is one insert a ledger, each whole. Half
//! done: some ledgers are registered, which changes no ledger; again registers the rest.

use super::bench::Bench;
use super::place;
use super::trouble::Trouble;
use cutover_vocabulary::LedgerName;
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::release::StagedRelease;
use cutover_vocabulary::storage::StorageIdentity;
use std::collections::BTreeSet;

pub(super) async fn register(
    bench: &Bench<'_>,
    target: &StagedRelease,
    ledgers: &[LedgerName],
    storage: &StorageIdentity,
    serving: bool,
) -> Result<Vec<LedgerName>, Trouble> {
    let checking = bench.check(target);
    let place = place::ordered(bench.settings, &bench.order.deployment, storage)?;
    let lock = place::apart(|| place.storage.lock(None, &bench.order.id.to_string()))?;
    place::apart(|| place.quiet(None, serving))?;
    let cli = bench.cli(target, checking.await?, &place)?;
    bench.unless_stopped("`storage scan`")?;
    let stop = || bench.stop();
    let unknown = |error| Trouble::from(error).effect(Effect::Unknown);
    if !place::apart(|| lock.is_held()) {
        return Err(Trouble::new(
            FailureKind::Transient,
            "the lock on the storage was lost before `storage scan`",
            "see to the database's connections, then try again",
        ));
    }
    cli.scan(&stop).await.map_err(unknown)?;
    let listed = cli.list(&stop).await.map_err(unknown)?;
    let (wanted, found): (BTreeSet<_>, BTreeSet<_>) = (ledgers.iter().collect(), listed.iter().collect());
    if wanted != found {
        let names = |names: Vec<&&LedgerName>| {
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.iter().map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
            }
        };
        return Err(Trouble::refused(
            format!(
                "`storage list` does not name the planned ledgers: missing {}, not planned {}",
                names(wanted.difference(&found).collect()),
                names(found.difference(&wanted).collect())
            ),
            "find out why (a file that scan skips, a ledger that was created meanwhile), then make a new plan",
        )
        .effect(Effect::Unknown));
    }
    Ok(listed)
}
