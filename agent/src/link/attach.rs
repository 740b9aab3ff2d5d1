//! One link from its beginning to its end.

use super::Link;
use super::ended::LinkError;
use super::wire::speak;
use crate::desk::{LinkEnd, ToDesk};
use crate::perform::Perform;
use cutover_desk::Greeting;
use cutover_proto::transport::{self, MAX_MESSAGE_BYTES};
use cutover_proto::v1::{self, agent_link_client::AgentLinkClient};
use cutover_vocabulary::RequestId;
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Heard, Hello, Say, Standby};
use cutover_vocabulary::survey::{HostSurvey, SurveyAsk};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::Channel;
use tracing::{error, info, warn};

/// Messages on their way to the wire. Small: what waits longer waits at the desk, which notices.
const OUT: usize = 64;

/// Surveys at once. A plan asks for one a deployment; more than this is a coordinator that repeats itself.
const SURVEYS: usize = 8;

/// How long the coordinator may take to accept a link.
pub(super) const ATTACH_WITHIN: Duration = Duration::from_secs(10);

impl Link {
    /// Attaches, over the present connection where there is one. `stood` tells whether the coordinator took the link, as leader or
    /// as follower.
    pub(super) async fn attach(&mut self, stood: &mut bool) -> LinkError {
        if let Some(line) = self.line.clone() {
            let ended = self.over(line, stood).await;
            // A connection that was found dead is none of the coordinator's refusals: it is made anew before anything is said of it.
            if ended.line_holds() || *stood {
                return self.keep_line_if_good(ended);
            }
        }
        match transport::connect_with(&self.endpoint, self.all.tls.as_ref()).await {
            Ok(line) => {
                self.line = Some(line.clone());
                let ended = self.over(line, stood).await;
                self.keep_line_if_good(ended)
            }
            Err(error) => {
                self.line = None;
                error.into()
            }
        }
    }

    fn keep_line_if_good(&mut self, ended: LinkError) -> LinkError {
        if !ended.line_holds() {
            self.line = None;
        }
        ended
    }

    async fn over(&mut self, line: Channel, stood: &mut bool) -> LinkError {
        let own = self.endpoint.clone();
        let endpoint = || own.clone();
        let Some(hello) = self.hello().await else { return LinkError::Cut { endpoint: endpoint() } };
        let (out, messages) = mpsc::channel(OUT);
        let (wire, stream) = mpsc::channel(OUT);
        let (welcome, welcomed) = oneshot::channel();
        // The hello must be on its way before the coordinator accepts: it is what it accepts.
        if wire.try_send(AgentMessage::Hello(hello).into()).is_err() {
            return LinkError::Cut { endpoint: endpoint() };
        }
        let end = LinkEnd { out, cut: CancellationToken::new(), endpoint: endpoint() };
        let speak = speak(messages, self.all.reports.clone(), wire, welcomed);
        let listen = self.listen(line, stream, &end, welcome, stood);
        let ended = tokio::select! {
            biased;
            () = end.cut.cancelled() => None,
            ended = listen => Some(ended),
            () = speak => None,
        };
        if end.cut.is_cancelled() {
            // However long it stood: the desk did not want it, so it is not tried again at once.
            *stood = false;
        }
        // Where the desk is gone, so is the agent.
        let _ = self.all.desk.send(ToDesk::LinkDown(end)).await;
        ended.unwrap_or_else(|| LinkError::Cut { endpoint: endpoint() })
    }

    /// What the link begins with. None where the desk is gone.
    async fn hello(&mut self) -> Option<Hello> {
        let identity = &self.all.identity;
        let greeting = Box::new(Greeting {
            incarnation: identity.incarnation.clone(),
            machine: identity.machine.clone(),
            boot: identity.boot.clone(),
            instances: self.all.reports.borrow_and_update().clone(),
        });
        let (answer, hello) = oneshot::channel();
        self.all.desk.send(ToDesk::Greet { greeting, answer }).await.ok()?;
        hello.await.ok()
    }

