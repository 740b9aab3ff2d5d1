//! Where an upgrade stands, for people and tools.

use super::state::{Drained, OpenOrder, Rest, StageState, Upgrade};
use cutover_vocabulary::fact::Ending;
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::status::{InstanceStatus, LedgerStatus, StageStatus, State, Status, WaitingFor, WhatIf};
use cutover_vocabulary::storage::{Losses, RecoveryItem};
use cutover_vocabulary::{Elapsed, LedgerName, Now, Phase, Subject};

impl Upgrade {
    /// Where it stands. The same facts give the same answer but for how long orders have been out.
    pub fn status(&self, now: Now) -> Status {
        let binding = &self.plan.binding;
        Status {
            id: self.id.clone(),
            deployment: binding.deployment.clone(),
            plan: self.plan.digest(),
            from: binding.from.clone(),
            target: binding.target.version.clone(),
            strategy: binding.strategy,
            state: self.state(),
            started: self.started.clone(),
            stages: self.stages.iter().enumerate().map(|(number, state)| stage_status(number, state)).collect(),
            waiting_for: self.waiting_for(now),
            holds: self.holds.values().cloned().collect(),
            borders: self.borders.iter().map(|(border, at)| (*border, *at)).collect(),
            ledgers: binding.ledgers.keys().map(|name| self.ledger_status(name, now)).collect(),
            system: self.points.get(&RecoveryItem::System).cloned(),
            instances: self
                .members
                .iter()
                .map(|(name, member)| InstanceStatus {
                    name: name.clone(),
                    agent: member.agent.clone(),
                    down: match self.drained.get(name) {
                        Some(Drained::Proved { since, .. } | Drained::Voided { since }) => Some(*since),
                        None => None,
                    },
                    up: self.up.get(name).cloned(),
                    stopping: self.stopping.get(name).and_then(|orders| orders.values().min().copied()),
                })
                .collect(),
            turned_back: self.turned_back.clone(),
            paused: self.paused.is_some(),
            closed: self.closed.as_ref().map(|(at, _)| *at),
            runner: Some(self.runner.clone()),
            downtime: self.shut_out.map(|_| self.downtime(now)),
            pause: self.paused.as_ref().and_then(|(_, said)| said.clone()),
            close: self.closed.as_ref().and_then(|(_, said)| said.clone()),
            end: self.end.clone(),
            seq: self.seq,
            epoch: self.epoch,
            ended: self.ended.map(|(_, at)| at),
        }
    }

    /// For how long clients have been shut out: from the beginning of the drain until the first instance was let in again, on
    /// whichever version; where none was, until the end. By the wall clock of whoever led. Nothing for a roll, which shuts
    /// nobody out.
    pub fn downtime(&self, now: Now) -> Elapsed {
        let Some((since, until)) = self.shut_out else { return Elapsed(0) };
        since.until(until.or(self.ended.map(|(_, at)| at)).unwrap_or(now.wall))
    }

    fn state(&self) -> State {
        match self.ended {
            Some((ending, _)) => State::of(ending),
            None if !self.holds.is_empty() => State::Held,
            None if self.paused.is_some() => State::Paused,
            None if self.going_back() => State::GoingBack,
            None => State::Running,
        }
    }

    /// Why it is not moving; none when it has ended.
    pub fn waiting_for(&self, now: Now) -> Option<WaitingFor> {
        if self.ended.is_some() {
            return None;
        }
        if let Some(hold) = self.holds.values().next() {
            return Some(WaitingFor::Decision { hold: hold.id });
        }
        if self.orders.is_empty() {
            return self.paused.as_ref().map(|_| WaitingFor::Resume).or_else(|| self.resting_orders(now));
        }
        if self.between() {
            return Some(WaitingFor::Settlement { orders: self.orders.keys().cloned().collect() });
        }
        let longest = self.orders.values().map(|open| self.out_for(open, now)).max().unwrap_or(Elapsed(0));
        Some(WaitingFor::Orders { orders: self.orders.keys().cloned().collect(), longest })
    }

    /// The orders that will be given once their steps have rested after a failed attempt.
    fn resting_orders(&self, now: Now) -> Option<WaitingFor> {
        let phase = self.phase()?;
        let orders: Vec<_> = self.resting.keys().filter_map(|subject| self.next_attempt_at(phase, subject)).collect();
        let rested =
            |rest: &Rest| if rest.epoch == self.epoch { now.leading_for.since(rest.since) } else { Elapsed(0) };
        let longest = self.resting.values().map(rested).max()?;
        Some(WaitingFor::Orders { orders, longest })
    }

    /// For how long an order has been out under the present leadership.
    fn out_for(&self, open: &OpenOrder, now: Now) -> Elapsed {
        let (epoch, since) = open.since;
        if epoch == self.epoch { now.leading_for.since(since) } else { now.leading_for }
    }

