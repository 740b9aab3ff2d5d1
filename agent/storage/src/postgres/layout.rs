//! How a ledger's tables look, told by columns: the table `postings` is one thing up to 1.3.1, and another from 1.7.5 on.

use super::client::{Client, Value};
use super::ident::Sql;
use crate::StorageError;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The two families of tables that PostgreSQL ledgers had. Within a family types differ (times as text or as `timestamptz`,
/// amounts as `bigint` or `numeric`), which no reader here notices: it reads texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// 1.0 to 1.3.1: postings and metadata in tables of their own.
    Split,
    /// From 1.3.2 on, fresh or migrated: postings and metadata as JSON in `transactions`, beside `volumes`, `accounts`, `log`.
    Documents,
}

/// The columns of a schema's tables, each with its type, by table and column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Columns(BTreeMap<String, BTreeMap<String, String>>);

const SPLIT: [(&str, &[&str]); 2] = [
    ("postings", &["id", "txid", "source", "destination", "amount", "asset"]),
    ("metadata", &["meta_id", "meta_target_type", "meta_target_id", "meta_key", "meta_value"]),
];
const DOCUMENTS: [(&str, &[&str]); 3] = [
    ("accounts", &["address", "metadata"]),
    ("volumes", &["account", "asset", "input", "output"]),
    ("log", &["id", "type", "data"]),
];

impl Columns {
    /// Of some schemas, from the catalogue, which everybody may read.
    pub(super) fn of(client: &Client, schemas: &[String]) -> Result<BTreeMap<String, Self>, StorageError> {
        let doing = "read the columns of the tables in";
        let rows = client.rows(
            doing,
            &Sql::fixed(
                "SELECT n.nspname::text, c.relname::text, a.attname::text, format_type(a.atttypid, NULL) \
                 FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p') \
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
                 WHERE n.nspname = ANY($1)",
            ),
            &[Value::Texts(schemas)],
        )?;
        let mut all: BTreeMap<String, Self> = schemas.iter().map(|name| (name.clone(), Self::default())).collect();
        for row in &rows {
            let [schema, table, column, kind] = [0, 1, 2, 3].map(|column| client.get::<String>(doing, row, column));
            all.entry(schema?).or_default().0.entry(table?).or_default().insert(column?, kind?);
        }
        Ok(all)
    }

    /// Whether a table has a column.
    pub(super) fn has(&self, table: &str, column: &str) -> bool {
        self.0.get(table).is_some_and(|columns| columns.contains_key(column))
    }

    /// Whether migrations are recorded; releases before 1.3 do not.
    pub(super) fn records_migrations(&self) -> bool {
        self.has("migrations", "version")
    }

    /// The layout, or what is missing for one.
    pub(super) fn layout(&self) -> Result<Layout, String> {
        let missing = |wanted: &[(&str, &[&str])]| {
            let all = wanted.iter().flat_map(|(table, columns)| columns.iter().map(move |column| (*table, *column)));
            let names = all.filter(|(table, column)| !self.has(table, column));
            names.map(|(table, column)| format!("{table}.{column}")).collect::<Vec<_>>()
        };
        let settle = |lacks: Vec<String>, layout| {
            if lacks.is_empty() { Ok(layout) } else { Err(format!("it lacks {}", lacks.join(", "))) }
        };
        let core = missing(&[("transactions", &["id", "timestamp", "reference"])]);
        if !core.is_empty() {
            return Err(format!("it lacks {}", core.join(", ")));
        }
        let id = self.0.get("transactions").and_then(|columns| columns.get("id"));
        if let Some(kind) = id.filter(|kind| !matches!(kind.as_str(), "bigint" | "integer" | "numeric")) {
            return Err(format!("its transactions.id is {kind}, no number"));
        }
        if missing(&[("transactions", &["postings", "metadata"])]).is_empty() {
            settle(missing(&DOCUMENTS), Layout::Documents)
        } else {
            settle(missing(&SPLIT), Layout::Split)
        }
    }
}

impl Layout {
    /// Whether a migration to 1.3.2 or later rewrites these tables, with its known losses.
    pub fn is_legacy(self) -> bool {
        match self {
            Self::Split => true,
            Self::Documents => false,
        }
    }
}

/// A schema that is no ledger's.
pub(super) fn not_a_ledger(schema: &str, what: String) -> StorageError {
    StorageError::NotALedger {
        path: PathBuf::from(format!("schema {}", cutover_vocabulary::name::shown(schema))),
        what,
    }
}
