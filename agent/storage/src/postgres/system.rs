//! The system store: the schema `_system`, from 1.3.2 on.

use super::PostgresStorage;
use super::ident::{Ident, Sql};
use super::recovery::SYSTEM;
use crate::StorageError;
use crate::postgres::client::{Client, Value};
use cutover_vocabulary::Digest;
use sha2::{Digest as _, Sha256};

const DOING: &str = "read the system store of";

/// SHA-256 over every row of every table, sorted; none where there is no system store.
pub(super) fn contents(storage: &PostgresStorage) -> Result<Option<Digest>, StorageError> {
    storage.looking(hash)
}

fn hash(client: &Client) -> Result<Option<Digest>, StorageError> {
    let there = client.rows(
        DOING,
        &Sql::fixed("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1"),
        &[Value::Text(SYSTEM)],
    )?;
    if there.is_empty() {
        return Ok(None);
    }
    let tables = client.rows(
        DOING,
        &Sql::fixed(
            "SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') ORDER BY c.relname COLLATE \"C\"",
        ),
        &[Value::Text(SYSTEM)],
    )?;
    let mut hasher = Sha256::new();
    for table in &tables {
        let name: String = client.get(DOING, table, 0)?;
        let (schema, table) = (Ident::new(SYSTEM), Ident::new(&name));
        // A few rows: one a ledger, one a setting.
        let rows = client.rows(
            DOING,
            &Sql::with(
                "SELECT t::text FROM {0}.{1} t ORDER BY t::text COLLATE \"C\"",
                &[(&schema).into(), (&table).into()],
            ),
            &[],
        )?;
        hasher.update(name.as_bytes());
        hasher.update([0]);
        for row in &rows {
            hasher.update(client.get::<String>(DOING, row, 0)?.as_bytes());
            hasher.update(b"\n");
        }
        hasher.update([1]);
    }
    Ok(Some(Digest::from_bytes(hasher.finalize().into())))
}
