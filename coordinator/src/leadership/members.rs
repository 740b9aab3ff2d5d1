//! The instances that are registered, at hand for every look at the fleet.

use super::Leadership;
use crate::registry::Registered;
use cutover_store::Revision;
use cutover_vocabulary::link::Hello;
use cutover_vocabulary::{AgentName, DeploymentName, InstanceName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};

impl Leadership {
    fn registered(&self) -> MutexGuard<'_, BTreeMap<InstanceName, (Revision, Registered)>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what the registry holds at hand. Who writes a document later may come here sooner: the later one stays.
    pub(crate) fn remember(&self, revision: Revision, member: Registered) {
        let mut registered = self.registered();
        if registered.get(&member.instance).is_none_or(|(known, _)| *known <= revision) {
            registered.insert(member.instance.clone(), (revision, member));
        }
    }

    /// Every registered instance.
    pub(crate) fn fleet(&self) -> Vec<Registered> {
        there(&self.registered()).cloned().collect()
    }

    /// With which agent an instance is registered.
    pub(crate) fn agent_of(&self, instance: &InstanceName) -> Option<AgentName> {
        let registered = self.registered();
        registered.get(instance).filter(|(_, member)| !member.gone).map(|(_, member)| member.agent.clone())
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

    /// The deployments that an agent has instances of, by its hello and by the registry: an agent whose first look at its host failed says
    /// hello all the same, and names none.
    pub(super) fn deployments_of(&self, hello: &Hello) -> BTreeSet<DeploymentName> {
        let registered = self.registered();
        let mine = there(&registered).filter(|member| member.agent == hello.agent).map(|member| &member.deployment);
        mine.chain(hello.instances.iter().map(|report| &report.deployment)).cloned().collect()
    }

    /// The registered instances of a deployment, with their agents.
    pub(crate) fn members_of(&self, deployment: &DeploymentName) -> BTreeMap<InstanceName, AgentName> {
        let registered = self.registered();
        let mine = there(&registered).filter(|member| member.deployment == *deployment);
        mine.map(|member| (member.instance.clone(), member.agent.clone())).collect()
    }
}

/// Those that were not let go.
fn there(registered: &BTreeMap<InstanceName, (Revision, Registered)>) -> impl Iterator<Item = &Registered> {
    registered.values().map(|(_, member)| member).filter(|member| !member.gone)
}
