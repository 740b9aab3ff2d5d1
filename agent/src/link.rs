//! The link to a coordinator: attaches, carries messages both ways, and attaches again when it breaks.
//!
//! Whatever breaks is repaired the same way: end the link and attach again. A new link begins with everything that is
//! not acknowledged, so nothing is kept here.

use crate::desk::{LinkEnd, ToDesk};
use crate::perform::Perform;
use crate::run::Pace;
use backon::{BackoffBuilder as _, ExponentialBuilder};
use cutover_desk::Greeting;
use cutover_proto::malformed::Malformed;
use cutover_proto::transport::{self, CannotConnect, Endpoint, MAX_MESSAGE_BYTES, Tls};
use cutover_proto::v1::{self, agent_link_client::AgentLinkClient};
use cutover_vocabulary::RequestId;
use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Say};
use cutover_vocabulary::survey::{HostSurvey, SurveyAsk};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tracing::{error, info, warn};

/// Messages on their way to the wire. Small: what waits longer waits at the desk, which notices.
const OUT: usize = 64;

/// Surveys at once. A plan asks for one a deployment; more than this is a coordinator that repeats itself.
const SURVEYS: usize = 8;

/// How long the coordinator may take to accept a link.
const ATTACH_WITHIN: Duration = Duration::from_secs(10);

/// What every link begins with, apart from the instances.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) incarnation: String,
    pub(crate) machine: String,
    pub(crate) boot: String,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("{0}")]
    Connect(#[from] CannotConnect),
    #[error("the coordinator at {endpoint} does not take the link: {} ({:?})", status.message(), status.code())]
    Refused { endpoint: Endpoint, status: Box<tonic::Status> },
    #[error("the coordinator at {endpoint} did not take the link within {} s", ATTACH_WITHIN.as_secs())]
    Silent { endpoint: Endpoint },
    #[error("the link to {endpoint} broke: {} ({:?})", status.message(), status.code())]
    Broke { endpoint: Endpoint, status: Box<tonic::Status> },
    #[error("the coordinator at {endpoint} ended the link")]
    Ended { endpoint: Endpoint },
    #[error(
        "the coordinator at {endpoint} said something that this agent does not understand: {source}; are both of one version?"
    )]
    Malformed { endpoint: Endpoint, source: Malformed },
    #[error("the desk ended the link")]
    Cut,
}

pub(crate) struct Link {
    pub(crate) endpoint: Endpoint,
    pub(crate) tls: Option<Tls>,
    pub(crate) identity: Identity,
    pub(crate) pace: Pace,
    pub(crate) desk: mpsc::Sender<ToDesk>,
    pub(crate) perform: Arc<dyn Perform>,
    /// What the instances look like: the newest is enough, so a slow link drops those between.
    pub(crate) reports: watch::Receiver<Vec<InstanceReport>>,
}

impl Link {
    /// Keeps a link up until shutdown.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        // A hello shows the instances, so the first look comes first.
        tokio::select! {
            () = shutdown.cancelled() => return,
            looked = self.reports.changed() => if looked.is_err() { return },
        }
        let mut pauses = self.pauses();
        let mut said = String::new();
        loop {
            let mut welcomed = false;
            let error = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                error = self.attach_once(&mut welcomed) => error,
            };
            if self.desk.send(ToDesk::LinkDown).await.is_err() {
                return;
            }
            if welcomed {
                pauses = self.pauses();
                said.clear();
            }
            // The same reason at every attempt is said once.
            let text = error.to_string();
            if text != said {
                warn!("{text}; trying again");
                said = text;
            }
            let pause = pauses.next().unwrap_or(self.pace.longest_pause);
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn pauses(&self) -> backon::ExponentialBackoff {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(self.pace.shortest_pause)
            .with_max_delay(self.pace.longest_pause)
            .without_max_times();
        if self.pace.jitter { pauses.with_jitter().build() } else { pauses.build() }
    }

