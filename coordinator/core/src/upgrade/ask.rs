//! What operators ask of an upgrade.

use super::decide::{Ask, Draft, Rejected};
use super::state::Upgrade;
use cutover_vocabulary::fact::{Cause, Fact};
use cutover_vocabulary::hold::{Choice, Hold, HoldId, HoldReason};
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::{OperatorName, Phase, RequestId};

impl Draft {
    /// Carries out an operator's call. The same request id again changes nothing and is no error.
    pub(super) fn asked(&mut self, by: &OperatorName, request: &RequestId, ask: &Ask) -> Result<(), Rejected> {
        if self.upgrade.knows_request(request) {
            return Ok(());
        }
        let by = Cause::Operator { name: by.clone(), request: request.clone() };
        if self.upgrade.finished() && *ask != Ask::Close {
            return Err(Rejected::Ended);
        }
        match ask {
            Ask::Decide { hold, choice, reason } => self.decide_hold(by, *hold, *choice, reason),
            Ask::Abort { reason } if !self.upgrade.crossed(Border::MigrateAuthorised) => self.turn_back(by, reason),
            Ask::Abort { .. } if self.upgrade.crossed(Border::OpenAuthorised) => Err(Rejected::OpenedAlready),
            Ask::Abort { .. } => Err(Rejected::MigratedAlready),
            Ask::Rollback { reason } if self.upgrade.crossed(Border::MigrateAuthorised) => self.turn_back(by, reason),
            Ask::Rollback { .. } => Err(Rejected::NothingMigrated),
            // What is so already needs no fact, and is no error: these calls are idempotent.
            Ask::Pause if self.upgrade.paused => Ok(()),
            Ask::Pause => {
                self.happen(by, Fact::Paused);
                Ok(())
            }
            Ask::Resume if !self.upgrade.paused => Ok(()),
            Ask::Resume => {
                self.happen(by, Fact::Resumed);
                Ok(())
            }
            Ask::Close if !self.upgrade.finished() => Err(Rejected::NotEnded),
            Ask::Close if self.upgrade.closed => Ok(()),
            Ask::Close => {
                self.happen(by, Fact::Closed);
                Ok(())
            }
        }
    }

    fn turn_back(&mut self, by: Cause, reason: &str) -> Result<(), Rejected> {
        if let Some(why) = &self.upgrade.turned_back {
            return Err(Rejected::GoesBackAlready(why.clone()));
        }
        if self.upgrade.holds.values().any(|hold| matches!(hold.reason, HoldReason::TakenOver { .. })) {
            return Err(Rejected::NothingToDo("a person took it over on the host; what they did is theirs to finish"));
        }
        let stages = self.upgrade.way_back_now().ok_or(Rejected::OpenedAlready)?;
        self.happen(by, Fact::TurnedBack { why: reason.to_owned(), stages });
        Ok(())
    }

    fn decide_hold(&mut self, by: Cause, id: HoldId, choice: Choice, reason: &str) -> Result<(), Rejected> {
        let hold = self.upgrade.holds.get(&id).ok_or(Rejected::NoSuchHold(id))?.clone();
        if !hold.offers(choice) {
            let offered = hold.choices.iter().map(|offer| offer.choice.word()).collect::<Vec<_>>().join(", ");
            return Err(Rejected::NotOffered { hold: id, choice, offered });
        }
        let again = if choice == Choice::Retry { self.upgrade.retry_from(&hold)? } else { None };
        self.happen(by.clone(), Fact::HoldDecided { hold: id, choice, reason: reason.to_owned() });
        match choice {
            Choice::Abort | Choice::Rollback => self.turn_back(by, reason),
            Choice::Retry => {
                if let Some(number) = again
                    && let Some(state) = self.upgrade.stages.get(usize::from(number))
                {
                    let (run, stage) = (state.run + 1, state.stage);
                    self.happen(Cause::Machine, Fact::StageEntered { number, run, stage });
                }
                Ok(())
            }
            Choice::Accept | Choice::Wait => Ok(()),
        }
    }
}

impl Upgrade {
    /// Where a retry begins: `None` for the failed step alone. A stage that needs a quiet storage begins again with its
    /// round of attestations; a voided proof before any migration begins again with the drain.
    fn retry_from(&self, hold: &Hold) -> Result<Option<u16>, Rejected> {
        let Some(at) = self.at else { return Ok(None) };
        let phase_at = |number: u16| self.stages.get(usize::from(number)).map(|state| state.stage.phase);
        let attested = at.checked_sub(1).filter(|before| phase_at(*before) == Some(Phase::ConfirmDrained));
        let whole = match &hold.reason {
            HoldReason::ProofVoided { .. } => {
                let first = self.back_from.unwrap_or(0);
                let drain = (first..=at).rev().find(|number| phase_at(*number) == Some(Phase::Drain));
                Some(if self.crossed(Border::MigrateAuthorised) && !self.going_back() {
                    attested.unwrap_or(at)
                } else {
                    drain.unwrap_or(at)
                })
            }
            HoldReason::PlanDrifted { .. } | HoldReason::OtherStorage { .. } => Some(attested.unwrap_or(at)),
            HoldReason::StepFailed { .. }
            | HoldReason::UncleanStop { .. }
            | HoldReason::Strangers { .. }
            | HoldReason::LedgersChanged { .. }
            | HoldReason::LossesChanged { .. }
            | HoldReason::UnexplainedDifferences { .. }
            | HoldReason::Inconsistent { .. }
            | HoldReason::AgentLost { .. }
            | HoldReason::Overdue { .. }
            | HoldReason::TakenOver { .. } => {
                // Beside lanes that still run, or other holds that are still open, only the step itself is tried again.
                return Ok(attested.filter(|_| self.orders.is_empty() && self.holds.len() == 1));
            }
        };
        if self.orders.is_empty() { Ok(whole) } else { Err(Rejected::OrdersOut(self.orders.len())) }
    }
}
