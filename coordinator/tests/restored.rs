//! A store that was restored from a backup knows less than the agents: what it does not know is not led.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod support;

use cutover_coordinator::faults::{NoFaults, Point};
use cutover_coordinator::raise_epochs;
use cutover_coordinator::settings::StorePlace;
use cutover_proto::{Code, Refused, v1 as pb};
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::link::Permit;
use cutover_vocabulary::status::State;
use cutover_vocabulary::{Elapsed, Phase};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::host::{NEW, Seen, database};
use support::{FakeAgent, Manners, Site, StopAt, until};

/// The files of a SQLite store, kept and put back as a person does it.
struct Backup {
    folder: tempfile::TempDir,
    of: PathBuf,
}
impl Backup {
    fn files(folder: &Path) -> Vec<PathBuf> {
        let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("c.db")).collect()
    }
    /// The database's own thread ends a moment after its coordinator, in this process, and moves what was written last from one file
    /// to another.
    async fn until_closed(of: &Path) {
        let store = of.canonicalize().unwrap().join("c.db");
        let open = || {
            let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
            let mut files = files.filter_map(|file| std::fs::read_link(file.path()).ok());
            files.any(|file| file.to_string_lossy().starts_with(&*store.to_string_lossy()))
        };
        until("the store to be closed", || async { (!open()).then_some(()) }).await;
    }
    async fn take(of: &Path) -> Self {
        Self::until_closed(of).await;
        let folder = tempfile::tempdir().unwrap();
        for file in Self::files(of) {
            std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
        Self { folder, of: of.to_owned() }
    }
    /// Leads above every epoch that was given meanwhile, as docs/recovery.md has it.
    async fn put_back(&self, given: cutover_vocabulary::Epoch) {
        Self::until_closed(&self.of).await;
        Self::files(&self.of).iter().for_each(|file| std::fs::remove_file(file).unwrap());
        for file in Self::files(self.folder.path()) {
            std::fs::copy(&file, self.of.join(file.file_name().unwrap())).unwrap();
        }
        raise_epochs(&StorePlace::Sqlite(self.of.join("c.db")), given).await.unwrap();
    }
}

fn appends(point: &Point) -> bool {
    matches!(point, Point::AfterAppend { .. })
}

/// Keeps nothing of Drain back, so that its order stays in hand.
fn ignores_drain() -> Manners {
    Manners { ignores: Some(Phase::Drain), ..Manners::default() }
}

/// A Drain order, and nothing else: what it did before is acknowledged.
async fn has_drain_in_hand(agent: &FakeAgent) {
    until("the agent to have a Drain order alone in hand", || async {
        let journal = agent.journal.lock().unwrap();
        let mut in_hand = journal.orders.iter().filter(|(_, entry)| !entry.acknowledged);
        let drain = in_hand.next().is_some_and(|(order, _)| order.phase == Phase::Drain);
        (drain && in_hand.next().is_none()).then_some(())
    })
    .await;
}

async fn has_nothing_in_hand(agent: &FakeAgent) {
    until("all that the agent did to be acknowledged", || async {
        agent.journal.lock().unwrap().orders.values().all(|entry| entry.acknowledged).then_some(())
    })
    .await;
}

