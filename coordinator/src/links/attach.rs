//! The service that agents attach to: one session an agent.

use super::own::Fit;
use super::standby::stand_by;
use super::{Next, Session, permits};
use crate::election::Shared;
use crate::faults::Point;
use crate::leadership::Leadership;
use crate::services::access::{Wish, caller, permit};
use crate::services::unread;
use crate::upgrade_loop::{Command, Handle};
use cutover_core::upgrade::{Input, Want};
use cutover_proto::transport::Caller;
use cutover_proto::v1 as pb;
use cutover_proto::{Code, Malformed, Refused};
use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Hello, Refusal, Say};
use cutover_vocabulary::{AgentName, Digest, OperatorName, OrderId, UpgradeId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument as _, debug, error_span, info, warn};

/// Messages that wait for the transport; an agent that does not read holds up its own link only.
const OUTGOING: usize = 64;
/// How long a caller may take to say who it is.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// When an order that was refused for a passing reason is sent again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Longest note of a take-over that is stored, in characters.
const LONGEST_NOTE: usize = 2_000;

pub(super) type Outgoing = mpsc::Sender<Result<pb::CoordinatorMessage, Status>>;

/// The service.
pub(crate) struct Attach {
    pub(crate) shared: Arc<Shared>,
    pub(crate) operators: Arc<BTreeSet<OperatorName>>,
}

#[tonic::async_trait]
impl pb::agent_link_server::AgentLink for Attach {
    type AttachStream = ReceiverStream<Result<pb::CoordinatorMessage, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<pb::AgentMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let caller = caller(request.extensions())?;
        let (outgoing, stream) = mpsc::channel(OUTGOING);
        let Ok(leadership) = self.shared.leading().await else {
            self.stand_by(caller, request.into_inner(), outgoing);
            return Ok(Response::new(ReceiverStream::new(stream)));
        };
        let tasks = leadership.tasks.clone();
        let inbound = request.into_inner();
        let span = error_span!(parent: None, "link", epoch = leadership.epoch.0, agent = tracing::field::Empty);
        let link = async move {
            if let Err(refused) = speak(&leadership, &caller, inbound, &outgoing).await {
                info!(code = %refused.code, "closed a link: {refused}");
                // The agent may be gone already, or not read: whoever resigns does not wait for it.
                let _ = outgoing.try_send(Err(refused.into()));
            }
        };
        tasks.spawn(link.instrument(span));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl Attach {
    fn stand_by(&self, caller: Caller, inbound: Streaming<pb::AgentMessage>, outgoing: Outgoing) {
        let (shared, operators) = (self.shared.clone(), self.operators.clone());
        let span = error_span!(parent: None, "link", agent = tracing::field::Empty);
        let link = async move {
            let ended = tokio::select! {
                biased;
                () = shared.over.cancelled() => Err(Refused::not_leader(None)),
                () = outgoing.closed() => Ok(()),
                ended = stand_by(&shared, &caller, &operators, inbound, &outgoing) => ended,
            };
            if let Err(refused) = ended {
                info!(code = %refused.code, "closed a link: {refused}");
                // The agent may be gone already, or not read.
                let _ = outgoing.try_send(Err(refused.into()));
            }
        };
        // It ends by itself, at the latest with this coordinator.
        tokio::spawn(link.instrument(span));
    }
}

/// The first message of a link; none where the agent went without a word.
pub(super) async fn hear_hello(inbound: &mut Streaming<pb::AgentMessage>) -> Result<Option<Hello>, Refused> {
    let hello = match tokio::time::timeout(HELLO_WITHIN, inbound.message()).await {
        Ok(Ok(Some(message))) => AgentMessage::try_from(message)?,
        Ok(Ok(None)) => return Ok(None),
        Ok(Err(status)) => return unread(&status).map_or(Ok(None), Err),
        Err(_) => return Err(Malformed::at("hello", "nothing was said within 10 s").into()),
    };
    let AgentMessage::Hello(hello) = hello else {
        return Err(Malformed::at("say", "the first message of a link must be a hello").into());
    };
    Ok(Some(hello))
}

async fn speak(
    leadership: &Arc<Leadership>,
    caller: &Caller,
    mut inbound: Streaming<pb::AgentMessage>,
    outgoing: &Outgoing,
) -> Result<(), Refused> {
    let hello = tokio::select! {
        () = leadership.ended.cancelled() => return Err(Refused::not_leader(None)),
        hello = hear_hello(&mut inbound) => hello?,
    };
    let Some(hello) = hello else { return Ok(()) };
    tracing::Span::current().record("agent", hello.agent.as_str());
    permit(caller, Wish::SpeakAs(&hello.agent), &leadership.settings.operators)?;
    // An agent that knows a newer leader would refuse every order of this one.
    if hello.epoch > leadership.epoch {
        if !leadership.still_leads().await {
            leadership.lost("an agent knows a newer leader");
            return Err(Refused::not_leader(None));
        }
        let why = format!(
            "agent {} has seen epoch {}, and this coordinator leads with epoch {}: was its store restored from a backup?",
            hello.agent, hello.epoch, leadership.epoch
        );
        return Err(Refused::new(
            Code::Internal,
            why,
            format!("stop it, then start it once with `--epochs-above {}`", hello.epoch),
        ));
    }
    let remote = matches!(caller, Caller::Tls { .. });
    let session = leadership.links.enter(&hello, remote, &leadership.ended).map_err(|taken| {
        warn!(machine = hello.machine, connected = taken.machine, "refused a second agent under one name");
        let why = format!("another agent is connected as {}, from machine {}", hello.agent, taken.machine);
        let named = hello.instances.iter().map(|report| &report.instance);
        leadership.claim(named, &hello.agent, &hello.machine, &why);
        let remedy = "give each agent its own name and certificate, or stop the other one";
        Refused::new(Code::AgentNameTaken, why, remedy).with("machine", &taken.machine)
    })?;
    let present = Present { leadership, agent: hello.agent.clone(), session };
    tokio::select! {
        biased;
        () = leadership.ended.cancelled() => Err(Refused::not_leader(None)),
        // A newer link of the same agent has taken its place.
        () = present.session.over.cancelled() => Ok(()),
        ended = converse(leadership, remote, hello, &present.session, inbound, outgoing) => ended,
    }
}

/// An agent counts as connected as long as this stands, however its link ends: by a panic, too.
struct Present<'a> {
    leadership: &'a Arc<Leadership>,
    agent: AgentName,
    session: Session,
}
impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.leadership.links.leave(&self.agent, &self.session, self.leadership.moment());
        info!("an agent's link ended");
    }
}

