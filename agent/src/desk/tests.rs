//! What the desk's task promises when the disk is full.

use super::*;
use crate::journal::FILE;
use async_trait::async_trait;
use cutover_desk::Host;
use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::link::Permit;
use cutover_vocabulary::order::StepId;
use cutover_vocabulary::survey::{HostSurvey, ReleaseProblem, SurveyAsk};
use cutover_vocabulary::{Digest, Epoch, Evidence, InstanceName, Phase, Subject, Work};

struct Quick;

fn done() -> Outcome {
    Outcome::Done(Evidence::Switched { binary: Digest::of(b"binary") })
}

#[async_trait]
impl Perform for Quick {
    async fn perform(&self, _: &Order, _: CancellationToken) -> Outcome {
        done()
    }
    async fn survey(&self, ask: &SurveyAsk) -> HostSurvey {
        HostSurvey {
            about: None,
            agent: "agent-1".parse().unwrap(),
            machine: String::new(),
            instances: vec![],
            target: Err(ReleaseProblem::Missing { version: ask.target.clone(), place: String::new() }),
        }
    }
    async fn observe(&self) -> Vec<InstanceReport> {
        vec![]
    }

    async fn permitted(&self, _: Epoch, _: &BTreeMap<InstanceName, Permit>) -> bool {
        true
    }
}

fn order() -> Order {
    Order {
        id: OrderId {
            upgrade: "upgrade".parse().unwrap(),
            step: StepId { stage: 1, run: 1, subject: Subject::Instance("ledger-a".parse().unwrap()) },
            phase: Phase::Preflight,
            attempt: 1,
        },
        agent: "agent-1".parse().unwrap(),
        deployment: "prod".parse().unwrap(),
        work: Work::Inspect,
    }
}

fn link() -> (LinkEnd, mpsc::Receiver<AgentMessage>) {
    let (out, messages) = mpsc::channel(16);
    let endpoint = Arc::new("unix:/run/c.sock".parse().unwrap());
    (LinkEnd { out, cut: CancellationToken::new(), endpoint }, messages)
}

fn heard_over(link: &LinkEnd, epoch: u64, say: Say) -> ToDesk {
    ToDesk::Heard { message: CoordinatorMessage { epoch: Epoch(epoch), say }, link: link.clone() }
}

/// Over the link that stands.
fn heard(task: &DeskTask, say: Say) -> ToDesk {
    heard_over(task.link.as_ref().unwrap(), 0, say)
}

async fn linked(folder: &tempfile::TempDir) -> (DeskTask, mpsc::Receiver<AgentMessage>) {
    let (journal, entries) = Journal::open(&folder.path().join(FILE)).await.unwrap();
    let instances = [("ledger-a".parse().unwrap(), "prod".parse().unwrap())].into_iter().collect();
    let (desk, _) = Desk::restore(Host { agent: "agent-1".parse().unwrap(), instances }, entries);
    let mut task =
        DeskTask::new(desk, journal, Arc::new(Quick), Pace::default(), Arc::default(), watch::channel(None).0);
    let (link, messages) = link();
    task.told(heard_over(&link, 0, Say::Welcome)).await;
    (task, messages)
}

/// Leaves no room for anything.
async fn fill(journal: &mut Journal) {
    journal.pretend_full(true).await;
    for n in 0..10_000 {
        let entry =
            cutover_desk::Entry::TakenOver { upgrade: format!("other-{n}").parse().unwrap(), note: String::new() };
        if journal.append(&[entry]).await.is_err() {
            return;
        }
    }
    panic!("never full");
}

#[tokio::test]
async fn on_a_full_disk_no_order_is_begun_its_giver_is_told_and_it_is_begun_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let (mut task, _messages) = linked(&folder).await;
    fill(&mut task.journal).await;
    let message = heard(&task, Say::Do(Box::new(order())));
    task.told(message).await;
    assert!(task.work.is_empty(), "what is not on disk is not begun");
    let [AgentMessage::Refused { why: Refusal::Conflicts(why), .. }] = task.unsent.make_contiguous() else {
        panic!("{:?}", task.unsent)
    };
    assert!(why.contains("no room to write the journal"), "{why}");
    task.look_again().await;
    assert!(task.work.is_empty());

    task.journal.pretend_full(false).await;
    task.look_again().await;
    assert_eq!(task.work.len(), 1, "it was not lost");
}

