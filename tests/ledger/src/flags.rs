//! The flags of the command line, which `releases.toml` lists: which a release has is what one of the disasters hangs on (a unit that
//! passes `--persist-config` does not start any more from 1.3.2 on).

use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What a flag holds; decides how its text is read and how the usage shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `--name`, `--name=false`.
    Bool,
    /// One text.
    Text,
    /// A comma-separated list; repeated flags add up.
    List,
    /// A whole number.
    Number,
    /// A Go duration; kept as text.
    Duration,
}

/// One flag.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flag {
    /// Its name, which is also the key in the environment and the file.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// The value without any setting; `~/` stands for the home folder.
    pub default: String,
    /// The usage text.
    pub help: String,
    /// Valid, but not in the usage; given as a flag it is called deprecated.
    #[serde(default)]
    pub hidden: bool,
}

/// Groups of flags by name.
pub(crate) type Flags = BTreeMap<String, Vec<Flag>>;

/// The name of the ledger that `storage init` creates, from 1.3.2 on; no key of the configuration.
pub(crate) static STORAGE_NAME: LazyLock<Flag> = LazyLock::new(|| Flag {
    name: "name".to_owned(),
    kind: Kind::Text,
    default: "default".to_owned(),
    help: "Ledger name".to_owned(),
    hidden: false,
});
