//! What can be wrong with a journal, and what to do about it.

use std::io;
use std::path::PathBuf;

/// A journal that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another agent holds it.
    #[error(
        "the journal {} is in use by another agent; one agent runs per state directory: stop the other one, or give this \
         one its own `state`",
        path.display()
    )]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// There is none where one is needed.
    #[error("there is no journal {}; no agent has run with this state directory", path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// It is something else.
    #[error(
        "{} is not a journal of the agent ({why}); move it away, or name another `state` directory in the settings",
        path.display()
    )]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// How that shows.
        why: String,
    },
    /// A newer agent wrote it.
    #[error(
        "the journal {} was written by a newer agent ({what}); install that version again: this one could overlook an \
         order in hand",
        path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// What shows it.
        what: String,
    },
    /// It was a journal once.
    #[error(
        "the journal {} is damaged ({why}); do not start an upgrade: look for worker processes that still run on this \
         host, then move the file and those beside it with the same beginning into a safe place and start the agent, \
         which will make a new journal and be seen as a new incarnation",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// How that shows.
        why: String,
    },
    /// There is no room for it.
    #[error("no room to write the journal {}; make room on its file system, the agent tries again by itself", path.display())]
    Full {
        /// Which file.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot {doing} {}: {source}; check the file system and who owns the state directory", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// SQLite says no.
    #[error("cannot {doing} the journal {}: {source}; check the file system and its permissions", path.display())]
    Sql {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: Box<sqlx::Error>,
    },
}

/// SQLite's result codes that have an answer of their own (sqlite.org/rescode.html); extended codes carry these in
/// their low byte.
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const NOT_A_DATABASE: u32 = 26;

impl JournalError {
    /// For `map_err` of a statement.
    pub(super) fn sql(doing: &'static str, path: &std::path::Path) -> impl FnOnce(sqlx::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            let code =
                source.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
            match code.map(|code| code & 0xff) {
                Some(CORRUPT) => Self::Damaged { path, why: source.to_string() },
                Some(NOT_A_DATABASE) => Self::Foreign { path, why: "it is no SQLite file".to_owned() },
                Some(FULL) => Self::Full { path },
                Some(_) | None => Self::Sql { doing, path, source: Box::new(source) },
            }
        }
    }

    /// For `map_err` of a file operation.
    pub(super) fn io(doing: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}
