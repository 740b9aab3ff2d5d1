//! Who leads: tries for leadership, follows while another one has it, and gives it up on shutdown.

use crate::leadership::{Leadership, Means};
use cutover_proto::Refused;
use cutover_store::{CoordinatorName, Leader, Store, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often a follower tries, where the store does not tell it sooner that nobody leads.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// How often a leader that has nothing to write asks whether it still leads.
const LOOK: Duration = Duration::from_secs(2);
/// How long a leader that stops waits for appends that are under way.
const LAST_APPENDS: Duration = Duration::from_secs(10);

/// What the services see of the election.
pub(crate) struct Shared {
    pub(crate) name: CoordinatorName,
    pub(crate) store: Arc<dyn Store>,
    /// The present leadership, if it is this coordinator's.
    pub(crate) leading: watch::Sender<Option<Arc<Leadership>>>,
    /// Whom this coordinator follows, as it saw last; none while it leads or nobody does.
    pub(crate) follows: watch::Sender<Option<Leader>>,
    /// Cancelled when this coordinator stops or is dropped.
    pub(crate) over: CancellationToken,
}

impl Shared {
    fn present(&self) -> Option<Arc<Leadership>> {
        self.leading.borrow().clone().filter(|leadership| !leadership.ended.is_cancelled())
    }

    /// Whether it is this coordinator that leads.
    pub(crate) fn leads(&self) -> bool {
        self.present().is_some()
    }

    /// The leadership, or a refusal that names who leads.
    pub(crate) async fn leading(&self) -> Result<Arc<Leadership>, Refused> {
        if let Some(leadership) = self.present() {
            return Ok(leadership);
        }
        let Some(leader) = self.leader().await.ok().flatten().filter(|leader| leader.name != self.name) else {
            return Err(Refused::not_leader(None));
        };
        let there = self.store.coordinators().await.unwrap_or_default();
        let address = there.into_iter().find(|one| one.name == leader.name).and_then(|one| one.address);
        Err(Refused::led_elsewhere(Some(leader.name.as_str()), address.as_deref()))
    }

    /// Looks whom this coordinator follows, and tells who listens where that changed.
    async fn look_whom_it_follows(&self) -> Option<Leader> {
        // Where the store does not say, what it said last is the best guess.
        let Ok(leader) = self.leader().await else { return self.follows.borrow().clone() };
        let leader = leader.filter(|leader| leader.name != self.name);
        self.follows.send_if_modified(|known| {
            let changed = *known != leader;
            known.clone_from(&leader);
            changed
        });
        leader
    }

    pub(crate) async fn leader(&self) -> Result<Option<Leader>, StoreError> {
        self.store.leader().await
    }
}

/// Runs until shutdown; beside it says that this coordinator is there, and reached at `address`.
pub(crate) async fn run(shared: &Shared, means: &Means, address: &str, shutdown: &CancellationToken) {
    tokio::join!(announce(shared, address), elections(shared, means, shutdown));
}

/// The store tries on where it was in vain, so it is said once.
async fn announce(shared: &Shared, address: &str) {
    match shared.store.announce(&shared.name, address).await {
        Ok(()) => {}
        Err(error @ StoreError::NameTaken { .. }) => {
            warn!(coordinator = %shared.name, %error, "this coordinator is not shown to the others yet");
        }
        Err(error) => warn!(error = &error as &dyn std::error::Error, "could not announce this coordinator; tries on"),
    }
}

async fn elections(shared: &Shared, means: &Means, shutdown: &CancellationToken) {
    let mut following = false;
    while !shutdown.is_cancelled() {
        match means.store.lead(&shared.name).await {
            Ok(Some(epoch)) => {
                following = false;
                shared.follows.send_replace(None);
                lead(shared, Arc::new(Leadership::new(means, epoch)), shutdown).await;
            }
            Ok(None) => {
                let leader = shared.look_whom_it_follows().await;
                let leader = leader.map_or_else(|| "another coordinator".to_owned(), |leader| leader.name.to_string());
                if !std::mem::replace(&mut following, true) {
                    info!(leader, "follows; tries to lead as soon as the leader is gone");
                }
            }
            Err(error) => warn!(error = &error as &dyn std::error::Error, "could not try to lead; trying on"),
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = means.store.leadership_changed() => {}
            () = tokio::time::sleep(TRY_AGAIN) => {}
        }
    }
}

/// Leads until shutdown, or until another one does.
async fn lead(shared: &Shared, leadership: Arc<Leadership>, shutdown: &CancellationToken) {
    let epoch = leadership.epoch;
    info!(epoch = epoch.0, coordinator = %shared.name, "leads");
    let opened = tokio::select! {
        opened = leadership.open() => Some(opened),
        () = leadership.store.lost(epoch) => None,
    };
    match opened {
        None => leadership.lost("the store could not be held while the upgrades were loaded"),
        Some(Ok(())) => {
            shared.leading.send_replace(Some(leadership.clone()));
            // Beside the others, for a look at a store that does not answer takes longer than the lease.
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = leadership.ended.cancelled() => {}
                () = leadership.store.lost(epoch) => {
                    leadership.lost("the lease in the store ends soon or is gone, or another was elected");
                }
                () = leads_no_more(&leadership) => {
                    leadership.lost("the store says that this coordinator does not lead");
                }
            }
            shared.leading.send_replace(None);
        }
        Some(Err(refused)) => warn!(epoch = epoch.0, %refused, "could not load what is to be led; tries again"),
    }
    leadership.ended.cancel();
    leadership.tasks.tracker.close();
    if tokio::time::timeout(LAST_APPENDS, leadership.tasks.tracker.wait()).await.is_err() {
        warn!(epoch = epoch.0, "some tasks of this leadership did not end in time; the store's fence keeps them out");
    }
    match leadership.store.resign(epoch).await {
        Ok(()) => info!(epoch = epoch.0, "resigned"),
        Err(error) => warn!(epoch = epoch.0, error = &error as &dyn std::error::Error, "could not resign"),
    }
}

/// Looks now and then, until the store says that another coordinator leads.
async fn leads_no_more(leadership: &Leadership) {
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
        if !leadership.still_leads().await {
            return;
        }
    }
}
