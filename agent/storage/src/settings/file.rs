//! The ledger's settings file `numary.yaml`: the first one found counts, keys nested or dotted, letters of any case.

use crate::StorageError;
use secrecy::SecretString;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use yaml_rust2::{Yaml, YamlLoader};

/// A settings file that was found. No Debug: it holds connection strings.
pub struct Found {
    /// Where.
    pub path: PathBuf,
    /// Why the ledger ignores it, if it does: a file that is no YAML counts as empty, and no other is looked for.
    pub ignored: Option<String>,
    document: Option<Yaml>,
}

/// Looks for `numary.yaml` in some folders.
///
/// # Errors
/// [`StorageError::Io`] for a file that is there and cannot be read.
pub fn find(folders: &[PathBuf]) -> Result<Option<Found>, StorageError> {
    for folder in folders {
        let path = folder.join("numary.yaml");
        match fs::read(&path) {
            Ok(bytes) => return Ok(Some(parse(path, &bytes))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(StorageError::io("read the ledger's settings in", &path)(error)),
        }
    }
    Ok(None)
}

fn parse(path: PathBuf, bytes: &[u8]) -> Found {
    let ignored = |path, why: &str| Found { path, ignored: Some(why.to_owned()), document: None };
    let Ok(text) = std::str::from_utf8(bytes) else { return ignored(path, "it is not UTF-8") };
    match YamlLoader::load_from_str(text) {
        // The parser's message may quote the file, which may hold a password: say where, not what.
        Err(error) => {
            let why = format!("it is no YAML, see line {}", error.marker().line());
            ignored(path, &why)
        }
        Ok(documents) => match documents.into_iter().next() {
            None => Found { path, ignored: None, document: None },
            Some(document @ Yaml::Hash(_)) => Found { path, ignored: None, document: Some(document) },
            Some(Yaml::Null) => Found { path, ignored: None, document: None },
            Some(
                Yaml::Real(_)
                | Yaml::Integer(_)
                | Yaml::String(_)
                | Yaml::Boolean(_)
                | Yaml::Array(_)
                | Yaml::Alias(_)
                | Yaml::BadValue,
            ) => ignored(path, "it holds no keys"),
        },
    }
}

impl Found {
    /// The value of a dotted key; the longest dotted spelling wins, as in the ledger's own library.
    pub fn get(&self, key: &str) -> Option<SecretString> {
        lookup(self.document.as_ref()?, key).map(SecretString::from)
    }
}

fn lookup(value: &Yaml, key: &str) -> Option<String> {
    let Yaml::Hash(members) = value else { return None };
    let member = |wanted: &str| {
        members
            .iter()
            .find(|(name, _)| name.as_str().is_some_and(|name| name.eq_ignore_ascii_case(wanted)))
            .map(|(_, value)| value)
    };
    if let Some(text) = member(key).and_then(scalar) {
        return Some(text);
    }
    // Ever shorter beginnings of the key, the rest looked for below.
    let mut end = key.len();
    while let Some(dot) = key[..end].rfind('.') {
        if let Some(found) = member(&key[..dot]).and_then(|below| lookup(below, &key[dot + 1..])) {
            return Some(found);
        }
        end = dot;
    }
    None
}

fn scalar(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) | Yaml::Real(text) => Some(text.clone()),
        Yaml::Integer(number) => Some(number.to_string()),
        Yaml::Boolean(flag) => Some(flag.to_string()),
        // As the ledger's own library reads a list where a text is wanted, and as one is written in a variable.
        Yaml::Array(items) => Some(items.iter().filter_map(scalar).collect::<Vec<_>>().join(",")),
        Yaml::Hash(_) | Yaml::Alias(_) | Yaml::Null | Yaml::BadValue => None,
    }
}
