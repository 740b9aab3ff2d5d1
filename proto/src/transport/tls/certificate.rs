//! What a certificate says of itself.

use cutover_vocabulary::Timestamp;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// The names in a certificate: its subject alternative names that are DNS names or URIs, as they are written there. The
/// subject's common name is none of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Names(Arc<BTreeSet<String>>);
impl Names {
    /// Whether this name is one of them, letter for letter.
    pub fn have(&self, name: &str) -> bool {
        self.0.contains(name)
    }
    /// Each.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}
impl FromIterator<String> for Names {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Self(Arc::new(names.into_iter().collect()))
    }
}
impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no name");
        }
        f.write_str(&self.iter().collect::<Vec<_>>().join(", "))
    }
}
impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// A certificate's names and dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// For whom it was issued.
    pub names: Names,
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
}
impl Certificate {
    /// Reads a certificate in DER form; says what is wrong with one that cannot be read.
    pub(super) fn of_der(der: &[u8]) -> Result<Self, String> {
        let (_, read) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let alternative = read.subject_alternative_name().map_err(|error| error.to_string())?;
        let listed = alternative.iter().flat_map(|names| &names.value.general_names);
        let names = listed.filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
            GeneralName::OtherName(..)
            | GeneralName::RFC822Name(_)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::RegisteredID(..)
            | GeneralName::Invalid(..) => None,
        });
        let moment = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
        let validity = read.validity();
        Ok(Self {
            names: names.collect(),
            not_before: moment(validity.not_before.timestamp()),
            not_after: moment(validity.not_after.timestamp()),
        })
    }

    /// Whole days until it expires; less than 0 once it has.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        (self.not_after.as_millis() - now.as_millis()).div_euclid(24 * 60 * 60 * 1000)
    }
}
