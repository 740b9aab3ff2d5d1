//! `AttestStorage`: nobody has the storage open, and this is in it.
//!
//! Looks only. A stop ends it at once. Half done means nothing was told.

use super::bench::Bench;
use super::place;
use super::trouble::Trouble;
use cutover_vocabulary::outcome::StorageAttestation;
use cutover_vocabulary::storage::StorageIdentity;

pub(super) fn attest(bench: &Bench<'_>, storage: &StorageIdentity) -> Result<StorageAttestation, Trouble> {
    let place = place::ordered(bench.settings, &bench.order.deployment, storage)?;
    let (own, recovery, scratch) = ([std::process::id()], bench.settings.recovery(), bench.scratch()?);
    let look = place::look(bench.settings, &own, &recovery, &scratch);
    Ok(place::apart(|| place.storage.attest(&look))?)
}
