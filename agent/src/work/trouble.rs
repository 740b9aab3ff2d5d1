//! From what went wrong to the failure that an outcome carries: which kind it is for the core's rules, and what to do.

use crate::files::FileError;
use crate::ledger::cli::CliError;
use crate::ledger::http::HttpError;
use crate::release::ReleaseError;
use crate::service::ServiceError;
use crate::service::environment::EnvironmentError;
use crate::worker::WorkerError;
use cutover_storage::StorageError;
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::{Failure, Outcome};

/// A failure on its way to an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble(pub Failure);

impl Trouble {
    /// A failure that changed nothing, unless [`Trouble::effect`] says otherwise.
    pub fn new(kind: FailureKind, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self(Failure { kind, message: message.into(), remedy: remedy.into(), effect: Effect::None })
    }
    /// The order relies on something that does not hold.
    pub fn refused(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(FailureKind::Refused, message, remedy)
    }
    /// The order was revoked and the work ended before it was done.
    pub fn stopped(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Interrupted, message, "it was stopped on request; order it again when it is wanted")
    }
    /// What only reads the storage failed, before anything changed it. What a person asks first where a disk is full, and what a
    /// restore or a proof may not say: they come after something did.
    pub fn before_any_change(error: StorageError) -> Self {
        let full = matches!(error, StorageError::Full { .. });
        let mut trouble = Self::from(error);
        if full {
            trouble.0.remedy.push_str("; nothing of the storage was changed");
        }
        trouble
    }
    /// What is known of the effect.
    #[must_use]
    pub fn effect(mut self, effect: Effect) -> Self {
        self.0.effect = effect;
        self
    }
    /// What was tried, before what happened.
    #[must_use]
    pub fn while_trying(mut self, what: impl std::fmt::Display) -> Self {
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }
}

impl From<Trouble> for Outcome {
    fn from(trouble: Trouble) -> Self {
        Self::Failed(trouble.0)
    }
}

impl From<FileError> for Trouble {
    fn from(error: FileError) -> Self {
        Self::new(
            FailureKind::Failed,
            error.to_string(),
            "see to the disk of the agent's state directory, then try again",
        )
    }
}

impl From<EnvironmentError> for Trouble {
    fn from(error: EnvironmentError) -> Self {
        Self::refused(error.to_string(), "correct the instance's env_file in the agent's settings")
    }
}

impl From<ServiceError> for Trouble {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::File(error) => error.into(),
            ServiceError::Environment(error) => error.into(),
            ServiceError::Fenced { .. } => Self::refused(
                error.to_string(),
                "let the upgrade open it, or lift the fence by `cutover-agent local unfence`",
            ),
            ServiceError::Unit { .. } => Self::new(
                FailureKind::Failed,
                error.to_string(),
                "look at the unit (`systemctl status`, `systemctl cat`), mend it, then try again",
            ),
            ServiceError::Spawn { .. } | ServiceError::NotLaunched { .. } => Self::new(
                FailureKind::Failed,
                error.to_string(),
                "do what its message says, or look at the instance's command in the agent's settings",
            ),
            ServiceError::Process { .. } | ServiceError::Connections(_) => {
                Self::new(FailureKind::Failed, error.to_string(), "run the agent as root or as the service's user")
            }
            ServiceError::Address { .. } => {
                Self::refused(error.to_string(), "set server.http.bind_address of the service as HOST:PORT")
            }
        }
    }
}

impl From<ReleaseError> for Trouble {
    fn from(error: ReleaseError) -> Self {
        let remedy = match &error {
            ReleaseError::Problem(_) => {
                "put the release's archive and checksum file where `releases` in the agent's settings says"
            }
            ReleaseError::Replaced { .. } => "make a new plan, or put the planned archive back",
            ReleaseError::OtherVersion { .. } | ReleaseError::Mute { .. } => {
                "get the release's archive again from where the ledger is published"
            }
            ReleaseError::Needed { .. } => {
                "publish what was built anew as a version of its own, or see to the instance that is named"
            }
            ReleaseError::NotStaged { .. } => "order the release to be staged again; nobody else may write there",
            ReleaseError::Switch { .. } => {
                "look at the instance's command in the agent's settings and at what lies there"
            }
            ReleaseError::File(error) => {
                return Self::new(FailureKind::Failed, error.to_string(), "see to the disk, then try again");
            }
        };
        Self::refused(error.to_string(), remedy)
    }
}

