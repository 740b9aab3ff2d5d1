//! A fleet: several hosts with a ledger each at 1.3.1 on one PostgreSQL, an agent a host, one coordinator or several over
//! loopback TCP. All real programs; any of them can be killed at any moment.

mod coordinators;

pub use coordinators::{Coordinator, Coordinators, LEASE, MEMBERS};

use crate::bed::{Breakable, Daemon};
use crate::checks::last_in_turn;
use crate::clients::{Backend, Front, Writer, request, version};
use crate::house::{daemon, home, kill, kill_all_of, program, releases, skipped};
use crate::link::Link;
use crate::voice::Voice;
use crate::{free_address, until};
use cutover_ledger_simulator::{pack, seed};
use cutover_proto::v1::Strategy;
use cutover_trial_postgres::{Cluster, Programs};
use cutover_vocabulary::Evidence;
use cutover_vocabulary::fact::{Fact, Recorded};
use cutover_vocabulary::finding::Level;
use cutover_vocabulary::status::{State, Status};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;
use tempfile::TempDir;

/// Names of the ledgers that are seeded.
pub const LEDGERS: &[&str] = &["main", "shop", "vault"];
/// The database, and the ledger's role in it.
pub const DATABASE: &str = "ledger";
/// The role's password: planted, so that a test can look for it everywhere.
pub const PASSWORD: &str = "s3cr3t-of-the-ledgers-role";

/// What can be chosen about a fleet.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The version that runs.
    pub from: &'static str,
    /// The version that it is upgraded to.
    pub to: &'static str,
    /// How.
    pub strategy: Strategy,
    /// How many instances, one a host.
    pub instances: usize,
    /// How many coordinators. One keeps its facts in a file, several in an etcd.
    pub coordinators: usize,
    /// The coordinator's `[limits]`, lanes apart.
    pub limits: String,
    /// How many ledgers migrate side by side. Fewer than there are, so that the one that is last in turn begins when others
    /// are done.
    pub lanes: u16,
    /// Transactions in each ledger before the upgrade.
    pub transactions: u64,
    /// Lines for `postgresql.conf`.
    pub postgres: String,
    /// SQL that the superuser runs in the database before anything starts.
    pub before: String,
    /// More lines of every agent's settings, before the instances.
    pub agent: String,
    /// Whether connections can be cut and disks be full. Where there are several coordinators, connections to them always can.
    pub breakable: bool,
}
impl Default for Plan {
    fn default() -> Self {
        Self {
            from: "1.3.1",
            to: "1.4.6",
            strategy: Strategy::Auto,
            instances: 3,
            coordinators: 1,
            limits: "drain_seconds = 15\nagent_lost_seconds = 60".to_owned(),
            lanes: 2,
            transactions: 20,
            postgres: String::new(),
            before: String::new(),
            agent: String::new(),
            breakable: false,
        }
    }
}

/// One host.
pub struct Host {
    /// Its folder.
    pub dir: PathBuf,
    /// Where its ledger serves.
    pub address: SocketAddr,
    /// The agent's and the instance's number, from 1.
    pub number: usize,
    pub(crate) agent: Option<Child>,
}

/// A fleet and who lives in it.
pub struct Fleet {
    /// The database's cluster.
    pub cluster: Cluster,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// Where clients reach the ledgers.
    pub front: Front,
    /// Who decides.
    pub coordinators: Coordinators,
    /// What of it can be broken.
    pub breakable: Breakable,
    /// The operator.
    pub voice: Voice,
    plan: Plan,
    /// What the seeding says a migration would lose, ledger by ledger.
    pub lost: Vec<String>,
    /// Goes last: the cluster is stopped by what lies in it.
    dir: TempDir,
}

