//! Tells a program of the operator's when an upgrade is held, opened and ended. It reads facts out of the store, beside the
//! upgrade's loop: nothing of the upgrade waits for it.
//!
//! How far an upgrade was told is a document of the registry, written after each event. So an event is told at least once: what
//! was being told when the leader changed is told again by the next one.

mod command;
mod event;

use crate::leadership::Leadership;
use crate::registry::{RegistryError, keys};
use crate::settings::HookCommand;
use crate::upgrade_loop::Handle;
use command::run;
use cutover_core::upgrade::{Happened, Upgrade};
use cutover_proto::Refused;
use cutover_store::{Key, StoreError, Stored};
use cutover_vocabulary::name::shown;
use cutover_vocabulary::{Fact, Recorded, UpgradeId};
use event::Event;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

/// Programs that run at once, over all upgrades.
const AT_ONCE: usize = 4;
/// How long one may run.
const LIMIT: Duration = Duration::from_secs(60);
/// Facts that are read at once.
const PAGE: usize = 64;
/// How long to wait after the store failed.
const BACK_OFF: Duration = Duration::from_secs(1);

/// The program under one leadership.
pub(crate) struct Hook {
    command: HookCommand,
    room: Semaphore,
}
impl Hook {
    pub(crate) fn new(command: HookCommand) -> Self {
        Self { command, room: Semaphore::new(AT_ONCE) }
    }
}

/// How far an upgrade was told.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Told {
    seq: u64,
}

/// Follows one upgrade until its end was told or the leadership is over. Its events are told one after the other.
pub(crate) async fn follow(leadership: Arc<Leadership>, hook: Arc<Hook>, handle: Handle) {
    let ended = leadership.ended.clone();
    let following = async {
        let mut follower = Follower { leadership: &leadership, hook: &hook, handle, upgrade: None, told: 0 };
        loop {
            match follower.follow().await {
                Ok(()) => return,
                Err(why) => warn!(%why, "could not look for what is to be told to the hook; trying on"),
            }
            tokio::time::sleep(BACK_OFF).await;
        }
    };
    ended.run_until_cancelled(following).await;
}

/// Has upgrades followed that ended before their end was told and that no loop is begun for: a newer one of the deployment came after
/// them. Goes on until it knows which, or the leadership is over.
pub(crate) async fn follow_untold(leadership: Arc<Leadership>) {
    let ended = leadership.ended.clone();
    let looking = async {
        let untold = loop {
            match untold(&leadership).await {
                Ok(untold) => break untold,
                Err(why) => warn!(%why, "could not look for upgrades whose end is to be told to the hook; trying on"),
            }
            tokio::time::sleep(BACK_OFF).await;
        };
        for id in untold {
            // With its loop comes who follows it.
            if let Err(refused) = leadership.upgrade(&id).await {
                warn!(upgrade = %id, "the end of this upgrade is not told to the hook: {refused}");
            }
        }
    };
    ended.run_until_cancelled(looking).await;
}