    /// One link from its beginning to its end.
    async fn attach_once(&mut self, welcomed: &mut bool) -> LinkError {
        let channel = match transport::connect_with(&self.endpoint, self.tls.as_ref()).await {
            Ok(channel) => channel,
            Err(error) => return error.into(),
        };
        let (out, messages) = mpsc::channel(OUT);
        let (wire, stream) = mpsc::channel(OUT);
        let cut = CancellationToken::new();
        let greeting = Box::new(Greeting {
            incarnation: self.identity.incarnation.clone(),
            machine: self.identity.machine.clone(),
            boot: self.identity.boot.clone(),
            instances: self.reports.borrow_and_update().clone(),
        });
        // The hello must be on its way before the coordinator accepts: it is what it accepts.
        let link = LinkEnd { out: out.clone(), cut: cut.clone() };
        if self.desk.send(ToDesk::LinkUp { greeting, link }).await.is_err() {
            return LinkError::Cut;
        }
        let speak = speak(messages, self.reports.clone(), wire);
        let listen = self.listen(channel, stream, out, welcomed);
        tokio::select! {
            biased;
            () = cut.cancelled() => LinkError::Cut,
            error = listen => error,
            () = speak => LinkError::Cut,
        }
    }

    async fn listen(
        &self,
        channel: tonic::transport::Channel,
        stream: mpsc::Receiver<v1::AgentMessage>,
        out: mpsc::Sender<AgentMessage>,
        welcomed: &mut bool,
    ) -> LinkError {
        let endpoint = || self.endpoint.clone();
        let mut client = AgentLinkClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let attached = tokio::time::timeout(ATTACH_WITHIN, client.attach(ReceiverStream::new(stream))).await;
        let mut heard: Streaming<v1::CoordinatorMessage> = match attached {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => return LinkError::Refused { endpoint: endpoint(), status: Box::new(status) },
            Err(_) => return LinkError::Silent { endpoint: endpoint() },
        };
        // Dropped with the link: whoever asked asks again.
        let mut asides = JoinSet::new();
        loop {
            let message = tokio::select! {
                Some(surveyed) = asides.join_next(), if !asides.is_empty() => {
                    if let Err(error) = surveyed {
                        error!("a survey or a permit ended in a panic: {error}");
                    }
                    continue;
                }
                message = heard.message() => message,
            };
            let message = match message {
                Ok(Some(message)) => message,
                Ok(None) => return LinkError::Ended { endpoint: endpoint() },
                Err(status) => return LinkError::Broke { endpoint: endpoint(), status: Box::new(status) },
            };
            let message = match CoordinatorMessage::try_from(message) {
                Ok(message) => message,
                Err(source) => return LinkError::Malformed { endpoint: endpoint(), source },
            };
            match &message.say {
                Say::Welcome => {
                    *welcomed = true;
                    info!(endpoint = %self.endpoint, epoch = %message.epoch, "linked to the coordinator");
                }
                Say::Survey { request, .. } if asides.len() >= SURVEYS => {
                    warn!(%request, "a survey is not answered: {SURVEYS} are under way");
                }
                Say::Survey { request, ask } => {
                    asides.spawn(survey(Arc::clone(&self.perform), request.clone(), ask.clone(), out.clone()));
                }
                Say::Permits(permits) => {
                    let (perform, epoch, permits) = (Arc::clone(&self.perform), message.epoch, permits.clone());
                    asides.spawn(async move { perform.permitted(epoch, &permits).await });
                }
                Say::Do(_) | Say::Revoke(_) | Say::Acknowledge(_) => {}
            }
            if self.desk.send(ToDesk::Heard(message)).await.is_err() {
                return LinkError::Cut;
            }
        }
    }
}

async fn survey(perform: Arc<dyn Perform>, request: RequestId, ask: SurveyAsk, out: mpsc::Sender<AgentMessage>) {
    let survey: HostSurvey = perform.survey(&ask).await;
    // Where the link is gone nobody waits for it.
    let _ = out.send(AgentMessage::Surveyed { request, survey: Box::new(survey) }).await;
}

/// Puts messages on the wire, and reports where there is room. Ends when the link does.
async fn speak(
    mut messages: mpsc::Receiver<AgentMessage>,
    mut reports: watch::Receiver<Vec<InstanceReport>>,
    wire: mpsc::Sender<v1::AgentMessage>,
) {
    let mut hello_sent = false;
    loop {
        tokio::select! {
            biased;
            message = messages.recv() => {
                let Some(message) = message else { return };
                hello_sent = true;
                if wire.send(message.into()).await.is_err() {
                    return;
                }
            }
            changed = reports.changed(), if hello_sent => {
                if changed.is_err() {
                    return;
                }
                let report = AgentMessage::Report(reports.borrow_and_update().clone());
                match wire.try_send(report.into()) {
                    // Telemetry may be dropped.
                    Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
                    Err(mpsc::error::TrySendError::Closed(_)) => return,
                }
            }
        }
    }
}
