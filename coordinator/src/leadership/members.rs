//! The instances that are registered, at hand for every look at the fleet.

use super::Leadership;
use crate::registry::Registered;
use cutover_vocabulary::{AgentName, DeploymentName, InstanceName};
use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

impl Leadership {
    fn registered(&self) -> MutexGuard<'_, BTreeMap<InstanceName, Registered>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what the registry holds at hand.
    pub(crate) fn remember(&self, member: Registered) {
        if member.gone {
            self.registered().remove(&member.instance);
        } else {
            self.registered().insert(member.instance.clone(), member);
        }
    }

    /// Every registered instance.
    pub(crate) fn fleet(&self) -> Vec<Registered> {
        self.registered().values().cloned().collect()
    }

    /// With which agent an instance is registered.
    pub(crate) fn agent_of(&self, instance: &InstanceName) -> Option<AgentName> {
        self.registered().get(instance).map(|member| member.agent.clone())
    }

    /// Whether this holds of a deployment; not asked any more once it did.
    pub(crate) fn all_heard(&self, deployment: &DeploymentName, look: impl FnOnce() -> bool) -> bool {
        if self.heard.lock().unwrap_or_else(PoisonError::into_inner).contains(deployment) {
            return true;
        }
        let heard = look();
        if heard {
            self.heard.lock().unwrap_or_else(PoisonError::into_inner).insert(deployment.clone());
        }
        heard
    }

    /// The registered instances of a deployment, with their agents.
    pub(crate) fn members_of(&self, deployment: &DeploymentName) -> BTreeMap<InstanceName, AgentName> {
        let registered = self.registered();
        let mine = registered.values().filter(|member| member.deployment == *deployment);
        mine.map(|member| (member.instance.clone(), member.agent.clone())).collect()
    }
}
