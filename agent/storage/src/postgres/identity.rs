//! Which database it is, told by what cannot be spelt in two ways, and whether it may be changed.

use super::client::Client;
use super::error::strange;
use super::ident::Sql;
use crate::StorageError;
use cutover_vocabulary::storage::StorageIdentity;

const DOING: &str = "ask for the identity of";

/// System identifier, timeline, database. `pg_control_system` may be called by everybody unless somebody took that away
/// (seen with an ordinary role on PostgreSQL 15); then the error names the grant.
///
/// The timeline is that of the newest WAL: the last checkpoint may be from before a promotion. A server in recovery writes
/// none, so there it is the checkpoint's.
pub(super) fn identify(client: &Client) -> Result<StorageIdentity, StorageError> {
    let rows = client.rows(
        DOING,
        &Sql::fixed(
            "SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()), \
                    CASE WHEN pg_catalog.pg_is_in_recovery() \
                         THEN (SELECT timeline_id::text FROM pg_catalog.pg_control_checkpoint()) \
                         ELSE pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END, \
                    pg_catalog.pg_is_in_recovery(), \
                    pg_catalog.current_database()::text",
        ),
        &[],
    )?;
    let [row] = rows.as_slice() else {
        return Err(strange(DOING, client.place(), "no identity".to_owned()));
    };
    let text: String = client.get(DOING, row, 1)?;
    let in_recovery: bool = client.get(DOING, row, 2)?;
    let timeline = u32::from_str_radix(&text, if in_recovery { 10 } else { 16 })
        .map_err(|_| strange(DOING, client.place(), format!("the timeline {text:?}")))?;
    Ok(StorageIdentity::Postgres {
        system_identifier: client.get(DOING, row, 0)?,
        timeline,
        database: client.get(DOING, row, 3)?,
    })
}

/// The server's major version.
pub(super) fn major(client: &Client) -> Result<u32, StorageError> {
    let sql = Sql::fixed("SELECT pg_catalog.current_setting('server_version_num')::int / 10000");
    let major: i32 = client.one("ask for the version of", &sql, &[])?;
    Ok(u32::try_from(major).unwrap_or(0))
}

/// Why the database cannot be written to; none where it can.
pub(super) fn not_writable(client: &Client) -> Result<Option<&'static str>, StorageError> {
    let doing = "ask about writing to";
    if client.one(doing, &Sql::fixed("SELECT pg_catalog.pg_is_in_recovery()"), &[])? {
        return Ok(Some("the server is in recovery: it is a standby, or is being restored"));
    }
    let read_only: String =
        client.one(doing, &Sql::fixed("SELECT pg_catalog.current_setting('default_transaction_read_only')"), &[])?;
    Ok((read_only == "on").then_some("default_transaction_read_only is on for this server, database or role"))
}
