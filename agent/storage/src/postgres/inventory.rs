//! What is in a database by our own look at its catalogue, to set beside what `storage scan` and `list` say.

use super::client::{Client, Value};
use super::ident::Sql;
use super::layout::Columns;
use super::recovery::SYSTEM;
use crate::StorageError;
use cutover_vocabulary::LedgerName;

/// Everything that looks like a ledger.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    /// Ledgers, by name.
    pub(super) ledgers: Vec<Found>,
    /// Schemas that `storage scan` takes for ledgers and that are none, each with the reason.
    pub(super) foreign: Vec<(String, String)>,
    /// Schemas of ledgers, and of the system store, that the role may not read, each with what it is.
    pub(super) unreadable: Vec<(String, &'static str)>,
    /// What the system store has registered, by name; none where there is no system store.
    pub(super) registered: Option<Vec<LedgerName>>,
}

/// One ledger's schema.
#[derive(Debug)]
pub(super) struct Found {
    /// The ledger.
    pub(super) name: LedgerName,
    /// Its tables.
    pub(super) columns: Columns,
    /// Bytes of its tables, indexes included.
    pub(super) bytes: u64,
}

impl Inventory {
    /// Looks at every schema with a table `transactions`, which is what `storage scan` takes. Changes nothing. Foreign schemas
    /// are told by their columns, without a right to read them.
    pub(super) fn of(client: &Client) -> Result<Self, StorageError> {
        let doing = "list the schemas of";
        let mut found = Self::default();
        // Any kind of relation that is listed as a table, a view too.
        let rows = client.rows(
            doing,
            &Sql::fixed(
                "SELECT n.nspname::text, n.nspname = '_system', has_schema_privilege(n.oid, 'USAGE') AND NOT EXISTS ( \
                   SELECT FROM pg_class t WHERE t.relnamespace = n.oid AND t.relkind IN ('r', 'p') \
                   AND NOT has_table_privilege(t.oid, 'SELECT')) \
                 FROM pg_namespace n WHERE EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid \
                   AND CASE WHEN n.nspname = '_system' THEN c.relname = 'ledgers' ELSE c.relname = 'transactions' END \
                   AND c.relkind IN ('r', 'p', 'v', 'f')) \
                 AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' ORDER BY n.nspname COLLATE \"C\"",
            ),
            &[],
        )?;
        let mut names = Vec::new();
        for row in &rows {
            let name: String = client.get(doing, row, 0)?;
            let readable: bool = client.get(doing, row, 2)?;
            if client.get(doing, row, 1)? && readable {
                found.registered = Some(registered(client)?);
            } else {
                names.push((name, readable));
            }
        }
        let listed: Vec<String> = names.iter().map(|(name, _)| name.clone()).collect();
        let mut columns = Columns::of(client, &listed)?;
        for (name, readable) in names {
            let columns = columns.remove(&name).unwrap_or_default();
            match (columns.layout(), LedgerName::new(name.as_str())) {
                _ if name == SYSTEM => found.unreadable.push((name, "the system store")),
                (Ok(_), Ok(_)) if !readable => found.unreadable.push((name, "a ledger")),
                (Ok(_), Ok(ledger)) => {
                    let bytes = bytes(client, &name)?;
                    found.ledgers.push(Found { name: ledger, columns, bytes });
                }
                (Err(lacks), _) => found.foreign.push((
                    name,
                    format!(
                        "no ledger's tables ({lacks}), yet `storage scan` registers every schema with a table `transactions` \
                         and `storage upgrade` would migrate inside it: rename that table, or move it to another database"
                    ),
                )),
                (Ok(_), Err(error)) => found.foreign.push((name, error.to_string())),
            }
        }
        Ok(found)
    }

    /// The schemas of the ledgers and of the system store.
    pub(super) fn schemas(&self) -> Vec<String> {
        let ledgers = self.ledgers.iter().map(|ledger| ledger.name.as_str().to_owned());
        ledgers.chain([SYSTEM.to_owned()]).collect()
    }
}

/// What the system store has registered. An empty name is no ledger that any command would take.
fn registered(client: &Client) -> Result<Vec<LedgerName>, StorageError> {
    let doing = "read the system store of";
    let rows = client.rows(
        doing,
        &Sql::fixed("SELECT coalesce(ledger::text, '') FROM _system.ledgers ORDER BY ledger::text COLLATE \"C\""),
        &[],
    )?;
    let mut names = Vec::new();
    for row in &rows {
        names.extend(LedgerName::new(client.get::<String>(doing, row, 0)?));
    }
    Ok(names)
}

/// Bytes of a schema's tables with their indexes and large values.
pub(super) fn bytes(client: &Client, schema: &str) -> Result<u64, StorageError> {
    let sum: i64 = client.one(
        "measure the tables of",
        &Sql::fixed(
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'm')",
        ),
        &[Value::Text(schema)],
    )?;
    Ok(u64::try_from(sum).unwrap_or(0))
}
