//! A session for whoever looks at a storage from outside: the contract suite, tests.

use super::error::PgError;
use super::session::{Session, Sessions};
use super::target::Target;

/// A session with plain SQL, in no transaction unless one is begun. Closed when dropped.
pub struct Looker(Session);

impl Looker {
    /// Opens it. Not from asynchronous code.
    ///
    /// # Errors
    /// PostgreSQL, or a string that cannot be read.
    pub fn connect(connection: &str) -> Result<Self, PgError> {
        let mut session = Sessions::new(Target::parse(connection).map_err(PgError::Broken)?).take()?;
        session.spoil();
        Ok(Self(session))
    }

    /// Runs statements.
    ///
    /// # Errors
    /// PostgreSQL.
    pub fn run(&mut self, sql: &str) -> Result<(), PgError> {
        self.0.batch(sql.to_owned())
    }

    /// Each row as its texts, NULL as `NULL`.
    ///
    /// # Errors
    /// PostgreSQL.
    pub fn rows(&mut self, sql: &str) -> Result<Vec<Vec<String>>, PgError> {
        self.0.texts(sql.to_owned())
    }

    /// The first column of the first row; `no row` without one.
    ///
    /// # Errors
    /// PostgreSQL.
    pub fn value(&mut self, sql: &str) -> Result<String, PgError> {
        Ok(self
            .rows(sql)?
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next())
            .unwrap_or_else(|| "no row".to_owned()))
    }
}
