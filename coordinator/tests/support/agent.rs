//! An agent that speaks the link and answers every order honestly. Its journal outlives its links.

use super::host::{self, Seen};
use cutover_proto::transport::{Endpoint, Tls, connect_with};
use cutover_proto::v1 as pb;
use cutover_proto::v1::agent_link_client::AgentLinkClient;
use cutover_vocabulary::fact::Settlement;
use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Heard, Hello, Permit, Say};
use cutover_vocabulary::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

/// How an agent behaves on the link.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manners {
    /// Everything is said twice.
    pub twice: bool,
    /// What is said within some milliseconds is said in the reverse order.
    pub backwards: bool,
    /// The link is broken off after so many outcomes, once.
    pub breaks_after: Option<usize>,
    /// Every order is refused once because of another one.
    pub refuses_once: bool,
    /// It never answers orders of this phase.
    pub ignores: Option<Phase>,
    /// Orders of this phase fail, with [`FAILURE`].
    pub fails: Option<Phase>,
}

/// What a failure says: with quotes, a line's end and an escape of terminals.
pub const FAILURE: &str = "it \"did\" not\n\u{1b}[31m work \\ at 'all' $(reboot)\u{7f}";

/// What an agent knows for good.
#[derive(Debug, Default)]
pub struct Journal {
    pub orders: BTreeMap<OrderId, Entry>,
    pub refused: BTreeMap<OrderId, usize>,
    pub violations: Vec<String>,
    pub epoch: Epoch,
    pub links: usize,
    pub said: usize,
    pub last_refusal: Option<Status>,
    /// What was said last of its instances.
    pub permits: BTreeMap<InstanceName, Permit>,
    /// How often it was told what may be started, also that nothing can be told.
    pub words: u32,
    /// Of each deployment the upgrade that gave it its last order.
    pub newest: BTreeMap<DeploymentName, UpgradeId>,
    /// Said when the link has time for it.
    pub to_say: Vec<AgentMessage>,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub content: Digest,
    pub outcome: Option<Outcome>,
    pub revoked: bool,
    pub acknowledged: bool,
}

