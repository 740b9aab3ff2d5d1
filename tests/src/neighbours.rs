//! Two deployments under one coordinator, each with a storage of its own, and one host that has an instance of both: its
//! agent speaks for both, and is the runner of both. All real programs.

use crate::clients::{Backend, Front, Told, Writer, check_exactly_once, version};
use crate::fleet::PASSWORD;
use crate::house::{daemon, home, kill, kill_all_of, program, releases, skipped};
use crate::voice::Voice;
use crate::{free_address, until};
use cutover_ledger_simulator::{pack, seed};
use cutover_trial_postgres::{Cluster, Programs};
use cutover_vocabulary::Phase;
use cutover_vocabulary::finding::Level;
use cutover_vocabulary::status::{State, Status};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;
use tempfile::TempDir;

/// The host that both share.
pub const SHARED: usize = 1;
const HOSTS: usize = 3;
const TRANSACTIONS: u64 = 20;

/// What can be chosen about a deployment.
#[derive(Debug, Clone, Copy)]
pub struct Side {
    /// Its name, which is that of its database too.
    pub name: &'static str,
    /// The version that runs.
    pub from: &'static str,
    /// The version that it is upgraded to.
    pub to: &'static str,
    /// Its ledgers.
    pub ledgers: &'static [&'static str],
    /// On which hosts it has an instance. One host alone: on SQLite; several: on PostgreSQL, in the cluster of both.
    pub hosts: &'static [usize],
}

/// The first deployment: on PostgreSQL, on the shared host and one of its own.
pub const PROD: Side =
    Side { name: "prod", from: "1.3.1", to: "1.4.6", ledgers: &["main", "shop"], hosts: &[SHARED, 2] };
/// The second: as the first, with a ledger of the same name.
pub const BOOKS: Side =
    Side { name: "books", from: "1.3.1", to: "1.4.6", ledgers: &["main", "vault"], hosts: &[SHARED, 3] };

/// One instance.
pub struct Instance {
    /// Its name: of its deployment and its host's number.
    pub name: String,
    /// On which host.
    pub host: usize,
    /// Its folder.
    pub dir: PathBuf,
    /// Where it serves.
    pub address: SocketAddr,
}

/// One deployment that runs.
pub struct Deployment {
    /// What was chosen.
    pub side: Side,
    /// Its instances.
    pub instances: Vec<Instance>,
    /// Where its clients come in.
    pub front: Front,
}

/// Both, and who lives there.
pub struct Neighbours {
    dir: TempDir,
    /// The cluster of every deployment that is on PostgreSQL.
    pub cluster: Cluster,
    /// Both.
    pub deployments: [Deployment; 2],
    agents: [Option<Child>; HOSTS],
    coordinator: Option<Child>,
    listen: SocketAddr,
    /// The operator.
    pub voice: Voice,
}

