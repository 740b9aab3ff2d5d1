//! The desk's task: the one owner of all orders of this host. It makes durable what the pure desk decides, begins and
//! stops work, and hands messages to the leader's link.
//!
//! When the agent shuts down, nothing is asked to stop: long work runs in processes of its own that outlive the agent,
//! and after the next start each order without an outcome is begun again, looks first and adopts. So a shutdown is the
//! same as a crash, and only one of the two has to be right.

use crate::journal::{Appended, Journal, JournalError};
use crate::perform::Perform;
use crate::run::{Pace, Word};
use cutover_desk::{Action, Desk, Event, Greeting};
use cutover_proto::transport::Endpoint;
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Hello, Refusal, Say};
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::{Failure, Order, OrderId, Outcome};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, error, error_span, info, warn};

/// What the links tell the desk.
pub(crate) enum ToDesk {
    /// A link is about to be made: what is its first message?
    Greet { greeting: Box<Greeting>, answer: oneshot::Sender<Hello> },
    /// A link is gone. Most are of no account here: those to coordinators that follow.
    LinkDown(LinkEnd),
    /// A coordinator spoke that leads, or thinks so.
    Heard { message: CoordinatorMessage, link: LinkEnd },
}

/// The desk's end of a link.
#[derive(Debug, Clone)]
pub(crate) struct LinkEnd {
    /// Messages to the coordinator, in order.
    pub(crate) out: mpsc::Sender<AgentMessage>,
    /// Ends the link; the next one begins with everything that is not acknowledged.
    pub(crate) cut: CancellationToken,
    /// Of which coordinator; for the log.
    pub(crate) endpoint: Arc<Endpoint>,
}
impl LinkEnd {
    fn is(&self, other: &Self) -> bool {
        self.out.same_channel(&other.out)
    }
}

/// An event, and the link that it came over.
struct Told {
    event: Event,
    over: Option<LinkEnd>,
}
impl Told {
    fn here(event: Event) -> Self {
        Self { event, over: None }
    }
    fn heard_over(&self, link: &LinkEnd) -> bool {
        self.over.as_ref().is_some_and(|over| over.is(link))
    }
}

/// How many messages may wait for a coordinator that does not read, beside those that a new link begins with. Beyond
/// that the link is cut, which loses nothing: the journal is the outbox.
const UNSENT: usize = 1024;

/// How many of a coordinator's messages may wait for room on the disk. Beyond that the link is cut and they are dropped:
/// on the next link the coordinator says again what still holds.
const WAITING: usize = 256;

pub(crate) struct DeskTask {
    desk: Desk,
    journal: Journal,
    perform: Arc<dyn Perform>,
    pace: Pace,
    /// Told when an order begins or ends: the instances may look different.
    changed: Arc<Notify>,
    work: JoinSet<Outcome>,
    orders: HashMap<Id, OrderId>,
    stops: BTreeMap<OrderId, CancellationToken>,
    /// The link to the leader: the one that was welcomed last under the highest epoch.
    link: Option<LinkEnd>,
    unsent: VecDeque<AgentMessage>,
    /// Events that could not be made durable, oldest first, tried again at every tick. An outcome in here is not lost
    /// in a crash either: its order is then begun again, and the work finds what was done.
    waiting: VecDeque<Told>,
    /// The journal could not be written when it was last tried; said once, not at every tick.
    starved: bool,
    /// The newest word on what may be started.
    permits: watch::Sender<Word>,
}

impl DeskTask {
    pub(crate) fn new(
        desk: Desk,
        journal: Journal,
        perform: Arc<dyn Perform>,
        pace: Pace,
        changed: Arc<Notify>,
        permits: watch::Sender<Word>,
    ) -> Self {
        Self {
            desk,
            journal,
            perform,
            pace,
            changed,
            work: JoinSet::new(),
            orders: HashMap::new(),
            stops: BTreeMap::new(),
            link: None,
            unsent: VecDeque::new(),
            waiting: VecDeque::new(),
            starved: false,
            permits,
        }
    }

