//! Where an upgrade stands.

use super::plan::plan_digest;
use super::{maybe_moment, millis, moment, to_wire};
use crate::malformed::{Malformed, each, length, maybe, maybe_text, small, text, wanted, word};
use crate::v1 as pb;
use cutover_vocabulary::hold::HoldId;
use cutover_vocabulary::order::Epoch;
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::status::{InstanceStatus, LedgerStatus, Said, StageStatus, Status, WaitingFor};
use cutover_vocabulary::{Timestamp, Version};

impl From<StageStatus> for pb::StageStatus {
    fn from(status: StageStatus) -> Self {
        let StageStatus { number, stage, run, steps: (done, total), entered, left, failures } = status;
        Self {
            number: number.into(),
            stage: Some(stage.into()),
            run: run.into(),
            steps_done: done,
            steps_total: total,
            entered: entered.map(to_wire),
            left: left.map(to_wire),
            failures,
        }
    }
}
impl TryFrom<pb::StageStatus> for StageStatus {
    type Error = Malformed;
    fn try_from(wire: pb::StageStatus) -> Result<Self, Malformed> {
        Ok(Self {
            number: small("number", wire.number)?,
            stage: wanted("stage", wire.stage)?,
            run: small("run", wire.run)?,
            steps: (wire.steps_done, wire.steps_total),
            entered: maybe_moment("entered", wire.entered)?,
            left: maybe_moment("left", wire.left)?,
            failures: wire.failures,
        })
    }
}

impl From<WaitingFor> for pb::WaitingFor {
    fn from(waiting: WaitingFor) -> Self {
        use pb::waiting_for::What;
        let text = waiting.to_string();
        let what = match waiting {
            WaitingFor::Orders { orders, longest } => What::Orders(pb::WaitingForOrders {
                orders: orders.into_iter().map(Into::into).collect(),
                longest_ms: millis(longest),
            }),
            WaitingFor::Settlement { orders } => {
                What::Settlement(pb::WaitingForSettlement { orders: orders.into_iter().map(Into::into).collect() })
            }
            WaitingFor::Decision { hold } => What::Decision(pb::WaitingForDecision { hold: hold.0 }),
            WaitingFor::Resume => What::Resume(pb::WaitingForResume {}),
            WaitingFor::Agent { agent } => What::Agent(pb::WaitingForAgent { agent: agent.into() }),
        };
        Self { what: Some(what), text }
    }
}
impl TryFrom<pb::WaitingFor> for WaitingFor {
    type Error = Malformed;
    fn try_from(wire: pb::WaitingFor) -> Result<Self, Malformed> {
        use pb::waiting_for::What;
        match wire.what.ok_or_else(|| Malformed::here("it says nothing"))? {
            What::Orders(wire) => Ok(Self::Orders {
                orders: each("orders.orders", wire.orders)?,
                longest: length("orders.longest_ms", wire.longest_ms)?,
            }),
            What::Settlement(wire) => Ok(Self::Settlement { orders: each("settlement.orders", wire.orders)? }),
            What::Decision(wire) => Ok(Self::Decision { hold: HoldId(wire.hold) }),
            What::Resume(pb::WaitingForResume {}) => Ok(Self::Resume),
            What::Agent(wire) => Ok(Self::Agent { agent: text("agent.agent", &wire.agent)? }),
        }
    }
}

impl From<(Border, Timestamp)> for pb::CrossedBorder {
    fn from((border, at): (Border, Timestamp)) -> Self {
        Self { border: pb::Border::from(border).into(), at: Some(to_wire(at)) }
    }
}
impl TryFrom<pb::CrossedBorder> for (Border, Timestamp) {
    type Error = Malformed;
    fn try_from(wire: pb::CrossedBorder) -> Result<Self, Malformed> {
        Ok((word::<pb::Border, _>("border", wire.border)?, moment("at", wire.at)?))
    }
}

impl From<LedgerStatus> for pb::LedgerStatus {
    fn from(status: LedgerStatus) -> Self {
        let LedgerStatus { name, point, before, after, migrated, migrating, rehearsed, lost, restored } = status;
        Self {
            name: name.into(),
            point: point.map(Into::into),
            before: before.map(String::from),
            after: after.map(String::from),
            migrated_ms: migrated.map(millis),
            migrating_ms: migrating.map(millis),
            rehearsed_ms: rehearsed.map(millis),
            lost: Some(lost.into()),
            restored,
        }
    }
}
impl TryFrom<pb::LedgerStatus> for LedgerStatus {
    type Error = Malformed;
    fn try_from(wire: pb::LedgerStatus) -> Result<Self, Malformed> {
        Ok(Self {
            name: text("name", &wire.name)?,
            point: maybe("point", wire.point)?,
            before: maybe_text("before", wire.before.as_deref())?,
            after: maybe_text("after", wire.after.as_deref())?,
            migrated: wire.migrated_ms.map(|millis| length("migrated_ms", millis)).transpose()?,
            migrating: wire.migrating_ms.map(|millis| length("migrating_ms", millis)).transpose()?,
            rehearsed: wire.rehearsed_ms.map(|millis| length("rehearsed_ms", millis)).transpose()?,
            lost: wanted("lost", wire.lost)?,
            restored: wire.restored,
        })
    }
}

