//! A coordinator that says what the test tells it to say, over real gRPC on a real socket.

use cutover_proto::transport::{Endpoint, builder, listen};
use cutover_proto::v1::agent_link_server::{AgentLink, AgentLinkServer};
use cutover_proto::{Refused, v1};
use cutover_vocabulary::Epoch;
use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Say, Standby};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Coordinator {
    pub(crate) endpoint: Endpoint,
    connections: Arc<AtomicUsize>,
    links: mpsc::Receiver<Linked>,
    server: JoinHandle<()>,
}

impl Coordinator {
    pub(crate) async fn start(socket: &Path) -> Self {
        let endpoint = Endpoint::Unix(socket.to_owned());
        let listening = listen(&endpoint).await.unwrap();
        let (linked, links) = mpsc::channel(16);
        let service = AgentLinkServer::new(Service { linked });
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let listening = listening.map(move |connection| {
            counted.fetch_add(1, Ordering::SeqCst);
            connection
        });
        let server = tokio::spawn(async move {
            builder().add_service(service).serve_with_incoming(listening).await.unwrap();
        });
        Self { endpoint, connections, links, server }
    }

    /// Nobody listens afterwards.
    pub(crate) async fn stop(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }

    /// How many there were so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) async fn next_link(&mut self) -> Linked {
        tokio::time::timeout(DEADLINE, self.links.recv()).await.expect("in time").unwrap()
    }
}

struct Service {
    linked: mpsc::Sender<Linked>,
}

#[tonic::async_trait]
impl AgentLink for Service {
    type AttachStream = ReceiverStream<Result<v1::CoordinatorMessage, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (say, said) = mpsc::channel(16);
        self.linked.send(Linked { say, heard: request.into_inner() }).await.map_err(|_| Status::cancelled("over"))?;
        Ok(Response::new(ReceiverStream::new(said)))
    }
}

/// One link; dropping it cuts it.
pub(crate) struct Linked {
    say: mpsc::Sender<Result<v1::CoordinatorMessage, Status>>,
    heard: Streaming<v1::AgentMessage>,
}

impl Linked {
    pub(crate) async fn say(&self, epoch: u64, say: Say) {
        self.say.send(Ok(CoordinatorMessage { epoch: Epoch(epoch), say }.into())).await.unwrap();
    }

    /// As a coordinator that follows.
    pub(crate) async fn stands_by(&self, say: Standby) {
        self.say.send(Ok(say.into())).await.unwrap();
    }

    /// Ends it with a word of the API.
    pub(crate) async fn refuse(self, refused: Refused) {
        self.say.send(Err(refused.into())).await.unwrap();
    }

    /// Anything that protobuf can carry.
    pub(crate) async fn say_raw(&self, message: v1::CoordinatorMessage) {
        self.say.send(Ok(message)).await.unwrap();
    }

    /// The very next message.
    pub(crate) async fn first(&mut self) -> AgentMessage {
        let message = tokio::time::timeout(DEADLINE, self.heard.message()).await.expect("in time").unwrap();
        AgentMessage::try_from(message.expect("the link stands")).unwrap()
    }

    /// The next message that is not a report.
    pub(crate) async fn next(&mut self) -> AgentMessage {
        loop {
            let message = self.first().await;
            if !matches!(message, AgentMessage::Report(_)) {
                return message;
            }
        }
    }

    /// The next message that is neither a report nor this one.
    pub(crate) async fn next_but(&mut self, repeated: &AgentMessage) -> AgentMessage {
        loop {
            let message = self.next().await;
            if message != *repeated {
                return message;
            }
        }
    }

    /// The agent gives the link up.
    pub(crate) async fn ends(&mut self) {
        let end = async { while let Ok(Some(_)) = self.heard.message().await {} };
        tokio::time::timeout(DEADLINE, end).await.expect("in time");
    }

    /// The next report.
    pub(crate) async fn report(&mut self) -> Vec<InstanceReport> {
        loop {
            if let AgentMessage::Report(report) = self.first().await {
                return report;
            }
        }
    }
}
