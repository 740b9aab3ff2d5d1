//! What only a leader has: an epoch, the loops of its upgrades, the links of its agents. It ends at once when the store
//! says that another one leads, and nothing of it is used again.

use crate::clock::Clock;
use crate::faults::Faults;
use crate::hook::{self, Hook};
use crate::links::{Claim, Links};
use crate::registry::{Deployment, Registered, Registry, RegistryError, keys};
use crate::settings::Settings;
use crate::surveys::Surveys;
use crate::upgrade_loop::load::{CannotLoad, Loaded, load};
use crate::upgrade_loop::{Handle, Standing, prepare};
use cutover_core::upgrade::Upgrade;
use cutover_proto::{Code, Refused};
use cutover_store::{Key, Store};
use cutover_vocabulary::link::Hello;
use cutover_vocabulary::{AgentName, DeploymentName, Elapsed, Epoch, InstanceName, Now, OrderId, Timestamp, UpgradeId};
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span, error, error_span, info, warn};

/// Tasks that end with their coordinator, in whatever way that ends.
#[derive(Debug, Clone)]
pub(crate) struct Tasks {
    pub(crate) tracker: TaskTracker,
    /// Cancelled when the coordinator's future is dropped: a task then stops where it stands, as in a crash.
    pub(crate) kill: CancellationToken,
}
impl Tasks {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let kill = self.kill.clone();
        self.tracker.spawn(async move { kill.run_until_cancelled_owned(task).await });
    }
    /// Runs a call to its end even where the caller goes meanwhile: a call that was broken off ends wherever it waits, and one that
    /// stores several things must not be left half done. None where the coordinator was killed.
    pub(crate) async fn finish<T: Send + 'static>(&self, call: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let kill = self.kill.clone();
        let running = self.tracker.spawn(async move { kill.run_until_cancelled_owned(call).await });
        match running.await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => None,
        }
    }
}

/// What a leadership is made of.
pub(crate) struct Means {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) faults: Arc<dyn Faults>,
    pub(crate) kill: CancellationToken,
}

/// One leadership.
pub(crate) struct Leadership {
    pub(crate) epoch: Epoch,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Registry,
    pub(crate) settings: Arc<Settings>,
    pub(crate) faults: Arc<dyn Faults>,
    pub(crate) links: Links,
    pub(crate) surveys: Surveys,
    pub(crate) tasks: Tasks,
    hook: Option<Arc<Hook>>,
    /// Cancelled when it is over; everything of it ends then.
    pub(crate) ended: CancellationToken,
    /// One start of a deployment at a time: it has one upgrade. Another deployment's hosts may take their time.
    starting: Mutex<BTreeMap<DeploymentName, Arc<tokio::sync::Mutex<()>>>>,
    clock: Arc<dyn Clock>,
    elected: Elapsed,
    upgrades: Mutex<BTreeMap<UpgradeId, Entry>>,
    /// Which upgrade of a deployment is its latest that began, by the registry: by no clock.
    latest: Mutex<BTreeMap<DeploymentName, UpgradeId>>,
    members: Mutex<BTreeMap<InstanceName, Registered>>,
    pub(crate) claims: Mutex<BTreeMap<InstanceName, Claim>>,
    loading: tokio::sync::Mutex<()>,
}

/// One upgrade under this leadership.
#[derive(Clone)]
pub(crate) enum Entry {
    Led(Handle),
    /// It holds something that this version does not understand, or less than happened; it is shown and left alone.
    Quarantined(Quarantined),
}

