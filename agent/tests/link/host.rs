//! A host that does as it is told: the instance's name says how an order ends.

use async_trait::async_trait;
use cutover_agent::perform::Perform;
use cutover_vocabulary::instance::{InstanceReport, Manager, RunState};
use cutover_vocabulary::link::Permit;
use cutover_vocabulary::order::StepId;
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::survey::{HostSurvey, ReleaseProblem, SurveyAsk};
use cutover_vocabulary::{
    Digest, Epoch, Evidence, Failure, InstanceName, Order, OrderId, Outcome, Phase, Subject, Timestamp, Work,
};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn order(upgrade: &str, stage: u16, instance: &str) -> Order {
    Order {
        id: OrderId {
            upgrade: upgrade.parse().unwrap(),
            step: StepId { stage, run: 1, subject: Subject::Instance(instance.parse().unwrap()) },
            phase: Phase::Preflight,
            attempt: 1,
        },
        agent: "agent-1".parse().unwrap(),
        deployment: "prod".parse().unwrap(),
        work: Work::Inspect,
    }
}

pub(crate) fn done() -> Outcome {
    Outcome::Done(Evidence::Switched { binary: Digest::of(b"binary") })
}

#[derive(Debug, Default)]
struct Seen {
    performed: Vec<OrderId>,
    stops: Vec<CancellationToken>,
    observed: u32,
    permitted: Vec<(Epoch, Vec<InstanceName>)>,
    released: bool,
    looks_fail: bool,
}

/// `quick` is done at once, `slow` when it is released or stopped, `panics` never.
#[derive(Debug)]
pub(crate) struct FakeHost {
    seen: watch::Sender<u64>,
    state: Mutex<Seen>,
}

impl Default for FakeHost {
    fn default() -> Self {
        Self { seen: watch::channel(0).0, state: Mutex::default() }
    }
}

impl FakeHost {
    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.state.lock().unwrap());
        self.seen.send_modify(|turn| *turn += 1);
    }

    async fn until(&self, condition: impl Fn(&Seen) -> bool) {
        let mut turns = self.seen.subscribe();
        let reached = turns.wait_for(|_| condition(&self.state.lock().unwrap()));
        tokio::time::timeout(DEADLINE, reached).await.expect("in time").unwrap();
    }

    /// Every call of `perform`, in order.
    pub(crate) fn performed(&self) -> Vec<OrderId> {
        self.state.lock().unwrap().performed.clone()
    }

    pub(crate) fn stops(&self) -> Vec<CancellationToken> {
        self.state.lock().unwrap().stops.clone()
    }

    pub(crate) async fn begun(&self, order: &OrderId) {
        self.until(|seen| seen.performed.contains(order)).await;
    }

    pub(crate) async fn observed(&self) {
        self.until(|seen| seen.observed > 0).await;
    }

    /// Waits for a word on what an instance may do.
    pub(crate) async fn permitted(&self, epoch: u64, instance: &str) {
        let word = (Epoch(epoch), vec![instance.parse().unwrap()]);
        self.until(|seen| seen.permitted.contains(&word)).await;
    }

    /// Each look at the instances panics from now on, or none does.
    pub(crate) fn fail_looks(&self, fail: bool) {
        self.change(|seen| seen.looks_fail = fail);
    }

    pub(crate) fn release(&self) {
        self.change(|seen| seen.released = true);
    }
}

#[async_trait]
impl Perform for FakeHost {
    async fn perform(&self, order: &Order, stop: CancellationToken) -> Outcome {
        self.change(|seen| {
            seen.performed.push(order.id.clone());
            seen.stops.push(stop.clone());
        });
        let Subject::Instance(instance) = &order.id.step.subject else { panic!("orders here are about instances") };
        match instance.as_str() {
            "quick" => done(),
            "slow" => tokio::select! {
                () = stop.cancelled() => Outcome::Failed(Failure {
                    kind: FailureKind::Interrupted,
                    message: "stopped".to_owned(),
                    remedy: "none".to_owned(),
                    effect: Effect::None,
                }),
                () = self.until(|seen| seen.released) => done(),
            },
            other => panic!("{other}: a test wants it"),
        }
    }

    async fn survey(&self, ask: &SurveyAsk) -> HostSurvey {
        HostSurvey {
            about: None,
            agent: "agent-1".parse().unwrap(),
            machine: "machine-1".to_owned(),
            instances: vec![],
            target: Err(ReleaseProblem::Missing { version: ask.target.clone(), place: "nowhere".to_owned() }),
        }
    }

    async fn observe(&self) -> Vec<InstanceReport> {
        self.change(|seen| seen.observed += 1);
        assert!(!self.state.lock().unwrap().looks_fail, "a look that fails: a test wants it");
        vec![InstanceReport {
            drift: Vec::new(),
            missing_guard: String::new(),
            instance: "quick".parse().unwrap(),
            deployment: "prod".parse().unwrap(),
            run: RunState::Stopped,
            running: None,
            on_disk: None,
            fenced: false,
            fence: 0,
            manager: Manager::Process,
            observe_only: false,
            fenced_by: String::new(),
            at: Timestamp::from_millis(0),
        }]
    }

    /// What `slow` may do takes until it is released.
    async fn permitted(&self, epoch: Epoch, permits: &BTreeMap<InstanceName, Permit>) -> bool {
        self.change(|seen| seen.permitted.push((epoch, permits.keys().cloned().collect())));
        if permits.keys().any(|instance| instance.as_str() == "slow") {
            self.until(|seen| seen.released).await;
        }
        true
    }
}
