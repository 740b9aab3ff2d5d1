//! One task an active upgrade: take what came in, decide, append in one fenced write, and only after the commit apply,
//! publish, dispatch, acknowledge, answer. What is not committed never happened: the draft is dropped.

pub(crate) mod append;
pub(crate) mod batch;
pub(crate) mod load;
mod silence;

use crate::describe::describe;
use crate::leadership::{Leadership, Quarantined};
use append::Verdict;
use batch::{Draft, TooLarge};
use cutover_core::upgrade::{Input, Rejected, Upgrade, Want};
use cutover_vocabulary::{AgentName, Digest, Elapsed, Order, OrderId, Recorded, UpgradeId};
use load::{CannotLoad, Loaded};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

/// Inputs that may wait before whoever sends them has to wait: an agent's link, or an operator's call.
const QUEUE: usize = 1024;
/// How often silence is looked for.
const LOOK: Elapsed = Elapsed(1_000);
/// How often an upgrade is asked to go on although no deadline is due.
const NUDGE: Elapsed = Elapsed(5_000);
/// How long to wait after the store failed.
const BACK_OFF: Duration = Duration::from_millis(500);

/// For one upgrade's loop.
#[derive(Debug)]
pub(crate) enum Command {
    /// An agent said something, or the loop's own timers did.
    Learnt(Input),
    /// An operator asks; the answer comes after the commit.
    Asked { input: Input, answer: oneshot::Sender<Result<(), Rejected>> },
}

/// An order that stands, with its content hash.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) order: Arc<Order>,
    pub(crate) content: Digest,
    pub(crate) want: Want,
}

/// What is known of an upgrade after its last commit.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    pub(crate) upgrade: Arc<Upgrade>,
    pub(crate) standing: Arc<BTreeMap<OrderId, Standing>>,
}

/// To one upgrade's loop.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(crate) id: UpgradeId,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) published: watch::Receiver<Published>,
}

impl Handle {
    /// Where it stands after its last commit.
    pub(crate) fn now(&self) -> Published {
        self.published.borrow().clone()
    }
    /// Has the loop carry out a call, and waits until that is stored. None: the loop is gone with its leadership; whether it
    /// took the call, the same request id tells the next leader.
    pub(crate) async fn ask(&self, input: Input) -> Option<Result<(), Rejected>> {
        let (answer, waiting) = oneshot::channel();
        let _ = self.commands.send(Command::Asked { input, answer }).await;
        waiting.await.ok()
    }
    /// Whether this agent takes part in it.
    pub(crate) fn concerns(&self, agent: &AgentName) -> bool {
        self.published.borrow().upgrade.concerns(agent)
    }
}

/// The loop of one upgrade.
pub(crate) struct Driver {
    leadership: Arc<Leadership>,
    id: UpgradeId,
    upgrade: Arc<Upgrade>,
    hash: Digest,
    standing: Arc<BTreeMap<OrderId, Standing>>,
    inputs: VecDeque<Input>,
    /// One for each input.
    answers: VecDeque<Option<oneshot::Sender<Result<(), Rejected>>>>,
    publish: watch::Sender<Published>,
    /// Which agents were told to be silent, each with what it was asked by then.
    told_silent: BTreeMap<AgentName, silence::Asked>,
    /// When it last decided, as a length of this leadership.
    decided: Elapsed,
    /// It goes on by itself.
    due: bool,
}

/// What follows a step.
enum Next {
    Again,
    BackOff,
    Stop,
}

/// A loop that is ready to run, and the way to it.
pub(crate) fn prepare(
    leadership: Arc<Leadership>,
    id: UpgradeId,
    loaded: Loaded,
) -> (Handle, Driver, mpsc::Receiver<Command>) {
    let (commands, receiver) = mpsc::channel(QUEUE);
    let standing = Arc::new(standing(&loaded.upgrade, &BTreeMap::new()));
    let upgrade = Arc::new(loaded.upgrade);
    let (publish, published) = watch::channel(Published { upgrade: upgrade.clone(), standing: standing.clone() });
    let driver = Driver {
        leadership,
        id: id.clone(),
        upgrade,
        hash: loaded.hash,
        standing,
        inputs: VecDeque::new(),
        answers: VecDeque::new(),
        publish,
        told_silent: BTreeMap::new(),
        decided: Elapsed(0),
        due: true,
    };
    (Handle { id, commands, published }, driver, receiver)
}

