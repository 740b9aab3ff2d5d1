//! A clock that is wrong, for one unit: the real one is the machine's.

use crate::host::Host;
use std::path::PathBuf;

/// Where a host keeps the shifts of its units.
const SHIFTS: &str = "/etc/clock-shift";

/// The library that answers for the clock, wherever this distribution puts it.
fn library() -> PathBuf {
    let folders =
        ["/usr/lib", "/usr/lib64"].into_iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
    let mut found = folders.flatten().map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    found.find(|path| path.exists()).expect("libfaketime is not installed: run deploy/setup")
}

/// What a program's environment needs for a clock that is so many seconds off from its start on; the monotonic clocks are right.
pub fn off_by(seconds: i64) -> Vec<(&'static str, String)> {
    vec![
        ("LD_PRELOAD", library().display().to_string()),
        ("FAKETIME", format!("{seconds:+}")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

impl Host {
    /// Shifts the clock that a unit's processes see by so many seconds. The first shift of a unit takes hold when it is
    /// started next; later ones at once, as a clock that jumps. Time that passes is not changed: the monotonic clocks are
    /// right, so a timer still waits as long as it says. Programs that ask the kernel without the C library, as Go's do, see
    /// the real clock.
    pub fn clock_shift(&self, unit: &str, seconds: i64) {
        self.put(&format!("{SHIFTS}/{unit}"), format!("{seconds:+}\n"), 0o644);
        let library = library();
        let lines = [
            format!("LD_PRELOAD={}", library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={SHIFTS}/{unit}"),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ];
        let lines: String = lines.iter().map(|line| format!("Environment={line}\n")).collect();
        self.put(&format!("/etc/systemd/system/{unit}.d/clock-shift.conf"), format!("[Service]\n{lines}"), 0o644);
        self.run(&["systemctl", "daemon-reload"]);
    }
}