/// Everything after a link was let in.
async fn converse(
    leadership: &Arc<Leadership>,
    remote: bool,
    hello: Hello,
    session: &Session,
    mut inbound: Streaming<pb::AgentMessage>,
    outgoing: &Outgoing,
) -> Result<(), Refused> {
    leadership.register(&hello).await?;
    let say = Say::Welcome;
    let welcome = CoordinatorMessage { epoch: leadership.epoch, say };
    if outgoing.send(Ok(welcome.into())).await.is_err() {
        return Ok(());
    }
    info!(machine = hello.machine, in_hand = hello.in_hand.len(), "an agent attached");
    let (agent, stands_by) = (hello.agent.clone(), hello.stands_by);
    leadership.compare(&hello).await?;
    // Not to be dropped like other telemetry: an agent says hello once.
    appeared(leadership, &agent, &hello.instances).await;
    observed(leadership, &agent, hello.instances);
    for (order, content) in &hello.in_hand {
        if !is_content(leadership, order, content) {
            other_content(leadership, &agent, order).await;
        }
    }
    // The session is entered already, so what is decided from here on reaches its outbox by itself; what stood before is
    // put there now.
    for handle in leadership.led() {
        for standing in handle.now().standing.values().filter(|standing| standing.order.agent == agent) {
            session.outbox.give(&standing.order.id);
        }
        if handle.concerns(&agent) {
            deliver(&handle, Input::Heard { agent: agent.clone() }).await;
        }
    }
    // A process of this host is taken at its word; the core takes no answer from it that was another agent's to give.
    let machine = remote.then_some(hello.machine.as_str());
    let listening = async {
        loop {
            match inbound.message().await {
                Ok(Some(message)) => listen(leadership, &agent, machine, message).await?,
                Ok(None) => return Ok(()),
                Err(status) => {
                    debug!(%status, "the transport ended the link");
                    return unread(&status).map_or(Ok(()), Err);
                }
            }
        }
    };
    let permitting = async {
        // An agent of before ends a link at a word that it does not know; those that stand by know this one.
        if !stands_by {
            std::future::pending::<()>().await;
        }
        permits::say(leadership, &agent, outgoing).await;
    };
    tokio::select! {
        ended = listening => ended,
        () = talk(leadership, session, outgoing) => Ok(()),
        () = permitting => Ok(()),
    }
}

