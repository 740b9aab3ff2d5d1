//! Settings that cannot be used: what is wrong, where, and the nearest right key. Never a value, which may be a secret.

use std::io;
use std::path::{Path, PathBuf};

/// Settings that cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the settings {}: {source}; name the right file with --settings", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file says something that is not settings.
    #[error("{} line {line}: {what}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Where in it, from 1.
        line: usize,
        /// What is wrong and, for an unknown key, the nearest right one.
        what: String,
    },
    /// A value breaks a rule.
    #[error("{}: {what}", path.display())]
    Rule {
        /// Which file.
        path: PathBuf,
        /// Which rule, and what to write instead.
        what: String,
    },
    /// Others than root may change what an agent that is root obeys.
    #[error(
        "root does not obey {}: others may change {what}, {} (owner {owner}, group {group}, mode {mode:04o}); run `{mend}`, and \
         look whether it is still what it should be",
        path.display(), part.display()
    )]
    Trust {
        /// Which file, as the settings name it.
        path: PathBuf,
        /// `it`, or a folder above it.
        what: &'static str,
        /// What exactly.
        part: PathBuf,
        /// Whose it is.
        owner: String,
        /// Of which group, by number.
        group: u32,
        /// With which mode.
        mode: u32,
        /// The command that mends it.
        mend: String,
    },
    /// The state directory cannot be used.
    #[error("cannot use the state directory {}: {what}", path.display())]
    State {
        /// Which directory.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
}

/// Makes a line of text out of a TOML error, without the excerpt that TOML prints: it may show a secret.
pub(super) fn explain(error: &toml::de::Error, text: &str, path: &Path) -> SettingsError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
    let message = error.message().trim();
    let what = match message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
        Some((unknown, rest)) => {
            let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
            let nearest = known
                .iter()
                .max_by(|a, b| strsim::jaro_winkler(unknown, a).total_cmp(&strsim::jaro_winkler(unknown, b)));
            match nearest {
                Some(nearest) => {
                    format!("unknown key {unknown:?}; did you mean {nearest:?}? Known here: {}", known.join(", "))
                }
                None => format!("unknown key {unknown:?}"),
            }
        }
        None => without_values(message),
    };
    SettingsError::Invalid { path: path.to_owned(), line, what }
}

/// serde quotes the value that has the wrong type; a value in the wrong place may be a secret.
fn without_values(message: &str) -> String {
    if !message.starts_with("invalid type: string") && !message.starts_with("invalid value: string") {
        return message.to_owned();
    }
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => format!("{}…{}", &message[..=first], &message[last..]),
        (Some(_) | None, _) => "a value has the wrong type".to_owned(),
    }
}
