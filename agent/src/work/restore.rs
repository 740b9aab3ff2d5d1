//! `Restore`: put back what a recovery point holds, if it changed.
//!
//! Looks first: an item that holds what it held is left alone. What was there is moved aside and kept. A stop is heard before
//! it begins only. Half done: the migrated file is whole or the restored one is, never neither; again does the rest.

use super::bench::Bench;
use super::place;
use super::trouble::Trouble;
use cutover_vocabulary::outcome::{Effect, Restored};
use cutover_vocabulary::storage::{RecoveryPoint, StorageIdentity};

pub(super) fn restore(
    bench: &Bench<'_>,
    point: &RecoveryPoint,
    storage: &StorageIdentity,
    first_start: bool,
) -> Result<Restored, Trouble> {
    let place = place::ordered(bench.settings, &bench.order.deployment, storage)?;
    let _lock = place::apart(|| place.storage.lock(Some(&point.item), &bench.order.id.to_string()))?;
    place::apart(|| place.storage.quiet(Some(&point.item)))?;
    bench.unless_stopped("the restore was begun")?;
    let aside = bench.of_upgrade().join("moved-aside");
    crate::files::folder(&aside)?;
    place::apart(|| place.storage.restore(point, &aside, first_start)).map_err(|error| {
        Trouble::from(error).while_trying(format_args!("restoring the {}", point.item)).effect(Effect::Unknown)
    })
}
