//! Names. Each kind is its own type, so that an instance can never be passed where an agent is meant.

pub use crate::shown::{is_plain, shown};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A text that is not a name, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {kind}: {why}")]
pub struct InvalidName {
    /// What kind of name was wanted.
    pub kind: &'static str,
    /// The text as given.
    pub text: String,
    /// Which rule it breaks.
    pub why: &'static str,
}

/// Names that people choose in settings appear in file names, unit names and order ids: at most 63 characters
/// of letters, digits, `.`, `_`, `@` and `-`, beginning with a letter or digit.
fn check_chosen(kind: &'static str, text: &str) -> Result<(), InvalidName> {
    let refuse = |why| Err(InvalidName { kind, text: text.to_owned(), why });
    if text.is_empty() {
        return refuse("it is empty");
    }
    if text.len() > 63 {
        return refuse("it is longer than 63 characters");
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return refuse("it must begin with a letter or a digit");
    }
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '@' | '-')) {
        return refuse("only letters, digits and . _ @ - may appear in it");
    }
    Ok(())
}

/// Names that a storage holds are data, not chosen by us: anything but the empty string.
fn check_found(kind: &'static str, text: &str) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName { kind, text: String::new(), why: "it is empty" });
    }
    Ok(())
}

/// Names are cloned into every order, key and fact, and a fold of 100,000 facts clones a million of them: short ones lie in
/// place, so that a clone touches no other memory. Ordered byte by byte; what nearly always decides that, the first 16 bytes as
/// numbers, comes first, because comparing texts is what a map of 10,000 names does most of its time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Text {
    first: u64,
    second: u64,
    whole: smol_str::SmolStr,
}

impl Text {
    fn new(text: &str) -> Self {
        let mut begins = [[0; 8]; 2];
        for (to, from) in begins.as_flattened_mut().iter_mut().zip(text.bytes()) {
            *to = from;
        }
        let [first, second] = begins.map(u64::from_be_bytes);
        Self { first, second, whole: text.into() }
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $check:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Text);

        impl $name {
            /// Parses a name; the error names the rule that the text breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                $check($kind, &text)?;
                Ok(Self(Text::new(&text)))
            }
            /// The name as it is stored; not escaped for a terminal.
            pub fn as_str(&self) -> &str { &self.0.whole }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> { Self::new(text) }
        }
        impl std::str::FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> { Self::new(text) }
        }
        impl From<$name> for String { fn from(name: $name) -> String { name.as_str().to_owned() } }
        /// What does not print as itself is shown escaped, never sent to a terminal.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&shown(self.as_str())) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{:?}", self.as_str()) }
        }
    )*};
}

names! {
    /// The instances that share one storage; the unit that is upgraded.
    DeploymentName, "deployment name", check_chosen;
    /// One ledger service on one host; unique in the fleet.
    InstanceName, "instance name", check_chosen;
    /// Our daemon on a host, which speaks for the instances there.
    AgentName, "agent name", check_chosen;
    /// One upgrade of one deployment; unique for ever.
    UpgradeId, "upgrade id", check_chosen;
    /// What makes an operator's call idempotent: the same id again gives the same answer.
    RequestId, "request id", check_chosen;
    /// Who asks or decides.
    OperatorName, "operator name", check_chosen;
    /// A ledger inside a storage, as the storage spells it.
    LedgerName, "ledger name", check_found;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_name_says_which_rule_it_breaks() {
        for (text, why) in [
            ("", "it is empty"),
            ("-a", "it must begin with a letter or a digit"),
            ("a/b", "only letters, digits and . _ @ - may appear in it"),
        ] {
            assert_eq!(InstanceName::new(text).unwrap_err().why, why, "{text:?}");
        }
        assert!(InstanceName::new("numary@eu.service").is_ok());
    }

    #[test]
    fn names_are_in_the_order_of_their_bytes_however_long_and_whatever_is_in_them() {
        let long = "x".repeat(15);
        let mut texts = vec!["a".to_owned(), "a\0".to_owned(), "a\0b".to_owned(), "b".to_owned(), "漢".to_owned()];
        texts.extend(["", "a", "b", "ab", "ba", "\u{ff}"].map(|end| format!("{long}{end}")));
        for one in &texts {
            for other in &texts {
                let names = (LedgerName::new(one.as_str()).unwrap(), LedgerName::new(other.as_str()).unwrap());
                assert_eq!(names.0.cmp(&names.1), one.as_bytes().cmp(other.as_bytes()), "{one:?} and {other:?}");
                assert_eq!(names.0 == names.1, one == other, "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn a_found_name_is_kept_to_the_letter_and_shown_escaped() {
        let name = LedgerName::new("a\u{1b}[2Jb").unwrap();
        assert_eq!(name.as_str(), "a\u{1b}[2Jb");
        assert_eq!(name.to_string(), "a\\u{1b}[2Jb");
    }
}
