//! Where a test and its hosts live: namespaces of their own, which end with it.
//!
//! Namespaces are entered by a program as a whole, before it has threads. So [`Lab::run`] starts this test binary again
//! inside of them, for that one test, and passes on what it prints and how it ends. A test is then an ordinary program that
//! reaches its hosts by ordinary sockets; labs do not see each other, so tests run in parallel with the same addresses.
//!
//! Everything inside is in one control group and on one file system in memory. A sweeper outside ends the group and
//! removes it once the process that asked for the lab is gone, in whichever way.

use crate::host::Host;
use crate::machine::{cgroups, prepare, run, skipped};
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

/// Names the lab's folder to the program inside.
const INSIDE: &str = "CUTOVER_LAB";
/// Names of labs begin so: folders and control groups.
pub(crate) const PREFIX: &str = "cutover-lab-";
/// In the lab's folder: what is installed on all hosts, and the names of all.
const USR: &str = "all-usr";
const NAMES: &str = "all-names";
/// The status of a program whose test ran and passed. The test runner's own 0 may mean that it found no such test.
const PASSED: i32 = 42;

/// Enters the lab's control group, then its namespaces. The shell that stays is PID 1 there, and reaps.
const ENTER: &str = r#"
echo 0 > "$1/cgroup.procs" && shift &&
exec unshare --mount --net --pid --fork --kill-child --mount-proc sh -c '"$@"; exit $?' lab "$@""#;

/// Waits until nobody holds its input, then ends and removes what is left.
const SWEEP: &str = r#"
read -r _
for turn in $(seq 500); do
  [ -d "$1" ] || break
  echo 1 > "$1/cgroup.kill"
  find "$1" -depth -type d -exec rmdir {} + && break
  sleep 0.02
done 2>/dev/null
exec rmdir "$2""#;

/// A network with a bridge, a file system and a process table of their own.
#[derive(Debug)]
pub struct Lab {
    folder: PathBuf,
    cgroup: PathBuf,
    hosts: AtomicU8,
}

impl Lab {
    /// Runs a test in a lab. To be called first and alone by a test, with a closure that is written in the test itself: the
    /// closure's type tells the test's name, by which it is found again inside. Where a lab cannot be, the test is
    /// [`skipped`].
    ///
    /// # Panics
    /// When the test fails.
    pub fn run<F: FnOnce(&Self)>(test: F) {
        if let Some(lab) = Self::inside() {
            test(&lab);
            std::process::exit(PASSED);
        }
        if let Err(why) = prepare() {
            skipped(&why);
            return;
        }
        let closure = std::any::type_name::<F>();
        let name = closure.split_once("::").and_then(|(_, path)| path.strip_suffix("::{{closure}}"));
        let name = name.unwrap_or_else(|| panic!("{closure} is no closure in a test"));
        let status = enter(&["--exact", name, "--include-ignored", "--nocapture"], Voice::Passed);
        assert_ne!(status.code(), Some(0), "there is no test {name}: write the closure in the test itself");
        assert!(status.code() == Some(PASSED), "{name} failed in its lab, see above: {status}");
    }

    /// Runs the work of a program in a lab, by starting this program again inside, with the same arguments.
    ///
    /// # Errors
    /// Why there can be no lab here.
    pub fn by_hand(work: impl FnOnce(&Self)) -> Result<ExitStatus, String> {
        if let Some(lab) = Self::inside() {
            work(&lab);
            std::process::exit(0);
        }
        prepare()?;
        let args: Vec<_> = std::env::args_os().skip(1).collect();
        Ok(enter(&args, Voice::Own))
    }

    /// The lab that this process was started in.
    fn inside() -> Option<Self> {
        let folder = PathBuf::from(std::env::var_os(INSIDE)?);
        let cgroup = cgroups().unwrap().join(folder.file_name().unwrap());
        run("mount", &["-t", "tmpfs", "-o", "mode=1777", "lab", folder.to_str().unwrap()]);
        for wire in [
            "link set lo up",
            "link add bridge type bridge",
            "link set bridge up",
            &format!("addr add {}/16 dev bridge", Self::ADDRESS),
        ] {
            run("ip", &wire.split(' ').collect::<Vec<_>>());
        }
        let lab = Self { folder, cgroup, hosts: AtomicU8::new(0) };
        std::fs::create_dir(lab.folder.join(USR)).unwrap();
        std::fs::write(lab.folder.join(NAMES), format!("127.0.0.1 localhost\n{} lab\n", Self::ADDRESS)).unwrap();
        run("mount", &["--bind", lab.folder.join(NAMES).to_str().unwrap(), "/etc/hosts"]);
        Some(lab)
    }

