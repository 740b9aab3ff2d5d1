//! Upgrades that are shown and left alone: what this version cannot read, and what an agent knows more of than the store.

use super::{Entry, Leadership};
use crate::upgrade_loop::load::CannotLoad;
use crate::upgrade_loop::{Command, Handle};
use cutover_core::upgrade::{Input, Upgrade};
use cutover_proto::{Code, Refused};
use cutover_vocabulary::link::Hello;
use cutover_vocabulary::{AgentName, DeploymentName, OrderId, Subject, UpgradeId};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use tracing::{debug, error, warn};

/// An upgrade that is left alone.
#[derive(Debug, Clone)]
pub(crate) struct Quarantined {
    pub(crate) why: String,
    /// What to do about it.
    remedy: &'static str,
    known: Known,
}

/// What is known of it here.
#[derive(Debug, Clone)]
enum Known {
    /// What it was at some moment.
    Until(Arc<Upgrade>),
    /// That an agent has an order of it, which speaks for instances of these deployments.
    OneOf(BTreeSet<DeploymentName>),
    Nothing,
}

impl Quarantined {
    /// One whose facts this version cannot read, that the store holds damaged, or that is not there.
    pub(crate) fn unread(why: CannotLoad) -> Self {
        let text = match &why {
            CannotLoad::Store(error) => error.to_string(),
            CannotLoad::Foreign { .. } | CannotLoad::Missing(_) => why.to_string(),
        };
        let (known, remedy) = match why {
            CannotLoad::Foreign { before, .. } => (
                before.map_or(Known::Nothing, |upgrade| Known::Until(Arc::new(*upgrade))),
                "install the version of Cutover that wrote it, or a newer one; nothing was changed",
            ),
            CannotLoad::Missing(_) => (Known::Nothing, "look at the coordinator's log"),
            CannotLoad::Store(_) => (
                Known::Nothing,
                "stop the coordinators and restore the newest store there is (docs/coordinators.md); if there is none, end the \
                 upgrade by hand: `cutover-agent local takeover` on every host",
            ),
        };
        Self { why: text, remedy, known }
    }

    /// One of which an agent has more than the store.
    fn behind(its_own: BTreeSet<DeploymentName>, hello: &Hello, order: &OrderId, here: Option<Arc<Upgrade>>) -> Self {
        let until = match &here {
            Some(upgrade) => format!("its facts of this upgrade end with number {}", upgrade.seq()),
            None => "it holds nothing of this upgrade".to_owned(),
        };
        let why = format!(
            "agent {} has order {order} in hand, which this store does not know: {until}. The store is older than what was done \
             under it, as after a backup was restored, and nobody here knows what came after",
            hello.agent
        );
        Self {
            why,
            remedy: "stop the coordinators and restore the newest store there is (docs/coordinators.md); if this is it, end the \
                     upgrade by hand: `cutover-agent local takeover` on every host, then start the coordinator again",
            known: here.map_or_else(|| Known::OneOf(its_own), Known::Until),
        }
    }

    /// One whose loop fell over: led on, it would most likely fall over again, and the others are led all the same.
    fn fell_over(here: Arc<Upgrade>) -> Self {
        Self {
            why: "what leads it ended in a panic, which is a fault of Cutover; nothing is lost, and nothing is done any more".to_owned(),
            remedy: "report what the coordinator's log says of it; a coordinator that is started again leads it once more, and \
                     `cutover-agent local takeover` ends it by hand",
            known: Known::Until(here),
        }
    }

    /// What it was at some moment, where that is known.
    pub(crate) fn before(&self) -> Option<Arc<Upgrade>> {
        match &self.known {
            Known::Until(upgrade) => Some(upgrade.clone()),
            Known::OneOf(_) | Known::Nothing => None,
        }
    }

