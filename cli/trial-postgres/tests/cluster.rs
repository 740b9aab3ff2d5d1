//! A cluster does what the sandbox and the tests need of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use cutover_trial_postgres::{Cluster, Programs, Stop};

/// Whether PostgreSQL is installed: without it a test is skipped, and in CI it fails.
fn installed() -> bool {
    let Err(missing) = Programs::find() else { return true };
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "SKIPPED {missing}");
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "a test cannot run in CI: {missing}");
    false
}

/// A folder that the user `postgres` may pass through.
fn enterable() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("cutover-trial-").tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    dir
}

#[test]
fn a_start_that_a_killed_owner_left_under_way_is_waited_for_and_its_server_ended() {
    if !installed() {
        return;
    }
    let dir = enterable();
    let folder = dir.path().join("postgres");
    let cluster = Cluster::create(&folder, "").unwrap();
    cluster.stop(Stop::Fast).unwrap();
    // What is left of an owner that was killed while it started the server.
    let programs = Programs::find().unwrap();
    let mut start = std::process::Command::new(programs.path("pg_ctl"));
    start.args(["start", "-w", "--pgdata"]).arg(cluster.data()).arg("-l").arg(cluster.data().join("server.log"));
    if let Some((user, group)) = programs.user() {
        std::os::unix::process::CommandExt::gid(std::os::unix::process::CommandExt::uid(&mut start, user), group);
    }
    let mut start = start.current_dir("/").stdout(std::process::Stdio::null()).spawn().unwrap();
    assert!(Cluster::end(&folder).unwrap(), "the server that was being started is found and ended");
    start.wait().unwrap();
    assert!(!cluster.runs(), "nothing was left");
}

#[test]
fn a_cluster_keeps_its_rows_over_a_crash_and_ends_with_its_owner() {
    if !installed() {
        return;
    }
    let dir = enterable();
    let folder = dir.path().join("postgres");
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
