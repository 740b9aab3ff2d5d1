//! Which schemas and tables are there.

use super::PostgresStorage;
use super::client::Value;
use super::ident::Sql;
use super::ledger::Ledger;
use crate::StorageError;

const DOING: &str = "look for a schema in";

impl PostgresStorage {
    /// Whether there is a schema of this name.
    pub(super) fn has_schema(&self, name: &str) -> Result<bool, StorageError> {
        let sql = Sql::fixed("SELECT 1 FROM pg_namespace WHERE nspname = $1");
        self.looking(|client| Ok(!client.rows(DOING, &sql, &[Value::Text(name)])?.is_empty()))
    }

    /// Whether there is a table of this name in it.
    pub(super) fn has_table(&self, schema: &str, table: &str) -> Result<bool, StorageError> {
        let sql = Sql::fixed(
            "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')",
        );
        self.looking(|client| Ok(!client.rows(DOING, &sql, &[Value::Text(schema), Value::Text(table)])?.is_empty()))
    }
}

impl Ledger {
    /// What every write through an instance changes: number and highest id of the tables that a write adds to, in either
    /// layout.
    pub(super) fn mark(&self) -> Result<String, StorageError> {
        let doing = "count the rows of";
        let mut parts = Vec::new();
        let tables = [
            (
                "transactions",
                Sql::with(
                    "SELECT count(*) || '/' || coalesce(max(id)::text, '') FROM {0}.transactions",
                    &[self.schema().into()],
                ),
            ),
            (
                "metadata",
                Sql::with(
                    "SELECT count(*) || '/' || coalesce(max(meta_id)::text, '') FROM {0}.metadata",
                    &[self.schema().into()],
                ),
            ),
            (
                "log",
                Sql::with(
                    "SELECT count(*) || '/' || coalesce(max(id)::text, '') FROM {0}.log",
                    &[self.schema().into()],
                ),
            ),
        ];
        for (table, sql) in tables {
            let there = Sql::fixed("SELECT to_regclass($1) IS NOT NULL");
            let name = format!("{}.{table}", self.schema());
            if self.client().one::<bool>(doing, &there, &[Value::Text(&name)])? {
                parts.push(format!("{table} {}", self.client().one::<String>(doing, &sql, &[])?));
            }
        }
        Ok(parts.join(", "))
    }
}
