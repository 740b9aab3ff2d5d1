//! A message that does not say what it must, and the small readers that find out.
//!
//! The readers are public because the services read requests with them: whatever a client got wrong is refused with
//! the same words, the field's path in front.

use cutover_vocabulary::Elapsed;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::str::FromStr;

/// A field of a message that is missing or means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message is malformed at {what}: {why}")]
pub struct Malformed {
    /// Path of the field from the message's root, like `binding.members["ledger-a"].version`.
    pub what: String,
    /// What is wrong with it.
    pub why: String,
}

impl Malformed {
    /// Something is wrong with this field.
    pub fn at(field: &str, why: impl Display) -> Self {
        Self { what: field.to_owned(), why: why.to_string() }
    }
    /// Something is wrong with the value that is being read; whoever reads it adds where that is.
    pub(crate) fn here(why: impl Display) -> Self {
        Self { what: String::new(), why: why.to_string() }
    }
    /// The same, seen from the message that holds it in `field`.
    pub fn within(self, field: &str) -> Self {
        let what = match self.what.as_str() {
            "" => field.to_owned(),
            inner if inner.starts_with('[') => format!("{field}{inner}"),
            inner => format!("{field}.{inner}"),
        };
        Self { what, why: self.why }
    }
}

/// Reads a message that must be there.
pub fn wanted<T, U: TryFrom<T, Error = Malformed>>(field: &str, value: Option<T>) -> Result<U, Malformed> {
    let value = value.ok_or_else(|| Malformed::at(field, "it is missing"))?;
    U::try_from(value).map_err(|error| error.within(field))
}

/// Reads a message that may be absent.
pub fn maybe<T, U: TryFrom<T, Error = Malformed>>(field: &str, value: Option<T>) -> Result<Option<U>, Malformed> {
    value.map(|value| U::try_from(value).map_err(|error| error.within(field))).transpose()
}

/// Reads every message of a list.
pub fn each<T, U: TryFrom<T, Error = Malformed>>(field: &str, values: Vec<T>) -> Result<Vec<U>, Malformed> {
    let read = |(index, value)| U::try_from(value).map_err(|error| error.within(&format!("{field}[{index}]")));
    values.into_iter().enumerate().map(read).collect()
}

/// Reads a map from names to messages.
pub fn named<K, T, U>(
    field: &str,
    values: std::collections::BTreeMap<String, T>,
) -> Result<std::collections::BTreeMap<K, U>, Malformed>
where
    K: FromStr<Err: Display> + Ord,
    U: TryFrom<T, Error = Malformed>,
{
    let read = |(name, value): (String, T)| {
        let place = format!("{field}[{name:?}]");
        let key = text(&place, &name)?;
        Ok((key, U::try_from(value).map_err(|error| error.within(&place))?))
    };
    values.into_iter().map(read).collect()
}

/// Reads a map from names to texts.
pub fn named_texts<K, U>(
    field: &str,
    values: std::collections::BTreeMap<String, String>,
) -> Result<std::collections::BTreeMap<K, U>, Malformed>
where
    K: FromStr<Err: Display> + Ord,
    U: FromStr<Err: Display>,
{
    let read = |(name, value): (String, String)| {
        let place = format!("{field}[{name:?}]");
        Ok((text(&place, &name)?, text(&place, &value)?))
    };
    values.into_iter().map(read).collect()
}

/// Reads a name, a version, a digest: anything that is written as text.
pub fn text<U: FromStr<Err: Display>>(field: &str, text: &str) -> Result<U, Malformed> {
    text.parse().map_err(|error| Malformed::at(field, error))
}

/// Reads a text that may be absent.
pub fn maybe_text<U: FromStr<Err: Display>>(field: &str, value: Option<&str>) -> Result<Option<U>, Malformed> {
    value.map(|value| text(field, value)).transpose()
}

/// Reads every text of a list.
pub fn texts<U: FromStr<Err: Display>>(field: &str, values: &[String]) -> Result<Vec<U>, Malformed> {
    values.iter().enumerate().map(|(index, value)| text(&format!("{field}[{index}]"), value)).collect()
}

/// Reads an enum: `P` is the generated one, `U` the word it stands for. A number that is not in this version's list is
/// refused: a newer Cutover sent it, and guessing would be worse.
pub fn word<P, U>(field: &str, number: i32) -> Result<U, Malformed>
where
    P: TryFrom<i32>,
    U: TryFrom<P, Error = Malformed>,
{
    let known = P::try_from(number)
        .map_err(|_| Malformed::at(field, format_args!("{number} is not known to this version of Cutover")))?;
    U::try_from(known).map_err(|error| error.within(field))
}

/// Reads a number that the vocabulary keeps in 16 bits.
pub fn small(field: &str, number: u32) -> Result<u16, Malformed> {
    u16::try_from(number).map_err(|_| Malformed::at(field, format_args!("{number} is larger than {}", u16::MAX)))
}

/// Reads a length of time in milliseconds.
pub fn length(field: &str, millis: i64) -> Result<Elapsed, Malformed> {
    u64::try_from(millis).map(Elapsed).map_err(|_| Malformed::at(field, format_args!("{millis} ms is negative")))
}

/// Reads one of our own stored values from its JSON.
pub fn json<U: DeserializeOwned>(field: &str, bytes: &[u8]) -> Result<U, Malformed> {
    serde_json::from_slice(bytes)
        .map_err(|error| Malformed::at(field, format_args!("it is not the JSON that was expected: {error}")))
}
