//! Hosts with a ledger each that was installed before anybody thought of Cutover, one database for all of them, and a
//! coordinator on a host of its own, reached over TLS; or three, each with a member of etcd beside it. Or one host with
//! everything, on SQLite.

use cutover_ledger_simulator::{pack, seed};
use cutover_proto::v1::Strategy;
use cutover_test_hosts::{Cable, Host, Lab, Postgres};
use cutover_tests::checks::until_phase;
use cutover_tests::clients::{Backend, Front, Writer, check_exactly_once, version};
use cutover_tests::house::{LEDGERS, program, releases};
use cutover_tests::pki::Authority;
use cutover_tests::tier::Driven;
use cutover_tests::until;
use cutover_tests::voice::Voice;
use cutover_vocabulary::Phase;
use cutover_vocabulary::finding::Level;
use cutover_vocabulary::status::{State, Status};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// The ledger's unit on every host.
pub const UNIT: &str = "numary.service";
/// Where the agents reach a coordinator.
pub const COORDINATOR_PORT: u16 = 7443;

/// Whose presence takes an instance out of rotation.
const OUT: &str = "/var/lib/out-of-rotation";
/// Held migrations wait for this file.
const GO_ON: &str = "/var/lib/go-on";
/// Of the ledgers' database: role, password and name.
const DATABASE: &str = "ledger";
/// The member of etcd beside each of several coordinators.
const ETCD: &str = "etcd-member.service";

/// What is upgraded, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many hosts share a database; none for one host on SQLite.
    pub hosts: Option<usize>,
    /// How many coordinators lead those, each on a host of its own: one with its facts in a file, or several with etcd.
    pub coordinators: usize,
    /// What runs.
    pub from: &'static str,
    /// What it is upgraded to.
    pub to: &'static str,
    /// How.
    pub strategy: Strategy,
    /// Lines for the coordinator's `[limits]`.
    pub limits: &'static str,
    /// Recovery points have a disk of their own of so many bytes, at [`Site::RECOVERY`].
    pub recovery: Option<u64>,
}
impl Default for Plan {
    fn default() -> Self {
        Self {
            hosts: Some(5),
            coordinators: 1,
            from: "1.3.1",
            to: "1.4.6",
            strategy: Strategy::Auto,
            limits: "drain_seconds = 15\nagent_lost_seconds = 90\nbake_seconds = 1\nlanes = 2",
            recovery: None,
        }
    }
}

/// The hosts, and who lives there.
pub struct Site {
    /// Where coordinators run, `c1` and on; none where the coordinator is on the only host.
    pub coordinators: Vec<Host>,
    /// Where ledgers run, `h1` and on.
    pub hosts: Vec<Host>,
    /// Where clients reach the ledgers.
    pub front: Front,
    /// The operator, on the coordinators' hosts.
    pub voice: Voice,
    /// To each coordinator alone.
    to_each: Vec<Voice>,
    /// The certificates' own authority.
    pub authority: Authority,
    postgres: Option<Postgres>,
    plan: Plan,
}

impl Site {
    /// Where recovery points lie, where they have a disk of their own.
    pub const RECOVERY: &str = "/srv/recovery";
    /// How long an election may take on a busy machine, after a boot.
    const ELECTED_WITHIN: Duration = Duration::from_secs(30);
    /// How long a leader among several is the leader without being heard.
    pub const LEASE: Duration = Duration::from_secs(2);
    /// Where the operator reaches a coordinator, on its host.
    pub const SOCKET: &str = "/var/lib/cutover-coordinator/coordinator.sock";

