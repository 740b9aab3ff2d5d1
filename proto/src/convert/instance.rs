//! Instances as their agents report them.

use super::{moment, to_wire};
use crate::malformed::{Malformed, each, maybe_text, text, wanted, word};
use crate::v1 as pb;
use cutover_vocabulary::instance::{Drift, InstanceReport, RunState};

impl From<RunState> for pb::RunState {
    fn from(state: RunState) -> Self {
        let state = match state {
            RunState::Running { pid } => pb::run_state::State::Running(pb::Running { pid }),
            RunState::Stopped => pb::run_state::State::Stopped(pb::Stopped {}),
            RunState::Unknown { why } => pb::run_state::State::Unknown(pb::UnknownRun { why }),
        };
        Self { state: Some(state) }
    }
}
impl TryFrom<pb::RunState> for RunState {
    type Error = Malformed;
    fn try_from(wire: pb::RunState) -> Result<Self, Malformed> {
        match wire.state.ok_or_else(|| Malformed::here("it says nothing"))? {
            pb::run_state::State::Running(pb::Running { pid }) => Ok(Self::Running { pid }),
            pb::run_state::State::Stopped(pb::Stopped {}) => Ok(Self::Stopped),
            pb::run_state::State::Unknown(pb::UnknownRun { why }) => Ok(Self::Unknown { why }),
        }
    }
}

impl From<Drift> for pb::Drift {
    fn from(Drift { kind, allowed, found }: Drift) -> Self {
        Self { kind: pb::DriftKind::from(kind).into(), allowed, found }
    }
}
impl TryFrom<pb::Drift> for Drift {
    type Error = Malformed;
    fn try_from(pb::Drift { kind, allowed, found }: pb::Drift) -> Result<Self, Malformed> {
        Ok(Self { kind: word::<pb::DriftKind, _>("kind", kind)?, allowed, found })
    }
}

impl From<InstanceReport> for pb::InstanceReport {
    fn from(report: InstanceReport) -> Self {
        let InstanceReport {
            instance,
            deployment,
            run,
            running,
            on_disk,
            fenced,
            fenced_by,
            fence,
            manager,
            observe_only,
            at,
            drift,
            missing_guard,
        } = report;
        Self {
            instance: instance.into(),
            deployment: deployment.into(),
            run: Some(run.into()),
            running: running.map(String::from),
            on_disk: on_disk.map(String::from),
            fenced,
            fenced_by,
            fence,
            manager: pb::Manager::from(manager).into(),
            at: Some(to_wire(at)),
            observe_only,
            drift: drift.into_iter().map(Into::into).collect(),
            missing_guard,
        }
    }
}
impl TryFrom<pb::InstanceReport> for InstanceReport {
    type Error = Malformed;
    fn try_from(wire: pb::InstanceReport) -> Result<Self, Malformed> {
        Ok(Self {
            instance: text("instance", &wire.instance)?,
            deployment: text("deployment", &wire.deployment)?,
            run: wanted("run", wire.run)?,
            running: maybe_text("running", wire.running.as_deref())?,
            on_disk: maybe_text("on_disk", wire.on_disk.as_deref())?,
            fenced: wire.fenced,
            fenced_by: wire.fenced_by,
            fence: wire.fence,
            manager: word::<pb::Manager, _>("manager", wire.manager)?,
            at: moment("at", wire.at)?,
            observe_only: wire.observe_only,
            drift: each("drift", wire.drift)?,
            missing_guard: wire.missing_guard,
        })
    }
}
