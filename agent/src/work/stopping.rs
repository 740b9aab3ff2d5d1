//! The note of a stop that is under way: what must outlive the agent between SIGTERM and the proof of drain.

use super::site::note;
use super::trouble::Trouble;
use crate::files;
use crate::service::{Running, Service};
use cutover_vocabulary::outcome::CleanEnd;
use cutover_vocabulary::{Failure, OrderId};
use serde::{Deserialize, Serialize};

/// The file of [`Stopping`] in the instance's folder.
const STOPPING: &str = "stopping.json";

/// What nobody else knows after a crash in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stopping {
    /// Under which fence.
    fence: u64,
    /// Which process was told to end; 0 where there was none, and its manager was to start it again later.
    pub(super) pid: u32,
    /// Its start, in ticks since boot.
    start: u64,
    /// Under which order, whose proof counts the connections that were there; a person who orders it again has seen them.
    order: OrderId,
    /// What those were.
    left: Left,
    /// How it ended, once it has.
    pub(super) end: End,
}

impl Stopping {
    /// What is known of the stop under that fence.
    pub(super) fn under(service: &Service, fence: u64) -> Result<Option<Self>, Trouble> {
        let stopping: Option<Self> = files::read_json(&note(service, STOPPING))?;
        Ok(stopping.filter(|stopping| stopping.fence == fence))
    }
    /// Before what it says is done, and before what it says is said.
    pub(super) fn write(&self, service: &Service) -> Result<(), Trouble> {
        Ok(files::write_json(&note(service, STOPPING), self)?)
    }
    /// What is noted before that process is told to end, where an earlier run may have noted one under the same fence.
    pub(super) fn of(record: &Running, fence: u64, order: &OrderId, left: Left, told: Option<Self>) -> Self {
        let process = match told {
            // Between an end and its manager's word on it no process is seen: what was told to end is told by then.
            Some(told) if record.pid == 0 && told.end == End::NotSeen => (told.pid, told.start),
            _ => (record.pid, record.start),
        };
        Self { fence, pid: process.0, start: process.1, order: order.clone(), left, end: End::NotSeen }
    }
    /// The connections that a proof under this order counts.
    pub(super) fn left_under(&self, order: &OrderId) -> Left {
        if self.order == *order { self.left } else { Left::default() }
    }
}

/// How a process ended that was told to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum End {
    /// Not seen yet. If it is gone when this is read, an agent was killed, or its patience was over, before it saw the end; the
    /// service's manager tells then.
    NotSeen,
    /// Well.
    Clean(CleanEnd),
    /// It had ended by itself before the signal.
    Before,
    /// Badly, seen under this order. The same order says so again after a crash; another one comes from a person who has
    /// seen this, and finds the instance down.
    Badly {
        /// Which order.
        order: Box<OrderId>,
        /// What it said.
        failure: Failure,
    },
}

/// Connections that were there when SIGTERM was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Left {
    /// With a request that may be under way.
    pub(super) active: u32,
    /// Without one.
    pub(super) idle: u32,
}
impl Left {
    /// What two runs of an order saw, of one process or of two: no request that was cut is forgotten.
    pub(super) fn or_more(self, other: Self) -> Self {
        Self { active: self.active.max(other.active), idle: self.idle.max(other.idle) }
    }
}

#[cfg(test)]
mod tests {
    use super::{End, Left, Stopping};
    use crate::service::Running;
    use cutover_vocabulary::order::StepId;
    use cutover_vocabulary::{OrderId, Phase, Subject};

    const FENCE: u64 = 3;

    fn process(pid: u32, start: u64) -> Running {
        Running { pid, start, program: None, address: None, starting: false, ending: false }
    }

    fn drain(attempt: u16) -> OrderId {
        let step = StepId { stage: 4, run: 0, subject: Subject::Instance("ledger-1".parse().unwrap()) };
        OrderId { upgrade: "upgrade".parse().unwrap(), step, phase: Phase::Drain, attempt }
    }

    /// As an agent left it that was killed right after its SIGTERM, beside clients that were busy.
    fn told(order: &OrderId) -> Stopping {
        Stopping::of(&process(12, 900), FENCE, order, Left { active: 2, idle: 5 }, None)
    }

    #[test]
    fn a_stop_that_goes_on_beside_an_automatic_start_is_of_the_process_that_was_told() {
        let order = drain(1);
        let waits = process(0, 0);
        let stopping = Stopping::of(&waits, FENCE, &order, Left::default(), Some(told(&order)));
        assert_eq!((stopping.pid, stopping.start), (12, 900));
        let seen = Stopping { end: End::Before, ..told(&order) };
        let stopping = Stopping::of(&waits, FENCE, &order, Left::default(), Some(seen));
        assert_eq!(stopping.pid, 0, "how that one ended is known");
    }

    #[test]
    fn what_was_cut_is_counted_by_every_run_of_the_order_and_by_no_later_one() {
        let order = drain(1);
        let left = told(&order).left_under(&order).or_more(Left { active: 0, idle: 7 });
        assert_eq!(left, Left { active: 2, idle: 7 });
        assert_eq!(told(&order).left_under(&drain(2)), Left::default());
    }
}