/// An upgrade that is left alone.
#[derive(Debug, Clone)]
pub(crate) struct Quarantined {
    pub(crate) why: String,
    /// What to do about it.
    remedy: &'static str,
    /// As far as it is known.
    pub(crate) before: Option<Arc<Upgrade>>,
    /// Of which deployments it may be one, where nothing is known of it but an agent that speaks for these.
    deployments: Option<BTreeSet<DeploymentName>>,
}
impl Quarantined {
    fn new(why: CannotLoad) -> Self {
        let text = why.to_string();
        let (before, remedy) = match why {
            CannotLoad::Foreign { before, .. } => (
                before.map(|upgrade| Arc::new(*upgrade)),
                "install the version of Cutover that wrote it, or a newer one; nothing was changed",
            ),
            CannotLoad::Behind { before, .. } => (
                before,
                "stop the coordinators and restore the newest store there is (docs/coordinators.md); if this is it, end the upgrade \
                 by hand: `cutover-agent local takeover` on every host, then start the coordinator again",
            ),
            CannotLoad::Missing(_) | CannotLoad::Store(_) => (None, "look at the coordinator's log"),
        };
        Self { why: text, remedy, before, deployments: None }
    }
    /// Whether it may be one of this deployment.
    pub(crate) fn may_be_of(&self, deployment: &DeploymentName) -> bool {
        match (&self.before, &self.deployments) {
            (Some(upgrade), _) => upgrade.plan().binding.deployment == *deployment,
            (None, Some(deployments)) => deployments.contains(deployment),
            (None, None) => true,
        }
    }
    fn refusal(&self, id: &UpgradeId) -> Refused {
        Refused::new(Code::Quarantined, format!("upgrade {id} is not led: {}", self.why), self.remedy)
            .with("upgrade", id)
    }
}

impl Leadership {
    pub(crate) fn new(means: &Means, epoch: Epoch) -> Self {
        Self {
            epoch,
            store: means.store.clone(),
            registry: Registry::new(means.store.clone(), epoch),
            settings: means.settings.clone(),
            faults: means.faults.clone(),
            links: Links::default(),
            surveys: Surveys::default(),
            tasks: Tasks { tracker: TaskTracker::new(), kill: means.kill.clone() },
            hook: means.settings.hook.clone().map(|command| Arc::new(Hook::new(command))),
            ended: means.kill.child_token(),
            starting: Mutex::default(),
            clock: means.clock.clone(),
            elected: means.clock.boot(),
            upgrades: Mutex::default(),
            latest: Mutex::default(),
            members: Mutex::default(),
            claims: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
        }
    }

