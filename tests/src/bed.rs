//! What a house and a fleet have in common for somebody who breaks things in them.

use crate::clients::{Writer, check_exactly_once};
use crate::disk::Disk;
use crate::fleet::{self, Fleet};
use crate::house::{self, House};
use crate::link::Link;
use crate::tier::Driven;
use crate::until;
use crate::voice::Voice;
use rustix::process::{Pid, Signal, kill_process};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

/// How long whatever an agent and its coordinator say to each other is under way in a house or fleet that is breakable: so long
/// that every phase is seen while it lasts.
pub const UNDER_WAY: Duration = Duration::from_millis(60);

/// What a breakable daemon's disk has room for: an agent unpacks a release on it.
pub const ROOM: u64 = 1 << 30;

/// A daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Daemon {
    /// The coordinator.
    Coordinator,
    /// An agent by its number, from 1; the first is the runner.
    Agent(usize),
}

/// What can be broken of a breakable house or fleet.
#[derive(Debug, Default)]
pub struct Breakable {
    /// From each agent to the coordinator; of several coordinators, those to the first come first.
    pub links: Vec<Link>,
    /// How many agents there are.
    agents: usize,
    /// From each host to the database.
    pub databases: Vec<Link>,
    /// The daemons' own disks, where they can be had.
    pub disks: Vec<(Daemon, Disk)>,
}

impl Breakable {
    /// With so many agents, a coordinator there, a database if there is one, and where each daemon keeps its state.
    pub fn new(
        agents: usize,
        coordinator: SocketAddr,
        database: Option<SocketAddr>,
        states: impl Iterator<Item = (Daemon, PathBuf)>,
    ) -> Self {
        Self {
            links: (0..agents).map(|_| Link::to(coordinator, UNDER_WAY)).collect(),
            databases: database.iter().flat_map(|to| (0..agents).map(|_| Link::to(*to, Duration::ZERO))).collect(),
            disks: states.filter_map(|(of, path)| Some((of, Disk::mount(&path, ROOM)?))).collect(),
            agents,
        }
    }

    /// With so many agents and these coordinators, whose connections can be broken and are as fast as they are.
    pub fn linked(agents: usize, coordinators: impl Iterator<Item = SocketAddr>) -> Self {
        let links = coordinators.flat_map(|to| (0..agents).map(move |_| Link::to_coordinator(to)));
        Self { links: links.collect(), agents, ..Self::default() }
    }

    /// The one between a coordinator, by its place, and an agent, by its number.
    pub fn link(&self, coordinator: usize, agent: usize) -> Option<&Link> {
        self.links.get(coordinator * self.agents + agent - 1).filter(|_| agent <= self.agents)
    }
}

/// A house or a fleet.
pub trait Bed: Driven {
    /// How many agents it has.
    fn agents(&self) -> usize;
    /// What can be broken.
    fn breakable(&self) -> &Breakable;
    /// A client that writes to every ledger.
    fn writer(&self) -> Writer;
    /// What the seeding says a migration would lose.
    fn lost(&self) -> &[String];
    /// Waits until every instance answers as that version; then each acknowledged write must exist once, and nothing of ours may
    /// be left in the storage.
    fn check_end(&self, version: &str, writer: Writer);
    /// The process of a daemon.
    fn process(&mut self, daemon: Daemon) -> &mut Option<Child>;
    /// Starts a daemon.
    fn start(&mut self, daemon: Daemon);

    /// Every daemon.
    fn daemons(&self) -> Vec<Daemon> {
        std::iter::once(Daemon::Coordinator).chain((1..=self.agents()).map(Daemon::Agent)).collect()
    }
    /// `kill -9`.
    fn kill(&mut self, daemon: Daemon) {
        house::kill(self.process(daemon).take());
    }
    /// Stops a daemon, or has it continue.
    fn signal(&mut self, daemon: Daemon, signal: Signal) {
        let child = self.process(daemon).as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }
    /// Starts every daemon that ended by itself.
    fn restart_ended(&mut self) {
        let mut ended = self.daemons();
        ended.retain(|daemon| self.process(*daemon).as_mut().is_some_and(|child| child.try_wait().unwrap().is_some()));
        ended.iter().for_each(|daemon| self.start(*daemon));
    }
}

impl Driven for House {
    fn voice(&self) -> &Voice {
        &self.voice
    }
    fn begin(&self) -> String {
        House::begin(self)
    }
    fn revive(&mut self) {
        self.restart_ended();
    }
    fn logs(&self) -> String {
        House::logs(self)
    }
}
impl Bed for House {
    fn agents(&self) -> usize {
        1
    }
    fn breakable(&self) -> &Breakable {
        &self.breakable
    }
    fn writer(&self) -> Writer {
        House::writer(self)
    }
    fn lost(&self) -> &[String] {
        &self.lost
    }
    fn check_end(&self, version: &str, writer: Writer) {
        self.until_serves(version);
        check_exactly_once(self.address, house::LEDGERS, &writer.end());
    }
    fn process(&mut self, daemon: Daemon) -> &mut Option<Child> {
        match daemon {
            Daemon::Coordinator => &mut self.coordinator,
            Daemon::Agent(_) => &mut self.agent,
        }
    }
    fn start(&mut self, daemon: Daemon) {
        match daemon {
            Daemon::Coordinator => self.start_coordinator(),
            Daemon::Agent(_) => self.start_agent(),
        }
    }
}

impl Driven for Fleet {
    fn voice(&self) -> &Voice {
        &self.voice
    }
    fn begin(&self) -> String {
        Fleet::begin(self)
    }
    fn revive(&mut self) {
        self.restart_ended();
    }
    fn logs(&self) -> String {
        Fleet::logs(self)
    }
}
impl Bed for Fleet {
    fn agents(&self) -> usize {
        self.hosts.len()
    }
    fn breakable(&self) -> &Breakable {
        &self.breakable
    }
    fn writer(&self) -> Writer {
        Fleet::writer(self)
    }
    fn lost(&self) -> &[String] {
        &self.lost
    }
    fn check_end(&self, version: &str, writer: Writer) {
        self.until_serves(version);
        check_exactly_once(self.host(1).address, fleet::LEDGERS, &writer.end());
        // The one that was prepared is dropped beside the opening.
        until("no database of ours is left", Duration::from_secs(30), || {
            self.sql("SELECT datname FROM pg_database WHERE datname LIKE 'cutover%'").is_empty().then_some(())
        });
    }
    fn process(&mut self, daemon: Daemon) -> &mut Option<Child> {
        match daemon {
            Daemon::Coordinator => &mut self.coordinators.all[0].process,
            Daemon::Agent(number) => &mut self.hosts[number - 1].agent,
        }
    }
    fn start(&mut self, daemon: Daemon) {
        match daemon {
            Daemon::Coordinator => self.start_coordinator(),
            Daemon::Agent(number) => self.start_agent(number),
        }
    }
}
