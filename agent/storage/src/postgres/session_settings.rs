//! What a session of the service begins with: what the server, the database, the role and the connection string set for it.

use super::PostgresStorage;
use super::client::{Client, Value};
use super::ident::Sql;
use super::programs::Program;
use super::tools::Tools;
use crate::StorageError;
use cutover_vocabulary::storage::SessionSetting;

const DOING: &str = "ask what a session begins with on";

/// Limits of time that could end a migration or a long look. None of them holds a secret.
const LIMITS: [&str; 4] =
    ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"];

/// `reset_val` is what the session began with, although [`SESSION`](super::address::SESSION) was set in it since. Who set it is
/// told apart by `pg_db_role_setting`, in PostgreSQL's own order: the strongest first.
const LIMITS_SET: &str = "SELECT s.name::text, s.reset_val || coalesce(' ' || s.unit, ''), coalesce((\
    SELECT CASE WHEN d.setrole <> 0 AND d.setdatabase <> 0 THEN 'database user' WHEN d.setrole <> 0 THEN 'user' \
      WHEN d.setdatabase <> 0 THEN 'database' ELSE 'global' END \
    FROM pg_db_role_setting d CROSS JOIN LATERAL unnest(d.setconfig) c(text) \
    WHERE d.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user)) \
      AND d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) \
      AND lower(split_part(c.text, '=', 1)) = s.name \
    ORDER BY d.setrole = 0, d.setdatabase = 0 LIMIT 1), 'configuration file') \
    FROM pg_settings s WHERE s.name = ANY($1) AND s.reset_val <> '0' ORDER BY 1";

/// The time zone, one line.
const ZONE: &str = "SELECT setting || '|' || source FROM pg_catalog.pg_settings WHERE name = 'TimeZone'";

/// Asks. Limits that are not set are left out.
pub(super) fn ask(storage: &PostgresStorage, client: &Client) -> Result<Vec<SessionSetting>, StorageError> {
    let mut all: Vec<SessionSetting> = zone(storage)?.into_iter().collect();
    let names = LIMITS.map(str::to_owned);
    for row in client.rows(DOING, &Sql::fixed(LIMITS_SET), &[Value::Texts(&names)])? {
        let name: String = client.get(DOING, &row, 0)?;
        // What the connection string says is stronger than all of them, and no news to whoever wrote it.
        if !storage.address.session().any(|(said, _)| said.eq_ignore_ascii_case(&name)) {
            all.push(SessionSetting { name, value: client.get(DOING, &row, 1)?, source: client.get(DOING, &row, 2)? });
        }
    }
    Ok(all)
}

/// Asked with `psql`, because it begins as the service's own driver does. Our own connections say a time zone at their start,
/// and PostgreSQL keeps no trace of what would have held without it.
///
/// None where there is no `psql` that fits: that is an obstacle of its own, which blocks. A `psql` that is not let in is an
/// error: `pg_dump` goes the same way, in the downtime.
fn zone(storage: &PostgresStorage) -> Result<Option<SessionSetting>, StorageError> {
    if Tools::find(storage.server()).is_err() {
        return Ok(None);
    }
    let args = ["--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--no-password", "--command", ZONE];
    let said = Program::Psql.ask(storage, &storage.service_environment("look"), args)?;
    let line = said.lines().next().unwrap_or_default().trim();
    Ok(line.split_once('|').map(|(value, source)| SessionSetting {
        name: "TimeZone".to_owned(),
        value: value.to_owned(),
        source: source.to_owned(),
    }))
}
