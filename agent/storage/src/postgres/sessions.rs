//! Who else is on the database, told apart by what they could do, from `pg_stat_activity`, `pg_locks` and
//! `pg_prepared_xacts`.

use super::PostgresStorage;
use super::address::OURS;
use super::client::{Client, Value, is_own};
use super::ident::{Ident, Sql};
use crate::StorageError;
use cutover_vocabulary::Timestamp;
use cutover_vocabulary::storage::{SessionKind, StorageSession};

/// One session, or one prepared transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Who.
    pub(super) session: StorageSession,
    /// Whose.
    pub(super) whose: Whose,
    /// Whether it holds a lock on one of the relations that were asked about.
    pub(super) holds: bool,
    /// Whether it is in a transaction.
    pub(super) works: bool,
    /// Whether the server keeps from us what it does.
    pub(super) hidden: bool,
}

/// Whose a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// A connection of this process.
    Own,
    /// A look of ours, in another process: it reads, and ends by itself.
    Look,
    /// Another piece of work of ours: another lane, or what a killed worker left behind.
    Ours,
    /// Not ours.
    Stranger,
}

/// Sessions of this database with what they may do to the tables of some schemas. A role counts as able to do what any role
/// can that it is a member of, whether it inherits the right or would have to `SET ROLE`.
///
/// Autovacuum and walsenders are nobody: they give way, or read the log. Parallel workers belong to a session that is listed.
const SESSIONS: &str = "WITH here AS (SELECT oid FROM pg_database WHERE datname = current_database()), \
    things AS (SELECT c.oid, c.relowner, n.nspowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p')), \
    activity AS MATERIALIZED (SELECT * FROM pg_stat_activity WHERE datname = current_database() AND usesysid IS NOT NULL \
               AND coalesce(backend_type, '') NOT IN ('walsender', 'autovacuum worker', 'parallel worker') \
               AND pid <> pg_backend_pid()), \
    writers AS MATERIALIZED (SELECT s.role FROM (SELECT DISTINCT usesysid AS role FROM activity) s WHERE EXISTS ( \
               SELECT FROM pg_roles g WHERE pg_has_role(s.role, g.oid, 'MEMBER') AND (g.rolsuper OR EXISTS ( \
                 SELECT FROM things t WHERE g.oid IN (t.relowner, t.nspowner) \
                 OR has_table_privilege(g.oid, t.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') \
                 OR has_any_column_privilege(g.oid, t.oid, 'INSERT, UPDATE'))))) \
    SELECT a.pid, a.usename::text, coalesce(a.application_name, ''), \
           coalesce(host(a.client_addr) || ':' || a.client_port, CASE WHEN a.backend_type IS NULL THEN 'unknown' ELSE 'local' END), \
           a.backend_type IS NULL, \
           EXISTS (SELECT FROM pg_locks l JOIN things t ON t.oid = l.relation WHERE l.pid = a.pid \
                   AND l.locktype = 'relation' AND l.database = (SELECT oid FROM here)), \
           EXISTS (SELECT FROM writers w WHERE w.role = a.usesysid), \
           a.xact_start IS NOT NULL, \
           (extract(epoch FROM a.backend_start) * 1000)::bigint \
    FROM activity a ORDER BY a.pid";

/// Looks at every session but the one that asks. `schemas` are those whose tables matter.
pub(super) fn look(storage: &PostgresStorage, client: &Client, schemas: &[String]) -> Result<Vec<Seen>, StorageError> {
    let doing = "look at the sessions on";
    let mut all = Vec::new();
    for row in client.rows(doing, &Sql::fixed(SESSIONS), &[Value::Texts(schemas)])? {
        let pid: i32 = client.get(doing, &row, 0)?;
        let role: String = client.get(doing, &row, 1)?;
        let application: String = client.get(doing, &row, 2)?;
        let holds: bool = client.get(doing, &row, 5)?;
        let is_ledger = role == storage.role();
        let kind = match (is_ledger, holds, client.get(doing, &row, 6)?) {
            (true, _, _) => SessionKind::Ledger,
            (false, true, _) => SessionKind::LockHolder,
            (false, false, true) => SessionKind::Writer,
            (false, false, false) => SessionKind::Reader,
        };
        let whose = if !is_ledger || !application.starts_with(OURS) {
            Whose::Stranger
        } else if is_own(pid) {
            Whose::Own
        } else if application == super::application(super::look::LOOK) {
            Whose::Look
        } else {
            Whose::Ours
        };
        let client_text = client.get(doing, &row, 3)?;
        let since: Option<i64> = client.get(doing, &row, 8)?;
        let session = StorageSession {
            pid: u32::try_from(pid).unwrap_or(0),
            role,
            client: client_text,
            application,
            kind,
            since: since.map(Timestamp::from_millis),
        };
        let (hidden, works) = (client.get(doing, &row, 4)?, client.get(doing, &row, 7)?);
        all.push(Seen { session, whose, holds, works, hidden });
    }
    all.extend(prepared(client)?);
    Ok(all)
}

/// Prepared transactions have no session, hold their locks for ever, and end only by somebody's command.
fn prepared(client: &Client) -> Result<Vec<Seen>, StorageError> {
    let doing = "look at the prepared transactions of";
    let rows = client.rows(
        doing,
        &Sql::fixed(
            "SELECT gid, owner::text, (extract(epoch FROM prepared) * 1000)::bigint FROM pg_prepared_xacts \
             WHERE database = current_database() ORDER BY gid",
        ),
        &[],
    )?;
    let seen = |row| {
        let since: Option<i64> = client.get(doing, row, 2)?;
        let session = StorageSession {
            pid: 0,
            role: client.get(doing, row, 1)?,
            client: "a prepared transaction".to_owned(),
            application: client.get(doing, row, 0)?,
            kind: SessionKind::LockHolder,
            since: since.map(Timestamp::from_millis),
        };
        Ok(Seen { session, whose: Whose::Stranger, holds: true, works: true, hidden: false })
    };
    rows.iter().map(seen).collect()
}

impl Seen {
    /// Neither ours nor declared by role or `application_name` not to write.
    pub(super) fn is_stranger(&self, exceptions: &[String]) -> bool {
        match self.whose {
            Whose::Own | Whose::Look | Whose::Ours => false,
            Whose::Stranger => {
                let StorageSession { role, application, .. } = &self.session;
                !exceptions.iter().any(|name| name == role || (self.session.pid != 0 && name == application))
            }
        }
    }
}

/// What could not be looked at, with the grant that changes it.
pub(super) fn not_visible(storage: &PostgresStorage, seen: &[Seen], exceptions: &[String]) -> Vec<String> {
    let hidden: Vec<&Seen> = seen.iter().filter(|seen| seen.hidden && seen.is_stranger(exceptions)).collect();
    let Some(first) = hidden.first() else { return Vec::new() };
    vec![format!(
        "what {} sessions of other roles do on database {}, for example session {} of role {}: {}",
        hidden.len(),
        cutover_vocabulary::name::shown(storage.database()),
        first.session.pid,
        cutover_vocabulary::name::shown(&first.session.role),
        stats_grant(storage.role()),
    )]
}

/// The command that lets a role see what other roles' sessions do.
pub(super) fn stats_grant(role: &str) -> String {
    format!("GRANT pg_read_all_stats TO {}", Ident::new(role))
}
