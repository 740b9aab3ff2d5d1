//! The links to the coordinators, one to each: attaches, carries messages both ways, and attaches again when it breaks.
//!
//! Whatever breaks is repaired the same way: end the link and attach again. A new link begins with everything that is
//! not acknowledged, so nothing is kept here but the connection: what a coordinator that follows becomes is its link's
//! business alone, and when it begins to lead, the agent is with it without connecting.

mod attach;
mod ended;
mod wire;

use crate::desk::ToDesk;
use crate::perform::Perform;
use crate::run::Pace;
use backon::{BackoffBuilder as _, ExponentialBuilder};
use cutover_proto::transport::{Endpoint, Tls};
use cutover_vocabulary::instance::InstanceReport;
use ended::LinkError;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::{info, warn};

/// What every link begins with, apart from the instances.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) incarnation: String,
    pub(crate) machine: String,
    pub(crate) boot: String,
}

/// What the links of an agent have in common.
#[derive(Clone)]
pub(crate) struct Links {
    pub(crate) tls: Option<Tls>,
    pub(crate) identity: Identity,
    pub(crate) pace: Pace,
    pub(crate) desk: mpsc::Sender<ToDesk>,
    pub(crate) perform: Arc<dyn Perform>,
    /// What the instances look like: the newest is enough, so a slow link drops those between.
    pub(crate) reports: watch::Receiver<Vec<InstanceReport>>,
}

impl Links {
    /// Keeps a link up to each coordinator, until shutdown.
    pub(crate) async fn run(self, coordinators: Vec<Endpoint>, shutdown: CancellationToken) {
        let link = |endpoint| Link { endpoint: Arc::new(endpoint), all: self.clone(), line: None };
        futures::future::join_all(coordinators.into_iter().map(|it| link(it).run(&shutdown))).await;
    }
}

/// The link to one coordinator.
struct Link {
    endpoint: Arc<Endpoint>,
    all: Links,
    /// The connection, as long as it is good: it outlives what is said over it.
    line: Option<Channel>,
}

impl Link {
    async fn run(mut self, shutdown: &CancellationToken) {
        // A hello shows the instances, so the first look comes first.
        tokio::select! {
            () = shutdown.cancelled() => return,
            looked = self.all.reports.changed() => if looked.is_err() { return },
        }
        let mut pauses = self.pauses();
        let mut said = String::new();
        let mut hurried = false;
        loop {
            let mut stood = false;
            let ended = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                ended = self.attach(&mut stood) => ended,
            };
            // One that ends a link without a word has another of this agent: it is named twice, by two addresses.
            if stood && !matches!(ended, LinkError::Ended { .. }) {
                pauses = self.pauses();
                said.clear();
            }
            // Once: a coordinator that says nothing else must not keep this host busy.
            if matches!(ended, LinkError::Leads { .. }) && !hurried {
                info!("{ended}; attaching again");
                hurried = true;
                continue;
            }
            hurried = false;
            // The same reason at every attempt is said once.
            let text = ended.to_string();
            if text != said {
                warn!("{text}; trying again");
                said = text;
            }
            let pause = pauses.next().unwrap_or(self.all.pace.longest_pause);
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn pauses(&self) -> backon::ExponentialBackoff {
        let pace = self.all.pace;
        let pauses = ExponentialBuilder::default()
            .with_min_delay(pace.shortest_pause)
            .with_max_delay(pace.longest_pause)
            .without_max_times();
        if pace.jitter { pauses.with_jitter().build() } else { pauses.build() }
    }
}
