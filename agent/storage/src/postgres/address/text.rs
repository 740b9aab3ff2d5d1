//! Connection strings as texts: the two forms that the ledger reads, taken apart by the rules of its own driver (pgx), and
//! put together again with other settings.

use crate::StorageError;
use secrecy::{ExposeSecret as _, SecretString};

/// One setting of a connection string.
pub(super) type Setting = (String, SecretString);

/// A connection string, taken apart. No Debug: it holds a password.
pub(super) enum Text {
    /// `postgresql://user:password@host:port/database?key=value`
    Url {
        /// With `://`.
        scheme: String,
        /// User, password, hosts and ports, as written.
        authority: String,
        /// The database, percent-encoded; empty if none.
        path: String,
        /// Behind the question mark, in order; of equal keys the first counts.
        query: Vec<Setting>,
    },
    /// `host=… dbname=…`; of equal keys the last counts.
    Keywords(Vec<Setting>),
}

/// Settings that name the database; pgx takes both.
const DATABASE: [&str; 2] = ["dbname", "database"];

/// The string's own text may hold a password, so it appears in no message.
fn unreadable(why: &str) -> StorageError {
    StorageError::Settings(format!("storage.postgres.conn_string cannot be read: {why}"))
}

impl Text {
    /// Takes a string apart.
    ///
    /// # Errors
    /// [`StorageError::Settings`] where the ledger's driver would refuse it too.
    pub(super) fn parse(text: &str) -> Result<Self, StorageError> {
        for scheme in ["postgres://", "postgresql://"] {
            if let Some(rest) = text.strip_prefix(scheme) {
                return url(scheme, rest);
            }
        }
        keywords(text).map(Self::Keywords)
    }

    /// Every setting under the name that `host=…` strings use; a later one of the same name overrides.
    pub(super) fn settings(&self) -> Result<Vec<Setting>, StorageError> {
        let mut found = Vec::new();
        let mut set = |key: &str, value: &str| {
            let key = if key == "database" { "dbname" } else { key };
            found.push((key.to_owned(), SecretString::from(value)));
        };
        match self {
            Self::Keywords(pairs) => pairs.iter().for_each(|(key, value)| set(key, value.expose_secret())),
            Self::Url { scheme: _, authority, path, query } => {
                let (user_info, places) =
                    authority.rsplit_once('@').map_or((None, authority.as_str()), |(user, rest)| (Some(user), rest));
                if let Some(user_info) = user_info {
                    let (user, password) =
                        user_info.split_once(':').map_or((user_info, None), |(user, password)| (user, Some(password)));
                    set("user", &decode(user, false)?);
                    if let Some(password) = password {
                        set("password", &decode(password, false)?);
                    }
                }
                let (mut hosts, mut ports) = (Vec::new(), Vec::new());
                for place in places.split(',').filter(|place| !place.is_empty()) {
                    // The last colon divides, but not one inside the brackets of an IPv6 address.
                    let (host, port) = match place.rsplit_once(':') {
                        Some((host, port)) if !port.contains(']') => (host, port),
                        Some(_) | None => (place, ""),
                    };
                    hosts.push(decode(host.trim_start_matches('[').trim_end_matches(']'), false)?);
                    if !port.is_empty() {
                        ports.push(port);
                    }
                }
                if hosts.iter().any(|host| !host.is_empty()) {
                    set("host", &hosts.join(","));
                }
                if !ports.is_empty() {
                    set("port", &ports.join(","));
                }
                if !path.is_empty() {
                    set("dbname", &decode(path, false)?);
                }
                // The first of equal keys counts, so it is told last.
                query.iter().rev().for_each(|(key, value)| set(key, value.expose_secret()));
            }
        }
        Ok(found)
    }

    /// The same string, in the same form, with some settings replaced and, where named, another database.
    pub(super) fn with(&self, replaced: &[(&str, &str)], database: Option<&str>) -> SecretString {
        let keep = |(key, _): &&Setting| {
            let is_replaced = replaced.iter().any(|(name, _)| name.eq_ignore_ascii_case(key));
            let names_another = database.is_some() && DATABASE.contains(&key.as_str());
            !(is_replaced || names_another)
        };
        match self {
            Self::Url { scheme, authority, path, query } => {
                let path = database.map_or_else(|| path.clone(), encode);
                let kept = query.iter().filter(keep).map(|(key, value)| (key.as_str(), value.expose_secret()));
                let query: Vec<String> = kept
                    .chain(replaced.iter().copied())
                    .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
                    .collect();
                SecretString::from(format!("{scheme}{authority}/{path}?{}", query.join("&")))
            }
            Self::Keywords(pairs) => {
                let kept = pairs.iter().filter(keep).map(|(key, value)| (key.as_str(), value.expose_secret()));
                let database = database.map(|name| ("dbname", name));
                let pairs: Vec<String> = kept
                    .chain(replaced.iter().copied())
                    .chain(database)
                    .map(|(key, value)| format!("{key}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'")))
                    .collect();
                SecretString::from(pairs.join(" "))
            }
        }
    }
}

fn url(scheme: &str, rest: &str) -> Result<Text, StorageError> {
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let query = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(key, true)?, SecretString::from(decode(value, true)?)))
        })
        .collect::<Result<_, StorageError>>()?;
    Ok(Text::Url {
        scheme: scheme.to_owned(),
        authority: authority.to_owned(),
        path: path.trim_start_matches('/').to_owned(),
        query,
    })
}

