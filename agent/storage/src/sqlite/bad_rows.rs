//! Rows that make the ledger's own migration from the old layout fail.
//!
//! It builds JSON by joining texts, so a reference or a metadata key that is no JSON string once it stands between quotes
//! ends it: on SQLite with a panic, on PostgreSQL with `invalid input syntax for type json`. Measured for `"` and control
//! characters; a backslash that begins no JSON escape follows from the same cause.

use super::layout::Layout;
use super::open::Ledger;
use super::rows::plain;
use crate::StorageError;
use crate::digest::json::Json;
use cutover_vocabulary::storage::BadRow;

impl Ledger {
    /// Lists bad rows, at most `cap`. Changes nothing. The new layouts have none: their migrations rebuild no JSON.
    pub fn bad_rows(&self, cap: usize) -> Result<Vec<BadRow>, StorageError> {
        let mut found = Vec::new();
        match self.layout {
            Layout::Documents | Layout::Dated => {}
            Layout::Split => {
                self.collect(
                    "SELECT 'reference of transaction ' || id, reference FROM transactions WHERE reference IS NOT NULL",
                    cap,
                    &mut found,
                )?;
                self.collect(
                    "SELECT 'metadata key of ' || meta_target_type || ' ' || meta_target_id, meta_key FROM metadata",
                    cap,
                    &mut found,
                )?;
            }
        }
        Ok(found)
    }

    fn collect(&self, sql: &str, cap: usize, found: &mut Vec<BadRow>) -> Result<(), StorageError> {
        let failed = || StorageError::sqlite("look for bad rows in", &self.path);
        let mut statement = self.connection.prepare(sql).map_err(failed())?;
        let mut rows = statement.query([]).map_err(failed())?;
        while found.len() < cap
            && let Some(row) = rows.next().map_err(failed())?
        {
            let text = plain(row, 1).map_err(failed())?;
            if breaks(&text) {
                found.push(BadRow { what: plain(row, 0).map_err(failed())?, text });
            }
        }
        Ok(())
    }
}

/// Whether a text between quotes is no JSON string.
fn breaks(text: &str) -> bool {
    // Most texts need no parser.
    if !text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        return false;
    }
    !matches!(Json::parse(&format!("\"{text}\"")), Some(Json::Text(_)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_breaks_a_json_string_is_bad() {
        for (text, bad) in [
            ("plain é", false),
            ("a\"b", true),
            ("a\nb", true),
            ("\u{1}", true),
            ("a\\b", false),
            ("a\\q", true),
            ("a\\", true),
        ] {
            assert_eq!(super::breaks(text), bad, "{text:?}");
        }
    }
}
