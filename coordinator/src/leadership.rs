//! What only a leader has: an epoch, the loops of its upgrades, the links of its agents. It ends at once when the store
//! says that another one leads, and nothing of it is used again.

mod members;
mod quarantine;
mod tasks;

pub(crate) use quarantine::Quarantined;
use quarantine::WhileLed;
pub(crate) use tasks::Tasks;

use crate::clock::Clock;
use crate::faults::Faults;
use crate::hook::{self, Hook};
use crate::links::{Claim, Links};
use crate::registry::{Deployment, Registered, Registry, RegistryError, keys};
use crate::settings::Settings;
use crate::surveys::Surveys;
use crate::upgrade_loop::load::{CannotLoad, Loaded, load};
use crate::upgrade_loop::{Handle, Standing, prepare};
use cutover_proto::{Code, Refused};
use cutover_store::{Key, Revision, Store, StoreError};
use cutover_vocabulary::{AgentName, DeploymentName, Elapsed, Epoch, InstanceName, Now, OrderId, Timestamp, UpgradeId};
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span, error_span, info, warn};

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
    /// Those that were let go among them, each with its document's revision.
    members: Mutex<BTreeMap<InstanceName, (Revision, Registered)>>,
    /// The deployments of which every agent was heard, or is late by now.
    heard: Mutex<BTreeSet<DeploymentName>>,
    /// Of which deployments each agent that was heard knows an upgrade that the store does not.
    unknown: Mutex<BTreeMap<AgentName, BTreeSet<DeploymentName>>>,
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
            heard: Mutex::default(),
            unknown: Mutex::default(),
            claims: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
        }
    }

    /// Loads the registry and every upgrade that has not ended, and goes on with them: the same facts give the same orders.
    pub(crate) async fn open(self: &Arc<Self>) -> Result<(), Refused> {
        let members: Vec<(Key, Registered)> =
            self.registry.list(keys::INSTANCES).await.map_err(|error| self.refuse(error))?;
        // Whatever is written from here on is newer.
        members.into_iter().for_each(|(_, member)| self.remember(Revision::NONE, member));
        let deployments: Vec<(Key, Deployment)> =
            self.registry.list(keys::DEPLOYMENTS).await.map_err(|error| self.refuse(error))?;
        // Only the latest upgrade of a deployment can be unfinished: `start` makes sure of it.
        for (key, deployment) in deployments {
            let Some(name) = keys::deployment_of(&key) else { continue };
            let announced = deployment.latest.map(|latest| latest.id);
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
        // Nothing waits for it.
        if self.hook.is_some() {
            let span = error_span!(parent: None, "hook", epoch = self.epoch.0);
            self.tasks.spawn(hook::follow_untold(self.clone()).instrument(span));
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

    pub(crate) fn latest_ids(&self) -> MutexGuard<'_, BTreeMap<DeploymentName, UpgradeId>> {
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

    /// Whether a person took this upgrade over and has not ended it yet.
    pub(crate) fn is_taken_over(&self, id: &UpgradeId) -> bool {
        matches!(self.entry(id), Some(Entry::Led(handle)) if handle.now().upgrade.taken_over())
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
            // The others are led: one that stays damaged must not keep them waiting.
            Err(damaged @ CannotLoad::Store(StoreError::Damaged { .. })) => {
                self.quarantine(id, Quarantined::unread(damaged)).handle(id)
            }
            Err(CannotLoad::Store(error)) => Err(Refused::new(
                Code::StoreUnavailable,
                format!("could not load upgrade {id}: {error}"),
                "ask again; if it lasts, look at the coordinator's log",
            )),
            Err(foreign @ CannotLoad::Foreign { .. }) => self.quarantine(id, Quarantined::unread(foreign)).handle(id),
        }
    }

    /// Whether the store holds anything of this upgrade.
    pub(crate) async fn holds(&self, id: &UpgradeId) -> Result<bool, Refused> {
        let head = self.store.head(id).await;
        let head = head.map_err(|source| self.refuse(RegistryError::Store { key: format!("upgrade {id}"), source }))?;
        Ok(head.is_some())
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
        let led = WhileLed { leadership: self.clone(), handle: handle.clone() };
        let run = async move {
            let _led = led;
            driver.run(commands).await;
        };
        self.tasks.spawn(run.instrument(span.clone()));
        if let Some(hook) = &self.hook {
            self.tasks.spawn(hook::follow(self.clone(), hook.clone(), handle).instrument(span));
        }
        entry
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
