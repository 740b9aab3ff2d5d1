//! A house: one host with a ledger on SQLite, an agent, a coordinator, and releases. All real programs; any of
//! them can be killed at any moment.

use crate::bed::{Breakable, Daemon};
use crate::clients::{Front, Writer, request, version};
use crate::until;
use crate::voice::Voice;
use cutover_ledger_simulator::{pack, seed};
use cutover_vocabulary::finding::Level;
use cutover_vocabulary::status::{State, Status};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// Names of the ledgers that are seeded.
pub const LEDGERS: &[&str] = &["main", "shop"];

/// A program of this workspace, as built beside this test.
///
/// # Panics
/// When it was not built: `make test` and `cargo test --workspace` build it.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let path = folder.join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --workspace --all-targets`", path.display());
    path
}

/// Release files of a version, packed once a test run; those of others that were asked for lie beside them.
pub fn releases(version: &str) -> &'static Path {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    static PACKED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let dir = DIR.get_or_init(|| tempfile::tempdir().unwrap()).path();
    let mut packed = PACKED.lock().unwrap_or_else(PoisonError::into_inner);
    if packed.insert(version.to_owned()) {
        pack::pack(&program("numary"), version, dir).unwrap();
    }
    dir
}

/// What can be chosen about a house.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The version that runs.
    pub from: &'static str,
    /// The version that it is upgraded to.
    pub to: &'static str,
    /// More lines of the instance's settings.
    pub instance: String,
    /// More arguments of the service.
    pub args: Vec<String>,
    /// More environment of the service.
    pub env: Vec<(String, String)>,
    /// The coordinator's `[limits]`.
    pub limits: String,
    /// Transactions in each ledger before the upgrade.
    pub transactions: u64,
    /// Where recovery points go; default in the agent's state.
    pub recovery: Option<PathBuf>,
    /// Switches of the simulator in the storage's folder from the first start on, a line each.
    pub faults: String,
    /// Whether connections can be cut and disks be full.
    pub breakable: bool,
}
impl Default for Plan {
    fn default() -> Self {
        Self {
            from: "1.3.1",
            to: "1.4.6",
            instance: String::new(),
            args: Vec::new(),
            env: Vec::new(),
            limits: "drain_seconds = 15\nagent_lost_seconds = 60".to_owned(),
            transactions: 20,
            recovery: None,
            faults: String::new(),
            breakable: false,
        }
    }
}

/// A house and who lives in it.
pub struct House {
    dir: TempDir,
    /// Where the ledger serves.
    pub address: SocketAddr,
    /// Where clients reach it.
    pub front: Front,
    pub(crate) agent: Option<Child>,
    pub(crate) coordinator: Option<Child>,
    /// Where the coordinator listens.
    listen: String,
    /// What of it can be broken.
    pub breakable: Breakable,
    /// The operator.
    pub voice: Voice,
    plan: Plan,
    /// What the seeding says a migration would lose, ledger by ledger.
    pub lost: Vec<String>,
}

impl House {
    /// Builds a house, starts everything, and writes some transactions and metadata of both loss classes.
    pub fn new(plan: Plan) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = crate::free_address();
        home(&dir.path().join("home"), plan.from);
        pack::install(&program("numary"), plan.from, &dir.path().join("numary")).unwrap();
        // Only a connection over TCP can be led through a link.
        let tcp = plan.breakable.then(crate::free_address);
        let socket = format!("unix:{}", dir.path().join("c.sock").display());
        let listen = tcp.map_or(socket, |address| format!("http://{address}"));
        let states = [(Daemon::Coordinator, "store"), (Daemon::Agent(1), "state")];
        let states = states.into_iter().map(|(of, name)| (of, dir.path().join(name)));
        let breakable = tcp.map(|address| Breakable::new(1, address, None, states)).unwrap_or_default();
        let voice = Voice::to(&listen);
        std::fs::create_dir_all(dir.path().join("store")).unwrap();
        let front = Front::start(address, dir.path().join("out-of-rotation"));
        let mut house = Self {
            dir,
            address,
            front,
            agent: None,
            coordinator: None,
            listen,
            breakable,
            voice,
            plan,
            lost: Vec::new(),
        };
        house.write_settings();
        if !house.plan.faults.is_empty() {
            std::fs::create_dir(house.data()).unwrap();
            house.fault(&house.plan.faults);
        }
        house.start_coordinator();
        house.start_agent();
        house.until_serves(house.plan.from);
        for ledger in LEDGERS {
            let address = house.address.to_string();
            let seeded = seed::over_http(&address, ledger, house.plan.transactions).unwrap();
            house.lost.extend(seeded.lost_by_migrating.iter().map(|row| format!("{ledger}: {row}")));
        }
        house
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
    /// The storage's folder.
    pub fn data(&self) -> PathBuf {
        self.dir().join("data")
    }
    /// The agent's state.
    pub fn state(&self) -> PathBuf {
        self.dir().join("state")
    }

