//! PostgreSQL's answers as errors that a person can act on, by class of SQLSTATE (appendix A of its manual).

use crate::StorageError;
use sqlx::postgres::PgDatabaseError;
use std::time::Duration;

/// What a connection is to, for messages. Never with a secret.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Role, database, host and port.
    pub(crate) what: String,
    /// The role, for the grants that messages name.
    pub(crate) role: String,
}

/// A refusal in the server's words: only the primary message. Its detail may hold a row.
struct Class {
    remedy: &'static str,
    transient: bool,
}

/// What to do about an SQLSTATE, and whether the same again may pass.
fn class(code: &str) -> Class {
    let lasting = |remedy| Class { remedy, transient: false };
    let passing = |remedy| Class { remedy, transient: true };
    match code {
        "28P01" | "28000" => {
            lasting("check user and password in the service's settings, and what pg_hba.conf lets in from this host")
        }
        "3D000" => lasting("the database does not exist: check its name in the service's connection string"),
        "42501" => lasting("give the role the right that is named, or name a role that has it"),
        "25006" => {
            lasting("the server or the session is read-only: name the primary in the service's connection string")
        }
        "53300" => {
            passing("every connection is taken: wait until some end, or raise max_connections or the role's limit")
        }
        "53100" => lasting("the disk of the database's server is full: free some space there, then try again"),
        "55P03" => {
            passing("somebody holds a lock that does not fit beside this: pg_locks says who; wait, or end that session")
        }
        "55006" => passing("somebody is still connected to it: pg_stat_activity says who"),
        "57014" => passing("somebody cancelled it: find out who, then try again"),
        "57P01" | "57P02" | "57P03" | "57P05" => {
            passing("the server was stopped or restarts: wait until it answers, then try again")
        }
        "40001" | "40P01" | "XX000" => passing("it collided with another session: try again"),
        "42P01" | "42703" | "3F000" => {
            lasting("the tables changed meanwhile, or are not a ledger's: look at the storage again")
        }
        "XX001" | "XX002" => {
            lasting("data or an index is damaged: restore it from the operator's own backup before an upgrade")
        }
        other => match other.get(..2) {
            Some("08") => passing("the connection was lost: see that the server runs, then try again"),
            Some("53") => passing("the server lacks memory or another resource: see its log, then try again"),
            Some(_) | None => lasting("see the server's log, then try again"),
        },
    }
}

/// For `map_err`.
pub(crate) fn postgres(doing: &'static str, place: &Place) -> impl FnOnce(sqlx::Error) -> StorageError {
    let place = place.clone();
    move |error| convert(doing, &place, &error)
}

/// The server gave no answer in time.
pub(crate) fn silent(doing: &'static str, place: &Place, waited: Duration) -> StorageError {
    StorageError::Postgres {
        doing,
        what: place.what.clone(),
        message: format!("no answer within {} s", waited.as_secs()),
        remedy: "see that the server runs and that no firewall lies between, then try again",
        transient: true,
    }
}

/// Something that the server said is not what it can be.
pub(crate) fn strange(doing: &'static str, place: &Place, message: String) -> StorageError {
    StorageError::Postgres {
        doing,
        what: place.what.clone(),
        message,
        remedy: "see whether something between here and the server changes what it says",
        transient: false,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "sqlx's kinds, not ours")]
fn convert(doing: &'static str, place: &Place, error: &sqlx::Error) -> StorageError {
    let failed = |message: String, remedy, transient| StorageError::Postgres {
        doing,
        what: place.what.clone(),
        message,
        remedy,
        transient,
    };
    match error {
        sqlx::Error::Database(database) => match database.try_downcast_ref::<PgDatabaseError>() {
            Some(answer) => {
                let Class { remedy, transient } = class(answer.code());
                let grant = match answer.code() {
                    "42501" => grant(answer.message(), &place.role).map(|sql| format!(" (missing: {sql})")),
                    _ => None,
                };
                let message = format!("{} (SQLSTATE {}){}", answer.message(), answer.code(), grant.unwrap_or_default());
                failed(message, remedy, transient)
            }
            None => failed(database.message().to_owned(), "see the server's log, then try again", false),
        },
        sqlx::Error::Io(source) => failed(
            source.to_string(),
            "see that the server runs and can be reached from this host, then try again",
            true,
        ),
        // A server that goes away in the middle of a handshake says anything.
        sqlx::Error::Protocol(what) => failed(
            what.clone(),
            "the connection broke off, or something between here and the server changes what it says: try again",
            true,
        ),
        sqlx::Error::Tls(source) => failed(
            format!("TLS: {source}"),
            "check sslmode and the certificates in the service's connection string",
            false,
        ),
        // Whatever else it is, its text is the driver's and holds no settings.
        other => failed(other.to_string(), "try again; if it stays, see the server's log", false),
    }
}

/// The command that gives what a message of class 42501 says is denied, where it says it in the usual words.
fn grant(message: &str, role: &str) -> Option<String> {
    let rest = message.strip_prefix("permission denied for ")?;
    let (kind, name) = rest.split_once(' ')?;
    let role = super::ident::Ident::new(role);
    match kind {
        "schema" => Some(format!("GRANT USAGE ON SCHEMA {} TO {role}", super::ident::Ident::new(name))),
        "table" | "view" => Some(format!("GRANT SELECT ON the {kind} {name} TO {role}")),
        "function" => Some(format!("GRANT EXECUTE ON FUNCTION {name} TO {role}")),
        "database" => Some(format!("GRANT CREATE ON DATABASE {} TO {role}", super::ident::Ident::new(name))),
        _ => None,
    }
}