/// Says what the outbox holds, until the agent does not take it any more.
async fn talk(leadership: &Leadership, session: &Session, outgoing: &Outgoing) {
    let faults = &leadership.faults;
    let epoch = leadership.epoch;
    loop {
        let sent = match session.outbox.next().await {
            Next::Acknowledge(order) => {
                faults.reach(Point::BeforeAcknowledge { order: order.clone() }).await;
                let say = Say::Acknowledge(order.clone());
                let sent = outgoing.send(Ok(CoordinatorMessage { epoch, say }.into())).await;
                faults.reach(Point::AfterAcknowledge { order }).await;
                sent
            }
            Next::Order(order) => {
                // Only what stands now: an order that was settled meanwhile must not be sent to an agent that forgot it.
                let Some(standing) = leadership.standing(&order) else { continue };
                let want = standing.want;
                // What a person took over on one host is not gone on with on another.
                if want == Want::Do && leadership.is_taken_over(&order.upgrade) {
                    continue;
                }
                faults.reach(Point::BeforeSend { order: order.clone(), want }).await;
                let say = match want {
                    Want::Do => Say::Do(Box::new((*standing.order).clone())),
                    Want::Revoke => Say::Revoke(order.clone()),
                };
                debug!(upgrade = %order.upgrade, %order, ?want, "sends an order");
                let sent = outgoing.send(Ok(CoordinatorMessage { epoch, say }.into())).await;
                faults.reach(Point::AfterSend { order, want }).await;
                sent
            }
            Next::Survey(request, ask) => {
                outgoing.send(Ok(CoordinatorMessage { epoch, say: Say::Survey { request, ask } }.into())).await
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// One message. `machine` is where the agent says that it runs, where what it says is held against whose it is.
async fn listen(
    leadership: &Arc<Leadership>,
    agent: &AgentName,
    machine: Option<&str>,
    message: pb::AgentMessage,
) -> Result<(), Refused> {
    let message = AgentMessage::try_from(message)?;
    leadership.links.heard(agent, leadership.moment(), &[]);
    if let Some(machine) = machine
        && let Fit::Passed = leadership.fits(agent, machine, &message)?
    {
        return Ok(());
    }
    let agent = agent.clone();
    match message {
        AgentMessage::Hello(_) => return Err(Malformed::at("say", "a link has one hello, and it was said").into()),
        AgentMessage::Report(reports) => observed(leadership, &agent, reports),
        AgentMessage::Outcome { order, content, outcome } => {
            debug!(upgrade = %order.upgrade, %order, "heard an outcome");
            if is_content(leadership, &order, &content) {
                let upgrade = order.upgrade.clone();
                input(leadership, &upgrade, Input::Outcome { agent, order, outcome }).await;
            } else {
                other_content(leadership, &agent, &order).await;
            }
        }
        AgentMessage::Revoked { order, settlement } => {
            let upgrade = order.upgrade.clone();
            input(leadership, &upgrade, Input::Revoked { agent, order, settlement }).await;
        }
        AgentMessage::Refused { order, why } => {
            warn!(upgrade = %order.upgrade, %order, %why, "an agent refused an order");
            refused(leadership, agent, order, why).await;
        }
        AgentMessage::Surveyed { request, survey } if survey.agent == agent => {
            leadership.surveys.answered(&agent, &request, *survey);
        }
        AgentMessage::Surveyed { survey, .. } => {
            let why = format!("agent {agent} answered for {}", survey.agent);
            return Err(Malformed::at("surveyed.agent", why).into());
        }
        AgentMessage::TakenOver { upgrade, note } => {
            let note = note.chars().take(LONGEST_NOTE).collect();
            input(leadership, &upgrade, Input::TakenOver { agent, note }).await;
        }
    }
    Ok(())
}

/// Whether the agent has the order that the upgrade gave. Of one that is settled nothing is known any more here, and the
/// core takes what is said of it as a duplicate.
fn is_content(leadership: &Leadership, order: &OrderId, content: &Digest) -> bool {
    leadership.standing(order).is_none_or(|standing| standing.content == *content)
}

/// The agent has this order's id with other content: it refuses ours, and what came of its own says nothing about ours.
async fn other_content(leadership: &Arc<Leadership>, agent: &AgentName, order: &OrderId) {
    warn!(upgrade = %order.upgrade, %order, %agent, "an agent has this order with other content");
    let (agent, order, why) = (agent.clone(), order.clone(), Refusal::OtherContent);
    input(leadership, &order.upgrade.clone(), Input::Refused { agent, order, why }).await;
}

async fn refused(leadership: &Arc<Leadership>, agent: AgentName, order: OrderId, why: Refusal) {
    let passes = match &why {
        Refusal::OldEpoch { known, .. } if *known > leadership.epoch && !leadership.still_leads().await => {
            return leadership.lost("an agent knows a newer leader");
        }
        Refusal::OldEpoch { .. } | Refusal::Conflicts(_) => true,
        Refusal::NotHere(_) => {
            warn!(upgrade = %order.upgrade, %order, %agent, "an agent refused an order: {why}");
            false
        }
        Refusal::OtherContent | Refusal::RevokedBefore | Refusal::TakenOver(_) => false,
    };
    if passes {
        let later = leadership.clone();
        let order = order.clone();
        leadership.tasks.spawn(async move {
            tokio::select! {
                () = later.ended.cancelled() => {}
                () = tokio::time::sleep(AGAIN_AFTER) => {
                    if let Some(standing) = later.standing(&order) {
                        later.links.give(&standing);
                    }
                }
            }
        });
    }
    input(leadership, &order.upgrade.clone(), Input::Refused { agent, order, why }).await;
}

/// Telemetry: may be dropped, so it never waits.
fn observed(leadership: &Leadership, agent: &AgentName, reports: Vec<InstanceReport>) {
    leadership.links.heard(agent, leadership.moment(), &reports);
    for handle in leadership.led() {
        for report in &reports {
            let Some(input) = concerning(&handle, agent, report) else { continue };
            if handle.commands.try_send(Command::Learnt(input)).is_err() {
                debug!(upgrade = %handle.id, "dropped a report: the upgrade is busy");
            }
        }
    }
}

/// What a report says to an upgrade: of a member that it was seen, of an instance of the same deployment that is no member
/// that it appeared, of any other nothing.
fn concerning(handle: &Handle, agent: &AgentName, report: &InstanceReport) -> Option<Input> {
    let published = handle.now();
    let upgrade = &published.upgrade;
    let (agent, report) = (agent.clone(), report.clone());
    if upgrade.finished() || report.deployment != upgrade.plan().binding.deployment {
        None
    } else if upgrade.members().contains_key(&report.instance) {
        Some(Input::Observed { agent, report })
    } else {
        Some(Input::Appeared { agent, report })
    }
}

/// Instances that an agent speaks for and that are no members of an upgrade of their deployment.
async fn appeared(leadership: &Leadership, agent: &AgentName, reports: &[InstanceReport]) {
    for handle in leadership.led() {
        for report in reports {
            if let Some(input @ Input::Appeared { .. }) = concerning(&handle, agent, report) {
                deliver(&handle, input).await;
            }
        }
    }
}

/// Hands something to an upgrade's loop; waits where that is busy, which holds up this link alone. What cannot be handed
/// over is said again by the agent later, because it is not acknowledged.
async fn input(leadership: &Arc<Leadership>, upgrade: &UpgradeId, input: Input) {
    match leadership.upgrade(upgrade).await {
        Ok(handle) => deliver(&handle, input).await,
        Err(refused) => warn!(%upgrade, %refused, "an agent speaks of an upgrade that is not led here"),
    }
}

async fn deliver(handle: &Handle, input: Input) {
    // A loop that is gone went with its leadership, and this link with it.
    let _ = handle.commands.send(Command::Learnt(input)).await;
}
