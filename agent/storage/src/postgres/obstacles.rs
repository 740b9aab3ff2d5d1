//! What a person must change before a database can be upgraded from here, each with the very command.

use super::PostgresStorage;
use super::client::{Client, Value};
use super::ident::{Ident, Sql};
use super::identity::not_writable;
use super::inventory::Inventory;
use super::sessions::stats_grant;
use super::tools::Tools;
use crate::StorageError;
use cutover_vocabulary::Version;
use cutover_vocabulary::name::shown;
use cutover_vocabulary::storage::{Obstacle, ObstacleKind};

const DOING: &str = "ask about the rights of the role on";

/// What the ledger's role may do.
const RIGHTS: &str = "SELECT has_database_privilege(current_database(), 'CREATE'), \
    coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = 'public'), false), \
    (SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user), \
    pg_has_role('pg_read_all_stats', 'USAGE')";

/// An extension: there, else what creating it here takes.
const EXTENSION: &str = "SELECT CASE WHEN EXISTS (SELECT FROM pg_extension WHERE extname = $1) THEN 'there' \
    WHEN NOT EXISTS (SELECT FROM pg_available_extension_versions WHERE name = $1) THEN 'missing' \
    WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND rolsuper) \
      OR EXISTS (SELECT FROM pg_available_extension_versions WHERE name = $1 AND (trusted OR NOT superuser)) THEN 'creatable' \
    ELSE 'superuser' END";

/// Tables that the role does not own, directly or as a member of the owner: a migration alters and drops them.
const FOREIGN_OWNERS: &str = "SELECT n.nspname::text, pg_get_userbyid(c.relowner)::text, count(*) FROM pg_class c \
    JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p') AND NOT pg_has_role(c.relowner, 'USAGE') GROUP BY 1, 2 ORDER BY 1, 2";

/// Everything in the way. Changes nothing.
pub(super) fn find(
    storage: &PostgresStorage,
    client: &Client,
    inventory: &Inventory,
) -> Result<Vec<Obstacle>, StorageError> {
    let role = Ident::new(storage.role());
    let database = Ident::new(storage.database());
    let mut found = Vec::new();
    let mut note = |kind, what: String, remedy: String| found.push(Obstacle { kind, what, remedy, from: None });
    if let Some(why) = not_writable(client)? {
        note(
            ObstacleKind::NotWritable,
            format!("database {} cannot be written to: {why}", shown(storage.database())),
            "name the primary in storage.postgres.conn_string, or set default_transaction_read_only to off".to_owned(),
        );
    }
    for row in client.rows(DOING, &Sql::fixed(RIGHTS), &[])? {
        let mut right = |column, what: &str, remedy: String| -> Result<(), StorageError> {
            if !client.get::<bool>(DOING, &row, column)? {
                let what = format!("role {} may not {what}", shown(storage.role()));
                note(ObstacleKind::MissingGrant, what, remedy);
            }
            Ok(())
        };
        right(
            0,
            "create schemas in the database, which the system store and a restore need",
            format!("GRANT CREATE ON DATABASE {database} TO {role}"),
        )?;
        right(
            1,
            "create in the schema public, where releases 1.4.x put a function and extensions go",
            format!("GRANT CREATE ON SCHEMA public TO {role}"),
        )?;
        right(
            2,
            "create databases, which the proof of a recovery point and a rehearsal need",
            format!("ALTER ROLE {role} CREATEDB"),
        )?;
        right(3, "see what other roles' sessions do; not visible is not quiet", stats_grant(storage.role()))?;
    }
    for row in client.rows(DOING, &Sql::fixed(FOREIGN_OWNERS), &[Value::Texts(&inventory.schemas())])? {
        let schema: String = client.get(DOING, &row, 0)?;
        let owner: String = client.get(DOING, &row, 1)?;
        let count: i64 = client.get(DOING, &row, 2)?;
        note(
            ObstacleKind::MissingGrant,
            format!(
                "{count} tables in schema {} belong to role {}, so role {} cannot migrate them",
                shown(&schema),
                shown(&owner),
                shown(storage.role())
            ),
            format!("GRANT {} TO {role}", Ident::new(&owner)),
        );
    }
    if let Err(StorageError::Tool { program: _, message, remedy }) = Tools::find(storage.server()) {
        let what = format!("pg_dump, pg_restore and psql do not fit the server: {message}");
        note(ObstacleKind::MissingTool, what, remedy.to_owned());
    }
    found.extend(extensions(client, &database)?);
    Ok(found)
}

/// Extensions that the ledger creates and cannot create here, each with the first target that needs it.
fn extensions(client: &Client, database: &Ident) -> Result<Vec<Obstacle>, StorageError> {
    let mut found = Vec::new();
    // Seen with the real binaries. No target that can be planned is older than those that need the first.
    for (extension, from) in [("pgcrypto", None), ("pg_trgm", Some(Version::new(1, 8, 0)))] {
        let state: String = client.one(DOING, &Sql::fixed(EXTENSION), &[Value::Text(extension)])?;
        let (what, remedy) = match state.as_str() {
            "missing" => (
                format!("the server has no extension {extension}, which the ledger creates"),
                "install PostgreSQL's contrib modules on the database's server (Debian: in the package postgresql)"
                    .to_owned(),
            ),
            "superuser" => (
                format!("only a superuser can create the extension {extension} on this server"),
                format!("as a superuser, in database {database}: CREATE EXTENSION {extension}"),
            ),
            // The server's answer is one of our own words; `there` and `creatable` are no obstacle.
            _ => continue,
        };
        found.push(Obstacle { kind: ObstacleKind::MissingExtension, what, remedy, from });
    }
    Ok(found)
}
