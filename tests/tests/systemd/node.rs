//! One host with a ledger that a package or a person installed as a unit, and Cutover's own units beside it.

use cutover_ledger_simulator::{pack, seed};
use cutover_test_hosts::{Host, Lab, Postgres};
use cutover_tests::clients::{Front, Writer, version};
use cutover_tests::house::{LEDGERS, program, releases};
use cutover_tests::until;
use cutover_tests::voice::Voice;
use cutover_vocabulary::finding::Level;
use cutover_vocabulary::status::{State, Status};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The ledger's unit.
pub const UNIT: &str = "numary.service";

/// Where the coordinator listens: on the host's disk, where the lab reaches it.
pub const SOCKET: &str = "/var/lib/cutover-coordinator/coordinator.sock";

/// Whose presence takes the instance out of rotation.
const OUT: &str = "/var/lib/out-of-rotation";

/// What the agent's settings say of it.
pub const INSTANCE: &str = "\n[[instance]]\nname = \"ledger\"\ndeployment = \"prod\"\nmanager = \"systemd\"\nunit = \"numary.service\"\n\
     out_of_rotation = [\"touch\", \"/var/lib/out-of-rotation\"]\ninto_rotation = [\"rm\", \"-f\", \"/var/lib/out-of-rotation\"]\n";

/// Held migrations wait for this file.
const GO_ON: &str = "/var/lib/go-on";

/// A host whose ledger serves.
pub struct Node {
    /// The host.
    pub host: Host,
    /// Where its ledger serves.
    pub address: SocketAddr,
    /// Where clients reach it.
    pub front: Front,
    /// The operator.
    pub voice: Voice,
    to: &'static str,
}

impl Node {
    /// A host where `from` runs, and `to` lies ready to be upgraded to.
    pub fn new(lab: &Lab, from: &'static str, to: &'static str) -> Self {
        Self::with(lab, from, to, "", "")
    }

    /// The same with more lines for the unit's `[Service]`, and the coordinator's `[limits]`.
    pub fn with(lab: &Lab, from: &'static str, to: &'static str, unit: &str, limits: &str) -> Self {
        Self::made(lab, from, to, unit, limits, INSTANCE)
    }

    /// A host whose agent knows of no ledger yet; otherwise as [`Self::with`].
    pub fn unknown(lab: &Lab, from: &'static str, to: &'static str, unit: &str, limits: &str) -> Self {
        Self::made(lab, from, to, unit, limits, "")
    }

    /// Has the ledger ignore SIGTERM from now on: with a `TimeoutStopSec=4` and a `drain_seconds = 1` an upgrade holds at Drain.
    pub fn will_not_stop(&self) {
        self.host.put("/var/lib/numary/.numary-sim.env", "1.3.1:NUMARY_SIM_IGNORE_SIGTERM=1\n", 0o644);
        self.host.run(&["systemctl", "restart", UNIT]);
        until("it serves again", Duration::from_secs(30), || version(self.address));
    }

    fn made(lab: &Lab, from: &'static str, to: &'static str, unit: &str, limits: &str, instance: &str) -> Self {
        for name in ["cutover-agent", "cutover-coordinator", "cutover"] {
            lab.install(&program(name), &format!("/usr/bin/{name}"));
        }
        let host = ledger(lab, from, to, unit);
        install_units(&host);
        configure(&host, limits, instance);
        host.run(&["systemctl", "daemon-reload"]);
        host.run(&["systemctl", "enable", "--quiet", "--now", "cutover-coordinator", "cutover-agent"]);
        Self::of(host, to)
    }

    /// A host whose ledger serves and whose daemons run.
    pub fn of(host: Host, to: &'static str) -> Self {
        let address = SocketAddr::new(IpAddr::V4(host.address()), 3068);
        let below = |path: &str| host.root().join(path.trim_start_matches('/'));
        let front = Front::start(address, below(OUT));
        let voice = Voice::to(&format!("unix:{}", below(SOCKET).display()));
        Self { address, front, voice, to, host }
    }

    /// A client that writes to every ledger through the front.
    pub fn writer(&self) -> Writer {
        Writer::start(self.front.address, LEDGERS)
    }

    /// Holds the migration of a ledger before its commit, from now on, until [`Self::go_on`].
    pub fn hold_migrations(&self) {
        let held = format!("NUMARY_SIM_HOLD_MIGRATION={GO_ON}\nNUMARY_SIM_HOLD_LEDGER={}\n", LEDGERS[0]);
        self.host.put("/var/lib/numary/.numary-sim.env", held, 0o644);
    }

    /// Lets held migrations go on.
    pub fn go_on(&self) {
        self.host.put(GO_ON, "", 0o644);
    }

    /// Plans, approves what needs it, starts; the upgrade's name.
    pub fn begin(&self) -> String {
        let plan = self.voice.plan_when_ready("prod", self.to);
        if plan.level() == Some(Level::Approve) {
            self.voice.approve(&plan).unwrap();
        }
        self.voice.start(&plan).unwrap_or_else(|why| panic!("{why}\n{plan:#?}"))
    }

