//! What is said when a disk is full. In a binary of its own: SQLite has one folder for temporary files in a process.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use cutover_storage::sqlite::Ledger;
use cutover_storage::{StorageError, digest};
use std::process::Command;

#[test]
fn a_disk_that_is_full_while_rows_are_sorted_is_the_one_of_the_temporary_files() {
    let root = tempfile::tempdir().unwrap();
    let (file, scratch) = (root.path().join("numary_big.db"), root.path().join("scratch"));
    std::fs::create_dir(&scratch).unwrap();
    {
        let ledger = support::create_split(&file);
        ledger.execute_batch("BEGIN").unwrap();
        // More than a sort keeps in memory.
        for id in 0..20_000 {
            let account = format!("users:{id:0500}");
            support::transaction(&ledger, id, None, &[("world", &account, "USD/2", 1)]);
        }
        ledger.execute_batch("COMMIT").unwrap();
    }
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=512k", "cutover-test"]).arg(&scratch).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        support::skipped(
            "a_disk_that_is_full_while_rows_are_sorted_is_the_one_of_the_temporary_files: mounting needs root",
        );
        return;
    }
    let read = digest::digest(&Ledger::open(&file, &scratch).unwrap());
    assert!(Command::new("umount").arg(&scratch).status().unwrap().success());
    let error = read.unwrap_err();
    assert!(matches!(error, StorageError::Full { .. }), "{error:?}");
    let said = format!("no space left to keep temporary files in {}: free some space there", scratch.display());
    assert!(error.to_string().starts_with(&said), "{error}");
}