    /// Works until shutdown. `restored` are the actions of [`Desk::restore`]; that their entries cannot be written is
    /// the only way to fail.
    pub(crate) async fn run(
        mut self,
        restored: Vec<Action>,
        mut inbox: mpsc::Receiver<ToDesk>,
        shutdown: CancellationToken,
    ) -> Result<(), JournalError> {
        let entries = entries(&restored);
        // A takeover that comes in just now refuses further orders; what was in hand before it goes on.
        while let Appended::Overtaken(found) = self.journal.append(&entries).await? {
            self.take_in(found);
        }
        self.carry_out(restored, None);
        let mut look = ticks(self.pace.look);
        let mut remind = ticks(self.pace.remind);
        loop {
            let out = self.link.as_ref().filter(|_| !self.unsent.is_empty()).map(|link| link.out.clone());
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                Some(ended) = self.work.join_next_with_id(), if !self.work.is_empty() => self.ended(ended).await,
                permit = room(out) => match (permit, self.unsent.pop_front()) {
                    (Some(permit), Some(message)) => { permit.send(message); }
                    (Some(_), None) => {}
                    // The link is gone, and says so in a moment.
                    (None, _) => self.link = None,
                },
                Some(told) = inbox.recv() => self.told(told).await,
                _ = look.tick() => self.look_again().await,
                _ = remind.tick() => {
                    if self.unsent.is_empty() && self.desk.owes_answers() {
                        self.tell(Told::here(Event::Remind)).await;
                    }
                }
            }
        }
    }

    async fn told(&mut self, told: ToDesk) {
        match told {
            ToDesk::Greet { greeting, answer } => {
                // Where the link is gone meanwhile nobody needs it.
                let _ = answer.send(self.desk.hello(*greeting));
            }
            ToDesk::LinkDown(gone) => {
                // What was heard over it is said again on the next one, if it still holds.
                self.waiting.retain(|told| !told.heard_over(&gone));
                if self.link.as_ref().is_none_or(|link| link.is(&gone)) {
                    self.link = None;
                    self.unsent.clear();
                    self.tell(Told::here(Event::LinkDown)).await;
                }
            }
            ToDesk::Heard { message, link } => {
                self.tell_in_turn(Told { event: Event::Heard(message), over: Some(link) }).await;
            }
        }
    }

    async fn ended(&mut self, ended: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, Ok(outcome)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(order) = self.orders.remove(&id) else { return };
        self.stops.remove(&order);
        let outcome = outcome.unwrap_or_else(|error| fell_over(&order, error));
        self.span(&order).in_scope(|| match &outcome {
            Outcome::Done(_) => info!("order done"),
            Outcome::Failed(failure) => warn!(kind = ?failure.kind, "order failed: {failure}"),
        });
        self.changed.notify_one();
        self.tell_in_turn(Told::here(Event::Finished { order, outcome })).await;
    }

    /// Tells the desk, behind what already waits for the disk: a revoke must not overtake its order.
    async fn tell_in_turn(&mut self, told: Told) {
        if self.waiting.is_empty() {
            self.tell(told).await;
        } else {
            self.wait(told);
        }
    }

    /// Tells the desk; true unless the event waits for the disk now.
    async fn tell(&mut self, told: Told) -> bool {
        loop {
            // A draft: what cannot be made durable has not happened.
            let mut draft = self.desk.clone();
            let actions = draft.handle(told.event.clone());
            let entries = entries(&actions);
            match self.journal.append(&entries).await {
                Ok(Appended::Durable) => {
                    if self.starved && !entries.is_empty() {
                        info!("the journal can be written again");
                        self.starved = false;
                    }
                    self.desk = draft;
                    self.take_up(&told, &actions);
                    self.carry_out(actions, told.over.as_ref());
                    return true;
                }
                Ok(Appended::Overtaken(found)) => self.take_in(found),
                Err(error) => {
                    if !std::mem::replace(&mut self.starved, true) {
                        error!("{error}");
                    }
                    self.excuse(&told, &error);
                    self.wait(told);
                    return false;
                }
            }
        }
    }

    fn wait(&mut self, told: Told) {
        let over = told.over.clone();
        self.waiting.push_back(told);
        let Some(over) = over else { return };
        let heard = self.waiting.iter().filter(|told| told.heard_over(&over)).count();
        if heard > WAITING {
            warn!(endpoint = %over.endpoint, "the link is cut: too many messages wait for room on the disk");
            over.cut.cancel();
        }
    }

    /// A leader's welcome makes its link the one that is spoken over. The former leader's link is left as it is: what still
    /// comes over it is refused there, which tells that coordinator that it leads no more.
    fn take_up(&mut self, told: &Told, actions: &[Action]) {
        let welcome = matches!(&told.event, Event::Heard(CoordinatorMessage { say: Say::Welcome, .. }));
        let turned_away = actions.iter().any(|action| matches!(action, Action::TurnAway { .. }));
        if welcome && !turned_away {
            self.unsent.clear();
            self.link.clone_from(&told.over);
        }
    }

    /// Lets whoever gave an order know why nothing happens. The order is not turned down: it is begun as soon as it can
    /// be written down.
    fn excuse(&mut self, told: &Told, error: &JournalError) {
        if let Event::Heard(CoordinatorMessage { say: Say::Do(order), .. }) = &told.event {
            let why = Refusal::Conflicts(format!("a journal that cannot be written ({error})"));
            self.send_back(told.over.as_ref(), AgentMessage::Refused { order: order.id.clone(), why });
        }
    }

    /// Once a tick: what another process journalled, and what could not be journalled before.
    async fn look_again(&mut self) {
        match self.journal.found().await {
            Ok(found) => self.take_in(found),
            Err(error) => error!("{error}"),
        }
        while let Some(told) = self.waiting.pop_front() {
            // `tell` puts it behind the others; it belongs in front of them.
            let behind = std::mem::take(&mut self.waiting);
            let durable = self.tell(told).await;
            self.waiting.extend(behind);
            if !durable {
                return;
            }
        }
    }

    fn take_in(&mut self, found: Vec<cutover_desk::Entry>) {
        for entry in found {
            let upgrade = entry.upgrade().map(tracing::field::display);
            warn!(
                kind = entry.kind(),
                upgrade,
                epoch = self.desk.epoch().0,
                "another process of this host wrote into the journal"
            );
            let actions = self.desk.handle(Event::FoundInJournal(entry));
            self.carry_out(actions, None);
        }
    }

    /// Carries out actions whose entries are durable. `over` is the link on which came what they are about.
    fn carry_out(&mut self, actions: Vec<Action>, over: Option<&LinkEnd>) {
        for action in actions {
            match action {
                Action::Journal(_) => {}
                Action::Begin { order, stopping } => self.begin(order, stopping),
                Action::Stop(order) => {
                    self.span(&order).in_scope(|| info!("order is asked to stop"));
                    if let Some(stop) = self.stops.get(&order) {
                        stop.cancel();
                    }
                }
                Action::Send(message) => self.send(message),
                Action::SendBack(message) => self.send_back(over, message),
                Action::Permitted { epoch, permits } => _ = self.permits.send_replace(Some((epoch, permits))),
                Action::TurnAway { welcomed, known } => {
                    if let Some(link) = over {
                        warn!(
                            endpoint = %link.endpoint, epoch = welcomed.0, known = known.0,
                            "the link is cut: its coordinator leads under an older epoch than is known here"
                        );
                        link.cut.cancel();
                    }
                }
            }
        }
    }

    /// What every log line about an order carries, those of its work too. Of the highest level, or a filter for warnings alone
    /// would take it away.
    fn span(&self, order: &OrderId) -> Span {
        error_span!(parent: None, "order", upgrade = %order.upgrade, %order, epoch = self.desk.epoch().0)
    }

    fn begin(&mut self, order: Box<Order>, stopping: bool) {
        let span = self.span(&order.id);
        span.in_scope(|| info!(stopping, "order is begun"));
        // Not a child of the shutdown's token: a shutdown stops no work.
        let stop = CancellationToken::new();
        if stopping {
            stop.cancel();
        }
        let id = order.id.clone();
        self.stops.insert(id.clone(), stop.clone());
        let perform = Arc::clone(&self.perform);
        let work = async move { perform.perform(&order, stop).await };
        let task = self.work.spawn(work.instrument(span));
        self.orders.insert(task.id(), id);
        self.changed.notify_one();
    }

    fn send(&mut self, message: AgentMessage) {
        let Some(link) = &self.link else { return };
        if link.cut.is_cancelled() {
            return;
        }
        self.log_refusal(&message);
        self.unsent.push_back(message);
        // What a new link begins with is as much as there is.
        let bound = UNSENT.max(self.desk.in_hand().len() * 2);
        if self.unsent.len() > bound {
            self.cut("the coordinator does not read what is sent to it");
        }
    }

    /// Answers over the link that something came over. What the leader is told keeps its order.
    fn send_back(&mut self, over: Option<&LinkEnd>, message: AgentMessage) {
        match over {
            Some(over) if self.link.as_ref().is_none_or(|link| !link.is(over)) => {
                self.log_refusal(&message);
                // Whoever does not read its answers is told again when it says the same again.
                let _ = over.out.try_send(message);
            }
            Some(_) | None => self.send(message),
        }
    }

    fn log_refusal(&self, message: &AgentMessage) {
        if let AgentMessage::Refused { order, why } = message {
            self.span(order).in_scope(|| warn!("order refused: {why}"));
        }
    }

    fn cut(&mut self, why: &str) {
        if let Some(link) = self.link.take() {
            warn!(endpoint = %link.endpoint, "the link is cut: {why}");
            link.cut.cancel();
        }
        self.unsent.clear();
    }
}

