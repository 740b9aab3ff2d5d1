//! Connections for looks. A connection costs the server a process and both sides a handshake, some 10 ms together, and a worker
//! looks many times: one that looked well is kept for the next look.

use super::client::Client;
use super::ledger::Ledger;
use super::{PostgresStorage, connect};
use crate::StorageError;
use cutover_vocabulary::LedgerName;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The `application_name` of looks, after `cutover:`. On the ledger's own database sessions of this name read, and end by
/// themselves.
pub(super) const LOOK: &str = "look";

/// How long the server of a kept connection, or of a lock's, may take to say that it is there.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// Connections to one database that nobody uses at the moment. They end with the storage.
#[derive(Clone, Default)]
pub(super) struct Spares(Arc<Mutex<Vec<Client>>>);

impl fmt::Debug for Spares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spares")
    }
}

impl Spares {
    pub(super) fn keep(&self, client: Client) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(client);
    }
    fn take(&self) -> Option<Client> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

impl PostgresStorage {
    /// A connection for a look: a kept one if it still answers.
    pub(super) fn look(&self) -> Result<Client, StorageError> {
        while let Some(client) = self.spares.take() {
            if client.answers(ANSWER) {
                return Ok(client);
            }
        }
        connect(&self.address, &self.endpoint, &self.database, LOOK)
    }

    /// Keeps a connection that looked well for the next look.
    pub(super) fn keep(&self, client: Client) {
        self.spares.keep(client);
    }

    /// Looks, and keeps the connection for the next look. One on which something failed is not kept.
    pub(super) fn looking<T>(&self, look: impl FnOnce(&Client) -> Result<T, StorageError>) -> Result<T, StorageError> {
        let client = self.look()?;
        let seen = look(&client)?;
        self.spares.keep(client);
        Ok(seen)
    }

    /// Reads a ledger in one snapshot; as [`looking`](Self::looking).
    pub(super) fn reading<T>(
        &self,
        name: &LedgerName,
        read: impl FnOnce(&Ledger) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let ledger = self.ledger(name)?;
        let seen = read(&ledger)?;
        self.done_with(ledger)?;
        Ok(seen)
    }

    /// Ends the snapshot of a ledger, and keeps its connection.
    pub(super) fn done_with(&self, ledger: Ledger) -> Result<(), StorageError> {
        self.spares.keep(ledger.end()?);
        Ok(())
    }
}
