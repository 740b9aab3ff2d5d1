//! `Prove`: a ledger holds what its recovery point says it must hold.
//!
//! Looks only. A stop is not heard: it ends by itself. Half done means nothing was told.

use super::bench::Bench;
use super::place;
use super::trouble::Trouble;
use cutover_vocabulary::outcome::Proof;
use cutover_vocabulary::storage::{Migrations, RecoveryPoint};

pub(super) fn prove(
    bench: &Bench<'_>,
    point: &RecoveryPoint,
    expected: &Migrations,
    serving: bool,
) -> Result<Proof, Trouble> {
    let manifest = cutover_storage::points::manifest(std::path::Path::new(&point.place))?;
    let Some(manifest) = manifest else {
        return Err(Trouble::refused(
            format!("the recovery point {} has no manifest", point.place),
            "find the folder of this upgrade's recovery points; without it nothing tells what the ledger held",
        ));
    };
    let place = place::ordered(bench.settings, &bench.order.deployment, &manifest.storage)?;
    let scratch = bench.scratch()?;
    let mut proof = place::apart(|| match serving {
        true => place.storage.prove_since(point, &scratch),
        false => place.storage.prove(point, &scratch),
    })?;
    if proof.migrations != *expected {
        proof
            .inconsistencies
            .push(format!("it records migrations {:?}, expected were {:?}", proof.migrations.0, expected.0));
    }
    Ok(proof)
}
