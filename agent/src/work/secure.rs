//! `Secure`: take a recovery point of one item and prove that it restores.
//!
//! Looks first: a point of this upgrade whose manifest and digests fit is given as it is. A stop is heard before it begins
//! only: what it does to the storage is reading. Half done: a copy without a manifest, which does not count and is made anew.

use super::bench::Bench;
use super::place;
use super::trouble::Trouble;
use cutover_storage::storage::Secure;
use cutover_vocabulary::storage::{RecoveryItem, RecoveryPoint, StorageIdentity};

pub(super) fn secure(
    bench: &Bench<'_>,
    item: &RecoveryItem,
    storage: &StorageIdentity,
    lossy: bool,
    serving: bool,
) -> Result<RecoveryPoint, Trouble> {
    let place = place::ordered(bench.settings, &bench.order.deployment, storage)?;
    bench.unless_stopped("the recovery point was begun")?;
    let folder = bench.points();
    super::tidy::remember(bench.settings, bench.order)?;
    // The identity as planned: its directory may be spelt otherwise here, and the manifest must say the same each time.
    let ask = Secure { storage, item, upgrade: &bench.order.id.upgrade, folder: &folder, lossy, serving };
    place::apart(|| place.storage.secure(&ask)).map_err(|error| {
        Trouble::before_any_change(error).while_trying(format_args!("taking the recovery point of the {item}"))
    })
}