    fn ledger_status(&self, name: &LedgerName, now: Now) -> LedgerStatus {
        let item = RecoveryItem::Ledger(name.clone());
        let point = self.points.get(&item);
        let proof = self.proofs.get(name);
        let restored = self.restored.contains_key(&item);
        let mut migrations = self.orders.values().filter(|open| {
            open.order.id.phase == Phase::Migrate && open.order.id.step.subject == Subject::Ledger(name.clone())
        });
        LedgerStatus {
            name: name.clone(),
            point: point.cloned(),
            before: point.and_then(|point| point.digest.as_ref()).map(|digest| digest.root()),
            after: proof.map(|proof| proof.digest.root()),
            migrated: self.migrated.get(name).map(|migrated| migrated.took),
            migrating: migrations.next().map(|open| self.out_for(open, now)),
            rehearsed: self.rehearsed.get(name).copied(),
            lost: match (point, proof, restored) {
                (Some(point), Some(_), false) => point.losses.clone(),
                (Some(_), Some(_), true) | (Some(_) | None, None, _) | (None, Some(_), _) => Losses::default(),
            },
            restored,
        }
    }
}

fn stage_status(number: usize, state: &StageState) -> StageStatus {
    StageStatus {
        number: number.try_into().unwrap_or(u16::MAX),
        stage: state.stage,
        run: state.run,
        steps: state.steps,
        entered: state.entered,
        left: state.left,
        failures: state.failures.clone(),
    }
}

/// By which call somebody goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// While no data was touched.
    Abort,
    /// By restoring; where instances serve, by starting what was there before.
    Rollback,
}

/// What going back by this call would mean now. Where it would be refused because it takes the other call, it names that one.
pub fn what_if(upgrade: &Upgrade, back: Back) -> WhatIf {
    let refused =
        |meaning: &str| WhatIf { allowed: false, meaning: meaning.to_owned(), stages: Vec::new(), ledgers: Vec::new() };
    if let Some(ending) = upgrade.ending() {
        return refused(match ending {
            Ending::Completed if upgrade.rejoins() => {
                "the rejoin is complete; what the instances had before is older than the storage, and is not started again"
            }
            Ending::Completed => "the upgrade is complete; going back would lose what was written since",
            Ending::Aborted | Ending::RolledBack => "the upgrade has gone back already",
            Ending::Rehearsed => "it was a rehearsal, and there is nothing to go back from",
            Ending::TakenOver => "a person took it over; what became of it is theirs to know",
        });
    }
    if upgrade.going_back() {
        return refused("the upgrade goes back already");
    }
    if upgrade.taken_over() {
        return refused("a person took it over on a host; `cutover close` ends it");
    }
    let Some(stages) = upgrade.way_back_now() else {
        return refused("traffic was let in on the new version; going back would lose what was written since");
    };
    // Rolling, nothing is restored.
    let restored = upgrade.touched.keys().filter(|_| !upgrade.rolling());
    let ledgers = restored.filter_map(|item| match item {
        RecoveryItem::Ledger(name) => Some(name.clone()),
        RecoveryItem::System => None,
    });
    let meaning = if upgrade.rejoins() && upgrade.may_have_effect() {
        "rollback: stop the instances that were brought in, and leave them down and fenced: what they had before is older than the \
         storage and is not started again; the others serve meanwhile, and no acknowledged write is lost"
    } else if upgrade.rejoins() && !stages.is_empty() {
        "abort: leave the instances that were to be brought in down and fenced: what they had before is older than the storage and \
         is not started again; the others serve meanwhile"
    } else if upgrade.rejoins() {
        "abort: no instance was stopped, and each stays as it was found"
    } else if upgrade.rolling() && upgrade.may_have_effect() {
        "rollback: stop the instances that were moved, the last wave first, and start the former version there, on the storage as \
         it is; the others serve meanwhile, and no acknowledged write is lost"
    } else if upgrade.crossed(Border::MigrateAuthorised) && upgrade.may_be_written {
        "rollback: stop everything, restore the ledgers that changed from their recovery points, start the former version; what \
         whoever was seen meanwhile wrote since is not in them: it is only in the files that the restore moves aside"
    } else if upgrade.crossed(Border::MigrateAuthorised) {
        "rollback: stop everything, restore the ledgers that changed from their recovery points, start the former \
         version; no acknowledged write is lost"
    } else if upgrade.rolling() && !stages.is_empty() {
        "abort: start the former version again where it was stopped; the others serve meanwhile, and no data was touched"
    } else if stages.iter().any(|stage| stage.phase == Phase::Reopen) {
        "abort: let the instances in again on the former version; no data was touched"
    } else {
        "abort: no instance was stopped and no data was touched"
    };
    let meaning = match upgrade.paused.is_some() {
        true => format!("{meaning}; it is paused, and going back resumes it"),
        false => meaning.to_owned(),
    };
    match (back, upgrade.may_have_effect()) {
        (Back::Abort, false) | (Back::Rollback, true) => {
            WhatIf { allowed: true, meaning, stages, ledgers: ledgers.collect() }
        }
        (Back::Abort, true) => refused(&format!(
            "the storage may have been migrated already, or clients let in: use `cutover rollback {}`. {meaning}",
            upgrade.id
        )),
        (Back::Rollback, false) => {
            refused(&format!("no data was touched yet: use `cutover abort {}`. {meaning}", upgrade.id))
        }
    }
}
