//! One ledger's schema, opened to be read in one snapshot, as a [`RowSource`] whichever its layout.

use super::client::Client;
use super::ident::{Ident, Sql};
use super::layout::{Columns, Layout, not_a_ledger};
use super::rows::{Expand, stream};
use super::{PostgresStorage, documents, split};
use crate::StorageError;
use crate::digest::rows::{
    BalanceRow, LoggedTransaction, MetadataRow, PostingRow, RowSource, Scope, Target, TransactionRow,
};
use cutover_vocabulary::LedgerName;
use cutover_vocabulary::storage::Migrations;
use std::cell::Cell;
use std::collections::BTreeSet;

/// A ledger in a transaction of its own, REPEATABLE READ and READ ONLY: it changes nothing, sees one moment, and waits for no
/// row. It does hold ACCESS SHARE locks while it lives, which a migration waits for, and keeps VACUUM from what it still sees.
pub struct Ledger {
    client: Client,
    name: String,
    schema: Ident,
    columns: Columns,
    layout: Layout,
    cursors: Cell<u32>,
}

impl PostgresStorage {
    /// Opens a ledger for reading, on a connection of its own, and finds out its layout by its columns.
    ///
    /// # Errors
    /// [`StorageError::NotALedger`]; [`StorageError::Postgres`], transient where somebody holds a lock on it for too long.
    pub fn ledger(&self, name: &LedgerName) -> Result<Ledger, StorageError> {
        Ledger::open(self.look()?, name.as_str())
    }
}

impl Ledger {
    pub(crate) fn open(client: Client, name: &str) -> Result<Self, StorageError> {
        let columns = Columns::of(&client, &[name.to_owned()])?.remove(name).unwrap_or_default();
        let layout = columns.layout().map_err(|what| not_a_ledger(name, what))?;
        // A cursor is planned to give its first tenth fast, by default; ours are read to their end.
        client.run(
            "begin to read",
            &Sql::fixed("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL cursor_tuple_fraction = 1"),
        )?;
        Ok(Self { client, name: name.to_owned(), schema: Ident::new(name), columns, layout, cursors: Cell::new(0) })
    }

    /// Ends the snapshot; the connection is as it was before.
    pub(super) fn end(self) -> Result<Client, StorageError> {
        self.client.run("end reading", &Sql::fixed("ROLLBACK"))?;
        Ok(self.client)
    }

    /// How its tables look.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The name under which another session, `pg_dump` for one, can read the very same snapshot while this lives.
    ///
    /// # Errors
    /// [`StorageError::Postgres`].
    pub fn export_snapshot(&self) -> Result<String, StorageError> {
        self.client.one("export the snapshot of", &Sql::fixed("SELECT pg_export_snapshot()"), &[])
    }

