//! Settings that cannot be used: what is wrong, where, and the nearest right key.

use cutover_core::catalogue::CatalogueError;
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
        source: std::io::Error,
    },
    /// The file says something that is not settings.
    #[error("{} line {line}: {what}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The company's own file of the catalogue cannot be read.
    #[error("cannot read the catalogue {}, which {} names: {source}", path.display(), settings.display())]
    NoCatalogue {
        /// Which file.
        path: PathBuf,
        /// Which settings name it.
        settings: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What is known of releases cannot be used.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// A value breaks a rule.
    #[error("{}: {key}: {why}", path.display())]
    Rule {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: &'static str,
        /// Which rule, and what to write instead.
        why: String,
    },
}

/// Adds the nearest right key to what serde says of an unknown one: ``unknown field `nam`, expected one of `name`, …``.
pub(super) fn explain(error: &toml::de::Error, text: &str, path: &Path) -> SettingsError {
    let offset = error.span().map_or(0, |span| span.start).min(text.len());
    let line = text.get(..offset).unwrap_or("").matches('\n').count() + 1;
    let said = error.message();
    let quoted: Vec<&str> = said.split('`').skip(1).step_by(2).collect();
    let what = match quoted.split_first() {
        Some((unknown, known)) if said.starts_with("unknown field") => {
            let nearest = known.iter().min_by_key(|key| strsim::damerau_levenshtein(unknown, key));
            let nearest = nearest.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default();
            format!("there is no setting `{unknown}` here{nearest}")
        }
        Some(_) | None => said.to_owned(),
    };
    SettingsError::Invalid { path: path.to_owned(), line, what }
}
