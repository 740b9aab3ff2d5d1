//! The agent's own journal, desk and links, before a host that does what it is told and says so truly.

use crate::support::host::{self, Seen};
use async_trait::async_trait;
use cutover_agent::perform::Perform;
use cutover_agent::run::{Agent, Pace, journal_file};
use cutover_proto::transport::Endpoint;
use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::link::Permit;
use cutover_vocabulary::survey::{HostSurvey, SurveyAsk};
use cutover_vocabulary::{Epoch, InstanceName, Order, Outcome};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

const NAME: &str = "host-a";

struct Honest {
    seen: Seen,
}

impl Honest {
    fn surveyed(&self) -> HostSurvey {
        self.seen.surveys().into_iter().find(|survey| survey.agent.as_str() == NAME).unwrap()
    }
    fn reports(&self) -> Vec<InstanceReport> {
        self.surveyed().instances.into_iter().map(|instance| instance.report).collect()
    }
}

#[async_trait]
impl Perform for Honest {
    async fn perform(&self, order: &Order, _: CancellationToken) -> Outcome {
        Outcome::Done(host::honest(&self.seen.plan(), order, host::now(0).wall))
    }
    async fn survey(&self, _: &SurveyAsk) -> HostSurvey {
        self.surveyed()
    }
    async fn observe(&self) -> Vec<InstanceReport> {
        self.reports()
    }
    async fn permitted(&self, _: Epoch, _: &BTreeMap<InstanceName, Permit>) -> bool {
        true
    }
}

/// An agent that is linked to these coordinators until it is dropped.
pub(crate) fn agent(coordinators: Vec<Endpoint>, folder: &Path) -> AbortOnDropHandle<()> {
    let honest = Honest { seen: Seen::default() };
    let instances = honest.reports().into_iter().map(|report| (report.instance, report.deployment)).collect();
    let agent = Agent {
        host: cutover_desk::Host { agent: NAME.parse().unwrap(), instances },
        journal: journal_file(folder),
        coordinators,
        tls: None,
        machine: "m1".to_owned(),
        boot: "boot".to_owned(),
        pace: Pace { longest_pause: Duration::from_millis(500), ..Pace::default() },
    };
    AbortOnDropHandle::new(tokio::spawn(async move {
        agent.run(Arc::new(honest), CancellationToken::new()).await.unwrap();
    }))
}
