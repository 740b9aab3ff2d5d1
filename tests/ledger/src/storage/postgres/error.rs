//! PostgreSQL's refusals in the words of pgx, the ledger's driver.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// What PostgreSQL, or the way to it, said.
#[derive(Debug, thiserror::Error)]
pub enum PgError {
    /// No session.
    #[error("failed to connect to `{target}`: {why}")]
    Connect {
        /// `host=… user=… database=…`.
        target: String,
        /// `dial error (…)`, `server error (…)`.
        why: String,
    },
    /// The server refused a statement.
    #[error("{severity}: {message} (SQLSTATE {code})")]
    Server {
        /// ERROR, FATAL, PANIC.
        severity: &'static str,
        /// The message alone: pgx shows neither detail nor hint.
        message: String,
        /// Five letters.
        code: String,
    },
    /// NULL where this release wants a text.
    #[error("{0}")]
    Scan(String),
    /// The session broke.
    #[error("{0}")]
    Broken(String),
}

impl PgError {
    /// The SQLSTATE, where the server gave one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Server { code, .. } => Some(code),
            Self::Connect { .. } | Self::Scan(_) | Self::Broken(_) => None,
        }
    }

    /// Whether the session is of no more use. 0A000 is a prepared statement whose table was replaced by another of its name (a
    /// restored schema): it would fail for ever.
    pub(super) fn ends_the_session(&self) -> bool {
        match self {
            Self::Server { severity, code, .. } => *severity != "ERROR" || code == "0A000",
            Self::Scan(_) => false,
            Self::Connect { .. } | Self::Broken(_) => true,
        }
    }
}

impl From<sqlx::Error> for PgError {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(error) = &error
            && let Some(error) = error.try_downcast_ref::<PgDatabaseError>()
        {
            let severity = match error.severity() {
                PgSeverity::Fatal => "FATAL",
                PgSeverity::Panic => "PANIC",
                PgSeverity::Error
                | PgSeverity::Warning
                | PgSeverity::Notice
                | PgSeverity::Debug
                | PgSeverity::Info
                | PgSeverity::Log => "ERROR",
            };
            let (message, code) = (error.message().to_owned(), error.code().to_owned());
            return Self::Server { severity, message, code };
        }
        if let sqlx::Error::ColumnDecode { index, .. } = &error {
            return Self::Scan(format!("can't scan into dest[{index}]: cannot assign NULL to *string"));
        }
        if let sqlx::Error::Io(error) = &error
            && error.kind() == std::io::ErrorKind::UnexpectedEof
        {
            return Self::Broken("unexpected EOF".to_owned());
        }
        Self::Broken(error.to_string())
    }
}

/// Why a session could not be had, as pgx says it.
pub(super) fn connect_error(error: sqlx::Error, target: &str, dialled: &str) -> PgError {
    let why = if let sqlx::Error::Io(error) = &error {
        let text = error.to_string();
        let lower = text.split(" (os error").next().unwrap_or_default().to_lowercase();
        if text.contains("failed to lookup address") {
            format!("hostname resolving error ({lower})")
        } else {
            format!("dial error (dial {dialled}: connect: {lower})")
        }
    } else {
        format!("server error ({})", PgError::from(error))
    };
    PgError::Connect { target: target.to_owned(), why }
}