    /// Builds and boots it, and writes some transactions to every ledger.
    pub fn new(lab: &Lab, plan: Plan) -> Self {
        for name in ["cutover-agent", "cutover-coordinator", "cutover"] {
            lab.install(&program(name), &format!("/usr/bin/{name}"));
        }
        let old = lab.folder().join("numary");
        pack::install(&program("numary"), plan.from, &old).unwrap();
        lab.install(&old, "/usr/bin/numary");
        for file in std::fs::read_dir(releases(plan.to).join(format!("v{}", plan.to))).unwrap().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            lab.install(&file.path(), &format!("/usr/share/numary-releases/v{}/{name}", plan.to));
        }
        let postgres = plan.hosts.map(|_| database(lab));
        let seats = plan.hosts.map_or(0, |_| plan.coordinators);
        let coordinators: Vec<Host> = (1..=seats).map(|number| lab.host(&format!("c{number}"))).collect();
        let hosts: Vec<Host> = (1..=plan.hosts.unwrap_or(1)).map(|number| lab.host(&format!("h{number}"))).collect();
        let all = || coordinators.iter().chain(&hosts);
        if let Some(bytes) = plan.recovery {
            hosts.iter().for_each(|host| host.disk(Self::RECOVERY, bytes));
        }
        all().for_each(Host::boot);
        all().for_each(Host::wait_running);
        let authority = Authority::new("Company");
        let backend = |host: &Host| Backend { address: serves(host), out: below(host, OUT) };
        let front = Front::before(hosts.iter().map(backend).collect());
        let seats = if coordinators.is_empty() { &hosts[..1] } else { &coordinators };
        let sockets: Vec<String> =
            seats.iter().map(|seat| format!("unix:{}", below(seat, Self::SOCKET).display())).collect();
        let voice = Voice::to_any(sockets.iter().map(String::as_str));
        let to_each = sockets.iter().map(|socket| Voice::to(socket)).collect();
        let site = Self { front, voice, to_each, authority, postgres, plan, coordinators, hosts };
        for seat in site.seats() {
            site.install_coordinator(lab.folder(), seat);
        }
        for host in &site.hosts {
            site.install_ledger(host);
            site.install_agent(lab.folder(), host, host.name(), &format!("ledger-{}", host.name()));
        }
        site.start();
        site
    }

    /// Starts everything on empty storages, and writes some transactions to every ledger.
    fn start(&self) {
        if let Some(server) = &self.postgres {
            server.sql("postgres", &format!("CREATE DATABASE {DATABASE} OWNER {DATABASE}")).unwrap();
            server.sql(DATABASE, &format!("GRANT CREATE ON SCHEMA public TO {DATABASE}")).unwrap();
        }
        // The first makes what all share in the database; several that do so at once can fail, as the real ledgers do.
        for host in &self.hosts {
            host.run(&["install", "-d", "-o", "ledger", "/var/lib/numary"]);
            host.run(&["systemctl", "start", UNIT]);
            until("the ledger serves", Duration::from_secs(30), || version(serves(host)));
        }
        for ledger in LEDGERS {
            seed::over_http(&serves(&self.hosts[0]).to_string(), ledger, 20).unwrap();
        }
        if self.shares_etcd() {
            // A member is there once it has found the others.
            self.seats().iter().for_each(|seat| _ = seat.run(&["systemctl", "start", "--no-block", ETCD]));
        }
        self.seats().iter().for_each(|seat| _ = seat.run(&["systemctl", "start", "cutover-coordinator"]));
        for host in &self.hosts {
            host.run(&["systemctl", "start", "cutover-agent"]);
        }
    }

    /// As it was when it was new: nothing of an upgrade is left, on any host or in the database.
    pub fn begin_anew(&self) {
        let forget = format!(
            "systemctl stop cutover-agent cutover-coordinator {UNIT} {ETCD}; rm -rf /var/lib/etcd {OUT} /var/lib/numary /opt/cutover \
             /etc/systemd/system/{UNIT}.d /var/lib/cutover-agent/* /var/lib/cutover-coordinator/*; systemctl daemon-reload"
        );
        for host in self.coordinators.iter().chain(&self.hosts) {
            host.run(&["sh", "-c", &forget]);
        }
        if let Some(server) = &self.postgres {
            server.sql("postgres", &format!("DROP DATABASE {DATABASE} WITH (FORCE)")).unwrap();
        }
        self.start();
    }

    fn seats(&self) -> &[Host] {
        if self.coordinators.is_empty() { &self.hosts[..1] } else { &self.coordinators }
    }
    fn shares_etcd(&self) -> bool {
        self.coordinators.len() > 1
    }

    fn install_ledger(&self, host: &Host) {
        host.run(&["useradd", "--system", "--create-home", "--home-dir", "/var/lib/ledger", "ledger"]);
        let storage = self.postgres.as_ref().map(|server| {
            let url = server.url(DATABASE, DATABASE, DATABASE);
            format!("NUMARY_STORAGE_DRIVER=postgres\nNUMARY_STORAGE_POSTGRES_CONN_STRING={url}\n")
        });
        let environment = format!(
            "NUMARY_SERVER_HTTP_BIND_ADDRESS=0.0.0.0:3068\nNUMARY_STORAGE_DIR=/var/lib/numary\n{}",
            storage.unwrap_or_default()
        );
        host.put("/etc/numary/numary.env", environment, 0o600);
        let unit = "[Unit]\nDescription=Ledger\n[Service]\nUser=ledger\nEnvironmentFile=/etc/numary/numary.env\n\
                    ExecStart=/usr/bin/numary server start\nRestart=on-failure\n[Install]\nWantedBy=multi-user.target\n";
        host.put(&format!("/etc/systemd/system/{UNIT}"), unit, 0o644);
        host.run(&["systemctl", "daemon-reload"]);
        host.run(&["systemctl", "enable", "--quiet", UNIT]);
    }

    fn install_coordinator(&self, folder: &Path, seat: &Host) {
        let sqlite = "sqlite:/var/lib/cutover-coordinator/store.db";
        let store = if self.shares_etcd() { "etcd" } else { sqlite };
        let mut settings = format!("name = \"{}\"\nstore = \"{store}\"\n", seat.name());
        let names = [seat.name().to_owned(), seat.address().to_string()];
        if !self.coordinators.is_empty() {
            self.certificates(folder, seat, "coordinator", &names);
            settings +=
                &format!("listen = [\"unix:{}\", \"https://0.0.0.0:{COORDINATOR_PORT}\"]\n[tls]\n{TLS}", Self::SOCKET);
        } else {
            settings += &format!("listen = \"unix:{}\"\n", Self::SOCKET);
        }
        settings += &format!("[limits]\n{}\n", self.plan.limits);
        if self.shares_etcd() {
            self.install_etcd(seat);
            let members: Vec<String> = self.seats().iter().map(|seat| format!("http://{}:2379", seat.name())).collect();
            settings += &format!("[etcd]\nendpoints = {members:?}\nlease_seconds = {}\n", Self::LEASE.as_secs());
        }
        seat.put("/etc/cutover/coordinator.toml", settings.replace("ROLE", "coordinator"), 0o640);
        let unit = include_str!("../../../deploy/systemd/cutover-coordinator.service");
        seat.put("/usr/lib/systemd/system/cutover-coordinator.service", unit, 0o644);
        let user = include_str!("../../../deploy/systemd/sysusers.conf");
        seat.put("/usr/lib/sysusers.d/cutover-coordinator.conf", user, 0o644);
        seat.run(&["systemd-sysusers", "cutover-coordinator.conf"]);
        seat.run(&["chown", "-R", "cutover-coordinator", "/etc/cutover/coordinator.toml"]);
        if !self.coordinators.is_empty() {
            seat.run(&["chown", "-R", "cutover-coordinator", "/etc/cutover/coordinator"]);
        }
        seat.run(&["systemctl", "daemon-reload"]);
        seat.run(&["systemctl", "enable", "--quiet", "cutover-coordinator"]);
    }

    /// A member of the coordinators' etcd, not started: with the times that etcd itself proposes for one network, and a new cluster
    /// where it has no data.
    fn install_etcd(&self, seat: &Host) {
        let peer = |seat: &Host| format!("{}=http://{}:2380", seat.name(), seat.address());
        let cluster: Vec<String> = self.seats().iter().map(peer).collect();
        let (name, address) = (seat.name(), seat.address());
        let unit = format!(
            "[Unit]\nDescription=A member of etcd\n[Service]\nType=notify\nTimeoutStartSec=infinity\nRestart=always\nRestartSec=1\n\
             ExecStart=/usr/bin/etcd --name {name} --data-dir /var/lib/etcd --initial-cluster {} \
             --pre-vote --listen-client-urls http://0.0.0.0:2379 --advertise-client-urls http://{address}:2379 \
             --listen-peer-urls http://{address}:2380 --initial-advertise-peer-urls http://{address}:2380\n\
             [Install]\nWantedBy=multi-user.target\n",
            cluster.join(",")
        );
        seat.put(&format!("/etc/systemd/system/{ETCD}"), unit, 0o644);
        seat.run(&["systemctl", "daemon-reload"]);
        seat.run(&["systemctl", "enable", "--quiet", ETCD]);
    }

    /// An agent of that name with an instance of that name, not started.
    pub fn install_agent(&self, folder: &Path, host: &Host, name: &str, instance: &str) {
        let (coordinators, tls) = match self.coordinators.is_empty() {
            false => {
                self.certificates(folder, host, "agent", &[name.to_owned()]);
                let address = |seat: &Host| format!("https://{}:{COORDINATOR_PORT}", seat.name());
                (self.coordinators.iter().map(address).collect(), format!("[tls]\n{TLS}").replace("ROLE", "agent"))
            }
            true => (vec![format!("unix:{}", Self::SOCKET)], String::new()),
        };
        let recovery = self.plan.recovery.map(|_| format!("recovery = \"{}\"", Self::RECOVERY)).unwrap_or_default();
        let settings = format!(
            "name = \"{name}\"\ncoordinator = {coordinators:?}\nstate = \"/var/lib/cutover-agent\"\n\
             releases = {{ place = \"/usr/share/numary-releases\", unpacked = \"/opt/cutover/releases\" }}\n{recovery}\n{tls}\n\
             [[instance]]\nname = \"{instance}\"\ndeployment = \"prod\"\nmanager = \"systemd\"\nunit = \"{UNIT}\"\n\
             out_of_rotation = [\"touch\", \"{OUT}\"]\ninto_rotation = [\"rm\", \"-f\", \"{OUT}\"]\n"
        );
        host.put("/etc/cutover/agent.toml", settings, 0o600);
        let unit = include_str!("../../../deploy/systemd/cutover-agent.service");
        host.put("/usr/lib/systemd/system/cutover-agent.service", unit, 0o644);
        host.run(&["systemctl", "daemon-reload"]);
        host.run(&["systemctl", "enable", "--quiet", "cutover-agent"]);
    }

    fn certificates(&self, folder: &Path, host: &Host, role: &str, names: &[String]) {
        let made = folder.join(format!("{}-{role}", host.name()));
        std::fs::create_dir_all(&made).unwrap();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.authority.issue(&names, &made);
        for file in ["cert.pem", "key.pem", "authority.pem"] {
            host.copy_in(&made.join(file), &format!("/etc/cutover/{role}/{file}"));
        }
    }

    /// What `cutover` prints on the first coordinator's host, in one line.
    pub fn cutover(&self, words: &[&str]) -> String {
        let coordinator = format!("--coordinator=unix:{}", Self::SOCKET);
        let command: Vec<&str> = ["/usr/bin/cutover", &coordinator].into_iter().chain(words.iter().copied()).collect();
        let output = self.seats()[0].exec(&command);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// A plan with every host.
    pub fn planned(&self) -> cutover_vocabulary::plan::Plan {
        until("a plan with every host", Duration::from_secs(60), || {
            let plan = self.voice.try_plan_when_ready(self.plan.strategy, "prod", self.plan.to);
            let plan = plan.unwrap_or_else(|why| panic!("no plan: {why}\n{}", self.logs()));
            (plan.binding.members.len() == self.hosts.len()).then_some(plan)
        })
    }

    /// A client that writes to every ledger through the front.
    pub fn writer(&self) -> Writer {
        Writer::start(self.front.address, LEDGERS)
    }

    /// Holds the migration of a ledger before its commit until [`Self::migrations_go_on`], and waits until it is there. Not the
    /// rehearsal's, which is over when the drain begins.
    pub fn hold_in_the_middle(&self, upgrade: &str) {
        assert!(until_phase(&self.voice, upgrade, Phase::Drain));
        let held = format!("NUMARY_SIM_HOLD_MIGRATION={GO_ON}\nNUMARY_SIM_HOLD_LEDGER={}\n", LEDGERS[0]);
        self.hosts[0].put("/var/lib/numary/.numary-sim.env", held, 0o644);
        assert!(until_phase(&self.voice, upgrade, Phase::Migrate));
    }

    /// Lets held migrations go on.
    pub fn migrations_go_on(&self) {
        self.hosts[0].put(GO_ON, "", 0o644);
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

    /// Every instance answers as that version, and every acknowledged write is there once.
    pub fn check_end(&self, wanted: &str, writer: Writer) {
        for host in &self.hosts {
            until(&format!("{wanted} answers on {}", host.name()), Duration::from_secs(60), || {
                (version(serves(host)).as_deref() == Some(wanted)).then_some(())
            });
        }
        check_exactly_once(serves(&self.hosts[0]), LEDGERS, &writer.end());
    }

    /// Which of several coordinators leads, and under which epoch.
    fn leader(&self) -> Option<(usize, u64)> {
        self.to_each.iter().enumerate().find_map(|(number, voice)| Some((number, voice.leads()?)))
    }

    /// Breaks something of the host whose coordinator leads, and mends it once another one leads. At its end all of them are there.
    pub fn breaks_the_leader(&self, break_it: impl Fn(&Host), begun: &mut dyn FnMut(), mend: impl Fn(&Host)) {
        let (leader, epoch) = until("one leads", Self::ELECTED_WITHIN, || self.leader());
        let host = &self.coordinators[leader];
        break_it(host);
        begun();
        let others = || self.to_each.iter().enumerate().filter(|(number, _)| *number != leader);
        let next = until("another one leads", Self::ELECTED_WITHIN, || {
            others().find_map(|(_, voice)| voice.leads().filter(|now| *now > epoch))
        });
        mend(host);
        // With it, etcd can lose another one again. It may lead by then: a lease can end while a member of etcd comes back.
        let back = |voice: &Voice| voice.knows_epoch().filter(|epoch| *epoch >= next);
        until("the former leader has a part in the next leadership", Self::ELECTED_WITHIN, || {
            back(&self.to_each[leader])
        });
    }

    /// Takes the wire of the only coordinator's host out, or puts it in again.
    pub fn coordinators_cable(&self, cable: Cable) {
        self.seats()[0].cable(cable);
    }
}

impl Driven for Site {
    fn voice(&self) -> &Voice {
        &self.voice
    }
    fn begin(&self) -> String {
        let plan = self.planned();
        if plan.level() == Some(Level::Approve) {
            self.voice.approve(&plan).unwrap();
        }
        self.voice.start(&plan).unwrap_or_else(|why| panic!("{why}\n{plan:#?}"))
    }
    /// systemd does.
    fn revive(&mut self) {}
    fn logs(&self) -> String {
        let journal = ["journalctl", "--no-pager", "--output=cat", "--lines=15", "-u", "cutover-*"];
        let said = |host: &Host| {
            let output = host.try_exec(&journal, Duration::from_secs(10));
            let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            format!("--- {}\n{}\n", host.name(), text.unwrap_or_else(|| "it is off, or hangs".to_owned()))
        };
        self.coordinators.iter().chain(&self.hosts).map(said).collect()
    }
}

/// Keys of `[tls]`.
const TLS: &str = "certificate = \"/etc/cutover/ROLE/cert.pem\"\nkey = \"/etc/cutover/ROLE/key.pem\"\n\
                   authority = \"/etc/cutover/ROLE/authority.pem\"\n";

/// Where a host's ledger serves.
pub fn serves(host: &Host) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(host.address()), 3068)
}

/// A path of a host, from the lab.
fn below(host: &Host, path: &str) -> std::path::PathBuf {
    host.root().join(path.trim_start_matches('/'))
}

/// A server with the role that owns the ledgers' database.
fn database(lab: &Lab) -> Postgres {
    let server = lab.postgres("").unwrap();
    for sql in [
        format!("CREATE ROLE {DATABASE} LOGIN CREATEDB PASSWORD '{DATABASE}'"),
        format!("GRANT pg_read_all_stats TO {DATABASE}"),
    ] {
        server.sql("postgres", &sql).unwrap();
    }
    server
}