#[tokio::test]
async fn on_a_full_disk_an_outcome_is_neither_sent_nor_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (mut task, _messages) = linked(&folder).await;
    let message = heard(&task, Say::Do(Box::new(order())));
    task.told(message).await;
    let ended = task.work.join_next_with_id().await.unwrap();
    fill(&mut task.journal).await;
    task.ended(ended).await;
    let message = heard(&task, Say::Revoke(order().id));
    task.told(message).await;
    assert_eq!(task.unsent, [], "what is not on disk is not sent");

    task.journal.pretend_full(false).await;
    task.look_again().await;
    assert!(task.waiting.is_empty());
    let outcome = AgentMessage::Outcome { order: order().id, content: order().content(), outcome: done() };
    assert_eq!(task.unsent.front(), Some(&outcome), "and in the order in which things happened");
}

#[tokio::test]
async fn a_coordinator_that_does_not_read_loses_its_link_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (mut task, _messages) = linked(&folder).await;
    let link = task.link.clone().unwrap();
    let message = heard(&task, Say::Do(Box::new(order())));
    task.told(message).await;
    let ended = task.work.join_next_with_id().await.unwrap();
    task.ended(ended).await;
    for _ in 0..=UNSENT {
        task.told(heard_over(&link, 0, Say::Do(Box::new(order())))).await;
    }
    assert!(link.cut.is_cancelled());
    assert!(task.desk.owes_answers(), "the outcome is said on the next link");
}

#[tokio::test]
async fn what_came_of_orders_goes_to_the_leader_that_was_welcomed_under_the_highest_epoch_whoever_gave_them() {
    let folder = tempfile::tempdir().unwrap();
    let (mut task, _messages) = linked(&folder).await;
    let former = task.link.clone().unwrap();
    let message = heard(&task, Say::Do(Box::new(order())));
    task.told(message).await;
    let (leader, _told) = link();
    task.told(heard_over(&leader, 5, Say::Welcome)).await;
    let ended = task.work.join_next_with_id().await.unwrap();
    task.ended(ended).await;
    let outcome = AgentMessage::Outcome { order: order().id, content: order().content(), outcome: done() };
    assert_eq!((task.unsent.make_contiguous(), task.link.as_ref().unwrap().is(&leader)), (&mut [outcome][..], true));
    assert!(!former.cut.is_cancelled(), "its coordinator may follow now, and the link is of use");

    // The end of a link that does not lead changes nothing.
    task.told(ToDesk::LinkDown(former)).await;
    assert_eq!((task.unsent.len(), task.link.is_some()), (1, true));
    task.told(ToDesk::LinkDown(leader)).await;
    assert_eq!((task.unsent.len(), task.link.is_none(), task.desk.owes_answers()), (0, true, true));
}

#[tokio::test]
async fn a_leader_of_the_past_hears_on_its_own_link_that_it_is_refused_and_the_present_one_hears_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut task, mut told_former) = linked(&folder).await;
    let former = task.link.clone().unwrap();
    let (leader, _told) = link();
    task.told(heard_over(&leader, 5, Say::Welcome)).await;
    task.told(heard_over(&former, 0, Say::Do(Box::new(order())))).await;
    let why = Refusal::OldEpoch { sent: Epoch(0), known: Epoch(5) };
    assert_eq!(told_former.try_recv(), Ok(AgentMessage::Refused { order: order().id, why }));
    assert_eq!((&task.unsent, task.work.len()), (&VecDeque::new(), 0));
}

#[tokio::test]
async fn a_link_that_is_welcomed_under_an_older_epoch_is_cut_and_the_leaders_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (mut task, _messages) = linked(&folder).await;
    let (leader, _told) = link();
    task.told(heard_over(&leader, 5, Say::Welcome)).await;
    let (late, _told_late) = link();
    task.told(heard_over(&late, 4, Say::Welcome)).await;
    assert!(late.cut.is_cancelled() && !leader.cut.is_cancelled());
    assert!(task.link.as_ref().unwrap().is(&leader));
}