    /// Of which deployments it may be; none where nothing is known.
    pub(crate) fn deployments(&self) -> BTreeSet<DeploymentName> {
        match &self.known {
            Known::Until(upgrade) => BTreeSet::from([upgrade.plan().binding.deployment.clone()]),
            Known::OneOf(deployments) => deployments.clone(),
            Known::Nothing => BTreeSet::new(),
        }
    }

    pub(super) fn refusal(&self, id: &UpgradeId) -> Refused {
        Refused::new(Code::Quarantined, format!("upgrade {id} is not led: {}", self.why), self.remedy)
            .with("upgrade", id)
    }
}

/// Whether an order of an upgrade that is known here may have been this agent's: it takes part or did, or speaks for an instance of
/// the deployment; and where the order is about an instance, that one is its own.
fn may_be_its_own(upgrade: &Upgrade, order: &OrderId, hello: &Hello) -> bool {
    let binding = &upgrade.plan().binding;
    let takes_part = upgrade.ever_concerned(&hello.agent)
        || hello.instances.iter().any(|report| report.deployment == binding.deployment);
    takes_part
        && match &order.step.subject {
            Subject::Instance(instance) => {
                let planned = binding.members.get(instance).map(|member| &member.agent);
                hello.instances.iter().any(|report| report.instance == *instance)
                    || planned == Some(&hello.agent)
                    || upgrade.agent_for(instance).as_ref() == Some(&hello.agent)
            }
            Subject::Ledger(_) | Subject::Storage => true,
        }
}

/// Stands while an upgrade's loop runs. Where that ends in a panic, the upgrade is shown and left alone: without a loop nobody would hear
/// what its agents say, and it would look as if it went on.
pub(super) struct WhileLed {
    pub(super) leadership: Arc<Leadership>,
    pub(super) handle: Handle,
}
impl Drop for WhileLed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let here = self.handle.now().upgrade;
            self.leadership.quarantine(&self.handle.id, Quarantined::fell_over(here));
        }
    }
}

impl Leadership {
    /// How many upgrades are shown and left alone.
    pub(crate) fn quarantined(&self) -> usize {
        self.entries().values().filter(|entry| matches!(entry, Entry::Quarantined(_))).count()
    }

    /// Every upgrade that is shown and left alone.
    pub(crate) fn left_alone(&self) -> Vec<(UpgradeId, Quarantined)> {
        let quarantined = |(id, entry): (&UpgradeId, &Entry)| match entry {
            Entry::Quarantined(quarantined) => Some((id.clone(), quarantined.clone())),
            Entry::Led(_) => None,
        };
        self.entries().iter().filter_map(quarantined).collect()
    }

    /// Shows an upgrade and leaves it alone.
    pub(crate) fn quarantine(&self, id: &UpgradeId, found: Quarantined) -> Entry {
        error!(upgrade = %id, epoch = self.epoch.0, why = found.why, "this upgrade is not led: it is left as it is");
        let entry = Entry::Quarantined(found);
        self.entries().insert(id.clone(), entry.clone());
        entry
    }

    /// Whether this upgrade is left alone by now; its loop ends then.
    pub(crate) fn leaves_alone(&self, id: &UpgradeId) -> bool {
        matches!(self.entries().get(id), Some(Entry::Quarantined(_)))
    }

