//! Where in an upgrade something breaks. Each is held open for as long as a test likes, by a host that is slow or a migration
//! that waits: an order is with an agent and unsettled all the while.

use cutover_core::upgrade::{Way, forward};
use cutover_tests::bed::{Bed as _, Daemon};
use cutover_tests::fleet::{Fleet, LEDGERS};
use cutover_tests::until;
use cutover_vocabulary::fact::{Fact, Recorded};
use cutover_vocabulary::order::{Order, OrderId};
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::{Phase, Subject};
use rustix::process::Signal;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long the upgrade may take to a point.
const COMES_WITHIN: Duration = Duration::from_secs(90);
/// The host that is slow; the first is the runner.
const SLOW: usize = 2;

/// One point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// The last proof that nothing writes is asked for; with it, migrating is authorised.
    BeforeMigrateAuthorised,
    /// All ledgers but one are migrated, and that one is about to commit.
    MigrateUnsettled,
    /// The last proof in front of the opening is asked for.
    BeforeOpenAuthorised,
}
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeMigrateAuthorised => "before migrate is authorised",
            Self::MigrateUnsettled => "while a migration is unsettled",
            Self::BeforeOpenAuthorised => "before the opening is authorised",
        })
    }
}

/// An upgrade of a fleet.
pub struct Upgrade {
    /// Its name.
    pub id: String,
    /// To which version.
    pub to: &'static str,
}

impl Upgrade {
    /// Every fact so far, by whoever leads.
    pub fn facts(&self, fleet: &Fleet) -> Vec<Recorded> {
        until("the facts are read", COMES_WITHIN, || fleet.voice.facts(&self.id).ok())
    }

    /// The file that lets the last migration commit.
    fn commits(&self, fleet: &Fleet) -> PathBuf {
        fleet.dir().join(format!("commits-{}", self.to))
    }

    /// Waits for something in the facts.
    pub fn until<T>(&self, fleet: &Fleet, what: &str, look: impl Fn(&[Recorded]) -> Option<T>) -> T {
        let begun = Instant::now();
        until(what, 2 * COMES_WITHIN, || {
            let said = fleet.voice.facts(&self.id);
            let late = begun.elapsed() > COMES_WITHIN;
            assert!(!late, "{what} does not come: {:?}\n{}", said.map(|facts| facts.len()), fleet.logs());
            let facts = said.ok()?;
            let over = facts.iter().find(|recorded| matches!(recorded.fact, Fact::Ended { .. } | Fact::Held { .. }));
            assert!(over.is_none(), "{what} does not come: {over:?}\n{}", fleet.logs());
            look(&facts)
        })
    }
}

impl Point {
    /// In the order in which an upgrade meets them.
    pub const ALL: [Self; 3] = [Self::BeforeMigrateAuthorised, Self::MigrateUnsettled, Self::BeforeOpenAuthorised];

    /// Takes an upgrade there and holds it.
    pub fn reach(self, fleet: &mut Fleet, upgrade: &Upgrade) {
        match self {
            Self::BeforeMigrateAuthorised => {
                upgrade.until(fleet, "recovery points are ordered", |facts| entered(facts, Phase::Secure));
                fleet.signal(Daemon::Agent(SLOW), Signal::STOP);
                // While nothing is migrated yet.
                fleet.hold_the_last(&upgrade.id, upgrade.to, &upgrade.commits(fleet));
            }
            Self::MigrateUnsettled => {}
            Self::BeforeOpenAuthorised => {
                upgrade.until(fleet, "instances are started closed", |facts| entered(facts, Phase::StartClosed));
                // Of the hosts, the runner alone has something to do until the proof.
                fleet.signal(Daemon::Agent(SLOW), Signal::STOP);
            }
        }
        upgrade.until(fleet, &format!("it stands {self}"), |facts| self.holds(facts).then_some(()));
    }

    /// What held it does so no more.
    pub fn let_go(self, fleet: &mut Fleet, upgrade: &Upgrade) {
        match self {
            Self::BeforeMigrateAuthorised | Self::BeforeOpenAuthorised => {
                fleet.signal(Daemon::Agent(SLOW), Signal::CONT);
            }
            Self::MigrateUnsettled => {
                std::fs::write(upgrade.commits(fleet), "").unwrap();
                fleet.no_faults();
            }
        }
    }

    /// Whether an upgrade stands there: its order is out, and is not settled.
    pub fn holds(self, facts: &[Recorded]) -> bool {
        let open: Vec<&Order> = facts.iter().filter_map(opened).filter(|order| !settled(facts, &order.id)).collect();
        match self {
            Self::BeforeMigrateAuthorised => in_front_of(facts, Border::MigrateAuthorised) && with(&open, SLOW),
            Self::BeforeOpenAuthorised => in_front_of(facts, Border::OpenAuthorised) && with(&open, SLOW),
            Self::MigrateUnsettled => {
                let migrates = |order: &&Order| {
                    order.id.phase == Phase::Migrate && matches!(order.id.step.subject, Subject::Ledger(_))
                };
                let ordered = facts.iter().filter_map(opened).filter(migrates).count();
                ordered == LEDGERS.len() && open.iter().copied().filter(migrates).count() == 1
            }
        }
    }
}

/// Whether a phase was entered.
pub fn entered(facts: &[Recorded], phase: Phase) -> Option<()> {
    let of = |fact: &Fact| matches!(fact, Fact::StageEntered { stage, .. } if stage.phase == phase);
    facts.iter().any(|recorded| of(&recorded.fact)).then_some(())
}

/// Whether the present stage is the one in front of a border.
pub fn in_front_of(facts: &[Recorded], border: Border) -> bool {
    let behind = forward(Way::Downtime).iter().position(|stage| stage.border == Some(border)).unwrap();
    let stage = facts.iter().rev().find_map(|recorded| match &recorded.fact {
        Fact::StageEntered { number, .. } => Some(usize::from(*number)),
        _ => None,
    });
    stage.is_some_and(|stage| stage + 1 == behind)
}

/// The order that a fact gives.
pub fn opened(recorded: &Recorded) -> Option<&Order> {
    match &recorded.fact {
        Fact::AttemptOpened { order } => Some(order),
        _ => None,
    }
}

/// Whether an order has an outcome.
pub fn settled(facts: &[Recorded], id: &OrderId) -> bool {
    facts.iter().any(|recorded| match &recorded.fact {
        Fact::StepSucceeded { order, .. } | Fact::StepFailed { order, .. } | Fact::EvidenceRefused { order, .. } => {
            order == id
        }
        _ => false,
    })
}

fn with(orders: &[&Order], host: usize) -> bool {
    orders.iter().any(|order| order.agent.as_str() == format!("agent-{host}"))
}
