//! PostgreSQL's own programs on this host.

use crate::StorageError;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The programs that a recovery point needs.
pub(crate) const PROGRAMS: [&str; 3] = ["pg_dump", "pg_restore", "psql"];

/// What was found, by the server's version: each program is asked for its version before, which takes as long as a small dump.
/// In a worker, which lives for one order.
static FOUND: Mutex<BTreeMap<u32, Tools>> = Mutex::new(BTreeMap::new());

/// A folder that holds all of [`PROGRAMS`], of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tools {
    folder: PathBuf,
    /// Major version.
    pub(crate) major: u32,
}

impl Tools {
    /// Finds programs that fit a server. `pg_dump` refuses a server that is newer than itself, and a newer one writes dumps that
    /// an older server does not take without complaint; so the server's own version is best, then the next newer one.
    ///
    /// Looks where the packages of Debian and Red Hat put them, which is on nobody's `PATH`, and along `PATH`.
    ///
    /// # Errors
    /// [`StorageError::Tool`] where there are none, or only too old ones.
    pub(crate) fn find(server: u32) -> Result<Self, StorageError> {
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tools) = found.get(&server) {
            return Ok(tools.clone());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let tools = Self::find_in(server, &folders(&path))?;
        found.insert(server, tools.clone());
        Ok(tools)
    }

    /// The first of the server's own version is taken without a look at the rest: Debian's `/usr/bin/pg_dump` is a script that
    /// takes its time, and this is in the downtime.
    fn find_in(server: u32, folders: &[PathBuf]) -> Result<Self, StorageError> {
        let mut all: Vec<Self> = Vec::new();
        for tools in folders.iter().filter_map(|folder| Self::of(folder)) {
            if tools.major == server {
                return Ok(tools);
            }
            all.push(tools);
        }
        let fitting = all.iter().filter(|tools| tools.major >= server).min_by_key(|tools| tools.major);
        fitting.cloned().ok_or_else(|| {
            let message = match all.iter().map(|tools| tools.major).max() {
                None => format!("none of {} was found in /usr/lib/postgresql, /usr/pgsql-* or PATH", PROGRAMS.join(", ")),
                Some(newest) => format!("the newest here is of version {newest}, and the server is of version {server}"),
            };
            StorageError::Tool {
                program: "pg_dump",
                message,
                remedy: "install the client programs of the server's version on this host, on Debian the package postgresql-client-VERSION",
            }
        })
    }

    /// The programs of a folder, if it has them all.
    fn of(folder: &Path) -> Option<Self> {
        if !PROGRAMS.iter().all(|program| folder.join(program).is_file()) {
            return None;
        }
        Some(Self { folder: folder.to_owned(), major: major(&folder.join("pg_dump"))? })
    }

    /// The path of a program.
    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }
}

/// Every folder along `path` and of the packages that holds all of PostgreSQL's client programs that recovery points need, with
/// their major version; of several with one version the first. Runs a program of each.
pub fn client_programs(path: &OsStr) -> Vec<(PathBuf, u32)> {
    let mut found: Vec<(PathBuf, u32)> = Vec::new();
    for tools in folders(path).iter().filter_map(|folder| Tools::of(folder)) {
        if found.iter().all(|(_, major)| *major != tools.major) {
            found.push((tools.folder, tools.major));
        }
    }
    found
}

/// The packages' folders first.
fn folders(path: &OsStr) -> Vec<PathBuf> {
    let below = |parent: &str, keep: fn(&str) -> bool| {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let kept = entries.filter(move |entry| entry.file_name().to_str().is_some_and(keep));
        kept.map(|entry| entry.path().join("bin")).collect::<Vec<_>>()
    };
    let debian = below("/usr/lib/postgresql", |_| true);
    let red_hat = below("/usr", |name| name.starts_with("pgsql-"));
    debian.into_iter().chain(red_hat).chain(std::env::split_paths(path)).collect()
}

/// `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`
fn major(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.split_once("(PostgreSQL)")?.1.trim_start();
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_servers_own_version_is_best_then_the_next_newer_one_and_an_older_one_never() {
        let root = tempfile::tempdir().unwrap();
        let folders: Vec<PathBuf> = ["13", "15", "16", "17"]
            .map(|version| {
                let folder = root.path().join(version);
                fs::create_dir(&folder).unwrap();
                for program in PROGRAMS {
                    let path = folder.join(program);
                    fs::write(&path, format!("#!/bin/sh\necho '{program} (PostgreSQL) {version}.2 (Debian)'\n"))
                        .unwrap();
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
                }
                folder
            })
            .into();
        let found = |server| Tools::find_in(server, &folders).map(|tools| tools.major);
        assert_eq!((found(15).unwrap(), found(14).unwrap(), found(9).unwrap()), (15, 15, 13));
        let error = found(18).unwrap_err().to_string();
        assert!(error.contains("newest here is of version 17") && error.contains("postgresql-client-"), "{error}");
        fs::remove_file(root.path().join("15/psql")).unwrap();
        assert_eq!(Tools::find_in(15, &folders).unwrap().major, 16);
    }
}
