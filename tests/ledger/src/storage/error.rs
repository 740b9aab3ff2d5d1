//! Why a storage did not do what was asked, in the words of the ledger's drivers.

use super::postgres::PgError;
use super::sqlite;

/// What the database said; shown as the ledger's Go driver shows it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// SQLite.
    #[error("{}", sqlite::go_text(.0))]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL.
    #[error("{0}")]
    Postgres(#[from] PgError),
}

impl Refusal {
    /// Whether a row that must be there once was there already: an id, a reference, or an object of the catalogue.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation),
            Self::Postgres(error) => error.code() == Some("23505"),
        }
    }
}

/// Why the storage did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database says no.
    #[error("{0}")]
    Refused(Refusal),
    /// A migration's statement failed.
    #[error("{}failed to run statement {statement}: {source}", sql.as_ref().map(|sql| format!("statement: {sql}: ")).unwrap_or_default())]
    Migration {
        /// Which, counted from 0.
        statement: usize,
        /// Its text, in the releases that show it.
        sql: Option<String>,
        /// Why.
        source: Refusal,
    },
    /// A reference (or, beside another instance, an id) is taken.
    #[error("conflict error on reference '{reference}'")]
    Conflict {
        /// Which transaction of the batch.
        index: usize,
        /// Its reference.
        reference: String,
    },
    /// An account other than `world` would go below zero.
    #[error("balance.insufficient.{asset}")]
    InsufficientFund {
        /// Which transaction of the batch.
        index: usize,
        /// Of what.
        asset: String,
    },
    /// A row that this release cannot read.
    #[error("{0}")]
    Unreadable(String),
    /// The client hung up.
    #[error("context canceled")]
    Cancelled,
    /// The program panics here.
    #[error("{0}")]
    Panic(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Refused(error.into())
    }
}

impl From<PgError> for StoreError {
    fn from(error: PgError) -> Self {
        Self::Refused(error.into())
    }
}

/// A value that is no JSON, or cannot be made JSON.
impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl StoreError {
    /// Whether a column is not there, which old releases answer in a way of its own.
    #[must_use]
    pub fn lacks_a_column(&self) -> bool {
        match self {
            Self::Refused(Refusal::Sqlite(error)) => sqlite::go_text(error).starts_with("no such column"),
            Self::Refused(Refusal::Postgres(_))
            | Self::Migration { .. }
            | Self::Conflict { .. }
            | Self::InsufficientFund { .. }
            | Self::Unreadable(_)
            | Self::Cancelled
            | Self::Panic(_) => false,
        }
    }

    /// A taken id or reference is a conflict; everything else stays what it is.
    pub(super) fn or_conflict(self, index: usize, reference: &str) -> Self {
        match self {
            Self::Refused(refusal) if refusal.is_taken() => Self::Conflict { index, reference: reference.to_owned() },
            Self::Refused(_)
            | Self::Migration { .. }
            | Self::Conflict { .. }
            | Self::InsufficientFund { .. }
            | Self::Unreadable(_)
            | Self::Cancelled
            | Self::Panic(_) => self,
        }
    }
}

/// A result of the storage.
pub type Stored<T> = Result<T, StoreError>;
