//! A SQLite ledger as a [`RowSource`], whichever its layout.

use super::layout::Layout;
use super::open::Ledger;
use super::{documents, split};
use crate::StorageError;
use crate::digest::rows::{BalanceRow, LoggedTransaction, MetadataRow, PostingRow, RowSource, Scope, TransactionRow};

impl RowSource for Ledger {
    fn transactions(&self, scope: &mut Scope<'_, TransactionRow>) -> Result<(), StorageError> {
        // These three columns are the same in every layout.
        self.reading(split::transactions(&self.connection, &self.path, scope))
    }
    fn postings(&self, scope: &mut Scope<'_, PostingRow>) -> Result<(), StorageError> {
        self.reading(match self.layout {
            Layout::Split => split::postings(&self.connection, &self.path, scope),
            Layout::Documents | Layout::Dated => documents::postings(&self.connection, &self.path, scope),
        })
    }
    fn balances(&self, scope: &mut Scope<'_, BalanceRow>) -> Result<(), StorageError> {
        self.reading(match self.layout {
            Layout::Split => split::balances(&self.connection, &self.path, scope),
            Layout::Documents | Layout::Dated => documents::balances(&self.connection, &self.path, scope),
        })
    }
    fn account_metadata(&self, scope: &mut Scope<'_, MetadataRow>) -> Result<(), StorageError> {
        self.reading(match self.layout {
            Layout::Split => split::account_metadata(&self.connection, &self.path, scope),
            Layout::Documents | Layout::Dated => documents::account_metadata(&self.connection, &self.path, scope),
        })
    }
    fn transaction_metadata(&self, scope: &mut Scope<'_, MetadataRow>) -> Result<(), StorageError> {
        self.reading(match self.layout {
            Layout::Split => split::transaction_metadata(&self.connection, &self.path, scope),
            Layout::Documents | Layout::Dated => documents::transaction_metadata(&self.connection, &self.path, scope),
        })
    }
    fn balances_of_postings(&self, scope: &mut Scope<'_, BalanceRow>) -> Result<(), StorageError> {
        self.reading(match self.layout {
            Layout::Split => split::balances(&self.connection, &self.path, scope),
            Layout::Documents | Layout::Dated => documents::balances_of_postings(&self.connection, &self.path, scope),
        })
    }
    fn has_log(&self) -> bool {
        !self.layout.is_legacy()
    }
    fn logged(&self, scope: &mut Scope<'_, LoggedTransaction>) -> Result<(), StorageError> {
        self.reading(documents::logged(&self.connection, &self.path, scope))
    }
    fn entered(&self, scope: &mut Scope<'_, LoggedTransaction>) -> Result<(), StorageError> {
        self.reading(match self.layout {
            Layout::Split => split::entered(&self.connection, &self.path, scope),
            Layout::Documents | Layout::Dated => documents::entered(&self.connection, &self.path, scope),
        })
    }
}
