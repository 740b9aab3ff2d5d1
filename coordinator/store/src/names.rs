//! Names that only stores and their callers use.

use cutover_vocabulary::name::InvalidName;
use std::fmt;

/// One coordinator process among several; unique in the fleet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoordinatorName(String);

impl CoordinatorName {
    /// Parses a name: at most 63 letters, digits, `.`, `_`, `@` and `-`, beginning with a letter or digit.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        let refuse = |text: &str, why| Err(InvalidName { kind: "coordinator name", text: text.to_owned(), why });
        match text.as_bytes() {
            [] => refuse(&text, "it is empty"),
            bytes if bytes.len() > 63 => refuse(&text, "it is longer than 63 characters"),
            [first, ..] if !first.is_ascii_alphanumeric() => refuse(&text, "it must begin with a letter or a digit"),
            bytes if !bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._@-".contains(b)) => {
                refuse(&text, "only letters, digits and . _ @ - may appear in it")
            }
            _valid => Ok(Self(text)),
        }
    }
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for CoordinatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for CoordinatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// What a batch is found by when the answer to its append was lost: 128 bits that the caller never uses twice.
/// Made at the edge; a store makes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub u128);

impl Nonce {
    /// From a random or otherwise unique number.
    pub const fn new(number: u128) -> Self {
        Self(number)
    }
}
impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Where a document of the registry is kept, like `members/prod/ledger-a`: parts joined by single slashes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// A text that is no key, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid registry key: {why}")]
pub struct InvalidKey {
    /// The text as given.
    pub text: String,
    /// Which rule it breaks.
    pub why: &'static str,
}

impl Key {
    /// Most bytes of a key.
    pub const MAX_BYTES: usize = 512;

    /// Parses a key: printable ASCII without spaces, no empty part between slashes, at most [`Key::MAX_BYTES`].
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let text = text.into();
        let why = if text.len() > Self::MAX_BYTES {
            "it is longer than 512 bytes"
        } else if text.split('/').any(str::is_empty) {
            "it is empty, or has an empty part before, between or after its slashes"
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            "only printable ASCII without spaces may appear in it"
        } else {
            return Ok(Self(text));
        };
        Err(InvalidKey { text, why })
    }
    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A document's version. Each write of the document has a greater one; nothing else can be read from the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision of a document that does not exist.
    pub const NONE: Self = Self(0);
}
impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_no_empty_part_and_nothing_that_is_not_printed() {
        for text in ["", "/", "a/", "/a", "a//b", "a b", "a\nb", "ä"] {
            assert!(Key::new(text).is_err(), "{text:?}");
        }
        assert!(Key::new("a".repeat(513)).is_err());
        assert!(Key::new("members/prod/numary@eu.service").is_ok());
    }

    #[test]
    fn a_coordinator_name_says_which_rule_it_breaks() {
        for (text, why) in [
            ("", "it is empty"),
            ("-a", "it must begin with a letter or a digit"),
            ("a/b", "only letters, digits and . _ @ - may appear in it"),
        ] {
            assert_eq!(CoordinatorName::new(text).unwrap_err().why, why, "{text:?}");
        }
        assert!(CoordinatorName::new("coordinator-1").is_ok());
    }
}