    /// Writes both settings files anew.
    pub fn write_settings(&self) {
        let root = self.dir().display();
        let args: String = self.plan.args.iter().map(|arg| format!(", {arg:?}")).collect();
        let env: String = self.plan.env.iter().map(|(key, value)| format!(", {key} = {value:?}")).collect();
        let agent = format!(
            "name = \"agent-a\"\ncoordinator = \"{coordinator}\"\nstate = \"{state}\"\n{recovery}\
             releases = {{ place = \"{releases}\" }}\n\n[[instance]]\nname = \"ledger-a\"\ndeployment = \"prod\"\n\
             manager = \"process\"\nout_of_rotation = [\"touch\", \"{root}/out-of-rotation\"]\n\
             into_rotation = [\"rm\", \"-f\", \"{root}/out-of-rotation\"]\ncommand = \"{root}/numary\"\nargs = [\"server\", \"start\"{args}]\nhome = \"{root}/home\"\n\
             env = {{ NUMARY_STORAGE_DIR = \"{root}/data\", NUMARY_SERVER_HTTP_BIND_ADDRESS = \"{address}\"{env} }}\n{extra}\n",
            coordinator = self
                .breakable
                .links
                .first()
                .map_or_else(|| self.listen.clone(), |link| format!("http://{}", link.address)),
            state = self.state().display(),
            recovery = self.plan.recovery.iter().map(|path| format!("recovery = {path:?}\n")).collect::<String>(),
            releases = releases(self.plan.to).display(),
            address = self.address,
            extra = self.plan.instance,
        );
        std::fs::write(self.dir().join("agent.toml"), agent).unwrap();
        let coordinator = format!(
            "name = \"c1\"\nlisten = \"{}\"\nstore = \"sqlite:{root}/store/store.db\"\n\n[limits]\n{}\n",
            self.listen, self.plan.limits
        );
        std::fs::write(self.dir().join("coordinator.toml"), coordinator).unwrap();
    }

    fn spawn(&self, name: &str, args: &[&str]) -> Child {
        daemon(name, self.dir(), args)
    }

    /// Starts the coordinator.
    pub fn start_coordinator(&mut self) {
        self.coordinator = Some(self.spawn("cutover-coordinator", &["--settings", "coordinator.toml"]));
    }
    /// Starts the agent; the agent starts the ledger unless it is fenced or runs.
    pub fn start_agent(&mut self) {
        self.agent = Some(self.spawn("cutover-agent", &["run", "--settings", "agent.toml"]));
    }
    /// `kill -9` of the coordinator.
    pub fn kill_coordinator(&mut self) {
        kill(self.coordinator.take());
    }
    /// `kill -9` of the agent alone; its workers and the ledger live on.
    pub fn kill_agent(&mut self) {
        kill(self.agent.take());
    }

    /// The service gets more environment, and is started anew with it.
    pub fn restart_with(&mut self, env: Vec<(String, String)>) {
        self.kill_agent();
        for process in self.processes().iter().filter(|process| process.words.contains("/numary server start")) {
            process.kill();
            until("the ledger is gone", Duration::from_secs(10), || (!process.lives()).then_some(()));
        }
        self.plan.env.extend(env);
        self.write_settings();
        self.start_agent();
    }

    /// A switch of the simulator, from now on, for every command and server that starts.
    pub fn fault(&self, line: &str) {
        let path = self.data().join(".numary-sim.env");
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(path, format!("{old}{line}\n")).unwrap();
    }
    /// A client that writes to every ledger through the front.
    pub fn writer(&self) -> Writer {
        Writer::start(self.front.address, LEDGERS)
    }

