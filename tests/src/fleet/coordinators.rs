//! The coordinators of a fleet: one that keeps its facts in a file, or several on one etcd of three members.

use crate::free_address;
use crate::house::{daemon_with, kill};
use crate::until;
use crate::voice::Voice;
use cutover_test_etcd::Etcd;
use cutover_test_etcd::proxy::Proxy;
use rustix::process::{Pid, Signal, kill_process};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

/// How long a leader that is not heard stays the leader: the shortest that the settings allow.
pub const LEASE: Duration = Duration::from_secs(2);
/// How many members the etcd of several coordinators has.
pub const MEMBERS: usize = 3;
/// How long an election may take, on a machine that is busy.
const ELECTED_WITHIN: Duration = Duration::from_secs(30);

/// One coordinator.
pub struct Coordinator {
    /// Where its settings and its logs lie.
    pub dir: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// More environment, from its next start on.
    pub env: Vec<(&'static str, String)>,
    /// How it reaches each member of etcd.
    pub to_etcd: Vec<Proxy>,
    pub(crate) process: Option<Child>,
    voice: Voice,
}

impl Coordinator {
    fn new(dir: PathBuf, etcd: Option<&Etcd>) -> Self {
        std::fs::create_dir_all(&dir).unwrap();
        let listen = free_address();
        let members = etcd.iter().flat_map(|etcd| (0..MEMBERS).map(|member| Proxy::to(etcd.address(member))));
        let voice = Voice::to(&format!("http://{listen}"));
        Self { dir, listen, env: Vec::new(), to_etcd: members.collect(), process: None, voice }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let id = self.process.as_ref().map(Child::id);
        kill(self.process.take());
        // What a wrong clock's library leaves behind of a process that is killed.
        for name in id.iter().flat_map(|id| [format!("faketime_shm_{id}"), format!("sem.faketime_sem_{id}")]) {
            let _ = std::fs::remove_file(Path::new("/dev/shm").join(name));
        }
    }
    /// Starts it, unless it runs.
    pub fn start(&mut self) {
        let runs = self.process.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none());
        if !runs {
            let args = ["--settings", "coordinator.toml"];
            self.process = Some(daemon_with("cutover-coordinator", &self.dir, &args, &self.env));
        }
    }
    /// Stops it, or has it continue.
    pub fn signal(&self, signal: Signal) {
        let child = self.process.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }
    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("cutover-coordinator.err")).unwrap_or_default()
    }
    /// Whether it says that another one leads.
    pub fn follows(&self) -> bool {
        self.process.is_some() && self.voice.follows()
    }
    /// The epoch under which it leads, if it does.
    pub fn leads(&self) -> Option<u64> {
        self.process.as_ref().and_then(|_| self.voice.leads())
    }
}

/// All of a fleet.
pub struct Coordinators {
    /// Each; the first has its settings in the fleet's folder.
    pub all: Vec<Coordinator>,
    /// What several share.
    etcd: Option<Etcd>,
}

impl Coordinators {
    /// So many for a fleet in that folder. None of them is started.
    pub(super) fn new(root: &Path, number: usize) -> Self {
        let etcd = (number > 1).then(|| Etcd::start(MEMBERS));
        let dir = |n| if n == 1 { root.to_owned() } else { root.join(format!("coordinator-{n}")) };
        let all = (1..=number).map(|n| Coordinator::new(dir(n), etcd.as_ref())).collect();
        std::fs::create_dir_all(root.join("store")).unwrap();
        Self { all, etcd }
    }

    pub(super) fn voice(&self) -> Voice {
        let endpoints: Vec<String> = self.all.iter().map(|one| format!("http://{}", one.listen)).collect();
        Voice::to_any(endpoints.iter().map(String::as_str))
    }

    /// Writes each one's settings, with these limits.
    pub(super) fn write_settings(&self, limits: &str) {
        for (n, one) in self.all.iter().enumerate() {
            let members: Vec<String> = one.to_etcd.iter().map(Proxy::url).collect();
            let (store, table) = match &self.etcd {
                None => (format!("sqlite:{}/store/store.db", one.dir.display()), String::new()),
                Some(_) => {
                    let lease = LEASE.as_secs();
                    ("etcd".to_owned(), format!("[etcd]\nendpoints = {members:?}\nlease_seconds = {lease}\n\n"))
                }
            };
            let (name, listen) = (n + 1, one.listen);
            let text = format!(
                "name = \"c{name}\"\nlisten = \"http://{listen}\"\nstore = \"{store}\"\n\n{table}[limits]\n{limits}\n"
            );
            std::fs::write(one.dir.join("coordinator.toml"), text).unwrap();
        }
    }

    /// What several share.
    ///
    /// # Panics
    /// Where there is one, with a file.
    pub fn etcd(&mut self) -> &mut Etcd {
        self.etcd.as_mut().expect("several coordinators share an etcd")
    }

    /// Which of them leads, and under which epoch; its place in `all`.
    pub fn leader(&self) -> Option<(usize, u64)> {
        self.all.iter().enumerate().find_map(|(n, one)| Some((n, one.leads()?)))
    }
    /// Waits until one leads under an epoch above that one.
    pub fn until_led(&self, above: u64) -> (usize, u64) {
        until("another coordinator leads", ELECTED_WITHIN, || self.leader().filter(|(_, epoch)| *epoch > above))
    }
}
