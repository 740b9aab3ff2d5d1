//! Rows that make the ledger's own migration from the old layout fail, with SQLSTATE 22P02 or 22P05.
//!
//! It builds JSON by joining texts and reads it as `jsonb`. So a reference or a metadata key that is no JSON string once it
//! stands between quotes ends it (measured for `"` and control characters), and so does a zero character, which `jsonb`
//! refuses in any spelling, in a value too.

use super::layout::Layout;
use super::ledger::Ledger;
use super::rows::Fields;
use crate::StorageError;
use crate::digest::json::Json;
use crate::digest::rows::RowStream;
use cutover_vocabulary::storage::BadRow;

/// The server keeps back what cannot be bad, which is nearly everything.
const SUSPECTS: &str = "SELECT 'reference of transaction ' || id, reference, false FROM {0}.transactions \
      WHERE reference ~ '[\"\\\\[:cntrl:]]' \
    UNION ALL SELECT 'metadata key of ' || meta_target_type || ' ' || meta_target_id, meta_key, false FROM {0}.metadata \
      WHERE meta_key ~ '[\"\\\\[:cntrl:]]' \
    UNION ALL SELECT 'metadata value of ' || meta_target_type || ' ' || meta_target_id || ' key ' || meta_key, meta_value, true \
      FROM {0}.metadata WHERE position('\\u0000' IN meta_value) > 0";

impl Ledger {
    /// Lists bad rows, at most `cap`. Changes nothing. The new layouts have none: their migrations rebuild no JSON.
    ///
    /// # Errors
    /// [`StorageError::Postgres`].
    pub fn bad_rows(&self, cap: usize) -> Result<Vec<BadRow>, StorageError> {
        let mut found = Vec::new();
        match self.layout() {
            Layout::Documents => {}
            Layout::Split => self.stream(
                SUSPECTS,
                |row: &Fields<'_>, out: &mut Vec<BadRow>| {
                    let text = row.plain(1)?;
                    let is_value = row.text(2)? == Some("t");
                    if if is_value { refused(&text) } else { refused(&format!("\"{text}\"")) } {
                        out.push(BadRow { what: row.plain(0)?, text });
                    }
                    Ok(())
                },
                &mut |rows: &mut dyn RowStream<BadRow>| {
                    while found.len() < cap {
                        rows.advance()?;
                        let Some(bad) = rows.current() else { break };
                        found.push(bad.clone());
                    }
                    Ok(())
                },
            )?,
        }
        Ok(found)
    }
}

/// Whether `jsonb` refuses a text.
fn refused(text: &str) -> bool {
    fn has_zero(json: &Json) -> bool {
        match json {
            Json::Null | Json::Bool(_) | Json::Number(_) => false,
            Json::Text(text) => text.contains('\0'),
            Json::List(items) => items.iter().any(has_zero),
            Json::Object(members) => members.iter().any(|(key, value)| key.contains('\0') || has_zero(value)),
        }
    }
    Json::parse(text).is_none_or(|json| has_zero(&json))
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_jsonb_refuses_is_bad() {
        for (text, bad) in [
            (r#""plain é""#, false),
            (r#""a"b""#, true),
            ("\"a\nb\"", true),
            (r#""a\b""#, false),
            (r#""a\q""#, true),
            (r#""a\""#, true),
            (r#""a\u0000""#, true),
            (r#""a\\u0000""#, false),
            (r#"{"k":["\u0000"]}"#, true),
            (r#"{"k\u0000":1}"#, true),
        ] {
            assert_eq!(super::refused(text), bad, "{text}");
        }
    }
}
