//! The sandbox's PostgreSQL: an installed one on a data directory in the sandbox's folder, with a database and a role of the
//! ledger's own, who may do no more than the upgrade needs.

use crate::trouble::Trouble;
use cutover_trial_postgres::{Cluster, ClusterError, Programs};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The ledger's database, and its role.
pub(super) const DATABASE: &str = "ledger";
/// Connections that 64 instances, their commands and the agents may have at once.
const SETTINGS: &str = "max_connections = 300";

/// Where the cluster of a sandbox lies.
pub(super) fn folder(dir: &Path) -> PathBuf {
    dir.join("postgres")
}

/// That PostgreSQL is installed; otherwise how to install it.
///
/// # Errors
/// [`Trouble::Usage`].
pub(super) fn installed() -> Result<(), Trouble> {
    Programs::find().map(|_| ()).map_err(|missing| {
        Trouble::usage(missing.to_string()).next("install it, or try the sandbox on files: --storage sqlite")
    })
}

/// Makes the cluster, its database and its role. Answers with the connection string of the role, which holds its password.
///
/// # Errors
/// When it cannot be made there.
pub(super) fn create(dir: &Path) -> Result<(Cluster, String), Trouble> {
    let programs = Programs::find().map_err(|missing| Trouble::usage(missing.to_string()))?;
    if programs.user().is_some() {
        // The server runs as another user, who must pass through. Everything else in there is closed to others by itself.
        fs::set_permissions(dir, Permissions::from_mode(0o711))
            .map_err(|error| Trouble::failed(format!("cannot open {} to the user postgres", dir.display()), error))?;
        if let Some(closed) = closed_to_others(dir) {
            return Err(Trouble::usage(format!(
                "the user postgres, who runs the server, cannot enter {}",
                closed.display()
            ))
            .next("name a folder below one that everybody may enter, like /tmp, with --dir or TMPDIR"));
        }
    }
    let cannot = |error: ClusterError| Trouble::failed("cannot make the sandbox's PostgreSQL", error);
    let cluster = Cluster::create(&folder(dir), SETTINGS).map_err(cannot)?;
    let password = password();
    let roles = format!(
        "CREATE ROLE {DATABASE} LOGIN CREATEDB PASSWORD '{password}';\nGRANT pg_read_all_stats TO {DATABASE};\n\
         CREATE DATABASE {DATABASE};\nGRANT CREATE ON DATABASE {DATABASE} TO {DATABASE};"
    );
    cluster.sql("postgres", &roles).map_err(cannot)?;
    let rights = format!("GRANT CREATE ON SCHEMA public TO {DATABASE};\nCREATE EXTENSION pgcrypto WITH SCHEMA public;");
    cluster.sql(DATABASE, &rights).map_err(cannot)?;
    let url = cluster.url(DATABASE, &password, DATABASE);
    Ok((cluster, url))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge: a password of the sandbox's own role, for one cluster"
)]
fn password() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// The cluster that an earlier run left; started if it does not run.
///
/// # Errors
/// When it cannot be started.
pub(super) fn open(dir: &Path) -> Result<Cluster, Trouble> {
    Cluster::open(&folder(dir)).map_err(|error| Trouble::failed("cannot start the sandbox's PostgreSQL again", error))
}

/// Ends the server that an earlier run left, if there is one.
///
/// # Errors
/// When it cannot be ended.
pub(super) fn end(dir: &Path) -> Result<bool, Trouble> {
    Cluster::end(&folder(dir)).map_err(|error| Trouble::failed("cannot end the sandbox's PostgreSQL", error))
}

/// The first folder on the way to `dir` that others may not enter.
fn closed_to_others(dir: &Path) -> Option<PathBuf> {
    let mut on_the_way: Vec<&Path> = dir.ancestors().collect();
    on_the_way.reverse();
    let closed = |path: &&&Path| fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o001 == 0);
    on_the_way.iter().find(closed).map(|path| path.to_path_buf())
}
