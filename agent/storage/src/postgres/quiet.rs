//! Whether anybody but us works on a ledger, or on anything, at this moment.

use super::PostgresStorage;
use super::inventory::Inventory;
use super::recovery::SYSTEM;
use super::sessions::{self, Seen, Whose};
use crate::{StorageError, clock};
use cutover_vocabulary::Elapsed;
use cutover_vocabulary::storage::{RecoveryItem, SessionKind};
use std::time::Duration;

/// How long work of ours that its worker left behind may take to end: the server finishes the running statement.
const PATIENCE: Elapsed = Elapsed(60_000);
/// How often it is looked at meanwhile.
const EVERY: Duration = Duration::from_millis(200);

/// Who may be at work beside us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// Nobody.
    Nobody,
    /// Instances that serve, and whoever else is there then.
    Instances,
}

impl PostgresStorage {
    /// Instances' sessions, and whoever holds locks there. Sessions of other roles that only could write are the attestation's
    /// business, which knows the declared exceptions. Looks of ours are nobody: they read, and end by themselves.
    pub(super) fn wait_until_quiet(&self, item: Option<&RecoveryItem>, beside: Beside) -> Result<(), StorageError> {
        let begun = clock::since_boot();
        loop {
            let client = self.look()?;
            let schemas = match item {
                Some(RecoveryItem::Ledger(name)) => vec![name.as_str().to_owned()],
                Some(RecoveryItem::System) => vec![SYSTEM.to_owned()],
                None => Inventory::of(&client)?.schemas(),
            };
            let seen = sessions::look(self, &client, &schemas)?;
            self.keep(client);
            let strangers: Vec<&Seen> = seen.iter().filter(|seen| beside == Beside::Nobody && works(seen)).collect();
            if let Some(first) = strangers.first() {
                let who = format!("{} ({} in all)", first.session, strangers.len());
                return Err(StorageError::NotQuiet { what: self.shown(item), who });
            }
            let left = |seen: &&Seen| seen.whose == Whose::Ours && (seen.holds || (item.is_none() && seen.works));
            let Some(left) = seen.iter().find(left) else { return Ok(()) };
            if clock::since_boot().since(begun) >= PATIENCE {
                return Err(StorageError::Busy { what: self.shown(item), by: left.session.to_string() });
            }
            std::thread::sleep(EVERY);
        }
    }

    /// An item of this storage, for messages.
    pub(super) fn shown(&self, item: Option<&RecoveryItem>) -> String {
        match item {
            Some(item) => format!("{item} in {}", self.identity),
            None => self.identity.to_string(),
        }
    }
}

fn works(seen: &Seen) -> bool {
    match (seen.whose, seen.session.kind) {
        (Whose::Own | Whose::Look | Whose::Ours, _) => false,
        (Whose::Stranger, SessionKind::Ledger | SessionKind::LockHolder) => true,
        (Whose::Stranger, SessionKind::Writer | SessionKind::Reader) => false,
    }
}