    async fn listen(
        &self,
        line: Channel,
        stream: mpsc::Receiver<v1::AgentMessage>,
        end: &LinkEnd,
        welcome: oneshot::Sender<()>,
        stood: &mut bool,
    ) -> LinkError {
        let endpoint = || self.endpoint.clone();
        let mut client = AgentLinkClient::new(line)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let attached = tokio::time::timeout(ATTACH_WITHIN, client.attach(ReceiverStream::new(stream))).await;
        let mut heard: Streaming<v1::CoordinatorMessage> = match attached {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => return LinkError::Refused { endpoint: endpoint(), status: Box::new(status) },
            Err(_) => return LinkError::Silent { endpoint: endpoint() },
        };
        let mut welcome = Some(welcome);
        // Dropped with the link: whoever asked asks again.
        let mut surveys = JoinSet::new();
        loop {
            let message = tokio::select! {
                Some(surveyed) = surveys.join_next(), if !surveys.is_empty() => {
                    if let Err(error) = surveyed {
                        error!("a survey ended in a panic: {error}");
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
            let message = match Heard::try_from(message) {
                Ok(Heard::Leader(message)) => message,
                Ok(Heard::Follower(_)) if welcome.is_none() => {
                    let what = "it follows on a link that it had welcomed";
                    return LinkError::OutOfTurn { endpoint: endpoint(), what };
                }
                Ok(Heard::Follower(Standby::Following(followed))) => {
                    *stood = true;
                    let leader = followed.as_ref().map_or("nobody", |followed| followed.leader.as_str());
                    let epoch = followed.as_ref().map_or(0, |followed| followed.epoch.0);
                    info!(endpoint = %self.endpoint, leader, epoch, "linked to a coordinator that follows");
                    continue;
                }
                Ok(Heard::Follower(Standby::Leading)) => return LinkError::Leads { endpoint: endpoint() },
                Err(source) => return LinkError::Malformed { endpoint: endpoint(), source },
            };
            match &message.say {
                Say::Welcome => {
                    *stood = true;
                    info!(endpoint = %self.endpoint, epoch = %message.epoch, "linked to the coordinator");
                    if let Some(welcome) = welcome.take() {
                        // Who is told lives as long as this.
                        let _ = welcome.send(());
                    }
                }
                Say::Do(_) | Say::Revoke(_) | Say::Acknowledge(_) | Say::Survey { .. } | Say::Permits(_)
                    if welcome.is_some() =>
                {
                    let what = "it gave an order or an answer before its welcome";
                    return LinkError::OutOfTurn { endpoint: endpoint(), what };
                }
                Say::Survey { request, .. } if surveys.len() >= SURVEYS => {
                    warn!(%request, "a survey is not answered: {SURVEYS} are under way");
                }
                Say::Survey { request, ask } => {
                    let perform = Arc::clone(&self.all.perform);
                    surveys.spawn(survey(perform, request.clone(), ask.clone(), end.out.clone()));
                }
                Say::Do(_) | Say::Revoke(_) | Say::Acknowledge(_) | Say::Permits(_) => {}
            }
            if self.tell(message, end).await.is_err() {
                return LinkError::Cut { endpoint: endpoint() };
            }
        }
    }

    async fn tell(&self, message: CoordinatorMessage, end: &LinkEnd) -> Result<(), mpsc::error::SendError<ToDesk>> {
        self.all.desk.send(ToDesk::Heard { message, link: end.clone() }).await
    }
}

async fn survey(perform: Arc<dyn Perform>, request: RequestId, ask: SurveyAsk, out: mpsc::Sender<AgentMessage>) {
    let survey: HostSurvey = perform.survey(&ask).await;
    // Where the link is gone nobody waits for it.
    let _ = out.send(AgentMessage::Surveyed { request, survey: Box::new(survey) }).await;
}