impl TryFrom<pb::Up> for (Timestamp, Version) {
    type Error = Malformed;
    fn try_from(wire: pb::Up) -> Result<Self, Malformed> {
        Ok((moment("at", wire.at)?, text("version", &wire.version)?))
    }
}
impl From<InstanceStatus> for pb::InstanceStatus {
    fn from(status: InstanceStatus) -> Self {
        let InstanceStatus { name, agent, down, up, stopping } = status;
        Self {
            name: name.into(),
            agent: agent.into(),
            down: down.map(to_wire),
            up: up.map(|(at, version)| pb::Up { at: Some(to_wire(at)), version: version.into() }),
            stopping: stopping.map(to_wire),
        }
    }
}
impl TryFrom<pb::InstanceStatus> for InstanceStatus {
    type Error = Malformed;
    fn try_from(wire: pb::InstanceStatus) -> Result<Self, Malformed> {
        Ok(Self {
            name: text("name", &wire.name)?,
            agent: text("agent", &wire.agent)?,
            down: maybe_moment("down", wire.down)?,
            up: maybe("up", wire.up)?,
            stopping: maybe_moment("stopping", wire.stopping)?,
        })
    }
}

impl From<Said> for pb::Said {
    fn from(said: Said) -> Self {
        let Said { at, by, reason } = said;
        Self { at: Some(to_wire(at)), by: by.into(), reason }
    }
}
impl TryFrom<pb::Said> for Said {
    type Error = Malformed;
    fn try_from(wire: pb::Said) -> Result<Self, Malformed> {
        Ok(Self { at: moment("at", wire.at)?, by: text("by", &wire.by)?, reason: wire.reason })
    }
}

impl From<Status> for pb::Status {
    fn from(status: Status) -> Self {
        let Status {
            id,
            deployment,
            plan,
            from,
            target,
            strategy,
            state,
            started: (started_at, started_by),
            stages,
            waiting_for,
            holds,
            borders,
            ledgers,
            system,
            instances,
            turned_back,
            paused,
            closed,
            runner,
            downtime,
            pause,
            close,
            end,
            seq,
            epoch,
            ended,
        } = status;
        Self {
            id: id.into(),
            deployment: deployment.into(),
            plan: plan.to_string(),
            from: from.into(),
            target: target.into(),
            strategy: pb::Strategy::from(strategy).into(),
            state: pb::State::from(state).into(),
            started_at: Some(to_wire(started_at)),
            started_by: started_by.map(String::from),
            stages: stages.into_iter().map(Into::into).collect(),
            waiting_for: waiting_for.map(Into::into),
            holds: holds.into_iter().map(Into::into).collect(),
            borders: borders.into_iter().map(Into::into).collect(),
            ledgers: ledgers.into_iter().map(Into::into).collect(),
            system: system.map(Into::into),
            instances: instances.into_iter().map(Into::into).collect(),
            turned_back,
            seq,
            epoch: epoch.0,
            ended: ended.map(to_wire),
            paused,
            closed: closed.map(to_wire),
            runner: runner.map(String::from),
            downtime_ms: downtime.map(millis),
            pause: pause.map(Into::into),
            close: close.map(Into::into),
            end: end.map(Into::into),
        }
    }
}
impl TryFrom<pb::Status> for Status {
    type Error = Malformed;
    fn try_from(wire: pb::Status) -> Result<Self, Malformed> {
        Ok(Self {
            id: text("id", &wire.id)?,
            deployment: text("deployment", &wire.deployment)?,
            plan: plan_digest("plan", &wire.plan)?,
            from: text("from", &wire.from)?,
            target: text("target", &wire.target)?,
            strategy: word::<pb::Strategy, _>("strategy", wire.strategy)?,
            state: word::<pb::State, _>("state", wire.state)?,
            started: (moment("started_at", wire.started_at)?, maybe_text("started_by", wire.started_by.as_deref())?),
            stages: each("stages", wire.stages)?,
            waiting_for: maybe("waiting_for", wire.waiting_for)?,
            holds: each("holds", wire.holds)?,
            borders: each("borders", wire.borders)?,
            ledgers: each("ledgers", wire.ledgers)?,
            system: maybe("system", wire.system)?,
            instances: each("instances", wire.instances)?,
            turned_back: wire.turned_back,
            paused: wire.paused,
            closed: maybe_moment("closed", wire.closed)?,
            runner: maybe_text("runner", wire.runner.as_deref())?,
            downtime: wire.downtime_ms.map(|millis| length("downtime_ms", millis)).transpose()?,
            pause: maybe("pause", wire.pause)?,
            close: maybe("close", wire.close)?,
            end: maybe("end", wire.end)?,
            seq: wire.seq,
            epoch: Epoch(wire.epoch),
            ended: maybe_moment("ended", wire.ended)?,
        })
    }
}

/// One line of a list; there is no way back, because most is left out.
impl From<&Status> for pb::UpgradeSummary {
    fn from(status: &Status) -> Self {
        Self {
            id: status.id.as_str().to_owned(),
            deployment: status.deployment.as_str().to_owned(),
            from: status.from.to_string(),
            target: status.target.to_string(),
            strategy: pb::Strategy::from(status.strategy).into(),
            state: pb::State::from(status.state).into(),
            started_at: Some(to_wire(status.started.0)),
            started_by: status.started.1.as_ref().map(|name| name.as_str().to_owned()),
            ended: status.ended.map(to_wire),
            waiting_for: status.waiting_for.as_ref().map(WaitingFor::to_string).unwrap_or_default(),
            seq: status.seq,
            downtime_ms: status.downtime.map(millis),
            quarantined: None,
        }
    }
}
