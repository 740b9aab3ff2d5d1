//! Starts that an earlier process left under way. Who is killed while it starts a server leaves `pg_ctl` or `initdb` behind,
//! and whether a server runs is known only once they have ended.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

/// The programs that make or start a server, and end by themselves.
const PROGRAMS: [&str; 2] = ["pg_ctl", "initdb"];
/// Longer than `pg_ctl` waits for a server (60 s).
const PATIENCE: Duration = Duration::from_secs(70);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until nobody makes or starts a server on the data directory `data` any more; for 70 s at most, since what to do with
/// one that hangs is PostgreSQL's own to say: its next command there fails with the reason.
pub(crate) fn wait(data: &Path) {
    let mut waited = Duration::ZERO;
    while under_way(data) && waited < PATIENCE {
        std::thread::sleep(LOOK);
        waited += LOOK;
    }
}

fn under_way(data: &Path) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else { return false };
    entries.flatten().any(|entry| {
        let process = entry.path();
        let program = fs::read_link(process.join("exe")).unwrap_or_default();
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        PROGRAMS.iter().any(|name| program.ends_with(name))
            && line.split(|byte| *byte == 0).any(|word| word == data.as_os_str().as_bytes())
    })
}
