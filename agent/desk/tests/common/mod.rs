//! Orders and messages to tell a desk about.
#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot build its orders has failed")]

use cutover_desk::{Action, Desk, Entry, Event, Greeting, Host};
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage, Refusal, Say};
use cutover_vocabulary::order::StepId;
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::release::{Release, StagedRelease};
use cutover_vocabulary::storage::{Losses, Migrations, RecoveryItem, RecoveryPoint, StorageIdentity};
use cutover_vocabulary::{
    Digest, Elapsed, Epoch, Evidence, Failure, LedgerName, Order, OrderId, Outcome, Phase, Subject, Timestamp,
    UpgradeId, Version, Work,
};

pub(crate) fn host() -> Host {
    let instances = [("ledger-a", "prod"), ("ledger-b", "prod"), ("ledger-x", "other")];
    Host {
        agent: "agent-1".parse().unwrap(),
        instances: instances.into_iter().map(|(name, of)| (name.parse().unwrap(), of.parse().unwrap())).collect(),
    }
}

pub(crate) fn instance(name: &str) -> Subject {
    Subject::Instance(name.parse().unwrap())
}

pub(crate) fn ledger(name: &str) -> Subject {
    Subject::Ledger(LedgerName::new(name).unwrap())
}

pub(crate) fn order(upgrade: &str, stage: u16, subject: Subject, work: Work) -> Order {
    Order {
        id: OrderId {
            upgrade: upgrade.parse().unwrap(),
            step: StepId { stage, run: 1, subject },
            phase: Phase::Preflight,
            attempt: 1,
        },
        agent: "agent-1".parse().unwrap(),
        deployment: "prod".parse().unwrap(),
        work,
    }
}

pub(crate) fn inspect(upgrade: &str) -> Order {
    order(upgrade, 1, instance("ledger-a"), Work::Inspect)
}

pub(crate) fn storage() -> StorageIdentity {
    StorageIdentity::Sqlite {
        machine: "m".into(),
        directory: "/data".into(),
        device: 1,
        inode: 2,
        db_name: "numary".into(),
    }
}

pub(crate) fn staged() -> StagedRelease {
    StagedRelease {
        release: Release { version: Version::new(1, 4, 6), archive: Digest::of(b"archive") },
        binary: Digest::of(b"binary"),
        storage_commands: true,
    }
}

pub(crate) fn point(item: RecoveryItem) -> Box<RecoveryPoint> {
    Box::new(RecoveryPoint {
        item,
        place: "/points/1".into(),
        sha256: None,
        bytes: 0,
        digest: None,
        expected: None,
        losses: Losses::default(),
        migrations: Migrations(None),
        taken: Timestamp::from_millis(0),
        restore_took: Elapsed(0),
        mark: None,
    })
}

pub(crate) fn done() -> Outcome {
    Outcome::Done(Evidence::Switched { binary: Digest::of(b"binary") })
}

pub(crate) fn failure() -> Failure {
    Failure {
        kind: FailureKind::Interrupted,
        message: "stopped".into(),
        remedy: "none".into(),
        effect: Effect::Unknown,
    }
}

pub(crate) fn failed() -> Outcome {
    Outcome::Failed(failure())
}

pub(crate) fn heard(epoch: u64, say: Say) -> Event {
    Event::Heard(CoordinatorMessage { epoch: Epoch(epoch), say })
}

pub(crate) fn please(order: &Order) -> Event {
    heard(1, Say::Do(Box::new(order.clone())))
}

pub(crate) fn revoke(order: &Order) -> Event {
    heard(1, Say::Revoke(order.id.clone()))
}

pub(crate) fn acknowledge(order: &Order) -> Event {
    heard(1, Say::Acknowledge(order.id.clone()))
}

pub(crate) fn finished(order: &Order, outcome: Outcome) -> Event {
    Event::Finished { order: order.id.clone(), outcome }
}

pub(crate) fn taken_over(upgrade: &str) -> Event {
    Event::TakenOver { upgrade: upgrade.parse().unwrap(), note: "by hand".into() }
}

pub(crate) fn upgrade(name: &str) -> UpgradeId {
    name.parse().unwrap()
}

pub(crate) fn greeting() -> Greeting {
    Greeting { incarnation: "i".into(), machine: "m".into(), boot: "b".into(), instances: vec![] }
}

/// The leader whose epoch the desk knows takes a new link.
pub(crate) fn link_up(desk: &Desk) -> Event {
    heard(desk.epoch().0, Say::Welcome)
}

/// A desk under epoch 1 with a link that has said all it had to say.
pub(crate) fn desk() -> Desk {
    let (mut desk, actions) = Desk::restore(host(), [Entry::Epoch(Epoch(1))]);
    assert_eq!(actions, []);
    desk.handle(link_up(&desk));
    desk
}

/// A desk that has handled these events.
pub(crate) fn after(events: impl IntoIterator<Item = Event>) -> Desk {
    let mut desk = desk();
    for event in events {
        desk.handle(event);
    }
    desk
}

pub(crate) fn begin(order: &Order) -> Action {
    Action::Begin { order: Box::new(order.clone()), stopping: false }
}

pub(crate) fn accepted(order: &Order) -> Action {
    Action::Journal(Entry::Accepted(Box::new(order.clone())))
}

pub(crate) fn refused(order: &Order, why: Refusal) -> Action {
    Action::Send(AgentMessage::Refused { order: order.id.clone(), why })
}

pub(crate) fn outcome(order: &Order, outcome: Outcome) -> Action {
    Action::Send(AgentMessage::Outcome { order: order.id.clone(), content: order.content(), outcome })
}

/// The entries among some actions.
pub(crate) fn entries(actions: &[Action]) -> Vec<Entry> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Journal(entry) => Some(entry.clone()),
            Action::Begin { .. }
            | Action::Stop(_)
            | Action::Send(_)
            | Action::SendBack(_)
            | Action::Permitted { .. }
            | Action::TurnAway { .. } => None,
        })
        .collect()
}
