//! A cluster does what the sandbox and the tests need of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use cutover_trial_postgres::{Cluster, Programs, Stop};

#[test]
fn a_cluster_keeps_its_rows_over_a_crash_and_ends_with_its_owner() {
    if let Err(missing) = Programs::find() {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "SKIPPED {missing}");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "a test cannot run in CI: {missing}");
        return;
    }
    let dir = tempfile::Builder::new().prefix("cutover-trial-").tempdir().unwrap();
    let folder = dir.path();
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let folder = folder.join("postgres");
    let cluster = Cluster::create(&folder, "").unwrap();
    cluster.sql("postgres", "CREATE TABLE kept(n int)").unwrap();
    cluster.sql("postgres", "INSERT INTO kept VALUES (7)").unwrap();
    cluster.stop(Stop::Immediate).unwrap();
    assert!(!cluster.runs());
    cluster.start().unwrap();
    assert_eq!(cluster.sql("postgres", "SELECT n FROM kept").unwrap(), "7");
    assert!(cluster.sql("postgres", "SELECT nothing").unwrap_err().to_string().contains("does not exist"));
    drop(cluster);
    assert!(!Cluster::end(&folder).unwrap(), "its owner ended it");
    let again = Cluster::open(&folder).unwrap();
    assert_eq!(again.sql("postgres", "SELECT n FROM kept").unwrap(), "7");
    let mut left = again;
    left.leave_running();
    drop(left);
    assert!(Cluster::end(&folder).unwrap(), "a server that was left is found and ended");
    assert!(!Cluster::end(&folder).unwrap());
}
