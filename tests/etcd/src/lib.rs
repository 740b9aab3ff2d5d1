//! A real etcd for tests: one member or several on loopback, with data in a temporary folder, which can be killed, stopped and
//! started again. `ETCD=path` picks the server's binary, `ETCDCTL=path` the client's; without them both come from the PATH.
#![allow(clippy::disallowed_methods, reason = "deadlines of tests")]

mod member;
pub mod proxy;

use member::Member;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long an etcd has to answer after it was started, or after a member was killed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running etcd. Dropped, it is killed and its data removed.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    _folder: tempfile::TempDir,
}

/// Certificates of the members, and the authority of their clients' certificates.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// `--cert-file`.
    pub certificate: std::path::PathBuf,
    /// `--key-file`.
    pub key: std::path::PathBuf,
    /// `--trusted-ca-file`; every client must show a certificate of it.
    pub authority: std::path::PathBuf,
}

impl Etcd {
    /// Starts so many members, and waits until they answer.
    pub fn start(members: usize) -> Self {
        Self::start_with(members, None, &[])
    }

    /// [`Etcd::start`] with certificates and more arguments.
    pub fn start_with(members: usize, tls: Option<&Certificates>, args: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("etcd-").tempdir().unwrap();
        let mut all: Vec<Member> = (0..members).map(|number| Member::new(number, folder.path(), tls, args)).collect();
        let cluster: Vec<String> = all.iter().map(Member::in_cluster).collect();
        for member in &mut all {
            member.cluster = cluster.join(",");
            member.start();
        }
        let etcd = Self { members: all, _folder: folder };
        etcd.healthy();
        etcd
    }

    /// The client URLs of all members.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Member::url).collect()
    }

    /// The client URL of one member.
    pub fn endpoint(&self, member: usize) -> String {
        self.members[member].url()
    }

    /// Where one member listens for clients.
    pub fn address(&self, member: usize) -> std::net::SocketAddr {
        self.members[member].client
    }

    /// Waits until every member that runs answers, and has a leader.
    pub fn healthy(&self) {
        let begun = Instant::now();
        for member in self.members.iter().filter(|member| member.runs()) {
            while !member.is_healthy() {
                assert!(begun.elapsed() < PATIENCE, "etcd does not become healthy: {}", member.last_words());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Kills a member with SIGKILL.
    pub fn kill(&mut self, member: usize) {
        self.members[member].kill();
    }
    /// Starts a killed member again, with its data.
    pub fn start_member(&mut self, member: usize) {
        self.members[member].start();
    }
    /// Stops a member with SIGSTOP: its connections stay and nobody answers.
    pub fn pause(&self, member: usize) {
        self.members[member].signal(rustix::process::Signal::STOP);
    }
    /// Lets a stopped member go on.
    pub fn resume(&self, member: usize) {
        self.members[member].signal(rustix::process::Signal::CONT);
    }

    /// Which member leads etcd.
    pub fn leader(&self) -> usize {
        let begun = Instant::now();
        loop {
            for (number, member) in self.members.iter().enumerate().filter(|(_, member)| member.runs()) {
                let status = member.ctl(&["endpoint", "status", "-w", "json"]);
                let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_default();
                let status = &status[0]["Status"];
                if status["leader"].is_u64() && status["leader"] == status["header"]["member_id"] {
                    return number;
                }
            }
            assert!(begun.elapsed() < PATIENCE, "etcd has no leader");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Removes everything that is older than what lies there now.
    pub fn compact(&self, member: usize) {
        let revision = self.status(member)["header"]["revision"].to_string();
        // An answer that was lost was to a command that may have been carried out.
        let done = ["compacted revision", "required revision has been compacted"];
        until(|| self.ctl(member, &["compact", &revision]), |said| done.iter().any(|text| said.contains(text)));
    }

    /// Raises the alarm that a member's database has reached its quota, as the member would. `etcdctl` can only disarm it.
    ///
    /// # Panics
    /// When etcd does not take it in time: without certificates it does, over its JSON gateway.
    pub fn raise_alarm(&self, member: usize) {
        let id = self.status(member)["header"]["member_id"].to_string();
        let raise = format!(r#"{{"action":1,"memberID":"{id}","alarm":1}}"#);
        let raised = || {
            let answer = self.members[member].post("/v3/maintenance/alarm", &raise);
            answer + &self.ctl(member, &["alarm", "list"])
        };
        until(raised, |said| said.contains("alarm:NOSPACE"));
    }
    /// Disarms every alarm.
    pub fn disarm(&self, member: usize) {
        let disarmed = || {
            self.ctl(member, &["alarm", "disarm"]);
            self.ctl(member, &["alarm", "list"])
        };
        until(disarmed, |said| said.trim().is_empty());
    }

    fn status(&self, member: usize) -> serde_json::Value {
        let read = |said: &str| serde_json::from_str::<serde_json::Value>(said).map(|said| said[0]["Status"].clone());
        let said = until(|| self.ctl(member, &["endpoint", "status", "-w", "json"]), |said| read(said).is_ok());
        read(&said).unwrap()
    }

    /// Runs `etcdctl` against a member; returns what it printed, on either stream.
    pub fn ctl(&self, member: usize, args: &[&str]) -> String {
        self.members[member].ctl(args)
    }
}

/// Repeats a command until it says what is wanted, and gives that: a member that was killed or stopped a moment ago leaves etcd
/// without a leader for an election.
fn until(mut command: impl FnMut() -> String, wanted: impl Fn(&str) -> bool) -> String {
    let begun = Instant::now();
    loop {
        let said = command();
        if wanted(&said) {
            return said;
        }
        assert!(begun.elapsed() < PATIENCE, "{said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program by a variable, or by its name on the PATH.
fn program(variable: &str, name: &str) -> String {
    let program = std::env::var(variable).unwrap_or_else(|_| name.to_owned());
    let there = Command::new(&program).arg("--help").output();
    assert!(there.is_ok(), "{program} cannot be started: run `make setup`, or name it with {variable}=path");
    program
}