impl Fleet {
    /// Builds a fleet, starts everything, and writes some transactions and metadata that a migration loses. `None`, said
    /// loudly, where no PostgreSQL can be run.
    pub fn new(plan: Plan) -> Option<Self> {
        if let Err(missing) = Programs::find() {
            skipped(&missing.to_string());
            return None;
        }
        let dir = tempfile::Builder::new().prefix("cutover-fleet-").tempdir().unwrap();
        // The user postgres must be able to enter.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let cluster = Cluster::create(&dir.path().join("postgres"), &plan.postgres).unwrap();
        let setup = [
            format!("CREATE ROLE {DATABASE} LOGIN CREATEDB PASSWORD '{PASSWORD}'"),
            format!("GRANT pg_read_all_stats TO {DATABASE}"),
            format!("CREATE DATABASE {DATABASE} OWNER {DATABASE}"),
        ];
        for sql in setup {
            cluster.sql("postgres", &sql).unwrap();
        }
        cluster.sql(DATABASE, "GRANT CREATE ON SCHEMA public TO ledger").unwrap();
        if !plan.before.is_empty() {
            cluster.sql(DATABASE, &plan.before).unwrap();
        }
        let coordinators = Coordinators::new(dir.path(), plan.coordinators);
        let voice = coordinators.voice();
        let hosts: Vec<Host> = (1..=plan.instances)
            .map(|number| Host {
                dir: dir.path().join(format!("host-{number}")),
                address: free_address(),
                number,
                agent: None,
            })
            .collect();
        let backend = |host: &Host| Backend { address: host.address, out: host.dir.join("out-of-rotation") };
        let front = Front::before(hosts.iter().map(backend).collect());
        let breakable = if plan.breakable {
            let states = hosts.iter().map(|host| (Daemon::Agent(host.number), host.dir.join("state")));
            let states = states.chain([(Daemon::Coordinator, dir.path().join("store"))]);
            Breakable::new(hosts.len(), coordinators.all[0].listen, Some(cluster.address()), states)
        } else if plan.coordinators > 1 {
            Breakable::linked(hosts.len(), coordinators.all.iter().map(|one| one.listen))
        } else {
            Breakable::default()
        };
        let mut fleet = Self { dir, cluster, hosts, front, coordinators, breakable, voice, plan, lost: Vec::new() };
        fleet.write_settings();
        fleet.coordinators.all.iter_mut().for_each(Coordinator::start);
        // The first makes what all share in the database; several that do so at once can fail, as the real ledgers do.
        for number in 1..=fleet.hosts.len() {
            fleet.start_agent(number);
            fleet.until_answers(number, fleet.plan.from);
        }
        for ledger in LEDGERS {
            let address = fleet.hosts[0].address.to_string();
            let seeded = seed::over_http(&address, ledger, fleet.plan.transactions).unwrap();
            // PostgreSQL keeps the first entry ever written; SQLite loses it.
            let lost = seeded.lost_by_migrating.iter().filter(|row| row.starts_with("account "));
            fleet.lost.extend(lost.map(|row| format!("{ledger}: {row}")));
        }
        // Or the first plan is without those that come a moment later.
        until("every agent is linked", Duration::from_secs(60), || {
            (fleet.voice.connected() == Some(fleet.hosts.len())).then_some(())
        });
        Some(fleet)
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A host by its number.
    pub fn host(&self, number: usize) -> &Host {
        &self.hosts[number - 1]
    }

    /// Adds a host whose agent is not started yet.
    pub fn add_host(&mut self) -> usize {
        let number = self.hosts.len() + 1;
        self.hosts.push(Host {
            dir: self.dir.path().join(format!("host-{number}")),
            address: free_address(),
            number,
            agent: None,
        });
        self.write_settings();
        number
    }

    /// Writes every settings file anew.
    pub fn write_settings(&self) {
        let url = self.cluster.url(DATABASE, PASSWORD, DATABASE);
        for host in &self.hosts {
            let (root, number) = (host.dir.display(), host.number);
            let through =
                |links: &[Link], at: usize, else_to: SocketAddr| links.get(at).map_or(else_to, |it| it.address);
            let database = through(&self.breakable.databases, number - 1, self.cluster.address());
            let listens: Vec<String> = self
                .coordinators
                .all
                .iter()
                .enumerate()
                .map(|(n, one)| {
                    let at = self.breakable.link(n, number);
                    format!("http://{}", at.map_or(one.listen, |link| link.address))
                })
                .collect();
            let url = url.replace(&self.cluster.address().to_string(), &database.to_string());
            home(&host.dir.join("home"), self.plan.from);
            if !host.dir.join("numary").exists() {
                pack::install(&program("numary"), self.plan.from, &host.dir.join("numary")).unwrap();
            }
            let agent = format!(
                "name = \"agent-{number}\"\ncoordinator = {listens:?}\nstate = \"{root}/state\"\n{extra}\n\
                 releases = {{ place = \"{releases}\" }}\n\n[[instance]]\nname = \"ledger-{number}\"\ndeployment = \"prod\"\n\
                 manager = \"process\"\nout_of_rotation = [\"touch\", \"{root}/out-of-rotation\"]\n\
                 into_rotation = [\"rm\", \"-f\", \"{root}/out-of-rotation\"]\ncommand = \"{root}/numary\"\n\
                 home = \"{root}/home\"\n\
                 env = {{ NUMARY_STORAGE_DRIVER = \"postgres\", NUMARY_STORAGE_DIR = \"{root}/data\", \
                 NUMARY_STORAGE_POSTGRES_CONN_STRING = \"{url}\", NUMARY_SERVER_HTTP_BIND_ADDRESS = \"{address}\" }}\n",
                extra = self.plan.agent,
                releases = releases(self.plan.to).display(),
                address = host.address,
            );
            std::fs::write(host.dir.join("agent.toml"), agent).unwrap();
        }
        self.coordinators.write_settings(&format!("lanes = {}\n{}", self.plan.lanes, self.plan.limits));
    }

    /// Starts the coordinator, or the first of several.
    pub fn start_coordinator(&mut self) {
        self.coordinators.all[0].start();
    }
    /// Starts an agent; it starts its ledger unless that is fenced or runs.
    pub fn start_agent(&mut self, number: usize) {
        let dir = self.host(number).dir.clone();
        let child = daemon("cutover-agent", &dir, &["run", "--settings", "agent.toml"]);
        self.hosts[number - 1].agent = Some(child);
    }
    /// `kill -9` of the coordinator, or the first of several.
    pub fn kill_coordinator(&mut self) {
        self.coordinators.all[0].kill();
    }
    /// `kill -9` of an agent alone; its workers and its ledger live on.
    pub fn kill_agent(&mut self, number: usize) {
        kill(self.hosts[number - 1].agent.take());
    }
    /// A host goes down: everything on it.
    pub fn kill_host(&mut self, number: usize) {
        self.kill_agent(number);
        kill_all_of(&self.host(number).dir);
    }

    /// A switch of the simulator on every host, from now on, for every command and server that starts there.
    pub fn fault(&self, line: &str) {
        for host in &self.hosts {
            let path = host.dir.join("data/.numary-sim.env");
            let old = std::fs::read_to_string(&path).unwrap_or_default();
            std::fs::create_dir_all(host.dir.join("data")).unwrap();
            std::fs::write(path, format!("{old}{line}\n")).unwrap();
        }
    }
    /// Holds the migration of the ledger that comes last before its commit, and waits until every other is migrated. It must
    /// be the last: whoever comes after it waits for the function that 1.4.x makes in `public`.
    ///
    /// # Panics
    /// When the upgrade does not get there.
    pub fn hold_in_the_middle(&self, upgrade: &str) -> String {
        let last = self.hold_the_last(upgrade, "1.4.6", &self.dir().join("never"));
        until("every other ledger is migrated", Duration::from_secs(120), || {
            let status = self.voice.status(upgrade).ok()?;
            assert_eq!(status.state, State::Running, "{:#?}\n{}", status.holds, self.logs());
            let facts = self.voice.facts(upgrade).ok()?;
            let migrated =
                |fact: &&Recorded| matches!(&fact.fact, Fact::StepSucceeded { evidence: Evidence::Migrated(_), .. });
            (facts.iter().filter(migrated).count() + 1 == LEDGERS.len()).then_some(())
        });
        last
    }
    /// From now on the migration of the ledger that comes last waits before its commit until that file exists; its name. To be
    /// called while no migration is ordered yet.
    pub fn hold_the_last(&self, upgrade: &str, to: &str, until_exists: &Path) -> String {
        let last = last_in_turn(&self.voice, upgrade, LEDGERS.len());
        let file = until_exists.display();
        self.fault(&format!("{to}:NUMARY_SIM_HOLD_MIGRATION={file}\n{to}:NUMARY_SIM_HOLD_LEDGER={last}"));
        last
    }
    /// `kill -9` of every process of this fleet whose arguments end so.
    pub fn kill_command(&self, words: &str) {
        let root = self.dir().to_string_lossy().into_owned();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.starts_with(&root)
                && line.trim_end().ends_with(words)
                && let Some(pid) = rustix::process::Pid::from_raw(pid)
            {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
    /// No switches any more.
    pub fn no_faults(&self) {
        for host in &self.hosts {
            let _ = std::fs::remove_file(host.dir.join("data/.numary-sim.env"));
        }
    }
    /// A client that writes to every ledger through the front.
    pub fn writer(&self) -> Writer {
        Writer::start(self.front.address, LEDGERS)
    }

    /// So many of them at once.
    pub fn writers(&self, clients: usize) -> Writer {
        Writer::several(clients, self.front.address, LEDGERS)
    }

    /// A switch of the simulator for the target wherever it runs, on copies too: beside its unpacked binaries.
    pub fn fault_in_target(&self, line: &str) {
        for host in &self.hosts {
            let folder = host.dir.join("state/releases").join(self.plan.to);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(".numary-sim.env"), line).unwrap();
        }
    }

    /// Where the coordinator listens, or the first of several, as an operator names it.
    pub fn coordinator(&self) -> String {
        format!("http://{}", self.coordinators.all[0].listen)
    }

    /// Waits until every instance answers as that version.
    pub fn until_serves(&self, wanted: &str) {
        for host in &self.hosts {
            self.until_answers(host.number, wanted);
        }
    }
    fn until_answers(&self, number: usize, wanted: &str) {
        until(&format!("{wanted} answers on host {number}"), Duration::from_secs(60), || {
            (version(self.host(number).address).as_deref() == Some(wanted)).then_some(())
        });
    }

    /// Plans, approves what needs it, starts; the upgrade's name.
    pub fn begin(&self) -> String {
        self.begin_to(self.plan.to)
    }

    /// The same to another version than the fleet was built for.
    pub fn begin_to(&self, to: &str) -> String {
        releases(to);
        let plan = self.voice.try_plan_when_ready(self.plan.strategy, "prod", to);
        let plan = plan.unwrap_or_else(|why| panic!("no plan: {why}\n{}", self.logs()));
        if plan.level() == Some(Level::Approve) {
            self.voice.approve(&plan).unwrap();
        }
        self.voice.start(&plan).unwrap()
    }

    /// Waits until the upgrade ended or holds.
    pub fn until_rests(&self, upgrade: &str) -> Status {
        until("the upgrade ends or holds", Duration::from_secs(180), || {
            let status = self.voice.status(upgrade).ok()?;
            (status.state.ended() || status.state == State::Held).then_some(status)
        })
    }

    /// Waits until it has this state; shows where it stands otherwise.
    pub fn until_state(&self, upgrade: &str, wanted: State) -> Status {
        let status = until(&format!("the upgrade is {wanted}"), Duration::from_secs(180), || {
            let status = self.voice.status(upgrade).ok()?;
            (status.state == wanted || status.state.ended() || status.state == State::Held).then_some(status)
        });
        assert_eq!(status.state, wanted, "holds: {:#?}\nback: {:?}\n{}", status.holds, status.turned_back, self.logs());
        status
    }

    /// A request to one ledger's instance.
    pub fn get(&self, number: usize, path: &str) -> Option<(u16, String)> {
        request(self.host(number).address, "GET", path, "")
    }

    /// SQL as the superuser, in the ledger's database.
    pub fn sql(&self, sql: &str) -> String {
        self.cluster.sql(DATABASE, sql).unwrap()
    }

    /// The last lines of every daemon.
    pub fn logs(&self) -> String {
        let tail = |path: PathBuf| {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(12).collect();
            format!("--- {}\n{}\n", path.display(), lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
        };
        let agents: String = self.hosts.iter().map(|host| tail(host.dir.join("cutover-agent.err"))).collect();
        let coordinators = self.coordinators.all.iter().map(|one| tail(one.dir.join("cutover-coordinator.err")));
        coordinators.collect::<String>() + &agents
    }
}

/// Ends everything that was started in this fleet; the cluster ends itself.
impl Drop for Fleet {
    fn drop(&mut self) {
        self.coordinators.all.iter_mut().for_each(Coordinator::kill);
        for number in 1..=self.hosts.len() {
            self.kill_host(number);
        }
        // Before the folder that they are mounted in goes.
        self.breakable.disks.clear();
    }
}
