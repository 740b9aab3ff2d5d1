//! Who belongs to the fleet: the instances that agents name become members, for good.

use crate::leadership::Leadership;
use crate::registry::{Registered, RegistryError, keys};
use cutover_proto::{Code, Refused};
use cutover_vocabulary::link::Hello;
use cutover_vocabulary::{AgentName, InstanceName, Timestamp};
use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use tracing::{info, warn};

impl Leadership {
    /// Registers the instances of a hello.
    ///
    /// An instance that another agent speaks for is refused, and the claim is shown with its deployment: two hosts with one
    /// instance name are a mistake in settings more often than a move. One that has moved is let go first, by a person.
    pub(crate) async fn register(&self, hello: &Hello) -> Result<(), Refused> {
        self.may_act(hello)?;
        for report in &hello.instances {
            let wanted = Registered {
                deployment: report.deployment.clone(),
                instance: report.instance.clone(),
                agent: hello.agent.clone(),
                machine: hello.machine.clone(),
                gone: false,
            };
            // Several agents that come at once change different documents; one that lost a race reads again.
            loop {
                match self.register_one(&wanted).await {
                    Err(RegisterError::Registry(RegistryError::Conflict { .. })) => {}
                    Err(RegisterError::Registry(error)) => return Err(self.refuse(error)),
                    Err(RegisterError::Refused(refused)) => return Err(*refused),
                    Ok(()) => break,
                }
            }
        }
        // Only now: one that is refused again and again is shown all the while.
        self.claims().retain(|_, claim| claim.agent != hello.agent);
        Ok(())
    }

    /// Whatever it names: orders of an upgrade go to an agent by its name, so while one counts on it, only the machine that its
    /// member is registered from may speak under it.
    fn may_act(&self, hello: &Hello) -> Result<(), Refused> {
        let elsewhere = |known: &Registered| known.agent == hello.agent && known.machine != hello.machine;
        let counted = self.fleet().into_iter().find(|known| elsewhere(known) && self.has_as_member(&known.instance));
        let Some(Registered { instance, agent, machine, .. }) = counted else { return Ok(()) };
        let why = format!(
            "instance {instance} is registered with agent {agent} on machine {machine}, and an upgrade that has not ended counts on it"
        );
        warn!(%agent, machine = hello.machine, why, "refused an agent");
        self.claim([&instance], &agent, &hello.machine, &why);
        let remedy = "end the upgrade first, or bring the former agent back";
        Err(Refused::new(Code::AgentNameTaken, why, remedy).with("machine", &machine))
    }

    async fn register_one(&self, wanted: &Registered) -> Result<(), RegisterError> {
        let key = keys::instance(&wanted.instance).map_err(RegistryError::from)?;
        let (mut revision, present) = self.registry.read::<Registered>(&key).await?;
        if let Some(present) = &present {
            self.may_replace(present, wanted)?;
        }
        if present.as_ref() != Some(wanted) {
            revision = self.registry.write(&key, revision, wanted).await?;
            let Registered { deployment, instance, agent, machine, .. } = wanted;
            info!(%deployment, %instance, %agent, %machine, before = ?present, "registered an instance");
        }
        self.remember(revision, wanted.clone());
        Ok(())
    }

    fn may_replace(&self, present: &Registered, wanted: &Registered) -> Result<(), RegisterError> {
        let same = present.agent == wanted.agent
            && present.machine == wanted.machine
            && present.deployment == wanted.deployment;
        if same || present.gone {
            return Ok(());
        }
        let refuse = |why: String, remedy: &str| {
            warn!(instance = %wanted.instance, agent = %wanted.agent, why, "refused an agent");
            self.claim([&wanted.instance], &wanted.agent, &wanted.machine, &why);
            let refused = Refused::new(Code::AgentNameTaken, why, remedy).with("machine", &present.machine);
            Err(RegisterError::Refused(Box::new(refused)))
        };
        let same_host = present.agent == wanted.agent && present.machine == wanted.machine;
        // What is under way of another deployment on the same host is not touched by it.
        let counted = if same_host { self.has_as_member(&present.instance) } else { self.counts_on(&present.agent) };
        if counted {
            return refuse(
                format!(
                    "instance {} is registered with agent {} on machine {}, and an upgrade that has not ended counts on it",
                    wanted.instance, present.agent, present.machine
                ),
                "end the upgrade first, or bring the former agent back",
            );
        }
        if present.agent != wanted.agent {
            return refuse(
                format!(
                    "instance {} is registered with agent {} on machine {}",
                    wanted.instance, present.agent, present.machine
                ),
                "give each instance of the fleet its own name in the agents' settings; if this one has moved, let it go on its \
                 former host first: `cutover member excuse`",
            );
        }
        Ok(())
    }

    /// Has what an agent claimed in vain shown with its deployment, in place of what it claimed before.
    pub(super) fn claim<'a>(
        &self,
        instances: impl IntoIterator<Item = &'a InstanceName>,
        agent: &AgentName,
        machine: &str,
        why: &str,
    ) {
        let claim =
            Claim { agent: agent.clone(), machine: machine.to_owned(), at: self.now().wall, why: why.to_owned() };
        let mut claims = self.claims();
        claims.retain(|_, before| before.agent != *agent);
        claims.extend(instances.into_iter().map(|instance| (instance.clone(), claim.clone())));
    }

    pub(crate) fn claims(&self) -> MutexGuard<'_, BTreeMap<InstanceName, Claim>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an upgrade that has not ended has this instance among its members.
    fn has_as_member(&self, instance: &InstanceName) -> bool {
        let handles = self.led();
        let mut upgrades = handles.iter().map(|handle| handle.now().upgrade);
        upgrades.any(|upgrade| !upgrade.finished() && upgrade.members().contains_key(instance))
    }

    /// Whether an upgrade that has not ended has this agent among its members.
    fn counts_on(&self, agent: &AgentName) -> bool {
        self.led().iter().any(|handle| !handle.now().upgrade.finished() && handle.concerns(agent))
    }
}

/// An agent said that it speaks for an instance, and was refused.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) agent: AgentName,
    pub(crate) machine: String,
    pub(crate) at: Timestamp,
    pub(crate) why: String,
}

enum RegisterError {
    Registry(RegistryError),
    Refused(Box<Refused>),
}
impl From<RegistryError> for RegisterError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}
