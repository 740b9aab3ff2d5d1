//! What one scrape says, out of the same state that `status` and the fleet are answered from. Nothing is counted beside it, so
//! nothing can drift.
//!
//! Labels name deployments, upgrades and agents, and words of ours. A deployment has the series of one upgrade, its latest,
//! until that is closed.

use crate::allowed::other_than;
use crate::election::Shared;
use crate::leadership::Leadership;
use crate::upgrade_loop::Published;
use cutover_store::Leader;
use cutover_vocabulary::instance::DriftKind;
use cutover_vocabulary::status::State;
use cutover_vocabulary::{DeploymentName, Elapsed, Now, Phase};
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;

type Labels = Vec<(&'static str, String)>;

/// The text of one scrape.
pub(super) fn text(shared: &Shared) -> String {
    let mut page = Page(Registry::with_prefix("cutover"));
    let leadership = shared.leading.borrow().clone().filter(|leadership| !leadership.ended.is_cancelled());
    page.coordinator(leadership.as_deref(), shared.follows.borrow().as_ref());
    if let Some(leadership) = leadership {
        page.agents(&leadership);
        page.upgrades(&leadership);
    }
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = prometheus_text::encode(&mut text, &page.0);
    text
}

struct Page(Registry);

/// A gauge for each set of labels.
struct Gauges(Family<Labels, Gauge<f64, AtomicU64>>);
impl Gauges {
    fn set(&self, labels: &Labels, value: f64) {
        self.0.get_or_create(labels).set(value);
    }
    fn yes(&self, labels: &Labels, yes: bool) {
        self.set(labels, f64::from(u8::from(yes)));
    }
    fn seconds(&self, labels: &Labels, elapsed: Elapsed) {
        self.set(labels, elapsed.duration().as_secs_f64());
    }
}

/// A counter for each set of labels. Made anew at each scrape, so it is set once.
struct Counters(Family<Labels, Counter>);
impl Counters {
    fn set(&self, labels: &Labels, value: u64) {
        self.0.get_or_create(labels).inc_by(value);
    }
}

impl Page {
    fn gauge(&mut self, name: &str, help: &str) -> Gauges {
        let family = Family::default();
        self.0.register(name, help, family.clone());
        Gauges(family)
    }
    fn seconds(&mut self, name: &str, help: &str) -> Gauges {
        let family = Family::default();
        self.0.register_with_unit(name, help, Unit::Seconds, family.clone());
        Gauges(family)
    }
    fn counter(&mut self, name: &str, help: &str) -> Counters {
        let family = Family::default();
        self.0.register(name, help, family.clone());
        Counters(family)
    }

    fn coordinator(&mut self, leadership: Option<&Leadership>, follows: Option<&Leader>) {
        let none = Labels::new();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.gauge("build_info", "Always 1; which version this coordinator is").yes(&vec![("version", version)], true);
        self.gauge("leads", "Whether this coordinator leads; the others have nothing to say of agents and upgrades")
            .yes(&none, leadership.is_some());
        // Exact below 2^53, and an epoch is one election.
        let epoch = leadership.map_or(0, |leadership| leadership.epoch.0);
        self.gauge("epoch", "Number of this coordinator's leadership; 0 while it does not lead")
            .set(&none, epoch as f64);
        let followed = self
            .gauge("follows", "1 of the leader that this coordinator follows; missing while it leads or nobody does");
        if let (None, Some(leader)) = (leadership, follows) {
            followed.yes(&vec![("leader", leader.name.to_string())], true);
        }
    }

    fn agents(&mut self, leadership: &Leadership) {
        let now = leadership.now().leading_for;
        let linked = self.gauge("agent_linked", "Whether an agent of the fleet is linked to this leader");
        let silence = self
            .seconds("agent_silence", "How long ago this leader last heard of an agent; missing where it never has");
        let agents: BTreeSet<_> = leadership.fleet().into_iter().map(|member| member.agent).collect();
        let drift =
            self.gauge("instance_drift", "Whether an instance is not as Cutover last switched it, by where it shows");
        for member in leadership.fleet() {
            let Some(report) = leadership.links.seen(&member.agent).reports.remove(&member.instance) else { continue };
            let labels = |kind: &str| {
                let (deployment, instance) = (member.deployment.to_string(), member.instance.to_string());
                vec![("deployment", deployment), ("instance", instance), ("kind", kind.to_owned())]
            };
            for kind in DriftKind::ALL {
                drift.yes(&labels(kind.word()), report.drift.iter().any(|drift| drift.kind == *kind));
            }
            drift.yes(&labels("guard"), !report.missing_guard.is_empty());
            if let Some(allowed) = leadership.allowed(&member.deployment) {
                drift.yes(&labels("release"), other_than(&allowed, &report).is_some());
            }
        }
        for agent in agents {
            let labels = vec![("agent", agent.to_string())];
            linked.yes(&labels, leadership.links.is_connected(&agent));
            if let Some(heard) = leadership.links.last_heard(&agent) {
                silence.seconds(&labels, now.since(heard));
            }
        }
    }

    fn upgrades(&mut self, leadership: &Leadership) {
        let quarantined = leadership.quarantined() as f64;
        self.gauge(
            "upgrades_quarantined",
            "Upgrades that are not led: this version does not understand a fact of them, or an agent knows more of them than the store",
        )
        .set(&Labels::new(), quarantined);
        let families = Families::new(self);
        let now = leadership.now();
        for (deployment, handle) in leadership.latest_of_each() {
            let latest = handle.now();
            if !latest.upgrade.closed() {
                families.tell(&deployment, &latest, now);
            }
        }
    }
}

/// What is said of an upgrade.
struct Families {
    state: Gauges,
    phase: Gauges,
    held: Gauges,
    open_holds: Gauges,
    holds: Counters,
    failures: Counters,
    downtime: Gauges,
    facts: Counters,
    orders: Gauges,
}

impl Families {
    fn new(page: &mut Page) -> Self {
        Self {
            state: page.gauge("upgrade_state", "1 for the state that the upgrade is in, 0 for every other"),
            phase: page.gauge("upgrade_phase", "1 for the phase that the upgrade is in or ended in, 0 for every other"),
            held: page.seconds(
                "upgrade_held",
                "For how long the oldest hold that is open has waited for a person; 0 without",
            ),
            open_holds: page.gauge("upgrade_open_holds", "Holds that wait for a person"),
            holds: page.counter("upgrade_holds", "Holds that there have been, decided ones included"),
            failures: page.counter("upgrade_failed_attempts", "Attempts at a step that failed"),
            downtime: page.seconds(
                "upgrade_downtime",
                "From the beginning of the drain until clients were let in again, or until now; 0 for a roll",
            ),
            facts: page.counter("upgrade_facts", "Facts that are stored of the upgrade"),
            orders: page.gauge("upgrade_orders_out", "Orders that agents have and that are not settled"),
        }
    }

    fn tell(&self, deployment: &DeploymentName, published: &Published, now: Now) {
        let Published { upgrade, standing } = published;
        let status = upgrade.status(now);
        let labels = vec![("deployment", deployment.to_string()), ("upgrade", status.id.to_string())];
        let also = |key, word: &str| [labels.as_slice(), &[(key, word.to_owned())]].concat();
        for state in State::ALL {
            self.state.yes(&also("state", state.word()), status.state == *state);
        }
        for phase in Phase::ALL {
            self.phase.yes(&also("phase", phase.word()), upgrade.phase() == Some(*phase));
        }
        let since = status.holds.iter().map(|hold| hold.since).min();
        self.held.seconds(&labels, since.map_or(Elapsed(0), |since| since.until(now.wall)));
        self.open_holds.set(&labels, status.holds.len() as f64);
        self.holds.set(&labels, upgrade.holds_so_far().into());
        let failures: usize = status.stages.iter().map(|stage| stage.failures.len()).sum();
        self.failures.set(&labels, failures as u64);
        self.downtime.seconds(&labels, upgrade.downtime(now));
        self.facts.set(&labels, status.seq);
        self.orders.set(&labels, standing.len() as f64);
    }
}
