//! `AttestStorage`: nobody has the storage open, and this is in it.
//!
//! Looks only. A stop ends it at once. Half done means nothing was told.

use super::bench::Bench;
use super::place;
use super::trouble::Trouble;
use crate::machine;
use cutover_vocabulary::Elapsed;
use cutover_vocabulary::outcome::StorageAttestation;
use cutover_vocabulary::storage::{SessionKind, StorageIdentity};
use std::time::Duration;

/// How long sessions may take to be gone whose client has ended: a database server learns of that a moment later, and a busy one
/// much later. Who stays longer is somebody.
const SESSIONS_END: Elapsed = Elapsed::from_secs(5);
/// Between two looks for that.
const AGAIN: Duration = Duration::from_millis(100);

pub(super) fn attest(bench: &Bench<'_>, storage: &StorageIdentity) -> Result<StorageAttestation, Trouble> {
    let place = place::ordered(bench.settings, &bench.order.deployment, storage)?;
    let (own, recovery, scratch) = ([std::process::id()], bench.settings.recovery(), bench.scratch()?);
    let look = place::look(bench.settings, &own, &recovery, &scratch);
    place::apart(|| {
        let deadline = machine::uptime().plus(SESSIONS_END);
        loop {
            let seen = place.storage.attest(&look)?;
            if seen.sessions.iter().all(|it| it.kind == SessionKind::Reader) || machine::uptime() >= deadline {
                return Ok(seen);
            }
            std::thread::sleep(AGAIN);
        }
    })
}
