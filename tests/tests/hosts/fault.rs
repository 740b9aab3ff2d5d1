//! What is done to hosts.

use crate::site::Site;
use cutover_test_hosts::{Cable, Host};
use cutover_tests::{tier, until};
use std::fmt;
use std::time::Duration;

/// How long a host hangs, or a network is gone.
const LASTS: Duration = Duration::from_secs(1);

/// One way to break something. Every place meets each kind of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The power of a host is cut, and it is switched on again.
    Power(Whom),
    /// A host hangs, and goes on.
    Freeze(Whom),
    /// The coordinator's host is without a network for a while.
    CoordinatorsNetwork,
    /// The host whose coordinator leads loses its power, hangs or is without a network until another one leads.
    Leader(Loss),
    /// `kill -9` of the agent that is in the middle of an order; systemd starts it again.
    KillAgent,
}

/// What of them every place meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// As the fault.
    Power(Whom),
    /// As the fault.
    Freeze(Whom),
    /// As the fault.
    CoordinatorsNetwork,
    /// Whichever loss: each takes an election.
    Leader,
    /// As the fault.
    KillAgent,
}

/// How a host is lost for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// Its power is cut, and it is switched on again.
    Power,
    /// It hangs, and goes on: with everything that it was about to say.
    Freeze,
    /// Its cable is out.
    Network,
}

/// Which host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// Whose agent touches the storage.
    Runner,
    /// Another one.
    Other,
}
impl Whom {
    fn host(self, site: &Site) -> &Host {
        match self {
            Self::Runner => &site.hosts[0],
            Self::Other => &site.hosts[1],
        }
    }
}
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Fault {
    /// Every one that can happen there.
    pub fn all(site: &Site) -> Vec<Self> {
        if site.coordinators.len() > 1 {
            return [Loss::Power, Loss::Freeze, Loss::Network].map(Self::Leader).to_vec();
        }
        let all = [
            Self::Power(Whom::Runner),
            Self::Power(Whom::Other),
            Self::Freeze(Whom::Runner),
            Self::Freeze(Whom::Other),
            Self::CoordinatorsNetwork,
            Self::KillAgent,
        ];
        let alone = site.hosts.len() == 1;
        let needs_others = |fault: &Self| {
            matches!(fault, Self::Power(Whom::Other) | Self::Freeze(Whom::Other) | Self::CoordinatorsNetwork)
        };
        all.into_iter().filter(|fault| !alone || !needs_others(fault)).collect()
    }
}

impl tier::Fault for Fault {
    type Kind = Kind;
    type On = Site;
    fn kind(self) -> Kind {
        match self {
            Self::Power(whom) => Kind::Power(whom),
            Self::Freeze(whom) => Kind::Freeze(whom),
            Self::CoordinatorsNetwork => Kind::CoordinatorsNetwork,
            Self::Leader(_) => Kind::Leader,
            Self::KillAgent => Kind::KillAgent,
        }
    }
    fn happen(self, site: &mut Site, begun: &mut dyn FnMut()) {
        match self {
            Self::Power(whom) => {
                let host = whom.host(site);
                host.power_fails();
                begun();
                host.power_cut();
                host.boot();
                // Its ledger waits in its guard, and is refused there where it was fenced meanwhile.
                host.wait_up();
            }
            Self::Freeze(whom) => {
                let host = whom.host(site);
                host.hang();
                begun();
                std::thread::sleep(LASTS);
                host.thaw();
            }
            Self::CoordinatorsNetwork => {
                site.coordinators_cable(Cable::Out);
                begun();
                std::thread::sleep(LASTS);
                site.coordinators_cable(Cable::In);
            }
            Self::Leader(Loss::Power) => {
                site.breaks_the_leader(Host::power_fails, begun, |host| {
                    host.power_cut();
                    host.boot();
                    host.wait_up();
                });
            }
            Self::Leader(Loss::Freeze) => site.breaks_the_leader(Host::hang, begun, Host::thaw),
            Self::Leader(Loss::Network) => {
                site.breaks_the_leader(|host| host.cable(Cable::Out), begun, |host| host.cable(Cable::In));
            }
            Self::KillAgent => {
                let kill = ["systemctl", "kill", "--signal=KILL", "--kill-whom=main", "cutover-agent"];
                // There is none while systemd starts it again after the fault before.
                until("an agent is there to be killed", LASTS * 10, || {
                    site.hosts[0].exec(&kill).status.success().then_some(())
                });
                begun();
            }
        }
    }
    fn truth(self) -> &'static [&'static str] {
        match self {
            // The closed copy went with its host: another is started after the next round of attestations. What is watched after its host
            // booted may take longer to be there than whoever watches it has patience.
            Self::Power(Whom::Runner) => &[
                "the closed copy of instance ledger-h1 does not run",
                "instance ledger-h1 does not serve as it must: nobody answers",
            ],
            Self::Power(Whom::Other) => &[
                "the closed copy of instance ledger-h2 does not run",
                "instance ledger-h2 does not serve as it must: nobody answers",
            ],
            Self::Freeze(_) | Self::CoordinatorsNetwork | Self::Leader(_) | Self::KillAgent => &[],
        }
    }
}
