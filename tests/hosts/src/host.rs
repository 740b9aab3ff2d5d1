//! One host: what it is made of. What can be done to it is in the files beside: `power`, `exec`, `network`, `disk`, `clock`.

use crate::{disk, machine, network};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A host of a lab. Its disk is kept as long as the lab is, whatever happens to its power; dropping it is a power cut.
#[derive(Debug)]
pub struct Host {
    name: String,
    address: Ipv4Addr,
    folder: PathBuf,
    cgroup: PathBuf,
    /// The process whose only child is its PID 1, and which ends with it.
    pub(crate) power: Mutex<Option<Child>>,
}

impl Host {
    pub(crate) fn create(name: &str, address: Ipv4Addr, folder: PathBuf, cgroup: PathBuf) -> Self {
        std::fs::create_dir(&folder).unwrap_or_else(|error| panic!("cannot make a host {name}: {error}"));
        std::fs::create_dir(&cgroup).unwrap();
        disk::format(&folder, name);
        network::wire(&folder, address);
        Self { name: name.to_owned(), address, folder, cgroup, power: Mutex::new(None) }
    }

    /// Its host name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Where the lab and the other hosts reach it.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }
    /// Its disk, seen from the lab, running or not; without what it changed of `/usr`. Links in it that begin at the root
    /// lead to this machine's files: to read and write as the host does there are [`Host::read`] and [`Host::put`].
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }
    /// What lies beside its disk: namespaces, console.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
    pub(crate) fn cgroup(&self) -> &Path {
        &self.cgroup
    }
    pub(crate) fn power(&self) -> MutexGuard<'_, Option<Child>> {
        self.power.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its PID 1 as the lab sees it; none while it is off, or before systemd has taken over.
    pub fn pid(&self) -> Option<u32> {
        let outer = self.power().as_ref()?.id();
        let first = std::fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).ok()?;
        let first: u32 = first.trim().parse().ok()?;
        let scope = std::fs::read_to_string(self.cgroup.join("init.scope/cgroup.procs")).ok()?;
        scope.lines().any(|pid| pid.parse() == Ok(first)).then_some(first)
    }

    /// The address of its D-Bus for programs in the lab; of this boot, and only while it runs.
    pub fn system_bus(&self) -> String {
        let pid = self.pid().unwrap_or_else(|| panic!("{} has no bus: it is off", self.name));
        format!("unix:path=/proc/{pid}/root/run/dbus/system_bus_socket")
    }

    /// The name of this boot, or of the last one; another at every boot.
    pub fn boot_id(&self) -> String {
        std::fs::read_to_string(self.folder.join("boot_id")).unwrap().trim().to_owned()
    }

    /// What it said last, for a test that fails.
    fn last_words(&self) -> String {
        let console = std::fs::read_to_string(self.folder.join("console")).unwrap_or_default();
        let journal = self.try_exec(&["journalctl", "--no-pager", "-n", "40"], Duration::from_secs(2));
        let journal = journal.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        format!("== {} ==\n{console}{journal}", self.name)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.last_words());
        }
        // What cannot be ended here is ended with the lab. A panic while another unwinds would hide the first.
        let _ = self.cut();
    }
}

/// Runs `ip`, `nft` or another program in a host's network, off or on.
#[track_caller]
pub(crate) fn in_network(host: &Path, command: &[&str]) {
    let net = format!("--net={}", host.join("net").display());
    let mut args = vec![net.as_str()];
    args.extend(command);
    machine::run("nsenter", &args);
}
