//! Whether any process has the storage's files open, from `/proc`.

use super::place::{Named, SqlitePlace};
use crate::StorageError;
use crate::files::SIDECARS;
use cutover_vocabulary::storage::Opener;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Who has the storage open, and whom we could not ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quiet {
    /// Processes that have one of the files open.
    pub openers: Vec<Opener>,
    /// Processes that we may not look into, by user. Not visible is not quiet.
    pub not_visible: Vec<NotVisible>,
}

/// Processes of one user that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotVisible {
    /// Whose.
    pub uid: u32,
    /// How many.
    pub processes: u32,
    /// One of them, for people.
    pub example: String,
    /// Whether they could open the files at all: root always can, others not where only the owner may enter the directory.
    pub could_reach: bool,
}
impl std::fmt::Display for NotVisible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { uid, processes, example, could_reach } = self;
        let reach = if *could_reach { "" } else { " (which may not enter the storage directory)" };
        write!(
            f,
            "{processes} processes of user {uid}{reach}, for example {example}: run as root or as that user to see their files"
        )
    }
}

impl Quiet {
    /// Nobody has it open, and everybody was asked.
    pub fn is_proved(&self) -> bool {
        self.openers.is_empty() && self.not_visible.is_empty()
    }
}

impl SqlitePlace {
    /// Looks at the open files of every process. Changes nothing; holds for the moment of the look only, and for releases up
    /// to 1.10.5 says nothing about an idle server, which holds no ledger file open: its process must be gone.
    ///
    /// Zombies count as dead. `except` names processes that are known and accounted for, this one for example.
    ///
    /// # Errors
    /// [`StorageError::Io`] when the storage directory or `/proc` cannot be read.
    pub fn quiet(&self, except: &[u32]) -> Result<Quiet, StorageError> {
        let directory = fs::metadata(self.directory()).map_err(StorageError::io("look at", self.directory()))?;
        let wanted = self.files_by_inode()?;
        let mut found = Quiet::default();
        let mut unseen: BTreeMap<u32, NotVisible> = BTreeMap::new();
        let proc = Path::new("/proc");
        for entry in fs::read_dir(proc).map_err(StorageError::io("list", proc))? {
            let Ok(entry) = entry else { continue };
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            if except.contains(&pid) {
                continue;
            }
            // A process that ends while it is looked at has nothing open.
            let Some(process) = Process::read(pid) else { continue };
            match self.opened_by(&process, &wanted) {
                Ok(files) => found.openers.extend(files.into_iter().map(|file| Opener {
                    pid,
                    command: process.command.clone(),
                    file,
                })),
                Err(ErrorKind::PermissionDenied) => {
                    let uid = process.uid;
                    let could_reach = uid == 0 || uid == directory.uid() || directory.mode() & 0o077 != 0;
                    let example = format!("{} (pid {pid})", process.command);
                    let one = unseen.entry(uid).or_insert(NotVisible { uid, processes: 0, example, could_reach });
                    one.processes += 1;
                }
                // Gone meanwhile.
                Err(_) => {}
            }
        }
        if let Some(hidden) = hidden_processes() {
            unseen.entry(0).or_insert(hidden);
        }
        found.openers.sort();
        found.not_visible = unseen.into_values().collect();
        Ok(found)
    }