    /// How many transactions there are.
    ///
    /// # Errors
    /// [`StorageError::Postgres`].
    pub fn count(&self) -> Result<u64, StorageError> {
        let count: i64 = self.client.one(
            "count the transactions in",
            &Sql::with("SELECT count(*) FROM {0}.transactions", &[(&self.schema).into()]),
            &[],
        )?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Which migrations the ledger records, ascending; none where it has no such table (before 1.3).
    ///
    /// # Errors
    /// [`StorageError::NotALedger`] where something else than numbers is recorded.
    pub fn migrations(&self) -> Result<Migrations, StorageError> {
        migrations(&self.client, &self.name, &self.columns)
    }

    /// Metadata that was set since the last entry in the log of an earlier copy of this ledger, by target and key.
    ///
    /// # Errors
    /// [`StorageError::Postgres`]; [`StorageError::NotALedger`] for tables without a log, beside which no instance of a later
    /// release serves.
    pub(super) fn described_since(&self, earlier: &Self) -> Result<BTreeSet<(Target, String)>, StorageError> {
        match (self.layout, earlier.layout) {
            (Layout::Documents, Layout::Documents) => {
                documents::described_since(self, documents::last_entry(earlier)?.unwrap_or(-1))
            }
            (Layout::Split, _) | (_, Layout::Split) => Err(not_a_ledger(&self.name, "it has no log".to_owned())),
        }
    }

    /// Its connection, in the transaction.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Its name, quoted.
    pub(super) fn schema(&self) -> &Ident {
        &self.schema
    }

    /// Streams a query in which `{0}` is the ledger's schema.
    pub(super) fn stream<R>(
        &self,
        query: &'static str,
        expand: impl Expand<R>,
        scope: &mut Scope<'_, R>,
    ) -> Result<(), StorageError> {
        self.cursors.set(self.cursors.get() + 1);
        let name = Ident::new(&format!("cutover_{}", self.cursors.get()));
        stream(&self.client, &name, &Sql::with(query, &[(&self.schema).into()]), expand, scope)
    }
}

/// Which migrations a schema with these columns records.
pub(super) fn migrations(client: &Client, name: &str, columns: &Columns) -> Result<Migrations, StorageError> {
    if !columns.records_migrations() {
        return Ok(Migrations(None));
    }
    let doing = "read the migrations in";
    let schema = Ident::new(name);
    // `version` is a text in every release, so a number is asked for, and anything else refused.
    let sql = Sql::with("SELECT coalesce(version::text, '') FROM {0}.migrations", &[(&schema).into()]);
    let mut numbers = Vec::new();
    for row in client.rows(doing, &sql, &[])? {
        let text: String = client.get(doing, &row, 0)?;
        numbers.push(text.parse::<u32>().map_err(|_| {
            not_a_ledger(name, format!("its table migrations records {text:?}, which is no migration number"))
        })?);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(Migrations(Some(numbers)))
}

impl RowSource for Ledger {
    fn transactions(&self, scope: &mut Scope<'_, TransactionRow>) -> Result<(), StorageError> {
        // These three columns are the same in every layout.
        split::transactions(self, scope)
    }
    fn postings(&self, scope: &mut Scope<'_, PostingRow>) -> Result<(), StorageError> {
        match self.layout {
            Layout::Split => split::postings(self, scope),
            Layout::Documents => documents::postings(self, scope),
        }
    }
    fn balances(&self, scope: &mut Scope<'_, BalanceRow>) -> Result<(), StorageError> {
        match self.layout {
            Layout::Split => split::balances(self, scope),
            Layout::Documents => documents::balances(self, scope),
        }
    }
    fn account_metadata(&self, scope: &mut Scope<'_, MetadataRow>) -> Result<(), StorageError> {
        match self.layout {
            Layout::Split => split::account_metadata(self, scope),
            Layout::Documents => documents::account_metadata(self, scope),
        }
    }
    fn transaction_metadata(&self, scope: &mut Scope<'_, MetadataRow>) -> Result<(), StorageError> {
        match self.layout {
            Layout::Split => split::transaction_metadata(self, scope),
            Layout::Documents => documents::transaction_metadata(self, scope),
        }
    }
    fn balances_of_postings(&self, scope: &mut Scope<'_, BalanceRow>) -> Result<(), StorageError> {
        match self.layout {
            Layout::Split => split::balances(self, scope),
            Layout::Documents => documents::balances_of_postings(self, scope),
        }
    }
    fn has_log(&self) -> bool {
        !self.layout.is_legacy()
    }
    fn logged(&self, scope: &mut Scope<'_, LoggedTransaction>) -> Result<(), StorageError> {
        match self.layout {
            Layout::Split => Ok(()),
            Layout::Documents => documents::logged(self, scope),
        }
    }
    fn entered(&self, scope: &mut Scope<'_, LoggedTransaction>) -> Result<(), StorageError> {
        match self.layout {
            Layout::Split => split::entered(self, scope),
            Layout::Documents => documents::entered(self, scope),
        }
    }
}
