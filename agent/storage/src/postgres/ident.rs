//! SQL with names in it. The schemas that are inspected are foreign and named by data, so this is the one place where text
//! from outside becomes part of a statement, quoted, and the one place that tells sqlx so.

use sqlx::AssertSqlSafe;
use std::borrow::Cow;
use std::fmt;

/// A name in double quotes, as it stands in a statement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ident(String);

impl Ident {
    /// Quotes any name. PostgreSQL itself holds no name with a NUL, so there is none to quote; it is left out.
    pub(crate) fn new(name: &str) -> Self {
        Self(format!("\"{}\"", name.replace('\0', "").replace('"', "\"\"")))
    }
}
impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text in single quotes, for statements that take no parameters (`COMMENT`, `CREATE ROLE`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Literal(String);

impl Literal {
    /// Quotes any text. The `E` form means the same whatever `standard_conforming_strings` says.
    pub(crate) fn new(text: &str) -> Self {
        Self(format!("E'{}'", text.replace('\0', "").replace('\\', "\\\\").replace('\'', "''")))
    }
}

/// What may stand for a `{N}` in a statement.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part<'a> {
    /// A name.
    Name(&'a Ident),
    /// A text.
    Text(&'a Literal),
    /// A statement or a piece of one, made here too.
    Sql(&'a Sql),
    /// A number.
    Number(u64),
}
impl<'a> From<&'a Ident> for Part<'a> {
    fn from(name: &'a Ident) -> Self {
        Self::Name(name)
    }
}
impl<'a> From<&'a Literal> for Part<'a> {
    fn from(text: &'a Literal) -> Self {
        Self::Text(text)
    }
}
impl<'a> From<&'a Sql> for Part<'a> {
    fn from(sql: &'a Sql) -> Self {
        Self::Sql(sql)
    }
}

/// A statement: text from this crate's source, and quoted names and texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sql(Cow<'static, str>);

impl Sql {
    /// A statement without names from outside.
    pub(crate) const fn fixed(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// Puts `parts[N]` where the template says `{N}`, N being one digit. What was put in is not looked at again.
    pub(crate) fn with(template: &'static str, parts: &[Part<'_>]) -> Self {
        let mut text = String::with_capacity(template.len() + 32);
        let mut rest = template;
        while let Some(at) = rest.find('{') {
            let part = match rest.as_bytes().get(at + 1..at + 3) {
                Some([digit @ b'0'..=b'9', b'}']) => parts.get(usize::from(digit - b'0')),
                Some(_) | None => None,
            };
            text.push_str(&rest[..at]);
            match part {
                Some(Part::Name(Ident(quoted)) | Part::Text(Literal(quoted))) => text.push_str(quoted),
                Some(Part::Sql(Sql(sql))) => text.push_str(sql),
                Some(Part::Number(number)) => text.push_str(&number.to_string()),
                None => {
                    text.push('{');
                    rest = &rest[at + 1..];
                    continue;
                }
            }
            rest = &rest[at + 3..];
        }
        text.push_str(rest);
        Self(Cow::Owned(text))
    }

    /// For sqlx.
    pub(super) fn safe(&self) -> AssertSqlSafe<Cow<'static, str>> {
        AssertSqlSafe(self.0.clone())
    }

    /// The text, for programs that read statements.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Ident, Literal, Sql};

    #[test]
    fn what_was_put_into_a_statement_is_not_looked_at_again() {
        let (one, two) = (Ident::new("{1}"), Ident::new("b"));
        let sql = Sql::with("SELECT '{}', {9} FROM {0}.{1}, {0}", &[(&one).into(), (&two).into()]);
        assert_eq!(sql.text(), "SELECT '{}', {9} FROM \"{1}\".\"b\", \"{1}\"");
    }

    proptest::proptest! {
        #[test]
        fn no_name_ends_its_own_quotes(name in "[\"'\\\\%$;{}a-zA-Zé漢\u{1f600} -]{0,30}") {
            let quoted = Ident::new(&name).to_string();
            let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
            assert_eq!(inner.replace("\"\"", "").matches('"').count(), 0, "{quoted}");
            assert_eq!(inner.replace("\"\"", "\""), name);
        }

        #[test]
        fn no_text_ends_its_own_quotes(text in "[\"'\\\\%$;{}a-zé\n -]{0,30}") {
            let Literal(quoted) = Literal::new(&text);
            let inner = quoted.strip_prefix("E'").and_then(|rest| rest.strip_suffix('\'')).unwrap();
            let plain = inner.replace("\\\\", "\u{1}").replace("''", "\u{2}");
            assert!(!plain.contains(['\'', '\\']), "{quoted}");
            assert_eq!(plain.replace('\u{1}', "\\").replace('\u{2}', "'"), text);
        }
    }
}