async fn refusal(site: &Site, upgrade: &str) -> Refused {
    until("the upgrade to be left alone", || async {
        let asked = pb::GetUpgradeRequest { upgrade: upgrade.to_owned() };
        let refused = site.client().upgrades.get(asked).await.err()?;
        Refused::of(&refused).filter(|refused| refused.code == Code::Quarantined)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_of_which_an_agent_has_more_than_a_restored_store_is_not_led() {
    let site = Site::sqlite();
    // The start is stored, and nothing was ordered.
    let faults = StopAt::new(1, appends);
    let first = site.coordinator_at("c-1", &site.endpoint, faults.clone()).await;
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), ignores_drain());
    let client = site.client();
    let starting = tokio::spawn(async move { client.begin().await });
    faults.stopped.notified().await;
    first.kill().await;
    let backup = Backup::take(site.dir.path()).await;

    let second = site.coordinator().await;
    let upgrade = starting.await.unwrap();
    has_drain_in_hand(&agent).await;
    second.kill().await;
    let (given, links) = {
        let journal = agent.journal.lock().unwrap();
        (journal.orders.clone(), journal.links)
    };
    let epoch = agent.journal.lock().unwrap().epoch;
    backup.put_back(epoch).await;

    let third = site.coordinator_at("c-3", &site.endpoint, Arc::new(NoFaults)).await;
    let refused = refusal(&site, &upgrade).await;
    for says in ["host-a has order", "/drain/", "does not know", "backup"] {
        assert!(refused.message.contains(says), "{refused}");
    }
    assert!(refused.remedy.contains("restore the newest store") && refused.remedy.contains("takeover"), "{refused}");
    let listed = site.client().upgrades.list(pb::ListUpgradesRequest::default()).await.unwrap().into_inner().upgrades;
    assert!(listed[0].waiting_for.contains("quarantined, not led"), "{listed:?}");

    // Nothing is decided and nothing is ordered any more, also where the agent comes again.
    let stored = site.facts(&upgrade).await.len();
    agent.break_link.lock().unwrap().cancel();
    until("another link", || async { (agent.journal.lock().unwrap().links > links + 1).then_some(()) }).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(site.facts(&upgrade).await.len(), stored);
    {
        let journal = agent.journal.lock().unwrap();
        assert_eq!(journal.violations, Vec::<String>::new());
        assert!(journal.orders.keys().eq(given.keys()), "it was given {:?}", journal.orders.keys());
    }
    let planned = site.client().plan("plan-9").await.unwrap_err();
    assert_eq!(planned.code, Code::Quarantined, "{planned}");
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_upgrade_that_a_restored_store_never_heard_of_nothing_is_begun_in_its_deployment() {
    let site = Site::sqlite();
    let first = site.coordinator().await;
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), ignores_drain());
    site.client().plan("plan-0").await.unwrap();
    first.stop().await;
    let backup = Backup::take(site.dir.path()).await;

    let second = site.coordinator().await;
    let upgrade = site.client().begin().await;
    has_drain_in_hand(&agent).await;
    second.stop().await;
    let epoch = agent.journal.lock().unwrap().epoch;
    backup.put_back(epoch).await;

    let third = site.coordinator().await;
    let refused = refusal(&site, &upgrade).await;
    assert!(refused.message.contains("holds nothing of this upgrade"), "{refused}");
    let planned = site.client().plan("plan-9").await.unwrap_err();
    assert!(planned.code == Code::Quarantined && planned.message.contains(&upgrade), "{planned}");
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_of_which_nothing_is_missing_is_led_on() {
    let site = Site::sqlite();
    let first = site.coordinator().await;
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), ignores_drain());
    let upgrade = site.client().begin().await;
    has_drain_in_hand(&agent).await;
    first.kill().await;
    let backup = Backup::take(site.dir.path()).await;
    let epoch = agent.journal.lock().unwrap().epoch;
    backup.put_back(epoch).await;
    let second = site.coordinator().await;
    until("a link under the next epoch", || async { (agent.journal.lock().unwrap().epoch > epoch).then_some(()) })
        .await;
    assert_eq!(site.client().status(&upgrade).await.state, State::Running);
    second.stop().await;
}