    /// Where the test itself is in the network of its hosts.
    pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 255, 254);

    /// A folder in memory for whatever the test needs, which ends with the lab. Temporary folders are made in it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The lab's name, by which its folder and its control group are found from outside.
    pub fn name(&self) -> &str {
        self.folder.file_name().and_then(OsStr::to_str).unwrap()
    }

    /// Puts a file of this machine, a program for one, into every host that is booted later; `to` is below `/usr`. It is
    /// kept once, however large and however many the hosts, and what a host changes of it is the host's own.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn install(&self, from: &Path, to: &str) {
        let below = to.strip_prefix("/usr/").unwrap_or_else(|| panic!("{to} is not below /usr"));
        let to = self.folder.join(USR).join(below);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, &to).unwrap_or_else(|error| panic!("cannot install {}: {error}", from.display()));
    }

    /// A new host with an empty disk, switched off; the others and the lab find it by its name. At most 250 in a lab.
    pub fn host(&self, name: &str) -> Host {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(number <= 250, "a lab has addresses for 250 hosts");
        let address = Ipv4Addr::new(10, 77, 0, number);
        let mut names = OpenOptions::new().append(true).open(self.folder.join(NAMES)).unwrap();
        writeln!(names, "{address} {name}").unwrap();
        Host::create(name, address, self.folder.join(name), self.cgroup.join(name))
    }

    /// So many new hosts, `h1` and on, which run.
    pub fn hosts(&self, count: usize) -> Vec<Host> {
        let hosts: Vec<Host> = (1..=count).map(|number| self.host(&format!("h{number}"))).collect();
        hosts.iter().for_each(Host::boot);
        hosts.iter().for_each(Host::wait_running);
        hosts
    }
}

/// What the program inside prints to.
#[derive(PartialEq, Eq)]
enum Voice {
    /// The terminal.
    Own,
    /// The test runner's capture.
    Passed,
}

/// Runs this program again in a new lab until it ends.
fn enter<S: AsRef<OsStr>>(args: &[S], voice: Voice) -> ExitStatus {
    let folder = tempfile::Builder::new().prefix(PREFIX).tempdir().unwrap().keep();
    let cgroup = cgroups().unwrap().join(folder.file_name().unwrap());
    let sweeper = Sweeper::start(&cgroup, &folder);
    let test = cgroup.join("test");
    std::fs::create_dir_all(&test).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", ENTER, "lab"]).arg(test).arg(std::env::current_exe().unwrap()).args(args);
    command.env(INSIDE, &folder).env("TMPDIR", &folder);
    let status = match voice {
        Voice::Own => command.status().unwrap(),
        Voice::Passed => {
            let (reader, writer) = std::io::pipe().unwrap();
            command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
            let mut child = command.spawn().unwrap();
            // It holds the pipe's other end.
            drop(command);
            for line in BufReader::new(reader).split(b'\n') {
                let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
                if line.starts_with("SKIPPED ") {
                    let _ = writeln!(std::io::stderr(), "{line}");
                } else {
                    println!("{line}");
                }
            }
            child.wait().unwrap()
        }
    };
    sweeper.finish();
    status
}

/// Removes what a lab leaves; it works even if this process is killed.
struct Sweeper {
    process: Child,
    /// Held open as long as the lab is wanted.
    wanted: ChildStdin,
}
impl Sweeper {
    fn start(cgroup: &Path, folder: &Path) -> Self {
        let mut process = Command::new("sh")
            .args(["-c", SWEEP, "sweeper"])
            .args([cgroup, folder])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Ctrl-C is for the lab, not for the one who tidies up after it.
            .process_group(0)
            .spawn()
            .unwrap();
        let wanted = process.stdin.take().unwrap();
        Self { process, wanted }
    }

    /// # Panics
    /// When something of the lab is left.
    fn finish(mut self) {
        drop(self.wanted);
        let status = self.process.wait().unwrap();
        assert!(status.success(), "something of a lab is left behind: {status}");
    }
}
