//! The words of a unit's commands: what systemd makes of them when it starts one, and how they are written into a unit file
//! (man systemd.service, "Command lines"; man systemd.syntax, "Quoting").

use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The arguments as the process gets them: `${NAME}` is replaced inside a word, a word that is `$NAME` is replaced by none or
/// more words, `$$` is a dollar sign. A variable that is not set is empty.
pub(super) fn expand(words: &[String], environment: &BTreeMap<String, SecretString>) -> Vec<SecretString> {
    let value = |name: &str| environment.get(name).map_or("", |value| value.expose_secret());
    let mut all = Vec::new();
    for word in words {
        match word.strip_prefix('$').filter(|name| is_name(name)) {
            Some(name) => all.extend(split(value(name)).into_iter().map(SecretString::from)),
            None => all.push(inside(word, value).into()),
        }
    }
    all
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn inside<'a>(word: &str, value: impl Fn(&str) -> &'a str) -> String {
    let mut text = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            text.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('{').and_then(|after| after.split_once('}'))
            && is_name(name)
        {
            text.push_str(value(name));
            rest = after;
        } else {
            text.push('$');
            rest = after;
        }
    }
    text + rest
}

/// Splits at white space, except within quotes; the quotes go.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_ascii_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// A word as a unit file has it, so that systemd reads the same word again. A dollar sign stays: where it stands for a variable,
/// it still does.
pub(super) fn quoted(word: &str) -> String {
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '%' => text.push_str("%%"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            c if c.is_ascii_control() => _ = write!(text, "\\x{:02x}", u32::from(c)),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(words: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), SecretString::from((*value).to_owned())))
            .collect();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        expand(&words, &environment).iter().map(|word| word.expose_secret().to_owned()).collect()
    }

    #[test]
    fn variables_are_replaced_as_systemd_replaces_them() {
        let environment = [("A", "one two"), ("B", "'three four' five"), ("E", "")];
        for (words, becomes) in [
            (&["server", "start"][..], &["server", "start"][..]),
            (&["--x=${A}"], &["--x=one two"]),
            (&["$A"], &["one", "two"]),
            (&["$B"], &["three four", "five"]),
            (&["$E", "$NOT_SET"], &[]),
            (&["${E}", "${NOT_SET}"], &["", ""]),
            (&["a$$b", "$$A"], &["a$b", "$A"]),
            (&["a$A"], &["a$A"]),
            (&["${A", "$", "100$"], &["${A", "$", "100$"]),
        ] {
            assert_eq!(expanded(words, &environment), becomes, "{words:?}");
        }
    }

    #[test]
    fn a_word_with_anything_in_it_is_quoted() {
        assert_eq!(quoted("plain"), r#""plain""#);
        assert_eq!(quoted("a \"b\" \\ 100% $x ${y}\n"), r#""a \"b\" \\ 100%% $x ${y}\n""#);
        assert_eq!(quoted("\u{1b}[0m"), r#""\x1b[0m""#);
    }
}
