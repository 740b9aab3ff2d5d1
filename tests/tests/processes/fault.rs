//! What is done to the programs, their connections and their disks.

use cutover_tests::bed::{Bed, Daemon};
use cutover_tests::tier;
use rustix::process::Signal;
use std::fmt;
use std::time::Duration;

/// How long a fault lasts. Long enough to be in the way of what is being done, short enough that nobody is given up.
const LASTS: Duration = Duration::from_millis(300);

/// What a slow connection holds everything back for, each way.
const SLOW: Duration = Duration::from_millis(150);

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `kill -9`, and started anew.
    Kill,
    /// Stopped, and continued.
    Stop,
    /// A connection is cut, and cannot be made again for a while.
    Cut,
    /// A connection is slow.
    Slow,
    /// A daemon's disk is full.
    Full,
}

/// Whom it happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// The coordinator.
    Coordinator,
    /// The agent that touches the storage; of connections, the one between it and the coordinator.
    Runner,
    /// Another agent, the same.
    Other,
    /// All of them at once.
    Everybody,
    /// The connection between the runner and the database.
    Database,
}

/// One way to break something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// Whom.
    pub whom: Whom,
}
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.kind, self.whom)
    }
}

impl Fault {
    /// Every one that can happen in a house or fleet.
    pub fn all(bed: &dyn Bed) -> Vec<Self> {
        let kinds = [Kind::Kill, Kind::Stop, Kind::Cut, Kind::Slow, Kind::Full];
        let everybody = [Whom::Coordinator, Whom::Runner, Whom::Other, Whom::Everybody, Whom::Database];
        let pairs = kinds.into_iter().flat_map(|kind| everybody.map(|whom| Self { kind, whom }));
        pairs.filter(|fault| fault.is_possible(bed)).collect()
    }

    fn is_possible(self, bed: &dyn Bed) -> bool {
        let Self { kind, whom } = self;
        let there = match whom {
            Whom::Coordinator | Whom::Runner | Whom::Everybody => true,
            Whom::Other => bed.agents() > 1,
            Whom::Database => !bed.breakable().databases.is_empty(),
        };
        let fits = match kind {
            Kind::Kill => whom != Whom::Database,
            Kind::Stop => !matches!(whom, Whom::Database | Whom::Everybody),
            Kind::Full => !matches!(whom, Whom::Database | Whom::Everybody) && !bed.breakable().disks.is_empty(),
            Kind::Cut | Kind::Slow => whom != Whom::Coordinator && whom != Whom::Everybody,
        };
        there && fits
    }
}

impl tier::Fault for Fault {
    type Kind = Kind;
    type On = dyn Bed;
    fn kind(self) -> Kind {
        self.kind
    }
    fn happen(self, bed: &mut (dyn Bed + 'static), begun: &mut dyn FnMut()) {
        let daemons: Vec<Daemon> = match self.whom {
            Whom::Coordinator => vec![Daemon::Coordinator],
            Whom::Runner | Whom::Database => vec![Daemon::Agent(1)],
            Whom::Other => vec![Daemon::Agent(2)],
            Whom::Everybody => bed.daemons(),
        };
        match self.kind {
            Kind::Kill => {
                daemons.iter().for_each(|daemon| bed.kill(*daemon));
                begun();
                daemons.iter().for_each(|daemon| bed.start(*daemon));
            }
            Kind::Stop => {
                daemons.iter().for_each(|daemon| bed.signal(*daemon, Signal::STOP));
                begun();
                std::thread::sleep(LASTS);
                daemons.iter().for_each(|daemon| bed.signal(*daemon, Signal::CONT));
            }
            Kind::Full => {
                let all = &bed.breakable().disks;
                let disks: Vec<_> = all.iter().filter(|(of, _)| daemons.contains(of)).collect();
                disks.iter().for_each(|(_, disk)| disk.fill());
                begun();
                std::thread::sleep(LASTS);
                disks.iter().for_each(|(_, disk)| disk.empty());
            }
            Kind::Cut | Kind::Slow => {
                let breakable = bed.breakable();
                let links = if self.whom == Whom::Database { &breakable.databases } else { &breakable.links };
                let link = &links[if self.whom == Whom::Other { 1 } else { 0 }];
                if self.kind == Kind::Cut {
                    link.cut();
                    begun();
                    std::thread::sleep(LASTS);
                    link.mend();
                } else {
                    let before = link.delay(SLOW);
                    begun();
                    std::thread::sleep(LASTS);
                    link.delay(before);
                }
            }
        }
    }

    fn truth(self) -> &'static [&'static str] {
        match (self.kind, self.whom) {
            (Kind::Full, _) => &[
                "o space left",
                "disk is full",
                "is there room on the file system",
                "no room to write",
                // A copy or a command whose output has no room may end without a word, or without all of it.
                "printed no error",
                "but did not print",
            ],
            // A bake counts what the ledger answered meanwhile.
            (Kind::Cut, Whom::Database) => &[
                "onnect",
                "the database",
                "communicating with database",
                "roken pipe",
                "unexpected EOF",
                "bytes at EOF",
                // What a ledger answers that has lost its database.
                "was answered with 503 Service Unavailable",
                "requests with a status of 500 or above while it was watched",
            ],
            (Kind::Kill | Kind::Stop | Kind::Cut | Kind::Slow, _) => &[],
        }
    }
}
