//! The commands that a page tells its reader to type.

use super::words::quoted;
use cutover_vocabulary::hold::{Choice, HoldId};
use cutover_vocabulary::plan::{Binding, PlanDigest, Strategy};
use cutover_vocabulary::{DeploymentName, InstanceName, UpgradeId, Version};

/// Writes commands that reach the same coordinator as the present one did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A coordinator that serves a socket: the program with its address.
    Served(String),
    /// `single`, whose coordinator ends with it, so that everything is said to the same command.
    Single(String),
    /// The same of a sandbox that was left.
    Sandbox(String),
}

impl Next {
    /// `endpoint` is named in every command unless it is none, the default one; `program` is how this one was called.
    pub fn of(program: &str, endpoint: Option<&str>) -> Self {
        Self::Served(match endpoint {
            Some(endpoint) => format!("{program} --coordinator {}", quoted(endpoint)),
            None => program.to_owned(),
        })
    }
    /// The same for a program that lies where the shell finds it.
    pub fn at(endpoint: Option<&str>) -> Self {
        Self::of("cutover", endpoint)
    }

    /// `single`'s own flags, where it is that; a sandbox goes on by itself.
    fn with(&self, served: &str, single: &str) -> String {
        match self {
            Self::Served(program) => format!("{program} {served}"),
            Self::Single(command) => format!("{command} {single}"),
            Self::Sandbox(command) => command.clone(),
        }
    }
    /// Plans again.
    pub fn plan(&self, deployment: &DeploymentName, to: &Version) -> String {
        self.with(&format!("plan {deployment} --to {to}"), "--plan")
    }
    /// Plans again what a plan was made for.
    pub fn plan_again(&self, binding: &Binding) -> String {
        match binding.strategy {
            Strategy::Downtime | Strategy::Rolling => self.plan(&binding.deployment, &binding.target.version),
            Strategy::Rejoin => {
                let names: Vec<&str> = binding.members.keys().map(InstanceName::as_str).collect();
                self.with(&format!("rejoin --deployment {} {}", binding.deployment, names.join(" ")), "--plan")
            }
        }
    }
    /// Approves a plan.
    pub fn approve(&self, plan: PlanDigest) -> String {
        self.with(&format!("approve {} --reason 'WHY'", plan.0.short()), "--yes")
    }
    /// Starts a plan that was approved, where approving does not start it.
    pub fn start_after_approval(&self, plan: PlanDigest) -> Option<String> {
        match self {
            Self::Served(_) => Some(self.start(plan)),
            Self::Single(_) | Self::Sandbox(_) => None,
        }
    }
    /// Starts a plan.
    pub fn start(&self, plan: PlanDigest) -> String {
        self.with(&format!("start {}", plan.0.short()), "--yes")
    }
    /// Follows an upgrade.
    pub fn watch(&self, upgrade: &UpgradeId) -> String {
        self.with(&format!("watch {upgrade}"), "--resume")
    }
    /// Lists what happened.
    pub fn facts(&self, upgrade: &UpgradeId) -> String {
        self.with(&format!("facts {upgrade}"), "--status")
    }
    /// Decides a hold.
    pub fn decide(&self, upgrade: &UpgradeId, hold: HoldId, choice: Choice) -> String {
        match self {
            Self::Served(program) => format!("{program} decide {upgrade} {hold} {choice} --reason 'WHY'"),
            Self::Single(command) | Self::Sandbox(command) => {
                format!("{command} --decide {hold}:{choice} --reason 'WHY'")
            }
        }
    }
    /// Lets an upgrade go on.
    pub fn resume(&self, upgrade: &UpgradeId) -> String {
        self.with(&format!("resume {upgrade}"), "--resume")
    }
    /// Prints the runbook.
    pub fn runbook(&self, upgrade: &UpgradeId) -> String {
        self.with(&format!("runbook {upgrade}"), "--status")
    }
    /// Goes back before any ledger was migrated.
    pub fn abort(&self, upgrade: &UpgradeId) -> String {
        self.with(&format!("abort {upgrade} --reason 'WHY'"), "--status")
    }
    /// Goes back after ledgers were migrated.
    pub fn rollback(&self, upgrade: &UpgradeId) -> String {
        self.with(&format!("rollback {upgrade} --reason 'WHY'"), "--status")
    }
    /// Lets an instance go.
    pub fn excuse(&self, deployment: &DeploymentName, instance: &InstanceName) -> String {
        self.with(
            &format!("member excuse {deployment} {instance} --reason 'WHY' --evidence 'WHAT WAS SEEN'"),
            "--status",
        )
    }
    /// Ends an upgrade that a person took over.
    pub fn close_by_hand(&self, upgrade: &UpgradeId) -> String {
        let reason = "--reason 'WHAT BECAME OF IT'";
        self.with(&format!("close {upgrade} {reason}"), &format!("--close {reason}"))
    }
    /// Lets go of the recovery points.
    pub fn close(&self, upgrade: &UpgradeId) -> String {
        self.with(&format!("close {upgrade}"), "--close")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_goes_on_takes_the_place_of_a_coordinator_that_ends() {
        let upgrade = UpgradeId::new("u-1").unwrap();
        let next = Next::Sandbox("cutover sandbox resume --dir /tmp/x".to_owned());
        assert_eq!(
            next.decide(&upgrade, HoldId(2), Choice::Retry),
            "cutover sandbox resume --dir /tmp/x --decide 2:retry --reason 'WHY'"
        );
        assert_eq!(next.watch(&upgrade), "cutover sandbox resume --dir /tmp/x");
        let next = Next::Single("cutover single --to 1.4.6".to_owned());
        assert_eq!(
            next.decide(&upgrade, HoldId(2), Choice::Accept),
            "cutover single --to 1.4.6 --decide 2:accept --reason 'WHY'"
        );
        let to = Version::new(1, 4, 6);
        let looks = [next.watch(&upgrade), next.facts(&upgrade), next.plan(&DeploymentName::new("prod").unwrap(), &to)];
        assert_eq!(looks, ["--resume", "--status", "--plan"].map(|flag| format!("cutover single --to 1.4.6 {flag}")));
        assert_eq!(Next::at(None).watch(&upgrade), "cutover watch u-1");
    }
}