    /// A switch of the simulator for the target wherever it runs, on copies too: beside its unpacked binary.
    pub fn fault_in_target(&self, line: &str) {
        let folder = self.state().join("releases").join(self.plan.to);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(".numary-sim.env"), line).unwrap();
    }
    /// Every process that has to do with this house.
    pub fn processes(&self) -> Vec<Process> {
        Process::of(self.dir())
    }
    /// No switches any more.
    pub fn no_faults(&self) {
        let _ = std::fs::remove_file(self.data().join(".numary-sim.env"));
    }

    /// Waits until that version answers.
    pub fn until_serves(&self, wanted: &str) {
        until(&format!("{wanted} answers"), Duration::from_secs(30), || {
            (version(self.address).as_deref() == Some(wanted)).then_some(())
        });
    }

    /// Plans, approves what needs it, starts; the upgrade's name.
    pub fn begin(&self) -> String {
        let plan = self.voice.plan_when_ready("prod", self.plan.to);
        if plan.level() == Some(Level::Approve) {
            self.voice.approve(&plan).unwrap();
        }
        self.voice.start(&plan).unwrap()
    }

    /// Waits until the upgrade ended or holds, whoever has to be restarted meanwhile.
    pub fn until_rests(&self, upgrade: &str) -> Status {
        until("the upgrade ends or holds", Duration::from_secs(90), || {
            let status = self.voice.status(upgrade).ok()?;
            (status.state.ended() || status.state == State::Held).then_some(status)
        })
    }

    /// Waits until it has this state; shows where it stands otherwise.
    pub fn until_state(&self, upgrade: &str, wanted: State) -> Status {
        let status = until(&format!("the upgrade is {wanted}"), Duration::from_secs(90), || {
            let status = self.voice.status(upgrade).ok()?;
            (status.state == wanted || status.state.ended() || status.state == State::Held).then_some(status)
        });
        assert_eq!(status.state, wanted, "holds: {:#?}\nback: {:?}\n{}", status.holds, status.turned_back, self.logs());
        status
    }

    /// A request to the ledger.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        request(self.address, "GET", path, "")
    }

    /// The last lines of both daemons.
    pub fn logs(&self) -> String {
        let tail = |name: &str| {
            let text = std::fs::read_to_string(self.dir().join(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(12).collect();
            format!("--- {name}\n{}\n", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
        };
        tail("cutover-coordinator.err") + &tail("cutover-agent.err")
    }
}

/// A service's home. Releases up to 1.2.1 answer 500 to the first write of a ledger where they find no folder for their
/// settings file, and commit it all the same.
pub fn home(path: &Path, version: &str) {
    let settings = ["1.0.", "1.1.", "1.2."].iter().any(|series| version.starts_with(series));
    std::fs::create_dir_all(if settings { path.join(".numary") } else { path.to_owned() }).unwrap();
}

/// Starts a daemon of this workspace in a folder, in a process group of its own, with its output in files there.
///
/// # Panics
/// When it cannot be started.
pub fn daemon(name: &str, folder: &Path, args: &[&str]) -> Child {
    daemon_with(name, folder, args, &[])
}

/// The same with more environment.
///
/// # Panics
/// When it cannot be started.
pub fn daemon_with(name: &str, folder: &Path, args: &[&str], env: &[(&str, String)]) -> Child {
    let log = |kind| {
        let path = folder.join(format!("{name}.{kind}"));
        Stdio::from(std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap())
    };
    Command::new(program(name))
        .args(args)
        .envs(env.iter().map(|(key, value)| (key, value)))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log("out"))
        .stderr(log("err"))
        .process_group(0)
        .spawn()
        .unwrap()
}

/// `kill -9`, and waits for it.
pub fn kill(child: Option<Child>) {
    if let Some(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Ends everything that was started in this house: the daemons, their workers, the ledger, its commands.
impl Drop for House {
    fn drop(&mut self) {
        self.kill_coordinator();
        self.kill_agent();
        kill_all_of(self.dir());
        // Before the folder that they are mounted in goes.
        self.breakable.disks.clear();
    }
}

/// A process of a house.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Who started it.
    pub parent: i32,
    /// Its arguments, with a space between.
    pub words: String,
}

impl Process {
    /// Every one that has to do with a folder: by its arguments, its working directory, or its environment.
    pub fn of(folder: &Path) -> Vec<Self> {
        let root = folder.to_string_lossy().into_owned();
        let mut all = Vec::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let read = |name: &str| {
                let bytes = std::fs::read(entry.path().join(name)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let words = read("cmdline");
            let place = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            if words.contains(&root) || place.starts_with(folder) || read("environ").contains(&root) {
                // `PID (NAME) STATE PARENT …`; a name may hold anything but comes in brackets.
                let stat = read("stat");
                let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
                all.push(Self { pid, parent: parent.unwrap_or_default(), words });
            }
        }
        all
    }
    /// `kill -9`.
    pub fn kill(&self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    /// Whether it still runs.
    pub fn lives(&self) -> bool {
        let words = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&words).replace('\0', " ") == self.words
    }
}

/// Ends every process that has to do with a folder.
pub fn kill_all_of(folder: &Path) {
    for process in Process::of(folder) {
        process.kill();
    }
}

/// A test that cannot run here says so; with `CI=true` it fails instead.
pub fn skipped(why: &str) {
    // Past the test runner's capture, so that `make test` can count it.
    let _ = writeln!(std::io::stderr(), "SKIPPED {why}");
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "a test cannot run in CI: {why}");
}