impl From<StorageError> for Trouble {
    fn from(error: StorageError) -> Self {
        let (kind, remedy) = match &error {
            StorageError::Full { .. } => (FailureKind::Failed, "free some space there, then try again"),
            StorageError::Io { .. } => (FailureKind::Failed, "see to what is named, then try again"),
            StorageError::Sqlite { source, .. } if source.to_string().contains("locked") => {
                (FailureKind::Transient, "find out who holds the storage, or try again")
            }
            StorageError::Sqlite { .. } => (FailureKind::Failed, "see to what is named, then try again"),
            StorageError::Corrupt { .. } => {
                (FailureKind::Failed, "restore that file from a good copy before anything else")
            }
            StorageError::NotALedger { .. } => {
                (FailureKind::Refused, "move what is no ledger out of the storage directory")
            }
            StorageError::AmountTooLarge { .. } => {
                (FailureKind::Refused, "this storage cannot be upgraded by Cutover yet")
            }
            StorageError::Missing { .. } => {
                (FailureKind::Refused, "find out where the file went; nothing is created in its place")
            }
            StorageError::NotProved { .. } => {
                (FailureKind::Failed, "try again; if it stays so, look at the disk's health")
            }
            StorageError::Refused { .. } => (FailureKind::Refused, "correct the path that is named, then try again"),
            StorageError::Manifest { .. } => {
                (FailureKind::Refused, "find the manifest that belongs to the recovery point")
            }
            StorageError::Postgres { transient: true, .. } => {
                (FailureKind::Transient, "see to the database, or try again")
            }
            StorageError::Postgres { .. } | StorageError::Tool { .. } => {
                (FailureKind::Failed, "see to what is named, then try again")
            }
            StorageError::Busy { .. } => (FailureKind::Transient, "wait until that has ended, or find out who it is"),
            StorageError::NotQuiet { .. } => (FailureKind::Refused, "end that process or session, then try again"),
            StorageError::Settings(_) => (FailureKind::Refused, "correct the service's settings"),
        };
        Self::new(kind, error.to_string(), remedy)
    }
}

impl From<CliError> for Trouble {
    fn from(error: CliError) -> Self {
        let message = error.to_string();
        match error {
            CliError::Spawn { .. } => {
                Self::refused(message, "stage the release again; its binary must be executable on this host")
            }
            CliError::Failed { message: ref text, .. } if transient(text) => {
                Self::new(FailureKind::Transient, message, "try again; if it stays so, find out who holds the storage")
            }
            CliError::Failed { .. } => {
                Self::new(FailureKind::Failed, message, "correct what the ledger's message names, then try again")
            }
            CliError::Panicked { .. } => Self::new(
                FailureKind::Failed,
                message,
                "a row that the release cannot read makes it panic; the plan's findings name such rows (bad-rows)",
            ),
            CliError::Killed { .. } => Self::new(
                FailureKind::Interrupted,
                message,
                "look in the system log for who killed it (memory?); a kill leaves the ledger as it was, so try again",
            ),
            CliError::Silent { .. } => Self::new(
                FailureKind::Failed,
                message,
                "this release does not do what its version promises; choose another target",
            ),
            CliError::Stopped { .. } => Self::stopped(message),
            CliError::TimedOut { .. } => {
                Self::new(FailureKind::TimedOut, message, "try again; if it stays so, choose another target")
            }
            CliError::RefusedName { .. } => {
                Self::refused(message, "register the ledger first, or find out why scan skips it")
            }
            CliError::File(error) => error.into(),
        }
    }
}

/// Messages of the ledger after which the same command was seen to pass.
fn transient(message: &str) -> bool {
    let known = [
        "database is locked",
        // Two lanes of 1.4.x made the function that they share at once: one that was there, or one that was not.
        "tuple concurrently updated",
        "pg_proc_proname_args_nsp_index",
        "connection refused",
    ];
    known.iter().any(|text| message.contains(text))
}

impl From<HttpError> for Trouble {
    fn from(error: HttpError) -> Self {
        let kind = match &error {
            HttpError::Connect { .. } | HttpError::Broken { .. } => FailureKind::Transient,
            HttpError::Status { .. } | HttpError::NotALedger { .. } => FailureKind::Failed,
        };
        Self::new(kind, error.to_string(), "look at the service's output in the agent's state directory")
    }
}

impl From<WorkerError> for Trouble {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::NeverBegun => Self::stopped(error.to_string()),
            WorkerError::OtherOrder { .. } => Self::refused(
                error.to_string(),
                "move the folders of that upgrade in the agent's state directory (work, recovery) to a safe place, then try again",
            ),
            WorkerError::File(error) => error.into(),
            WorkerError::Spawn { .. } | WorkerError::Wait { .. } => {
                Self::new(FailureKind::Failed, error.to_string(), "see to what is named, then try again")
            }
            WorkerError::Vanished { .. } => Self::new(
                FailureKind::Interrupted,
                error.to_string(),
                "look in the system log for who killed it (memory?), then try again",
            )
            .effect(Effect::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_nothing_was_changed_is_said_by_those_alone_who_know_it() {
        let full = || StorageError::Full { doing: "write", path: "/mnt/recovery".into() };
        assert_eq!(Trouble::from(full()).0.remedy, "free some space there, then try again");
        assert_eq!(
            Trouble::before_any_change(full()).0.remedy,
            "free some space there, then try again; nothing of the storage was changed"
        );
        let other = || StorageError::Settings("none".to_owned());
        assert_eq!(Trouble::before_any_change(other()), Trouble::from(other()));
    }
}
