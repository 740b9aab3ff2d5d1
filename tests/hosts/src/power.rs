//! A host's power: boot, off, cut, reboot, freeze.

use crate::host::Host;
use crate::{DEADLINE, machine, until, within};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// The way to PID 1. It calls itself again, so it is passed as a variable too.
const BOOT: &str = include_str!("boot.sh");

impl Host {
    /// Switches it on and does not wait. The disk is as the last boot left it.
    ///
    /// # Panics
    /// When it is on.
    pub fn boot(&self) {
        let mut power = self.power();
        let ended = power.as_mut().is_none_or(|process| process.try_wait().unwrap().is_some());
        assert!(ended, "{} is on already", self.name());
        let console =
            std::fs::OpenOptions::new().create(true).append(true).open(self.folder().join("console")).unwrap();
        let process = Command::new("nsenter")
            .arg(format!("--net={}", self.folder().join("net").display()))
            .args(["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "sh", "-c", BOOT, "boot"])
            .args([self.folder(), self.cgroup()])
            .env("BOOT", BOOT)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .spawn()
            .unwrap();
        *power = Some(process);
    }

    /// Waits until systemd says `running`.
    ///
    /// # Panics
    /// When it says `degraded`, with the units that failed; when it ends instead, with its last words on the console; and
    /// after [`DEADLINE`].
    #[track_caller]
    pub fn wait_running(&self) {
        self.wait_running_within(DEADLINE);
    }

    /// Waits until it is up, also with a unit that did not start.
    pub fn wait_up(&self) {
        until(&format!("{} is up", self.name()), DEADLINE, || {
            let state = self.try_exec(&["systemctl", "is-system-running"], DEADLINE)?;
            matches!(String::from_utf8_lossy(&state.stdout).trim(), "running" | "degraded").then_some(())
        });
    }

    /// The same with a deadline.
    #[track_caller]
    pub fn wait_running_within(&self, deadline: Duration) {
        let name = self.name();
        let state = until(&format!("{name} runs"), deadline, || {
            assert!(self.is_on(), "{name} went off instead of booting");
            // Asked once it can answer: to ask again and again takes longer than to boot.
            let socket = format!("/proc/{}/root/run/systemd/private", self.pid()?);
            std::fs::exists(socket).ok()?.then_some(())?;
            let output = self.try_exec(&["systemctl", "is-system-running", "--wait"], deadline)?;
            let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            ["running", "degraded", "maintenance"].contains(&state.as_str()).then_some(state)
        });
        if state != "running" {
            let failed = self.try_exec(&["systemctl", "--failed", "--plain", "--no-legend"], deadline);
            let failed = failed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            panic!("{name} is {state}: {}", failed.unwrap_or_default());
        }
    }

    /// Whether it has power. One that was told to power off from inside is off when it is.
    pub fn is_on(&self) -> bool {
        self.power().as_mut().is_some_and(|process| process.try_wait().unwrap().is_none())
    }

    /// Shuts down in order: units are stopped, as long as they may take. Does nothing to one that is off.
    ///
    /// # Panics
    /// After [`DEADLINE`], or when it ended in another way.
    pub fn power_off(&self) {
        self.signal("RTMIN+4");
        let status = until(&format!("{} is off", self.name()), DEADLINE, || self.ended());
        // The kernel's way to say that a PID namespace was powered off.
        let in_order = status.is_none_or(|status| status.signal() == Some(2));
        assert!(in_order, "{} ended, but not by powering off: {status:?}", self.name());
    }

    /// Shuts down in order and boots again; does not wait until it runs.
    ///
    /// # Panics
    /// As [`Host::power_off`].
    pub fn reboot(&self) {
        self.signal("RTMIN+5");
        let status = until(&format!("{} is down", self.name()), DEADLINE, || self.ended());
        let in_order = status.is_some_and(|status| status.signal() == Some(1));
        assert!(in_order, "{} ended, but not by rebooting: {status:?}", self.name());
        self.boot();
    }

    /// Ends every process of it at once, as frozen as they may be. What was written stays, synced or not.
    ///
    /// # Panics
    /// After [`DEADLINE`].
    pub fn power_cut(&self) {
        assert!(self.cut(), "{} lives without power", self.name());
    }

    /// Takes its power away and does not wait for its end: when this returns, no process of it comes to do anything any more.
    pub fn power_fails(&self) {
        // The process that holds its namespaces is outside of its control group.
        let _ = std::fs::write(self.cgroup().join("cgroup.kill"), "1");
    }

    /// Stops every process of it where it is, as if the host hung; open connections stay open and new ones are answered by
    /// the kernel alone.
    pub fn freeze(&self) {
        self.hang();
        self.until_frozen(true);
    }

    /// The same without waiting until each has stopped: when this returns, none of them comes further than to the end of what it
    /// asked the kernel for.
    pub fn hang(&self) {
        self.set_frozen(true);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.set_frozen(false);
        self.until_frozen(false);
    }

    fn set_frozen(&self, frozen: bool) {
        std::fs::write(self.cgroup().join("cgroup.freeze"), u8::from(frozen).to_string()).unwrap();
    }

    fn until_frozen(&self, frozen: bool) {
        let frozen = u8::from(frozen);
        until(&format!("{} has frozen {frozen}", self.name()), DEADLINE, || {
            let events = std::fs::read_to_string(self.cgroup().join("cgroup.events")).unwrap();
            events.lines().any(|line| line == format!("frozen {frozen}")).then_some(())
        });
    }

    /// Whether it is off afterwards.
    pub(crate) fn cut(&self) -> bool {
        if self.power().is_none() {
            return true;
        }
        self.power_fails();
        let ended = within(DEADLINE, || self.ended()).is_some();
        let _ = std::fs::write(self.cgroup().join("cgroup.freeze"), "0");
        ended
    }

    /// How it ended, if it has: the kernel ends a PID namespace whole before its PID 1 is seen to end. The inner `None` is a
    /// host that was off.
    fn ended(&self) -> Option<Option<ExitStatus>> {
        let mut power = self.power();
        let Some(process) = power.as_mut() else { return Some(None) };
        let status = process.try_wait().unwrap()?;
        *power = None;
        Some(Some(status))
    }

    fn signal(&self, signal: &str) {
        if self.is_on() {
            let pid = until(&format!("{} has a PID 1", self.name()), DEADLINE, || self.pid());
            machine::run("sh", &["-c", r#"kill -s "$0" "$1""#, signal, &pid.to_string()]);
        }
    }
}
