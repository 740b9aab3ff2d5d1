//! A host's disk.

use crate::host::Host;
use crate::machine::run;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

/// What a host has of the machine's `/etc`, where the machine has it: users, libraries, D-Bus, certificates.
const FROM_ETC: &[&str] = &[
    "alternatives",
    "dbus-1",
    "dpkg",
    "group",
    "gshadow",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "login.defs",
    "nsswitch.conf",
    "pam.d",
    "passwd",
    "security",
    "shadow",
    "ssl",
];

/// Units that are for hardware, terminals or a network of systemd's own, or that would work on this machine's kernel.
const MASKED: &[&str] = &[
    "dbus-org.freedesktop.login1.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "e2scrub_reap.service",
    "getty.target",
    "ldconfig.service",
    "proc-sys-fs-binfmt_misc.automount",
    "remote-fs.target",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-initctl.socket",
    "systemd-journal-catalog-update.service",
    "systemd-journal-flush.service",
    "systemd-journald-audit.socket",
    "systemd-logind.service",
    "systemd-machine-id-commit.service",
    "systemd-modules-load.service",
    "systemd-networkd.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-resolved.service",
    "systemd-sysctl.service",
    "systemd-sysusers.service",
    "systemd-timesyncd.service",
    "systemd-udevd.service",
    "systemd-update-done.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
    "tmp.mount",
];

/// The file that fills a disk.
const FILLER: &str = ".filler";

/// Makes a host's root in `folder`, with a name, and no units but systemd's own.
pub(crate) fn format(folder: &Path, name: &str) {
    let root = folder.join("root");
    let etc = root.join("etc");
    let units = etc.join("systemd/system");
    for path in ["usr/changed", "usr/work", "dpkg/changed", "dpkg/work"] {
        fs::create_dir_all(folder.join(path)).unwrap();
    }
    fs::create_dir_all(&units).unwrap();
    for path in "dev home mnt opt proc root run srv sys tmp usr var/lib/dpkg var/log/journal var/tmp".split(' ') {
        fs::create_dir_all(root.join(path)).unwrap();
    }
    for path in ["tmp", "var/tmp"] {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o1777)).unwrap();
    }
    symlink("../run", root.join("var/run")).unwrap();
    for path in ["bin", "lib", "lib64", "sbin"] {
        symlink(format!("usr/{path}"), root.join(path)).unwrap();
    }
    let present = FROM_ETC.iter().map(|name| Path::new("/etc").join(name)).filter(|path| path.exists());
    let mut copy = vec!["-a".into(), "-t".into(), etc.clone().into_os_string()];
    copy.extend(present.map(|path| path.into_os_string()));
    run("cp", &copy);
    fs::copy("/etc/os-release", etc.join("os-release")).unwrap();
    for (file, text) in [
        ("hostname", format!("{name}\n")),
        ("machine-id", fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap().replace('-', "")),
        ("fstab", String::new()),
        ("resolv.conf", String::new()),
        // The lab's file is mounted here.
        ("hosts", String::new()),
        ("systemd/system.conf", "[Manager]\nDefaultTimeoutStopSec=20s\nShowStatus=no\n".to_owned()),
        ("systemd/journald.conf", "[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n".to_owned()),
    ] {
        fs::write(etc.join(file), text).unwrap();
    }
    symlink("/lib/systemd/system/multi-user.target", units.join("default.target")).unwrap();
    for unit in MASKED {
        symlink("/dev/null", units.join(unit)).unwrap();
    }
    // Systemd's own look for disks, terminals and old scripts, which no host has, and take a third of a boot.
    let generators = etc.join("systemd/system-generators");
    fs::create_dir(&generators).unwrap();
    for generator in fs::read_dir("/usr/lib/systemd/system-generators").into_iter().flatten().flatten() {
        let name = generator.file_name();
        if name.to_string_lossy().starts_with("systemd-") {
            symlink("/dev/null", generators.join(name)).unwrap();
        }
    }
}

impl Host {
    /// Gives a folder of a host that is off a disk of its own, empty, of so many bytes; it stays over reboots. Only such a
    /// folder can be full.
    ///
    /// # Panics
    /// When the host is on.
    pub fn disk(&self, folder: &str, bytes: u64) {
        assert!(!self.is_on(), "{} is on: give it disks while it is off", self.name());
        let place = self.inside(folder);
        fs::create_dir_all(&place).unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("mode=755,size={bytes}"), "disk", place.to_str().unwrap()]);
    }

    /// Fills the disk that was given to a folder, to the last byte.
    pub fn disk_full(&self, folder: &str) {
        let path = self.inside(folder).join(FILLER);
        let mut file = fs::File::create(&path).unwrap();
        loop {
            match file.write(&[0; 1 << 16]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("cannot fill {folder} of {}: {error}", self.name()),
            }
        }
    }

    /// Takes away what [`Host::disk_full`] wrote.
    pub fn disk_freed(&self, folder: &str) {
        fs::remove_file(self.inside(folder).join(FILLER)).unwrap();
    }

    fn inside(&self, folder: &str) -> std::path::PathBuf {
        self.root().join(folder.strip_prefix('/').unwrap_or(folder))
    }
}