    /// Loads the registry and every upgrade that has not ended, and goes on with them: the same facts give the same orders.
    pub(crate) async fn open(self: &Arc<Self>) -> Result<(), Refused> {
        let members: Vec<(Key, Registered)> =
            self.registry.list(keys::INSTANCES).await.map_err(|error| self.refuse(error))?;
        members.into_iter().for_each(|(_, member)| self.remember(member));
        let deployments: Vec<(Key, Deployment)> =
            self.registry.list(keys::DEPLOYMENTS).await.map_err(|error| self.refuse(error))?;
        // Only the latest upgrade of a deployment can be unfinished: `start` makes sure of it.
        for (key, deployment) in deployments {
            let Some(name) = keys::deployment_of(&key) else { continue };
            let announced = deployment.latest.map(|latest| latest.id);
            // A former version of Cutover kept no word of the one before: where the announced one never began, nothing is known.
            if let (Some(id), None, true) = (&announced, &deployment.before, deployment.upgrades > 1) {
                self.is_latest(&name, id);
            }
            for id in announced.into_iter().chain(deployment.before) {
                match self.upgrade(&id).await {
                    Ok(_) => {}
                    Err(refused) if refused.code == Code::NoSuchUpgrade => {
                        info!(upgrade = %id, epoch = self.epoch.0, "this upgrade was announced and never began");
                        continue;
                    }
                    Err(refused) if refused.code == Code::Quarantined => {}
                    Err(refused) => return Err(refused),
                }
                self.is_latest(&name, &id);
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn now(&self) -> Now {
        let (leading_for, wall) = self.moment();
        Now { wall, leading_for }
    }

    /// Since the election, and by the wall clock.
    pub(crate) fn moment(&self) -> (Elapsed, Timestamp) {
        (self.clock.boot().since(self.elected), self.clock.wall())
    }

    /// It is over: stops everything of it at once. What is not committed by now never will be.
    pub(crate) fn lost(&self, why: &str) {
        if !self.ended.is_cancelled() {
            warn!(epoch = self.epoch.0, why, "does not lead any more");
            self.ended.cancel();
        }
    }

    /// What the store says. Where it cannot be asked, its fence decides at the next write.
    pub(crate) async fn still_leads(&self) -> bool {
        match self.store.leader().await {
            Ok(leader) => leader.is_some_and(|leader| leader.epoch == self.epoch),
            Err(_) => true,
        }
    }

    /// The same for what must not be said by anybody else, and can wait until the store answers.
    pub(crate) async fn leads_by_the_store(&self) -> bool {
        self.store.leader().await.is_ok_and(|leader| leader.is_some_and(|leader| leader.epoch == self.epoch))
    }

    /// The upgrade has begun, and is the latest of its deployment.
    pub(crate) fn is_latest(&self, deployment: &DeploymentName, id: &UpgradeId) {
        self.latest_ids().insert(deployment.clone(), id.clone());
    }

    /// Which upgrade is the latest of a deployment.
    pub(crate) fn latest_id(&self, deployment: &DeploymentName) -> Option<UpgradeId> {
        self.latest_ids().get(deployment).cloned()
    }

    fn latest_ids(&self) -> MutexGuard<'_, BTreeMap<DeploymentName, UpgradeId>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no other start of this deployment is under way.
    pub(crate) async fn starting(&self, deployment: &DeploymentName) -> tokio::sync::OwnedMutexGuard<()> {
        let gate = {
            let mut all = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(deployment.clone()).or_default().clone()
        };
        gate.lock_owned().await
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<UpgradeId, Entry>> {
        self.upgrades.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every upgrade that has a loop: those that have not ended, and ended ones that somebody asked for.
    pub(crate) fn led(&self) -> Vec<Handle> {
        let led = |entry: &Entry| match entry {
            Entry::Led(handle) => Some(handle.clone()),
            Entry::Quarantined(_) => None,
        };
        self.entries().values().filter_map(led).collect()
    }

    /// How many upgrades are shown and left alone.
    pub(crate) fn quarantined(&self) -> usize {
        self.entries().values().filter(|entry| matches!(entry, Entry::Quarantined(_))).count()
    }

    /// An upgrade's present entry, without looking into the store.
    pub(crate) fn entry(&self, id: &UpgradeId) -> Option<Entry> {
        self.entries().get(id).cloned()
    }

    /// An order that stands now.
    pub(crate) fn standing(&self, order: &OrderId) -> Option<Standing> {
        match self.entry(&order.upgrade)? {
            Entry::Led(handle) => handle.published.borrow().standing.get(order).cloned(),
            Entry::Quarantined(_) => None,
        }
    }

    /// An upgrade's loop; loads the upgrade where it has none yet.
    pub(crate) async fn upgrade(self: &Arc<Self>, id: &UpgradeId) -> Result<Handle, Refused> {
        if let Some(entry) = self.entry(id) {
            return entry.handle(id);
        }
        let _one_at_a_time = self.loading.lock().await;
        if let Some(entry) = self.entry(id) {
            return entry.handle(id);
        }
        match load(&*self.store, id).await {
            Ok(loaded) => self.lead(id, loaded).handle(id),
            Err(CannotLoad::Missing(_)) => Err(Refused::new(
                Code::NoSuchUpgrade,
                format!("there is no upgrade {id}"),
                "`cutover status` lists the upgrades there are",
            )),
            Err(CannotLoad::Store(error)) => Err(Refused::new(
                Code::StoreUnavailable,
                format!("could not load upgrade {id}: {error}"),
                "ask again; if it lasts, look at the coordinator's log",
            )),
            Err(foreign @ (CannotLoad::Foreign { .. } | CannotLoad::Behind { .. })) => {
                self.quarantine(id, foreign).handle(id)
            }
        }
    }

    /// What every log line about an upgrade carries. Of the highest level, or a filter for warnings alone would take it away.
    pub(crate) fn span(&self, id: &UpgradeId) -> Span {
        error_span!(parent: None, "upgrade", upgrade = %id, epoch = self.epoch.0)
    }

    /// The entry of an upgrade that was loaded or begun just now: its loop is started with the entry and with nothing else, so
    /// an upgrade has one under a leadership, whoever else loads it meanwhile. A start and a look at what it began come here at
    /// one moment.
    pub(crate) fn lead(self: &Arc<Self>, id: &UpgradeId, mut loaded: Loaded) -> Entry {
        let mut entries = self.entries();
        let place = match entries.entry(id.clone()) {
            btree_map::Entry::Occupied(present) => return present.get().clone(),
            btree_map::Entry::Vacant(place) => place,
        };
        loaded.upgrade.led_by(self.epoch);
        let (handle, driver, commands) = prepare(self.clone(), id.clone(), loaded);
        let span = self.span(id);
        let entry = place.insert(Entry::Led(handle.clone())).clone();
        self.tasks.spawn(driver.run(commands).instrument(span.clone()));
        if let Some(hook) = &self.hook {
            self.tasks.spawn(hook::follow(self.clone(), hook.clone(), handle).instrument(span));
        }
        entry
    }

    /// Shows an upgrade and leaves it alone.
    pub(crate) fn quarantine(&self, id: &UpgradeId, why: CannotLoad) -> Entry {
        error!(upgrade = %id, epoch = self.epoch.0, %why, "this upgrade is not led: it is left as it is");
        let entry = Entry::Quarantined(Quarantined::new(why));
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
            let (seq, before) = match self.upgrade(&order.upgrade).await {
                Ok(handle) => {
                    let upgrade = handle.now().upgrade;
                    if upgrade.gave(order) {
                        continue;
                    }
                    (upgrade.seq(), Some(upgrade))
                }
                Err(refused) if refused.code == Code::NoSuchUpgrade => (0, None),
                Err(refused) if refused.code == Code::Quarantined => continue,
                Err(refused) => return Err(refused),
            };
            let (id, agent, order) = (order.upgrade.clone(), hello.agent.clone(), order.clone());
            let entry = self.quarantine(&id.clone(), CannotLoad::Behind { id: id.clone(), agent, order, seq, before });
            if let (Entry::Quarantined(quarantined), true) = (entry, seq == 0) {
                let deployments = hello.instances.iter().map(|report| report.deployment.clone()).collect();
                let known = Quarantined { deployments: Some(deployments), ..quarantined };
                self.entries().insert(id, Entry::Quarantined(known));
            }
        }
        Ok(())
    }

    /// Refuses to begin anything in a deployment of which an agent has an upgrade that the store does not.
    pub(crate) fn sees_all_of(&self, deployment: &DeploymentName) -> Result<(), Refused> {
        let entries = self.entries();
        let unseen = entries.iter().find_map(|(id, entry)| match entry {
            // Of one that cannot be read it is not known whose it is, and the deployment's own document names it where it matters.
            Entry::Quarantined(quarantined)
                if quarantined.deployments.is_some() && quarantined.may_be_of(deployment) =>
            {
                Some(quarantined.refusal(id))
            }
            Entry::Led(_) | Entry::Quarantined(_) => None,
        });
        unseen.map_or(Ok(()), Err)
    }

    fn registered(&self) -> MutexGuard<'_, BTreeMap<InstanceName, Registered>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what the registry holds at hand.
    pub(crate) fn remember(&self, member: Registered) {
        if member.gone {
            self.registered().remove(&member.instance);
        } else {
            self.registered().insert(member.instance.clone(), member);
        }
    }

    /// Every registered instance.
    pub(crate) fn fleet(&self) -> Vec<Registered> {
        self.registered().values().cloned().collect()
    }

    /// With which agent an instance is registered.
    pub(crate) fn agent_of(&self, instance: &InstanceName) -> Option<AgentName> {
        self.registered().get(instance).map(|member| member.agent.clone())
    }

    /// The registered instances of a deployment, with their agents.
    pub(crate) fn members_of(&self, deployment: &DeploymentName) -> BTreeMap<InstanceName, AgentName> {
        let registered = self.registered();
        let mine = registered.values().filter(|member| member.deployment == *deployment);
        mine.map(|member| (member.instance.clone(), member.agent.clone())).collect()
    }

    /// A failed use of the registry as an answer; one that was fenced ends this leadership.
    pub(crate) fn refuse(&self, error: RegistryError) -> Refused {
        if let RegistryError::Fenced { .. } = &error {
            self.lost("a write to the registry was refused");
        }
        warn!(epoch = self.epoch.0, error = &error as &dyn std::error::Error, "could not use the registry");
        error.into()
    }
}

impl Entry {
    pub(crate) fn handle(self, id: &UpgradeId) -> Result<Handle, Refused> {
        match self {
            Self::Led(handle) => Ok(handle),
            Self::Quarantined(quarantined) => Err(quarantined.refusal(id)),
        }
    }
}