/// Every order that stands. Content hashes of those that stood before are kept.
fn standing(upgrade: &Upgrade, before: &BTreeMap<OrderId, Standing>) -> BTreeMap<OrderId, Standing> {
    let one = |(order, want): (&Order, Want)| {
        let standing = match before.get(&order.id) {
            Some(known) => Standing { want, ..known.clone() },
            None => Standing { order: Arc::new(order.clone()), content: order.content(), want },
        };
        (order.id.clone(), standing)
    };
    upgrade.orders().map(one).collect()
}

impl Driver {
    /// Runs until the leadership ends. The caller puts it into a span that names upgrade and epoch.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let leadership = self.leadership.clone();
        info!(seq = self.upgrade.seq(), orders = self.standing.len(), "leads this upgrade");
        for standing in self.standing.values() {
            leadership.links.give(standing);
        }
        let mut arrived = Vec::new();
        loop {
            while self.due || !self.inputs.is_empty() {
                if leadership.ended.is_cancelled() || leadership.leaves_alone(&self.id) {
                    return;
                }
                match self.step().await {
                    Next::Again => {}
                    Next::Stop => return,
                    Next::BackOff => tokio::select! {
                        () = leadership.ended.cancelled() => return,
                        () = tokio::time::sleep(BACK_OFF) => {}
                    },
                }
            }
            tokio::select! {
                biased;
                () = leadership.ended.cancelled() => return,
                count = commands.recv_many(&mut arrived, QUEUE) => if count == 0 { return },
                () = tokio::time::sleep(self.pause()) => {}
            }
            for command in arrived.drain(..) {
                match command {
                    Command::Learnt(input) => self.take(input, None),
                    Command::Asked { input, answer } => self.take(input, Some(answer)),
                }
            }
            self.look();
        }
    }

    fn take(&mut self, input: Input, answer: Option<oneshot::Sender<Result<(), Rejected>>>) {
        self.inputs.push_back(input);
        self.answers.push_back(answer);
    }

    /// How long nothing has to be looked at.
    fn pause(&self) -> Duration {
        if self.upgrade.finished() {
            return Duration::from_secs(3600);
        }
        let now = self.leadership.now().leading_for;
        // What was due at the last decision waits for something else than time.
        let due = self.upgrade.wake_at().filter(|at| self.decided < *at);
        let until = due.map_or(LOOK, |at| at.since(now)).min(LOOK);
        until.max(Elapsed(10)).duration()
    }

    /// Looks at the clock and for silent agents.
    fn look(&mut self) {
        if self.upgrade.finished() {
            return;
        }
        let now = self.leadership.now().leading_for;
        let since = now.since(self.decided);
        let passed = self.upgrade.wake_at().is_some_and(|at| at <= now && (self.decided < at || since >= LOOK));
        if passed || since >= NUDGE {
            self.due = true;
        }
        self.look_for_silence(now);
    }

    /// One decision and its append.
    async fn step(&mut self) -> Next {
        let now = self.leadership.now();
        self.decided = now.leading_for;
        self.due = false;
        let epoch = self.leadership.epoch;
        let drafted = batch::draft(&self.upgrade, self.hash, epoch, now, self.inputs.make_contiguous());
        let draft = match drafted {
            Ok(draft) => draft,
            Err(TooLarge) => return self.too_large(),
        };
        if draft.facts.is_empty() {
            self.answer(draft.inputs, draft.rejected);
            return Next::Again;
        }
        match self.leadership.append(&self.id, self.upgrade.seq(), &draft.sealed).await {
            Verdict::Committed => {
                self.committed(draft);
                Next::Again
            }
            Verdict::NotStored => self.reload().await,
            Verdict::Lost => Next::Stop,
        }
    }

    /// The facts are stored: from here on they happened.
    fn committed(&mut self, draft: Draft) {
        let upgrade = Arc::make_mut(&mut self.upgrade);
        draft.facts.iter().for_each(|fact| upgrade.apply(fact));
        self.hash = draft.hash;
        self.due = draft.more;
        tell(&draft.sealed);
        let before = std::mem::take(&mut self.standing);
        self.standing = Arc::new(standing(&self.upgrade, &before));
        // Before the dispatch: a link sends an order only while it is published as standing.
        self.publish.send_replace(Published { upgrade: self.upgrade.clone(), standing: self.standing.clone() });
        for (id, standing) in self.standing.iter() {
            if before.get(id).is_none_or(|known| known.want != standing.want) {
                self.leadership.links.give(standing);
            }
        }
        self.answer(draft.inputs, draft.rejected);
    }

    /// Acknowledges what agents said and answers what operators asked. Everything about it is stored by now, or was
    /// before.
    fn answer(&mut self, count: usize, rejected: Vec<Option<Rejected>>) {
        let inputs = self.inputs.drain(..count.min(self.inputs.len()));
        for ((input, answer), rejected) in inputs.zip(self.answers.drain(..count.min(self.answers.len()))).zip(rejected)
        {
            match (&input, &rejected) {
                (Input::Outcome { agent, order, .. } | Input::Revoked { agent, order, .. }, None) => {
                    self.leadership.links.acknowledge(agent, order);
                }
                // Never acknowledged: the agent keeps what it said, and a person can look at it.
                (Input::Outcome { agent, order, .. } | Input::Revoked { agent, order, .. }, Some(why)) => {
                    warn!(%order, %agent, %why, "an agent's answer was not taken");
                }
                (_, Some(why)) => info!(%why, "an input changed nothing"),
                (_, None) => {}
            }
            if let Some(answer) = answer {
                // Whoever asked may have gone.
                let _ = answer.send(rejected.map_or(Ok(()), Err));
            }
        }
    }

    fn too_large(&mut self) -> Next {
        let stand_in = self.inputs.front().and_then(batch::stand_in);
        match (self.inputs.front_mut(), stand_in) {
            (Some(input), Some(stand_in)) if *input != stand_in => {
                warn!("an agent's answer is too large to be stored; it is stored as a failure that says so");
                *input = stand_in;
                Next::Again
            }
            (Some(_), Some(_) | None) => {
                error!("an input is too large to be stored and is dropped");
                self.inputs.pop_front();
                self.answers.pop_front();
                Next::Again
            }
            (None, Some(_) | None) => {
                error!("the next fact is larger than a batch may be; the upgrade cannot go on");
                Next::BackOff
            }
        }
    }

    /// What was drafted is not stored: forgets it and begins from what is.
    async fn reload(&mut self) -> Next {
        match load::load(&*self.leadership.store, &self.id).await {
            Ok(Loaded { mut upgrade, hash }) => {
                upgrade.led_by(self.leadership.epoch);
                self.standing = Arc::new(standing(&upgrade, &self.standing));
                self.upgrade = Arc::new(upgrade);
                self.hash = hash;
                self.due = true;
                self.publish.send_replace(Published { upgrade: self.upgrade.clone(), standing: self.standing.clone() });
                self.standing.values().for_each(|standing| self.leadership.links.give(standing));
                Next::BackOff
            }
            Err(CannotLoad::Store(error)) => {
                warn!(error = &error as &dyn std::error::Error, "could not load the upgrade again; trying on");
                self.due = true;
                Next::BackOff
            }
            Err(why @ (CannotLoad::Foreign { .. } | CannotLoad::Missing(_))) => {
                self.leadership.quarantine(&self.id, Quarantined::unread(why));
                Next::Stop
            }
        }
    }
}

/// One line a fact, with its order where it has one.
pub(crate) fn tell(facts: &[Recorded]) {
    for fact in facts {
        let order = fact.order().map(tracing::field::display);
        info!(seq = fact.seq, kind = fact.fact.kind(), order, "{}", describe(fact));
    }
}
