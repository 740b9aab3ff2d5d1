//! The inherited lock, in a binary of its own: its descriptor goes to every child of the process, those of other tests too.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use cutover_storage::sqlite::lock::{Locking, StorageLock};
use std::process::{Command, Stdio};

#[test]
fn a_child_that_inherited_the_lock_keeps_it_after_its_parent_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, path) = (folder.path().join("storage.lock"), folder.path().join("item.lock"));
    let Locking::Ours(lock) = StorageLock::acquire_item(&whole, &path, "worker").unwrap() else { panic!("not ours") };
    lock.inherit().unwrap();
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    drop(lock);
    assert!(matches!(StorageLock::acquire_item(&whole, &path, "second").unwrap(), Locking::Held { .. }));
    assert!(matches!(StorageLock::acquire(&whole, "second").unwrap(), Locking::Held { .. }));
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(matches!(StorageLock::acquire(&whole, "second").unwrap(), Locking::Ours(_)));
}