/// All of it was acknowledged, so nothing of it is in hand; and one host was off meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn after_the_loss_of_an_upgrade_that_had_ended_nobody_may_start_what_it_replaced() {
    let mut site = Site::sqlite();
    site.limits.agent_lost = Elapsed::from_secs(600);
    let host = |name: &'static str, seen: Seen, journal| {
        let seen = Seen { instances: vec![name], storage: database(), ..seen };
        FakeAgent::named(&site.endpoint, seen, Manners::default(), name, &format!("inc-{name}"), journal)
    };
    let may_start = |agent: &FakeAgent| agent.journal.lock().unwrap().permits.values().any(|it| *it == Permit::Start);
    let first = site.coordinator().await;
    let a = host("a", Seen::default(), Arc::default());
    until("a to be known", || async { may_start(&a).then_some(()) }).await;
    first.stop().await;
    let backup = Backup::take(site.dir.path()).await;

    let second = site.coordinator().await;
    let upgrade = site.client().begin().await;
    site.client().reaches(&upgrade, State::Completed).await;
    has_nothing_in_hand(&a).await;
    second.stop().await;
    let journal = a.journal.clone();
    drop(a);
    let epoch = journal.lock().unwrap().epoch;
    backup.put_back(epoch).await;
    journal.lock().unwrap().permits.clear();

    let third = site.coordinator().await;
    let a = host("a", Seen::three_at(NEW, 6), journal);
    until("a may start", || async { may_start(&a).then_some(()) }).await;
    let off = host("c", Seen::default(), Arc::default());
    until("a word", || async { (off.journal.lock().unwrap().words > 0).then_some(()) }).await;
    assert!(off.journal.lock().unwrap().permits.is_empty(), "{:?}", off.journal.lock().unwrap().permits);
    // A person brings it to what the others have.
    drop(off);
    let back = host("c", Seen::three_at(NEW, 6), Arc::default());
    until("c may start", || async { may_start(&back).then_some(()) }).await;
    third.stop().await;
}

/// Its hold would offer to restore what came long before.
#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_upgrade_of_a_restored_store_that_an_agent_has_gone_past_is_a_persons_to_close() {
    gone_past(Manners::default()).await;
}

/// The later one is not led for that order; the earlier one must not be gone on with either.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_holds_where_the_agent_has_an_order_of_the_later_one_in_hand() {
    gone_past(ignores_drain()).await;
}

/// `later` is how the agent treats the upgrade that the restored store does not know.
async fn gone_past(later: Manners) {
    let site = Site::sqlite();
    let host = |manners, journal| FakeAgent::named(&site.endpoint, Seen::default(), manners, "a", "inc", journal);
    let first = site.coordinator().await;
    let a = host(Manners { fails: Some(Phase::Migrate), ..Manners::default() }, Arc::default());
    let upgrade = site.client().begin().await;
    let held = site.client().reaches(&upgrade, State::Held).await;
    first.stop().await;
    let journal = a.journal.clone();
    drop(a);
    let backup = Backup::take(site.dir.path()).await;

    let second = site.coordinator().await;
    let a = host(Manners::default(), journal.clone());
    for hold in held.holds {
        let asked = pb::DecideRequest {
            upgrade: upgrade.clone(),
            hold: hold.id.0,
            choice: pb::Choice::Retry.into(),
            reason: "again".to_owned(),
            request_id: format!("retry-{}", hold.id.0),
            operator: "ops".to_owned(),
        };
        until("the retry", || async { site.client().upgrades.decide(asked.clone()).await.ok() }).await;
    }
    site.client().reaches(&upgrade, State::Completed).await;
    has_nothing_in_hand(&a).await;
    drop(a);
    let a = host(later, journal.clone());
    let leaves_in_hand = later.ignores.is_some();
    let later = site.client().begin_again().await;
    if leaves_in_hand {
        has_drain_in_hand(&a).await;
    } else {
        site.client().reaches(&later, State::Completed).await;
        has_nothing_in_hand(&a).await;
    }
    second.stop().await;
    drop(a);
    let epoch = journal.lock().unwrap().epoch;
    backup.put_back(epoch).await;

    let given = journal.lock().unwrap().orders.len();
    let third = site.coordinator().await;
    let a = host(Manners::default(), journal);
    until("it is a person's", || async {
        let status = site.client().status(&upgrade).await;
        let over = |hold: &cutover_vocabulary::Hold| {
            matches!(&hold.reason, HoldReason::TakenOver { note, .. } if note.contains(&later))
        };
        status.holds.iter().any(over).then_some(())
    })
    .await;
    assert_eq!(a.journal.lock().unwrap().orders.len(), given);
    let close = pb::SteerRequest {
        upgrade: upgrade.clone(),
        reason: "it was completed, and one after it".to_owned(),
        request_id: "close-1".to_owned(),
        operator: "ops".to_owned(),
    };
    site.client().upgrades.close(close).await.unwrap();
    site.client().reaches(&upgrade, State::TakenOver).await;
    third.stop().await;
}