impl Neighbours {
    /// Builds both and starts everything, with transactions in every ledger. `None`, said loudly, where no PostgreSQL can be
    /// run. `coordinator`: more lines of its settings, before the limits.
    pub fn new(sides: [Side; 2], coordinator: &str) -> Option<Self> {
        if let Err(missing) = Programs::find() {
            skipped(&missing.to_string());
            return None;
        }
        let dir = tempfile::Builder::new().prefix("cutover-neighbours-").tempdir().unwrap();
        // The user postgres must be able to enter.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let cluster = Cluster::create(&dir.path().join("postgres"), "").unwrap();
        for side in sides.iter().filter(|side| side.postgres()) {
            let name = side.name;
            for sql in [
                format!("CREATE ROLE {name} LOGIN CREATEDB PASSWORD '{PASSWORD}'"),
                format!("GRANT pg_read_all_stats TO {name}"),
                format!("CREATE DATABASE {name} OWNER {name}"),
            ] {
                cluster.sql("postgres", &sql).unwrap();
            }
            cluster.sql(name, &format!("GRANT CREATE ON SCHEMA public TO {name}")).unwrap();
        }
        let listen = free_address();
        let voice = Voice::to(&format!("http://{listen}"));
        let deployments = sides.map(|side| Deployment::new(side, dir.path()));
        let mut all =
            Self { dir, cluster, deployments, agents: [const { None }; HOSTS], coordinator: None, listen, voice };
        all.write_settings(coordinator);
        all.start_coordinator();
        // The first makes what all share in a database; several that do so at once can fail, as the real ledgers do.
        for host in 1..=HOSTS {
            all.start_agent(host);
            let here = |deployment: &Deployment| deployment.on(host).map(|it| (it.address, deployment.side.from));
            all.deployments.iter().filter_map(here).for_each(|(address, from)| until_answers(address, from));
        }
        for deployment in &all.deployments {
            for ledger in deployment.side.ledgers {
                seed::over_http(&deployment.instances[0].address.to_string(), ledger, TRANSACTIONS).unwrap();
            }
        }
        Some(all)
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A host's folder.
    pub fn host(&self, number: usize) -> PathBuf {
        host_in(self.dir(), number)
    }

    /// Where the coordinator listens, as an operator names it.
    pub fn coordinator(&self) -> String {
        format!("http://{}", self.listen)
    }

    fn write_settings(&self, coordinator: &str) {
        let root = self.dir().display();
        for host in 1..=HOSTS {
            let dir = self.host(host);
            std::fs::create_dir_all(&dir).unwrap();
            let place = self.deployments.iter().map(|deployment| releases(deployment.side.to)).next().unwrap();
            let mut text = format!(
                "name = \"agent-{host}\"\ncoordinator = \"{}\"\nstate = \"{}/state\"\nreleases = {{ place = \"{}\" }}\n",
                self.coordinator(),
                dir.display(),
                place.display()
            );
            for deployment in &self.deployments {
                let Some(instance) = deployment.on(host) else { continue };
                text += &deployment.settings(instance, &self.cluster);
            }
            std::fs::write(dir.join("agent.toml"), text).unwrap();
        }
        // Release files of every target lie in one folder.
        self.deployments.iter().for_each(|deployment| _ = releases(deployment.side.to));
        let text = format!(
            "name = \"c1\"\nlisten = \"{}\"\nstore = \"sqlite:{root}/store.db\"\n{coordinator}\n[limits]\nlanes = 2\n\
             drain_seconds = 60\nagent_lost_seconds = 60\n",
            self.coordinator()
        );
        std::fs::write(self.dir().join("coordinator.toml"), text).unwrap();
    }

    /// Starts the coordinator.
    pub fn start_coordinator(&mut self) {
        self.coordinator = Some(daemon("cutover-coordinator", self.dir(), &["--settings", "coordinator.toml"]));
    }
    /// `kill -9` of the coordinator.
    pub fn kill_coordinator(&mut self) {
        kill(self.coordinator.take());
    }
    /// Starts a host's agent; it starts every ledger there that is not fenced and does not run.
    pub fn start_agent(&mut self, host: usize) {
        self.agents[host - 1] = Some(daemon("cutover-agent", &self.host(host), &["run", "--settings", "agent.toml"]));
    }
    /// `kill -9` of a host's agent alone; its workers and its ledgers live on.
    pub fn kill_agent(&mut self, host: usize) {
        kill(self.agents[host - 1].take());
    }

    /// Plans both, approves what needs it, and starts both at one moment; the upgrades' names.
    ///
    /// # Panics
    /// When one is refused.
    pub fn begin_both(&self) -> [String; 2] {
        let plans = self.deployments.each_ref().map(|deployment| {
            let plan = self.voice.plan_when_ready(deployment.side.name, deployment.side.to);
            assert_eq!(plan.binding.runner.as_str(), format!("agent-{SHARED}"), "one agent is the runner of both");
            if plan.level() == Some(Level::Approve) {
                self.voice.approve(&plan).unwrap();
            }
            plan
        });
        std::thread::scope(|scope| {
            let starting = plans.each_ref().map(|plan| {
                let voice = Voice::to(&self.coordinator());
                scope.spawn(move || voice.start(plan).unwrap())
            });
            starting.map(|start| start.join().unwrap())
        })
    }

    /// Waits until an upgrade has this state; shows where it stands otherwise.
    ///
    /// # Panics
    /// When it ends or holds elsewhere, or does not get there in time.
    pub fn until_state(&self, upgrade: &str, wanted: State) -> Status {
        let status = until(&format!("{upgrade} is {wanted}"), Duration::from_secs(180), || {
            let status = self.voice.status(upgrade).ok()?;
            (status.state == wanted || status.state.ended() || status.state == State::Held).then_some(status)
        });
        assert_eq!(status.state, wanted, "holds: {:#?}\nback: {:?}\n{}", status.holds, status.turned_back, self.logs());
        status
    }

    /// Waits until an upgrade has entered a phase; shows where it stands otherwise.
    ///
    /// # Panics
    /// When it ends or holds before that, or does not get there in time.
    pub fn until_phase(&self, upgrade: &str, phase: Phase) {
        until(&format!("{upgrade} enters {phase}"), Duration::from_secs(180), || {
            let status = self.voice.status(upgrade).ok()?;
            let entered = status.stages.iter().any(|stage| stage.stage.phase == phase && stage.entered.is_some());
            let stuck = status.state.ended() || status.state == State::Held;
            assert!(entered || !stuck, "{}, {:#?}\n{}", status.state, status.holds, self.logs());
            entered.then_some(())
        });
    }

    /// What a program of this workspace prints, run in a folder.
    ///
    /// # Panics
    /// When it fails.
    pub fn said(&self, name: &str, folder: &Path, args: &[&str]) -> String {
        let mut command = Command::new(program(name));
        command.args(args).current_dir(folder).env("CUTOVER_COORDINATOR", self.coordinator());
        let output = command.env("CUTOVER_OPERATOR", "tester").output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The last lines of every daemon.
    pub fn logs(&self) -> String {
        let mut all = String::new();
        let agents = (1..=HOSTS).map(|host| self.host(host).join("cutover-agent.err"));
        for path in [self.dir().join("cutover-coordinator.err")].into_iter().chain(agents) {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(12).collect();
            let _ = writeln!(all, "--- {}", path.display());
            lines.into_iter().rev().for_each(|line| _ = writeln!(all, "{line}"));
        }
        all
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        self.kill_coordinator();
        for host in 1..=HOSTS {
            self.kill_agent(host);
            kill_all_of(&self.host(host));
        }
    }
}

impl Side {
    /// Several instances share a database; one alone has its files.
    fn postgres(&self) -> bool {
        self.hosts.len() > 1
    }
}

impl Deployment {
    fn new(side: Side, root: &Path) -> Self {
        let instance = |host: &usize| {
            let name = format!("{}-{host}", side.name);
            Instance { dir: host_in(root, *host).join(&name), name, host: *host, address: free_address() }
        };
        let instances: Vec<Instance> = side.hosts.iter().map(instance).collect();
        let backend = |it: &Instance| Backend { address: it.address, out: it.dir.join("out-of-rotation") };
        let front = Front::before(instances.iter().map(backend).collect());
        Self { side, instances, front }
    }

    /// Its instance on a host.
    pub fn on(&self, host: usize) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.host == host)
    }

