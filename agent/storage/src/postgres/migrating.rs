//! Beside a ledger's own migration: how far it is, and what makes its tables fast afterwards.

use super::PostgresStorage;
use super::client::Value;
use super::ident::{Ident, Sql};
use crate::StorageError;
use cutover_vocabulary::LedgerName;

impl PostgresStorage {
    /// Bytes of the whole database. The size of the ledger's own tables cannot be asked for while it migrates: `ALTER TABLE`
    /// holds ACCESS EXCLUSIVE on them to the end, `pg_total_relation_size` waits for that (seen on PostgreSQL 15), and the new
    /// tables are not visible yet. The database's files are measured without a lock.
    pub(super) fn bytes_of_database(&self) -> Result<u64, StorageError> {
        let size = Sql::fixed("SELECT pg_database_size(current_database())");
        let bytes: i64 = self.looking(|client| client.one("measure", &size, &[]))?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    /// Statistics of every table of a ledger: a migration leaves none, and the first requests would be planned blindly.
    pub(super) fn analyse_tables(&self, ledger: &LedgerName) -> Result<(), StorageError> {
        let doing = "gather statistics of the tables in";
        let client = self.connect_patiently("analyse")?;
        let tables = client.rows(
            doing,
            &Sql::fixed(
                "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') ORDER BY 1",
            ),
            &[Value::Text(ledger.as_str())],
        )?;
        let schema = Ident::new(ledger.as_str());
        for row in &tables {
            let table = Ident::new(&client.get::<String>(doing, row, 0)?);
            client.run(doing, &Sql::with("ANALYZE {0}.{1}", &[(&schema).into(), (&table).into()]))?;
        }
        Ok(())
    }
}