fn keywords(text: &str) -> Result<Vec<Setting>, StorageError> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or_else(|| unreadable("a keyword has no value"))?;
        let key = key.trim();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(unreadable("a value has no keyword"));
        }
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('\'') {
            Some(quoted) => until(quoted, |c| c == '\'').ok_or_else(|| unreadable("a quote is not closed"))?,
            None => until(after, char::is_whitespace).unwrap_or_else(|| (unescaped(after), "")),
        };
        found.push((key.to_owned(), SecretString::from(value)));
        rest = after.trim_start();
    }
    Ok(found)
}

/// The parameters in a setting `options`: `-c name=value` and `--name=value`, a backslash keeps a space. What else a server
/// takes there is about the server's insides, and passed over.
pub(super) fn options(text: &str) -> Vec<(String, String)> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after) = until(rest, char::is_whitespace).unwrap_or_else(|| (unescaped(rest), ""));
        words.push(word);
        rest = after.trim_start();
    }
    let mut found = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let pair = match (word.as_str(), word.strip_prefix("-c"), word.strip_prefix("--")) {
            ("-c", _, _) => words.next(),
            (_, Some(pair), _) | (_, None, Some(pair)) => Some(pair.to_owned()),
            (_, None, None) => None,
        };
        if let Some((name, value)) = pair.as_deref().and_then(|pair| pair.split_once('=')) {
            found.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    found
}

/// Parameters as a setting `options`; of one that is named twice the last counts.
pub(super) fn as_options<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let one = |(name, value): (&str, &str)| format!("-c {name}={}", value.replace('\\', "\\\\").replace(' ', "\\ "));
    parameters.map(one).collect::<Vec<_>>().join(" ")
}

/// What stands before the first such character that no backslash precedes, and what follows that character.
fn until(text: &str, ends: impl Fn(char) -> bool) -> Option<(String, &str)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if ends(c) {
            return Some((unescaped(&text[..at]), &text[at + c.len_utf8()..]));
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    plain
}

/// Percent-decoding; in a query a plus is a space.
fn decode(text: &str, query: bool) -> Result<String, StorageError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
                    return Err(unreadable(
                        "a % is not followed by two hexadecimal digits; a % of a password is written %25",
                    ));
                };
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
            }
            b'+' if query => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8"))
}

fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::Text;
    use secrecy::ExposeSecret as _;

    fn settings(text: &str) -> Vec<(String, String)> {
        let parsed = Text::parse(text).unwrap().settings().unwrap();
        parsed.into_iter().map(|(key, value)| (key, value.expose_secret().to_owned())).collect()
    }

    fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
        wanted.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn both_forms_are_read_as_the_ledgers_driver_reads_them() {
        for (text, wanted) in [
            (
                "postgresql://u%40x:p%3A%2F@db.example:5433/my%20db?sslmode=require",
                &[
                    ("user", "u@x"),
                    ("password", "p:/"),
                    ("host", "db.example"),
                    ("port", "5433"),
                    ("dbname", "my db"),
                    ("sslmode", "require"),
                ][..],
            ),
            ("postgres:///ledger?host=%2Ftmp", &[("dbname", "ledger"), ("host", "/tmp")]),
            ("postgres://[::1]:7/x", &[("host", "::1"), ("port", "7"), ("dbname", "x")]),
            ("postgres://a:1,b:2/x", &[("host", "a,b"), ("port", "1,2"), ("dbname", "x")]),
            (
                "postgres://h?timezone=UTC&timezone=Asia%2FTokyo",
                &[("host", "h"), ("timezone", "Asia/Tokyo"), ("timezone", "UTC")],
            ),
            (r"host=/tmp  password='a \'b\\' database=x", &[("host", "/tmp"), ("password", r"a 'b\"), ("dbname", "x")]),
            (r"user = led password=a\ b", &[("user", "led"), ("password", "a b")]),
            ("", &[]),
        ] {
            assert_eq!(settings(text), pairs(wanted), "{text}");
        }
    }

    #[test]
    fn parameters_in_options_are_found_in_every_spelling() {
        let found = super::options(r"-c jit=off -cwork_mem=4MB --search-path=a\ b\\ -d 5");
        assert_eq!(found, pairs(&[("jit", "off"), ("work_mem", "4MB"), ("search_path", r"a b\")]));
    }

    #[test]
    fn a_string_that_cannot_be_read_is_refused_without_being_told() {
        for text in ["postgres://u:se%zzcret@h/x", "password='secret", "secret"] {
            let error = Text::parse(text).and_then(|text| text.settings()).unwrap_err().to_string();
            assert!(error.contains("cannot be read") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn other_settings_replace_the_strings_own_whatever_their_case() {
        let with = |text: &str, database| {
            let text =
                Text::parse(text).unwrap().with(&[("application_name", "cutover:a/b"), ("timezone", "UTC")], database);
            text.expose_secret().to_owned()
        };
        assert_eq!(
            with("postgres://u:p%40@h:1/x?TimeZone=Asia/Tokyo&sslmode=disable", None),
            "postgres://u:p%40@h:1/x?sslmode=disable&application_name=cutover%3Aa%2Fb&timezone=UTC"
        );
        assert_eq!(
            with("postgresql://h?dbname=y", Some("a b")),
            "postgresql://h/a%20b?application_name=cutover%3Aa%2Fb&timezone=UTC"
        );
        assert_eq!(
            with(r"host=h password='a\'b' application_name=mine dbname=x", Some("o'x")),
            r"host='h' password='a\'b' application_name='cutover:a/b' timezone='UTC' dbname='o\'x'"
        );
    }
}
