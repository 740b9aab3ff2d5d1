//! A file system of its own that can be full.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory, mounted until it is dropped. It takes root.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    bytes: u64,
}

impl Disk {
    /// Mounts one of so many bytes there, for its owner alone; the folder is made. None where this may not be done here.
    pub fn mount(at: &Path, bytes: u64) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes},mode=0700"), "tmpfs"])
            .arg(at)
            .output();
        mounted.is_ok_and(|done| done.status.success()).then(|| Self { path: at.to_owned(), bytes })
    }
    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Leaves no room at all: it becomes as small as what is in it.
    ///
    /// # Panics
    /// When it cannot be done, though somebody wrote meanwhile and it was tried again.
    pub fn fill(&self) {
        let full = (0..20).any(|_| {
            let seen = rustix::fs::statvfs(&self.path).unwrap();
            self.resize((seen.f_blocks - seen.f_bfree) * seen.f_frsize)
        });
        assert!(full, "{} cannot be made full", self.path.display());
    }
    /// There is room again.
    pub fn empty(&self) {
        assert!(self.resize(self.bytes), "{} cannot be made larger", self.path.display());
    }
    fn resize(&self, bytes: u64) -> bool {
        // No size at all would be no limit.
        let size = format!("remount,size={}", bytes.max(4096));
        Command::new("mount").args(["-o", &size]).arg(&self.path).output().is_ok_and(|done| done.status.success())
    }
}
impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