/// Upgrades whose end is stored and was not told.
async fn untold(leadership: &Leadership) -> Result<Vec<UpgradeId>, Trouble> {
    let notes: Vec<(Key, Told)> = leadership.registry.list(keys::HOOKS).await?;
    let notes: BTreeMap<_, _> =
        notes.into_iter().filter_map(|(key, told)| Some((keys::told_of(&key)?, told))).collect();
    let mut untold = Vec::new();
    for head in leadership.store.upgrades().await? {
        let Some(told) = notes.get(&head.id).filter(|told| told.seq < head.seq) else { continue };
        if leadership.entry(&head.id).is_some() {
            continue;
        }
        match ends_after(leadership, &head.id, told.seq).await {
            Ok(true) => untold.push(head.id),
            Ok(false) => {}
            // The others are told all the same.
            Err(error @ StoreError::Damaged { .. }) => {
                warn!(upgrade = %head.id, "whether the end of this upgrade was told to the hook cannot be seen: {error}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(untold)
}

/// Behind an end that was told there may be a close, of which nothing is told.
async fn ends_after(leadership: &Leadership, id: &UpgradeId, mut seq: u64) -> Result<bool, StoreError> {
    loop {
        let page = leadership.store.load(id, seq, PAGE).await?;
        let Some(last) = page.last() else { return Ok(false) };
        seq = last.seq();
        let ends = |stored: &Stored| match stored {
            Stored::Known(recorded) => matches!(recorded.fact, Fact::Ended { .. }),
            Stored::Foreign { .. } => false,
        };
        if page.iter().any(ends) {
            return Ok(true);
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("{0}")]
    Refused(#[from] Box<Refused>),
}

struct Follower<'a> {
    leadership: &'a Leadership,
    hook: &'a Hook,
    handle: Handle,
    /// The fold of what was read.
    upgrade: Option<Upgrade>,
    /// What was told under this leadership, noted or not: a store that fails must not make it repeat itself.
    told: u64,
}

impl Follower<'_> {
    async fn follow(&mut self) -> Result<(), Trouble> {
        let key = keys::hook(&self.handle.id).map_err(RegistryError::from)?;
        self.upgrade = None;
        let noted = match self.leadership.registry.read::<Told>(&key).await? {
            (_, Some(told)) => told.seq,
            // It had ended before there was a hook.
            (_, None) if self.handle.now().upgrade.finished() => return Ok(()),
            (_, None) => {
                self.note(0).await?;
                0
            }
        };
        self.told = self.told.max(noted);
        loop {
            let known = self.handle.published.borrow_and_update().upgrade.seq();
            while self.seq() < known {
                let before = self.seq();
                for stored in self.leadership.store.load(&self.handle.id, self.seq(), PAGE).await? {
                    let recorded = match stored {
                        Stored::Known(recorded) => recorded,
                        Stored::Foreign { .. } => return Ok(()),
                    };
                    if recorded.seq > known {
                        break;
                    }
                    let event = self.fold(&recorded);
                    if let Some(event) = event.filter(|_| recorded.seq > self.told) {
                        self.tell(&event).await;
                        self.told = recorded.seq;
                        self.note(recorded.seq).await?;
                    }
                    if let Fact::Ended { .. } = recorded.fact {
                        return Ok(());
                    }
                }
                // Nothing there that could be folded: it is not led either.
                if self.seq() == before {
                    return Ok(());
                }
            }
            if self.handle.published.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    fn seq(&self) -> u64 {
        self.upgrade.as_ref().map_or(0, Upgrade::seq)
    }

    /// Folds a fact; what there is to tell of it.
    fn fold(&mut self, recorded: &Recorded) -> Option<Event> {
        let Recorded { at, epoch, leading_for, by, fact, .. } = recorded.clone();
        let happened = Happened { at, epoch, leading_for, by, fact };
        let Some(upgrade) = &mut self.upgrade else {
            // A chain that begins otherwise is not led.
            self.upgrade = Upgrade::begin(self.handle.id.clone(), &happened).ok();
            return None;
        };
        let opened = upgrade.opened();
        upgrade.apply(&happened);
        Event::of(recorded, upgrade, !opened && upgrade.opened())
    }

    /// Runs the program. What comes of it changes nothing.
    async fn tell(&self, event: &Event) {
        // Never closed.
        let _room = self.hook.room.acquire().await;
        let (seq, kind) = (event.seq, event.event.word());
        match run(&self.hook.command, &event.environment(), event.json(), LIMIT).await {
            Ok(()) => debug!(seq, event = kind, "the hook was told"),
            Err(why) => {
                let said = shown(why.said()).to_string();
                warn!(seq, event = kind, program = %self.hook.command.program.display(), said, "the hook failed: {why}");
            }
        }
    }

    async fn note(&self, seq: u64) -> Result<(), Trouble> {
        let kept = self.leadership.registry.replace(keys::hook(&self.handle.id), |_: Option<Told>| Told { seq }).await;
        kept.map(drop).map_err(|error| Trouble::from(Box::new(self.leadership.refuse(error))))
    }
}
