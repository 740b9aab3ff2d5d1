//! Looks at hosts, for plans: every registered agent of a deployment is asked at once.

use crate::leadership::Leadership;
use cutover_vocabulary::survey::{HostSurvey, SurveyAsk};
use cutover_vocabulary::{AgentName, InstanceName, RequestId};
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use tracing::warn;

/// Surveys that are not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Surveys {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    asked: u64,
    open: BTreeMap<RequestId, (AgentName, oneshot::Sender<HostSurvey>)>,
}

impl Surveys {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An agent answered. An answer that nobody waits for any more is dropped.
    pub(crate) fn answered(&self, agent: &AgentName, request: &RequestId, survey: HostSurvey) {
        let mut state = self.state();
        if state.open.get(request).is_some_and(|(asked, _)| asked == agent)
            && let Some((_, waiting)) = state.open.remove(request)
        {
            // Whoever asked may have gone.
            let _ = waiting.send(survey);
        }
    }
}

impl Leadership {
    /// Asks every agent that speaks for one of these instances, and waits until all have answered, their links ended, or
    /// time is up. An agent that did not answer is missing in the result; that it is, the plan says.
    pub(crate) async fn survey_all(
        &self,
        registered: &BTreeMap<InstanceName, AgentName>,
        ask: &SurveyAsk,
    ) -> Vec<HostSurvey> {
        let agents: BTreeSet<&AgentName> = registered.values().collect();
        let answers = join_all(agents.into_iter().map(|agent| self.survey_one(agent, ask))).await;
        answers.into_iter().flatten().collect()
    }

    async fn survey_one(&self, agent: &AgentName, ask: &SurveyAsk) -> Option<HostSurvey> {
        let (answer, waiting) = oneshot::channel();
        let request = {
            let mut state = self.surveys.state();
            state.asked += 1;
            let request = RequestId::new(format!("survey-{}-{}", self.epoch, state.asked)).ok()?;
            state.open.insert(request.clone(), (agent.clone(), answer));
            request
        };
        let surveyed = match self.links.survey(agent, &request, ask) {
            None => {
                warn!(%agent, deployment = %ask.deployment, "not surveyed: the agent is not connected");
                None
            }
            Some(over) => tokio::select! {
                survey = waiting => survey.ok(),
                () = over.cancelled() => {
                    warn!(%agent, deployment = %ask.deployment, "not surveyed: the agent's link ended");
                    None
                }
                () = tokio::time::sleep(self.settings.survey.duration()) => {
                    warn!(%agent, deployment = %ask.deployment, "not surveyed: the agent did not answer in time");
                    None
                }
            },
        };
        self.surveys.state().open.remove(&request);
        surveyed
    }
}