    /// Holds the orders that an agent has in hand against the store. Where one was never given by the facts that are here, they are
    /// older than what was done, and that upgrade is led no more: whatever it would order next may have been done, or undone, before.
    ///
    /// # Errors
    /// Where the store does not tell: the agent says hello again.
    pub(crate) async fn compare(self: &Arc<Self>, hello: &Hello) -> Result<(), Refused> {
        for (order, _) in &hello.in_hand {
            let here = match self.upgrade(&order.upgrade).await {
                Ok(handle) => Some(handle.now().upgrade),
                Err(refused) if refused.code == Code::NoSuchUpgrade => None,
                Err(refused) if refused.code == Code::Quarantined => continue,
                Err(refused) => return Err(refused),
            };
            match here {
                Some(upgrade) if upgrade.gave(order) => {}
                Some(upgrade) if !may_be_its_own(&upgrade, order, hello) => warn!(
                    upgrade = %order.upgrade, %order, epoch = self.epoch.0, agent = %hello.agent,
                    "the agent has an order in hand that was never given and that would not have been the agent's; the upgrade is led on"
                ),
                here => {
                    self.quarantine(
                        &order.upgrade,
                        Quarantined::behind(self.deployments_of(hello), hello, order, here),
                    );
                }
            }
        }
        let mut unknown = BTreeSet::new();
        let its_own = self.deployments_of(hello);
        for (deployment, upgrade) in &hello.newest {
            // What it says of a deployment that it has no part in holds up nothing there.
            if !its_own.contains(deployment) {
                debug!(%deployment, %upgrade, agent = %hello.agent, "passed by an upgrade of a deployment that the agent does not speak for");
                continue;
            }
            // One that is left alone for an order in hand is unknown here all the same.
            if !matches!(self.entry(upgrade), Some(Entry::Led(_))) && !self.holds(upgrade).await? {
                warn!(
                    %deployment, %upgrade, epoch = self.epoch.0, agent = %hello.agent,
                    "the agent took part in an upgrade that this store does not know, as after a backup was restored: until the \
                     deployment is upgraded again, its hosts start after a boot only once all of them have the same release on disk"
                );
                unknown.insert(deployment.clone());
                self.passed_by(hello, deployment, upgrade).await;
            }
        }
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).insert(hello.agent.clone(), unknown);
        Ok(())
    }

    /// The store's own latest of a deployment came before the one that an agent names, where that agent carried out orders of it: however
    /// unfinished it is here, it was ended, and is a person's to close.
    async fn passed_by(self: &Arc<Self>, hello: &Hello, deployment: &DeploymentName, later: &UpgradeId) {
        let Some(Entry::Led(handle)) = self.latest_id(deployment).and_then(|id| self.entry(&id)) else { return };
        let here = handle.now().upgrade;
        if here.finished() || here.taken_over() || !here.was_answered_by(&hello.agent) {
            return;
        }
        let note = format!(
            "its host took part in upgrade {later} after this one, and this store does not know that one: it is older than what was \
             done under it, as after a backup was restored. Restore the newest store there is; if this is it, close this upgrade"
        );
        let over = Input::TakenOver { agent: hello.agent.clone(), note };
        // A loop that is gone went with its leadership.
        let _ = handle.commands.send(Command::Learnt(over)).await;
    }

    /// Whether what each of these agents knows was held against the store under this leadership.
    pub(crate) fn has_compared<'a>(&self, mut agents: impl Iterator<Item = &'a AgentName>) -> bool {
        let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        agents.all(|agent| unknown.contains_key(agent))
    }

    /// Whether an agent took part in an upgrade of this deployment that the store does not know.
    pub(crate) fn misses_an_upgrade_of(&self, deployment: &DeploymentName) -> bool {
        let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        unknown.values().any(|deployments| deployments.contains(deployment))
    }

    /// Refuses to begin anything in a deployment of which an agent has an upgrade that the store does not.
    pub(crate) fn sees_all_of(&self, deployment: &DeploymentName) -> Result<(), Refused> {
        let entries = self.entries();
        let unseen = entries.iter().find_map(|(id, entry)| match entry {
            Entry::Quarantined(quarantined) => match &quarantined.known {
                Known::OneOf(deployments) if deployments.contains(deployment) => Some(quarantined.refusal(id)),
                // Of one that cannot be read it is not known whose it is, and the deployment's own document names it where it matters.
                Known::OneOf(_) | Known::Until(_) | Known::Nothing => None,
            },
            Entry::Led(_) => None,
        });
        unseen.map_or(Ok(()), Err)
    }
}