/// An agent that runs until it is dropped.
pub struct FakeAgent {
    pub journal: Arc<Mutex<Journal>>,
    pub break_link: Arc<Mutex<CancellationToken>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Agent {
    endpoint: Endpoint,
    tls: Option<Tls>,
    seen: Seen,
    name: String,
    incarnation: String,
    manners: Manners,
    claims: bool,
    journal: Arc<Mutex<Journal>>,
    break_link: Arc<Mutex<CancellationToken>>,
}

impl FakeAgent {
    pub fn start(endpoint: &Endpoint, seen: Seen, manners: Manners) -> Self {
        Self::named(endpoint, seen, manners, "a", "inc", Arc::default())
    }
    /// An agent that shows a certificate.
    pub fn certified(endpoint: &Endpoint, tls: Tls, seen: Seen, manners: Manners, name: &str) -> Self {
        Self::with((endpoint, Some(tls)), seen, manners, name, "inc", Arc::default(), false)
    }
    /// An agent whose settings name the instances of others.
    pub fn claiming(endpoint: &Endpoint, seen: Seen, name: &str) -> Self {
        Self::with((endpoint, None), seen, Manners::default(), name, "inc", Arc::default(), true)
    }
    /// A person takes the upgrade over on its host.
    pub fn take_over(&self, upgrade: &str, note: &str) {
        let upgrade = UpgradeId::new(upgrade).unwrap();
        let message = AgentMessage::TakenOver { upgrade, note: note.to_owned() };
        self.journal.lock().unwrap().to_say.push(message);
    }
    pub fn named(
        endpoint: &Endpoint,
        seen: Seen,
        manners: Manners,
        name: &str,
        incarnation: &str,
        journal: Arc<Mutex<Journal>>,
    ) -> Self {
        Self::with((endpoint, None), seen, manners, name, incarnation, journal, false)
    }
    fn with(
        (endpoint, tls): (&Endpoint, Option<Tls>),
        seen: Seen,
        manners: Manners,
        name: &str,
        incarnation: &str,
        journal: Arc<Mutex<Journal>>,
        claims: bool,
    ) -> Self {
        let agent = Agent {
            endpoint: endpoint.clone(),
            tls,
            seen,
            name: name.to_owned(),
            incarnation: incarnation.to_owned(),
            manners,
            claims,
            journal: journal.clone(),
            break_link: Arc::default(),
        };
        let break_link = agent.break_link.clone();
        let task = tokio::spawn(async move {
            loop {
                if let Err(status) = agent.link().await {
                    agent.journal.lock().unwrap().last_refusal = Some(status);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { journal, break_link, _task: AbortOnDropHandle::new(task) }
    }
}

impl Agent {
    fn reports(&self) -> Vec<InstanceReport> {
        let surveys = self.seen.surveys();
        let mine =
            surveys.into_iter().filter(|survey| self.claims || survey.agent.as_str() == format!("host-{}", self.name));
        mine.flat_map(|survey| survey.instances).map(|instance| instance.report).collect()
    }

    fn hello(&self) -> AgentMessage {
        let journal = self.journal.lock().unwrap();
        let in_hand = journal.orders.iter().filter(|(_, entry)| !entry.acknowledged);
        AgentMessage::Hello(Hello {
            agent: host::agent(&format!("host-{}", self.name)),
            incarnation: self.incarnation.clone(),
            machine: "m1".to_owned(),
            boot: "boot".to_owned(),
            epoch: journal.epoch,
            in_hand: in_hand.map(|(id, entry)| (id.clone(), entry.content)).collect(),
            instances: self.reports(),
            // A test's own coordinators follow for a moment at most: what one says then ends the link.
            stands_by: true,
            newest: journal.newest.clone(),
        })
    }

    async fn link(&self) -> Result<(), Status> {
        let Ok(channel) = connect_with(&self.endpoint, self.tls.as_ref()).await else { return Ok(()) };
        let token = CancellationToken::new();
        *self.break_link.lock().unwrap() = token.clone();
        let (say, said) = mpsc::channel::<pb::AgentMessage>(1024);
        let _ = say.send(self.hello().into()).await;
        let mut inbound = AgentLinkClient::new(channel).attach(ReceiverStream::new(said)).await?.into_inner();
        let mut waiting: Vec<AgentMessage> = Vec::new();
        loop {
            let message = tokio::select! {
                () = token.cancelled() => return Ok(()),
                message = tokio::time::timeout(Duration::from_millis(3), inbound.message()) => message,
            };
            match message {
                Ok(message) => {
                    let Some(message) = message? else { return Ok(()) };
                    let Heard::Leader(message) = Heard::try_from(message).unwrap() else { return Ok(()) };
                    waiting.extend(self.hear(message));
                    if self.manners.backwards {
                        continue;
                    }
                }
                Err(_) => waiting.reverse(),
            }
            waiting.append(&mut self.journal.lock().unwrap().to_say);
            for message in waiting.drain(..) {
                if matches!(message, AgentMessage::Outcome { .. }) {
                    let mut journal = self.journal.lock().unwrap();
                    journal.said += 1;
                    if self.manners.breaks_after == Some(journal.said) {
                        return Ok(());
                    }
                }
                for _ in 0..if self.manners.twice { 2 } else { 1 } {
                    let _ = say.send(message.clone().into()).await;
                }
            }
        }
    }

    fn hear(&self, message: CoordinatorMessage) -> Vec<AgentMessage> {
        let mut guard = self.journal.lock().unwrap();
        let journal = &mut *guard;
        if message.epoch < journal.epoch {
            let violation = format!("spoken to under epoch {} after {}", message.epoch, journal.epoch);
            journal.violations.push(violation);
            return Vec::new();
        }
        journal.epoch = message.epoch;
        match message.say {
            Say::Welcome => {
                journal.links += 1;
                let open = journal.orders.iter().filter(|(_, entry)| !entry.acknowledged);
                open.filter_map(|(id, entry)| answer(id, entry)).collect()
            }
            Say::Do(order) => self.asked(journal, &order).into_iter().collect(),
            Say::Revoke(id) => {
                let entry = journal.orders.entry(id.clone()).or_insert(Entry {
                    content: Digest::of(b"never begun"),
                    outcome: None,
                    revoked: true,
                    acknowledged: false,
                });
                entry.revoked = true;
                entry.acknowledged = false;
                answer(&id, entry).into_iter().collect()
            }
            Say::Acknowledge(id) => {
                match journal.orders.get_mut(&id) {
                    Some(entry) => entry.acknowledged = true,
                    None => journal.violations.push(format!("acknowledged {id}, of which nothing was said")),
                }
                Vec::new()
            }
            Say::Permits(permits) => {
                journal.permits = permits;
                journal.words += 1;
                Vec::new()
            }
            Say::Survey { request, .. } => {
                let survey =
                    self.seen.surveys().into_iter().find(|s| s.agent.as_str() == format!("host-{}", self.name));
                let survey = Box::new(survey.expect("an agent of the deployment"));
                vec![AgentMessage::Surveyed { request, survey }]
            }
        }
    }

    fn asked(&self, journal: &mut Journal, order: &Order) -> Option<AgentMessage> {
        let content = order.content();
        if let Some(known) = journal.orders.get(&order.id) {
            if known.content != content {
                journal.violations.push(format!("{} came again with other content", order.id));
            }
            return answer(&order.id, &journal.orders[&order.id]);
        }
        journal.newest.insert(order.deployment.clone(), order.id.upgrade.clone());
        if self.manners.refuses_once && !journal.refused.contains_key(&order.id) {
            journal.refused.insert(order.id.clone(), 1);
            let why = link::Refusal::Conflicts("another one".to_owned());
            return Some(AgentMessage::Refused { order: order.id.clone(), why });
        }
        let plan = if self.seen.away.is_empty() { self.seen.plan() } else { self.seen.rejoin() };
        let evidence = host::honest(&plan, order, host::now(0).wall);
        let silent = self.manners.ignores == Some(order.id.phase);
        let failed = || Failure {
            kind: outcome::FailureKind::Failed,
            message: FAILURE.to_owned(),
            remedy: "look".to_owned(),
            effect: outcome::Effect::None,
        };
        let fails = self.manners.fails == Some(order.id.phase);
        let outcome = if fails { Outcome::Failed(failed()) } else { Outcome::Done(evidence) };
        let outcome = (!silent).then_some(outcome);
        let entry = Entry { content, outcome, revoked: false, acknowledged: false };
        journal.orders.insert(order.id.clone(), entry.clone());
        answer(&order.id, &entry)
    }
}

fn answer(id: &OrderId, entry: &Entry) -> Option<AgentMessage> {
    match (&entry.outcome, entry.revoked) {
        (Some(outcome), _) => {
            Some(AgentMessage::Outcome { order: id.clone(), content: entry.content, outcome: outcome.clone() })
        }
        (None, true) => Some(AgentMessage::Revoked { order: id.clone(), settlement: Settlement::NeverBegun }),
        (None, false) => None,
    }
}