async fn room(out: Option<mpsc::Sender<AgentMessage>>) -> Option<mpsc::OwnedPermit<AgentMessage>> {
    match out {
        Some(out) => out.reserve_owned().await.ok(),
        None => std::future::pending().await,
    }
}

fn ticks(every: std::time::Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick would come at once, and repeat what was said a moment ago.
    ticks.reset();
    ticks
}

fn entries(actions: &[Action]) -> Vec<cutover_desk::Entry> {
    let journal = |action: &Action| match action {
        Action::Journal(entry) => Some(entry.clone()),
        Action::Begin { .. }
        | Action::Stop(_)
        | Action::Send(_)
        | Action::SendBack(_)
        | Action::Permitted { .. }
        | Action::TurnAway { .. } => None,
    };
    actions.iter().filter_map(journal).collect()
}

/// Work that panicked has neither done nor left undone anything that we know of.
fn fell_over(order: &OrderId, error: JoinError) -> Outcome {
    let what = match error.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "it did not say why".to_owned()),
        Err(error) => error.to_string(),
    };
    Outcome::Failed(Failure {
        kind: FailureKind::Interrupted,
        message: format!("the agent's work on {order} ended in a panic: {what}"),
        remedy: "this is a fault in Cutover: keep the agent's log; another attempt looks first at what was done"
            .to_owned(),
        effect: Effect::Unknown,
    })
}

#[cfg(test)]
mod tests;
