//! A PostgreSQL for one test.

use cutover_trial_postgres::{Cluster, Programs};
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

/// A server and the folder it is in, which goes after it.
pub(crate) struct Trial {
    pub(crate) cluster: Cluster,
    _dir: TempDir,
}

/// None where PostgreSQL is not installed: the test is skipped then, and says so.
pub(crate) fn trial() -> Option<Trial> {
    if let Err(missing) = Programs::find() {
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("SKIPPED {missing}\n"));
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "with CI=true nothing may be skipped: {missing}");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    // The server runs as another user, who must be able to enter.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let cluster = Cluster::create(&dir.path().join("cluster"), "").unwrap();
    Some(Trial { cluster, _dir: dir })
}
