//! Free disk.

use super::{Check, Verdict};
use crate::render::words::bytes;
use cutover_agent::needs::free_bytes;
use std::path::Path;

/// Below this, nothing of size can be done: a binary of the ledger is about 40 MB, unpacked twice.
const NOTHING: u64 = 200 << 20;
/// Below this, only small ledgers have room for their copies.
const LITTLE: u64 = 1 << 30;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "temporary files",
        why: "the sandbox lies there, with its ledger, its releases and its copies",
        look: |host| {
            vec![look(&host.temporary, "free some space, or name a folder with more by TMPDIR", host.for_trials())]
        },
    },
    Check {
        name: "state directory",
        why: "releases are unpacked there, and copies of ledgers are rehearsed on",
        look: |host| {
            let folder = host.agent().map(|settings| settings.state.as_path());
            folder
                .map(|folder| look(folder, "free some space there, or let `state` name another disk", true))
                .into_iter()
                .collect()
        },
    },
    Check {
        name: "recovery points",
        why: "each ledger's recovery point is about as large as the ledger; a plan compares the sizes",
        look: |host| {
            let folder = host.agent().map(|settings| settings.recovery());
            let remedy = "free some space there, or let `recovery` name another disk";
            folder.map(|folder| look(&folder, remedy, true)).into_iter().collect()
        },
    },
];

/// Of a folder that is not there yet, the disk on which it will be made.
fn look(folder: &Path, remedy: &str, needed: bool) -> Verdict {
    let Some(there) = folder.ancestors().find(|folder| folder.exists()) else {
        return Verdict::lacking(needed, format!("{} does not exist", folder.display()), remedy);
    };
    match free_bytes(there) {
        Ok(free) if free >= LITTLE => Verdict::well(format!("{} free at {}", bytes(free), folder.display())),
        Ok(free) => Verdict::lacking(
            needed && free < NOTHING,
            format!("only {} free at {}", bytes(free), folder.display()),
            remedy,
        ),
        Err(error) => Verdict::lacking(needed, error.to_string(), remedy),
    }
}
