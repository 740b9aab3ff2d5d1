//! What the path is that a unit starts: a link that is switched, a plain file, or a package's.

use cutover_vocabulary::Version;
use std::fmt;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// What lies at a command's path, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// What a link leads to in the end.
    leads_to: Option<PathBuf>,
    /// The version whose folder of releases that is in: `…/1.4.6/numary`.
    release: Option<Version>,
    /// The package that owns the path or what it leads to, and who says so.
    package: Option<(String, &'static str)>,
}

impl Origin {
    /// Looks at a path, and asks the package managers that are here. `dpkg` and `rpm` only look.
    pub(super) async fn of(path: &Path) -> Self {
        let link = std::fs::symlink_metadata(path).is_ok_and(|data| data.is_symlink());
        let leads_to = path.canonicalize().ok().filter(|_| link);
        let folder = leads_to.as_deref().and_then(Path::parent).and_then(Path::file_name);
        let release = folder.and_then(|name| name.to_string_lossy().trim_start_matches('v').parse().ok());
        let mut package = owner(path).await;
        if let (None, Some(target)) = (&package, &leads_to) {
            package = owner(target).await;
        }
        Self { leads_to, release, package }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.leads_to, &self.release) {
            (Some(target), Some(version)) => {
                write!(f, "a link into a folder of releases: {} (version {version})", target.display())?;
            }
            (Some(target), None) => write!(f, "a link to {}", target.display())?,
            (None, _) => f.write_str("a plain file")?,
        }
        match &self.package {
            Some((package, manager)) => write!(f, ", of package {package} ({manager})"),
            None => f.write_str(", of no package"),
        }
    }
}

async fn owner(path: &Path) -> Option<(String, &'static str)> {
    if let Some(said) = ask("dpkg-query", &["-S"], path).await {
        // `numary: /usr/bin/numary`; a diversion says so in a line of its own.
        let owner =
            said.lines().filter(|line| !line.starts_with("diversion by")).find_map(|line| line.split_once(": "));
        if let Some((package, _)) = owner {
            return Some((package.to_owned(), "dpkg"));
        }
    }
    let said = ask("rpm", &["-qf"], path).await?;
    Some((said.lines().next()?.to_owned(), "rpm"))
}

/// What it printed; none where there is no such program, or it knows of no package.
async fn ask(program: &str, args: &[&str], path: &Path) -> Option<String> {
    let output =
        Command::new(program).args(args).arg(path).env("LC_ALL", "C").kill_on_drop(true).output().await.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
