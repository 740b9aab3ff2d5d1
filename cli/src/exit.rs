//! Exit statuses. Scripts rely on them, so each has one meaning for every command.

use crate::client::Answer;
use crate::trouble::Trouble;
use cutover_proto::Code;
use cutover_vocabulary::finding::Level;
use cutover_vocabulary::plan::Plan;
use cutover_vocabulary::status::{State, Status};

/// What a command's exit status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for was done.
    Done = 0,
    /// It went wrong; the message says what, why, and what to do.
    Error = 1,
    /// The command line or a value in it makes no sense.
    Usage = 2,
    /// A person must approve the plan first.
    NeedsApproval = 3,
    /// It is not possible as things stand: a finding blocks the plan, an agent is missing, it is too late. Nothing was begun.
    Blocked = 4,
    /// The upgrade waits for a person: a hold, or a pause.
    Held = 5,
    /// The upgrade went back.
    WentBack = 6,
}

impl Exit {
    /// The table for `--help`.
    pub const HELP: &str = "\
Exit status:
  0  done
  1  error
  2  usage: the command line, or a value in it, makes no sense
  3  the plan needs approval
  4  not possible as things stand: a plan is blocked or outdated, an agent is
     missing, an upgrade is in the way, or it is too late; nothing was begun
  5  the upgrade is held or paused: it waits for a person; or one took it over
  6  the upgrade was aborted or rolled back";

    /// The same for `status`.
    pub const OF_STATUS: &str = "\
Exit status:
  0  it goes on, is completed, or was only rehearsed
  5  it is held or paused: it waits for a person
  6  it was aborted or rolled back
Without UPGRADE: 5 where one that has not ended waits for a person, or one is
quarantined, so that nobody leads it; 0 elsewhere.";

    /// The same for `watch`.
    pub const OF_WATCH: &str = "\
Exit status:
  0  it is completed, or rehearsed; or Ctrl-C left it to go on
  5  it is held or paused: it waits for a person
  6  it was aborted or rolled back";

    /// The same for `abort` and `rollback`.
    pub const OF_GOING_BACK: &str = "\
Exit status:
  0  it goes back; with --what-if: it could
  4  it cannot go back, and nothing was begun";

    /// The same for `doctor`.
    pub const OF_DOCTOR: &str = "\
Exit status:
  0  nothing that is needed is missing; there may be warnings
  1  something that is needed is missing";

    /// For `std::process::exit`.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Of a plan that was only made.
    pub fn of_plan(plan: &Plan) -> Self {
        match plan.level() {
            Some(Level::Block) => Self::Blocked,
            Some(Level::Approve) => Self::NeedsApproval,
            Some(Level::Info) | None => Self::Done,
        }
    }

    /// Of an upgrade that was followed as far as it goes by itself. `Error` while it still moves.
    pub fn of_upgrade(status: &Status) -> Self {
        match status.state {
            State::Completed | State::Rehearsed => Self::Done,
            // What became of a taken-over one, only that person knows.
            State::Held | State::Paused | State::TakenOver => Self::Held,
            State::Aborted | State::RolledBack => Self::WentBack,
            State::Running | State::GoingBack => Self::Error,
        }
    }

    /// Of an upgrade that was only looked at: that it still moves is no error.
    pub fn of_status(status: &Status) -> Self {
        match status.state {
            State::Running | State::GoingBack => Self::Done,
            State::Completed
            | State::Held
            | State::Paused
            | State::Aborted
            | State::RolledBack
            | State::TakenOver
            | State::Rehearsed => Self::of_upgrade(status),
        }
    }

    /// Of all upgrades: those that have not ended, and whether one is quarantined.
    pub fn of_all(active: &[Status], quarantined: bool) -> Self {
        let waits = active.iter().map(Self::of_status).any(|exit| exit == Self::Held);
        if waits || quarantined { Self::Held } else { Self::Done }
    }

    /// Of a way back that was asked for or asked about.
    pub fn of_going_back(answer: &Answer) -> Self {
        if answer.begun || answer.what.allowed { Self::Done } else { Self::Blocked }
    }

    /// Of an error.
    pub fn of_trouble(trouble: &Trouble) -> Self {
        match trouble {
            Trouble::Refused { code, .. } => {
                Code::ALL.iter().find(|known| known.word() == code).map_or(Self::Error, Self::of_refusal)
            }
            Trouble::Usage { .. } => Self::Usage,
            Trouble::Unreachable { .. }
            | Trouble::Leaderless { .. }
            | Trouble::Malformed { .. }
            | Trouble::Broken { .. }
            | Trouble::Failed { .. } => Self::Error,
        }
    }

    /// Of what the API refuses.
    fn of_refusal(code: &Code) -> Self {
        match code {
            Code::NeedsApproval => Self::NeedsApproval,
            Code::InvalidArgument => Self::Usage,
            Code::Blocked
            | Code::PlanStale
            | Code::AgentNotSeen
            | Code::AgentConnected
            | Code::DeploymentBusy
            | Code::HoldOutdated
            | Code::ChoiceNotOffered
            | Code::UpgradeEnded
            | Code::UpgradeActive
            | Code::TooLate
            | Code::WouldLoseWrites => Self::Blocked,
            Code::NoSuchPlan
            | Code::NoSuchDeployment
            | Code::NoSuchUpgrade
            | Code::NoSuchHold
            | Code::RequestReused
            | Code::AgentNameTaken
            | Code::NotCertified
            | Code::NotPermitted
            | Code::NotItsOwn
            | Code::NotLeader
            | Code::StoreUnavailable
            | Code::Quarantined
            | Code::Internal
            | Code::Other(_) => Self::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;

    #[test]
    fn who_only_looks_learns_that_it_waits_but_not_that_moving_is_an_error() {
        let mut status = sample::held();
        assert_eq!(Exit::of_status(&status), Exit::Held);
        status.state = State::Running;
        assert_eq!((Exit::of_status(&status), Exit::of_upgrade(&status)), (Exit::Done, Exit::Error));
        status.state = State::RolledBack;
        assert_eq!(Exit::of_status(&status), Exit::WentBack);
    }

    #[test]
    fn who_looks_at_all_learns_that_one_waits_or_that_nobody_leads_one() {
        let held = sample::held();
        let running = Status { state: State::Running, ..held.clone() };
        assert_eq!(Exit::of_all(&[running.clone(), held], false), Exit::Held);
        assert_eq!(Exit::of_all(std::slice::from_ref(&running), false), Exit::Done);
        assert_eq!(Exit::of_all(&[running], true), Exit::Held);
        assert!(Exit::OF_STATUS.contains("quarantined"));
    }
}