    fn settings(&self, instance: &Instance, cluster: &Cluster) -> String {
        let (dir, name) = (&instance.dir, self.side.name);
        home(&dir.join("home"), self.side.from);
        if !dir.join("numary").exists() {
            pack::install(&program("numary"), self.side.from, &dir.join("numary")).unwrap();
        }
        let storage = if self.side.postgres() {
            let url = cluster.url(name, PASSWORD, name);
            format!("NUMARY_STORAGE_DRIVER = \"postgres\", NUMARY_STORAGE_POSTGRES_CONN_STRING = \"{url}\", ")
        } else {
            String::new()
        };
        format!(
            "\n[[instance]]\nname = \"{instance}\"\ndeployment = \"{name}\"\nmanager = \"process\"\n\
             out_of_rotation = [\"touch\", \"{dir}/out-of-rotation\"]\n\
             into_rotation = [\"rm\", \"-f\", \"{dir}/out-of-rotation\"]\ncommand = \"{dir}/numary\"\nhome = \"{dir}/home\"\n\
             env = {{ {storage}NUMARY_STORAGE_DIR = \"{dir}/data\", NUMARY_SERVER_HTTP_BIND_ADDRESS = \"{address}\" }}\n",
            instance = instance.name,
            dir = dir.display(),
            address = instance.address,
        )
    }

    /// A switch of the simulator for every command and server of this deployment that starts from now on.
    pub fn fault(&self, line: &str) {
        for instance in &self.instances {
            let data = instance.dir.join("data");
            std::fs::create_dir_all(&data).unwrap();
            std::fs::write(data.join(".numary-sim.env"), format!("{line}\n")).unwrap();
        }
    }

    /// A client that writes to every ledger of it.
    pub fn writer(&self) -> Writer {
        Writer::start(self.front.address, self.side.ledgers)
    }

    /// Every instance answers as that version, and each acknowledged write is there once.
    ///
    /// # Panics
    /// When not.
    pub fn check(&self, wanted: &str, told: &Told) {
        self.instances.iter().for_each(|instance| until_answers(instance.address, wanted));
        assert!(!told.acknowledged.is_empty(), "no client of {} was served", self.side.name);
        check_exactly_once(self.instances[0].address, self.side.ledgers, told);
    }
}

impl Instance {
    /// Its process, as its host's agent recorded it.
    pub fn pid(&self, host: &Path) -> Option<u64> {
        let path = host.join("state/instances").join(&self.name).join("service.json");
        let record: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
        record["pid"].as_u64()
    }
}

fn host_in(root: &Path, number: usize) -> PathBuf {
    root.join(format!("host-{number}"))
}

fn until_answers(address: SocketAddr, wanted: &str) {
    until(&format!("{wanted} answers at {address}"), Duration::from_secs(60), || {
        (version(address).as_deref() == Some(wanted)).then_some(())
    });
}
