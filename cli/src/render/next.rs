//! The commands that a page tells its reader to type.

use super::words::quoted;
use cutover_vocabulary::hold::{Choice, HoldId};
use cutover_vocabulary::plan::PlanDigest;
use cutover_vocabulary::{DeploymentName, UpgradeId, Version};

/// Writes commands that reach the same coordinator as the present one did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    program: String,
}

impl Next {
    /// `endpoint` is named in every command unless it is none, the default one.
    pub fn at(endpoint: Option<&str>) -> Self {
        let program = match endpoint {
            Some(endpoint) => format!("cutover --coordinator {}", quoted(endpoint)),
            None => "cutover".to_owned(),
        };
        Self { program }
    }

    fn with(&self, rest: &str) -> String {
        format!("{} {rest}", self.program)
    }
    /// Plans again.
    pub fn plan(&self, deployment: &DeploymentName, to: &Version) -> String {
        self.with(&format!("plan {deployment} --to {to}"))
    }
    /// Approves a plan.
    pub fn approve(&self, plan: PlanDigest) -> String {
        self.with(&format!("approve {} --reason 'WHY'", plan.0.short()))
    }
    /// Starts a plan.
    pub fn start(&self, plan: PlanDigest) -> String {
        self.with(&format!("start {}", plan.0.short()))
    }
    /// Shows where an upgrade stands.
    pub fn status(&self, upgrade: &UpgradeId) -> String {
        self.with(&format!("status {upgrade}"))
    }
    /// Follows an upgrade.
    pub fn watch(&self, upgrade: &UpgradeId) -> String {
        self.with(&format!("watch {upgrade}"))
    }
    /// Lists what happened.
    pub fn facts(&self, upgrade: &UpgradeId) -> String {
        self.with(&format!("facts {upgrade}"))
    }
    /// Decides a hold.
    pub fn decide(&self, upgrade: &UpgradeId, hold: HoldId, choice: Choice) -> String {
        self.with(&format!("decide {upgrade} {hold} {choice} --reason 'WHY'"))
    }
    /// Lets an upgrade go on.
    pub fn resume(&self, upgrade: &UpgradeId) -> String {
        self.with(&format!("resume {upgrade}"))
    }
    /// Goes back while no data was touched.
    pub fn abort(&self, upgrade: &UpgradeId) -> String {
        self.with(&format!("abort {upgrade} --reason 'WHY'"))
    }
    /// Goes back by restoring.
    pub fn rollback(&self, upgrade: &UpgradeId) -> String {
        self.with(&format!("rollback {upgrade} --reason 'WHY'"))
    }
    /// Lets go of the recovery points.
    pub fn close(&self, upgrade: &UpgradeId) -> String {
        self.with(&format!("close {upgrade}"))
    }
}