    /// Waits until it has this state; shows where it stands otherwise.
    pub fn until_state(&self, upgrade: &str, wanted: State) -> Status {
        let status = until(&format!("the upgrade is {wanted}"), Duration::from_secs(120), || {
            let status = self.voice.status(upgrade).ok()?;
            (status.state == wanted || status.state.ended() || status.state == State::Held).then_some(status)
        });
        assert_eq!(status.state, wanted, "holds: {:#?}\nback: {:?}\n{}", status.holds, status.turned_back, self.logs());
        status
    }

    /// What our daemons logged.
    pub fn logs(&self) -> String {
        self.host.run(&[
            "journalctl",
            "--no-pager",
            "--output=cat",
            "--lines=60",
            "-u",
            "cutover-agent",
            "-u",
            "cutover-coordinator",
        ])
    }
}

/// A host where a package or a person installed the ledger's release `from`, with more lines for the unit's `[Service]`; it serves.
/// The release files of `to` lie where the agent's default looks for them.
pub fn ledger(lab: &Lab, from: &str, to: &str, unit: &str) -> Host {
    let host = installed(lab, "h1", from, to, &format!("{unit}\nEnvironment=NUMARY_STORAGE_DIR=/var/lib/numary"));
    for ledger in LEDGERS {
        seed::over_http(&serves(&host).to_string(), ledger, 20).unwrap();
    }
    host
}

/// The same on a database that several share.
pub fn ledger_on(lab: &Lab, name: &str, server: &Postgres, from: &str, to: &str) -> Host {
    let url = server.url("ledger", "ledger", "ledger");
    let storage = format!(
        "Environment=NUMARY_STORAGE_DIR=/var/lib/numary NUMARY_STORAGE_DRIVER=postgres\n\
         Environment=NUMARY_STORAGE_POSTGRES_CONN_STRING={url}"
    );
    installed(lab, name, from, to, &storage)
}

/// A server with the role that owns the ledgers' database.
pub fn database(lab: &Lab) -> Postgres {
    let server = lab.postgres("").unwrap();
    for sql in ["CREATE ROLE ledger LOGIN CREATEDB PASSWORD 'ledger'", "GRANT pg_read_all_stats TO ledger"] {
        server.sql("postgres", sql).unwrap();
    }
    server.sql("postgres", "CREATE DATABASE ledger OWNER ledger").unwrap();
    server.sql("ledger", "GRANT CREATE ON SCHEMA public TO ledger").unwrap();
    server
}

fn serves(host: &Host) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(host.address()), 3068)
}

fn installed(lab: &Lab, name: &str, from: &str, to: &str, unit: &str) -> Host {
    let old = lab.folder().join("numary");
    pack::install(&program("numary"), from, &old).unwrap();
    let host = lab.host(name);
    host.boot();
    host.wait_running();
    host.run(&["useradd", "--system", "--create-home", "--home-dir", "/var/lib/ledger", "ledger"]);
    host.run(&["install", "-d", "-o", "ledger", "/var/lib/numary"]);
    host.copy_in(&old, "/usr/local/bin/numary");
    host.put("/etc/numary/numary.env", "NUMARY_SERVER_HTTP_BIND_ADDRESS=0.0.0.0:3068\n", 0o600);
    host.put(
        &format!("/etc/systemd/system/{UNIT}"),
        format!(
            "[Unit]\nDescription=Ledger\n[Service]\nUser=ledger\n{unit}\n\
         EnvironmentFile=/etc/numary/numary.env\nExecStart=/usr/local/bin/numary server start\nRestart=on-failure\n\
         [Install]\nWantedBy=multi-user.target\n"
        ),
        0o644,
    );
    let packed = releases(to).join(format!("v{to}"));
    for file in std::fs::read_dir(packed).unwrap().flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        host.copy_in(&file.path(), &format!("/srv/numary-releases/v{to}/{name}"));
    }
    host.run(&["systemctl", "daemon-reload"]);
    host.run(&["systemctl", "enable", "--quiet", "--now", UNIT]);
    until("the ledger serves", Duration::from_secs(30), || version(serves(&host)));
    host
}

fn install_units(host: &Host) {
    for (path, text) in [
        ("systemd/system/cutover-agent.service", include_str!("../../../deploy/systemd/cutover-agent.service")),
        (
            "systemd/system/cutover-coordinator.service",
            include_str!("../../../deploy/systemd/cutover-coordinator.service"),
        ),
        ("sysusers.d/cutover-coordinator.conf", include_str!("../../../deploy/systemd/sysusers.conf")),
    ] {
        host.put(&format!("/usr/lib/{path}"), text, 0o644);
    }
    host.run(&["systemd-sysusers", "cutover-coordinator.conf"]);
}

/// Settings of both daemons, with the coordinator's `[limits]`, and what the agent's say of its instances.
pub fn configure(host: &Host, limits: &str, instance: &str) {
    host.put(
        "/etc/cutover/coordinator.toml",
        format!(
            "name = \"c1\"\nlisten = \"unix:{SOCKET}\"\nstore = \"sqlite:/var/lib/cutover-coordinator/store.db\"\n[limits]\n{limits}\n"
        ),
        0o640,
    );
    host.run(&["chgrp", "cutover-coordinator", "/etc/cutover/coordinator.toml"]);
    host.put(
        "/etc/cutover/agent.toml",
        format!(
            "# By the fleet's tool.\nname = \"h1\"\ncoordinator = \"unix:{SOCKET}\"   # beside it\nstate = \"/var/lib/cutover-agent\"\n{instance}"
        ),
        0o600,
    );
}