    /// Device and inode of every file of the storage: names can be spelt in many ways, and differ in other mount namespaces.
    fn files_by_inode(&self) -> Result<BTreeMap<(u64, u64), String>, StorageError> {
        let failed = || StorageError::io("list the storage directory", self.directory());
        let mut wanted = BTreeMap::new();
        for entry in fs::read_dir(self.directory()).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name().to_string_lossy().into_owned();
            if self.is_ours(&name)
                && let Ok(data) = fs::metadata(self.directory().join(&name))
            {
                wanted.insert((data.dev(), data.ino()), name);
            }
        }
        Ok(wanted)
    }

    /// Whether a file's name is a database of this storage or what SQLite keeps beside one. With a `db_name` that contains an
    /// underscore scan skips the files, but the service has them open all the same.
    fn is_ours(&self, name: &str) -> bool {
        let database = SIDECARS.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        match self.read_name(database) {
            Named::Ledger(_) | Named::System => true,
            Named::Skipped(_) => database.starts_with(&format!("{}_", self.db_name())),
            Named::NotADatabase => false,
        }
    }

    /// Whether that name still stands for that file. A ledger that closes its last connection deletes what lies beside the
    /// database, and the next file that anybody makes on this disk, our own store for example, is given the same inode.
    fn still_is(&self, name: &str, inode: (u64, u64)) -> bool {
        fs::metadata(self.directory().join(name)).is_ok_and(|data| (data.dev(), data.ino()) == inode)
    }

    fn opened_by(
        &self,
        process: &Process,
        wanted: &BTreeMap<(u64, u64), String>,
    ) -> Result<BTreeSet<String>, ErrorKind> {
        let folder = format!("/proc/{}/fd", process.pid);
        let mut files = BTreeSet::new();
        for entry in fs::read_dir(&folder).map_err(|error| error.kind())? {
            let Ok(entry) = entry else { continue };
            // stat follows the link to the open file itself, also where its name is gone or hidden by a mount.
            if let Ok(data) = fs::metadata(entry.path())
                && let Some(name) = wanted.get(&(data.dev(), data.ino()))
                && self.still_is(name, (data.dev(), data.ino()))
            {
                files.insert(name.clone());
                continue;
            }
            // A file that was deleted or replaced while it was open: its holder still writes to the old one.
            if let Ok(target) = fs::read_link(entry.path())
                && target.parent() == Some(self.directory())
                && let Some(name) = target.file_name().and_then(|name| name.to_str())
                && let Some(name) = name.strip_suffix(" (deleted)")
                && self.is_ours(name)
            {
                files.insert(format!("{name} (deleted)"));
            }
        }
        Ok(files)
    }
}

/// Whether `/proc` is mounted with `hidepid`, so that others' processes are not even listed to this user. Never to root.
pub fn hidden_from_us() -> bool {
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    !rustix::process::geteuid().is_root() && hides(&mounts())
}

/// Where others' processes are not listed, a look that finds nobody proves nothing.
fn hidden_processes() -> Option<NotVisible> {
    hidden_from_us().then(|| NotVisible {
        uid: 0,
        processes: 0,
        example: "any of another user: /proc is mounted with hidepid".to_owned(),
        could_reach: true,
    })
}

fn hides(mountinfo: &str) -> bool {
    mountinfo
        .lines()
        .filter(|line| line.split(' ').nth(4) == Some("/proc"))
        .flat_map(|line| line.split([' ', ',']))
        .filter_map(|option| option.strip_prefix("hidepid="))
        .any(|level| !matches!(level, "0" | "off"))
}

struct Process {
    pid: u32,
    uid: u32,
    command: String,
}

impl Process {
    /// `None` for what is gone, dead but not yet reaped, or a thread of the kernel.
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command stands in parentheses and may contain any character, parentheses too.
        let (head, rest) = stat.rsplit_once(')')?;
        let command = head.split_once('(')?.1.to_owned();
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let parent: u32 = fields.next()?.parse().ok()?;
        // Threads of the kernel have number 2 or parent 2; in a container there are none, and a real process may be 2.
        let kernel_thread =
            (pid == 2 || parent == 2) && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.is_empty());
        if matches!(state, "Z" | "X" | "x") || kernel_thread {
            return None;
        }
        let uid = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
        Some(Self { pid, uid, command })
    }
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, Process, SqlitePlace};
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_process_whose_file_was_given_the_inode_of_a_deleted_log_is_no_opener() {
        let (storage, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let place = SqlitePlace::find(storage.path(), "numary").unwrap();
        let file = std::fs::File::create(elsewhere.path().join("store.db-wal")).unwrap();
        let data = file.metadata().unwrap();
        // As listed a moment ago, when the ledger still had its log.
        let wanted = BTreeMap::from([((data.dev(), data.ino()), "numary_main.db-wal".to_owned())]);
        let here = Process::read(std::process::id()).unwrap();
        assert!(place.opened_by(&here, &wanted).unwrap().is_empty());
        std::fs::hard_link(elsewhere.path().join("store.db-wal"), storage.path().join("numary_main.db-wal")).unwrap();
        assert_eq!(place.opened_by(&here, &wanted).unwrap().len(), 1, "one that still lies there is open");
        drop(file);
    }

    #[test]
    fn a_proc_that_hides_processes_is_noticed() {
        let plain = "22 1 0:20 / /proc rw,nosuid - proc proc rw";
        let hiding = "22 1 0:20 / /proc rw,nosuid - proc proc rw,hidepid=invisible";
        let elsewhere = "22 1 0:20 / /mnt/proc rw - proc proc rw,hidepid=2";
        assert_eq!([plain, hiding, elsewhere].map(super::hides), [false, true, false]);
    }
}
