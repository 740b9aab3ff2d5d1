//! Storage work in worker processes: the whole way there, the way back, and workers that die on it.

use crate::support::{Bed, instance, kill, ledger, source, target, until};
use cutover_agent::local::{self, LocalCommand};
use cutover_agent::perform::Perform as _;
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::phase::{Phase, Subject};
use cutover_vocabulary::release::StagedRelease;
use cutover_vocabulary::storage::{Migrations, RecoveryItem, RecoveryPoint, Section, StorageIdentity};
use cutover_vocabulary::{Elapsed, Evidence, LedgerName, Order, Outcome, Work};
use tokio_util::sync::CancellationToken;

const LEDGERS: [&str; 2] = ["main", "other"];
const PATIENCE: Elapsed = Elapsed(10_000);

fn ledgers() -> Vec<LedgerName> {
    LEDGERS.map(ledger).to_vec()
}
fn after() -> Migrations {
    Migrations(Some(vec![0, 1, 2, 3, 4, 5, 6]))
}

/// An upgrade as far as its storage is quiet.
struct Quiet {
    bed: Bed,
    target: StagedRelease,
    storage: StorageIdentity,
}

async fn quiet() -> Quiet {
    let bed = Bed::new("").await;
    bed.serve().await;
    for name in LEDGERS {
        bed.seed(name, 5);
    }
    let target = bed.staged().await;
    let storage = bed.identity().await;
    bed.instance(Phase::Drain, Work::Drain { patience: PATIENCE, for_good: false }).await.unwrap();
    Quiet { bed, target, storage }
}

impl Quiet {
    async fn secure(&self, item: RecoveryItem) -> RecoveryPoint {
        let work = Work::Secure { item, storage: self.storage.clone(), lossy: true, serving: false };
        match self.bed.run(Phase::Secure, Subject::Storage, work).await {
            Ok(Evidence::Secured(point)) => *point,
            other => panic!("{other:?}"),
        }
    }
    async fn register(&self) -> Result<Evidence, cutover_vocabulary::Failure> {
        let work = Work::Register {
            target: self.target.clone(),
            ledgers: ledgers(),
            storage: self.storage.clone(),
            serving: false,
        };
        self.bed.run(Phase::Migrate, Subject::Storage, work).await
    }
    fn migrate(&self, name: &str, expected: Migrations) -> Order {
        let work = Work::Migrate {
            target: self.target.clone(),
            storage: self.storage.clone(),
            expected,
            mark: None,
            apart: false,
            serving: false,
        };
        self.bed.order(Phase::Migrate, Subject::Ledger(ledger(name)), work)
    }
    /// What the migrated ledger records: asked of the simulator once, so that this test does not repeat its numbers.
    async fn expected(&self) -> Migrations {
        match self.bed.outcome(&self.migrate("main", after())).await {
            Outcome::Done(Evidence::Migrated(done)) => done.migrations,
            Outcome::Failed(failure) => {
                let text = failure.message.split("records migrations ").nth(1).unwrap_or_else(|| panic!("{failure:?}"));
                let numbers = text.split(',').next().unwrap().split_whitespace();
                Migrations(Some(numbers.map(|number| number.parse().unwrap()).collect()))
            }
            Outcome::Done(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_storage_goes_the_whole_way_and_serves_on_the_target() {
    let bed = Bed::new("").await;
    bed.serve().await;
    for name in LEDGERS {
        bed.seed(name, 5);
    }
    let survey = bed.survey().await;
    assert_eq!(survey.target.as_ref().map(|release| release.version.clone()), Ok(target()));
    let storage = survey.instances[0].storage.clone().unwrap();
    assert_eq!(storage.ledgers.iter().map(|ledger| ledger.name.clone()).collect::<Vec<_>>(), ledgers());
    assert!(storage.ledgers.iter().all(|ledger| ledger.losses.count > 0 && ledger.bad_rows.is_empty()), "{storage:?}");
    assert_eq!((storage.strangers.len(), &storage.read_only), (0, &None), "{storage:?}");

    let staged = bed.staged().await;
    let work = Work::Rehearse { target: staged.clone(), ledgers: ledgers() };
    match bed.run(Phase::Rehearse, Subject::Storage, work).await.unwrap() {
        Evidence::Rehearsed(rehearsal) => {
            assert_eq!((rehearsal.took.len(), rehearsal.difference_count), (2, 0), "{rehearsal:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read_dir(bed.dir.path().join("state/scratch")).unwrap().count(), 0, "the copy is gone");

    bed.instance(Phase::Drain, Work::Drain { patience: PATIENCE, for_good: false }).await.unwrap();
    let work = Work::AttestStorage { storage: storage.identity.clone() };
    match bed.run(Phase::ConfirmDrained, Subject::Storage, work).await.unwrap() {
        Evidence::StorageAttested(attested) => {
            assert_eq!((attested.ledgers, attested.openers.len()), (ledgers(), 0));
        }
        other => panic!("{other:?}"),
    }
    let quiet = Quiet { bed, target: staged, storage: storage.identity };
    let system = quiet.secure(RecoveryItem::System).await;
    assert_eq!(system.sha256, None, "1.3.1 keeps no system store");
    let mut points = Vec::new();
    for name in LEDGERS {
        points.push(quiet.secure(RecoveryItem::Ledger(ledger(name))).await);
    }
    assert_eq!(quiet.secure(RecoveryItem::Ledger(ledger("main"))).await, points[0], "again: the same point");
    quiet.register().await.unwrap();
    let expected = quiet.expected().await;
    for name in LEDGERS {
        let outcome = quiet.bed.outcome(&quiet.migrate(name, expected.clone())).await;
        assert!(matches!(outcome, Outcome::Done(Evidence::Migrated(_))), "{outcome:?}");
    }
    match quiet.bed.outcome(&quiet.migrate("other", expected.clone())).await {
        Outcome::Done(Evidence::Migrated(done)) => assert!(!done.changed, "left in place"),
        other => panic!("{other:?}"),
    }
    for (name, point) in LEDGERS.iter().zip(&points) {
        let work = Work::Prove { point: Box::new(point.clone()), expected: expected.clone(), serving: false };
        match quiet.bed.run(Phase::Prove, Subject::Ledger(ledger(name)), work).await.unwrap() {
            Evidence::Proved(proof) => {
                assert_eq!((proof.difference_count, proof.inconsistencies.len()), (0, 0), "{proof:?}");
                assert_eq!(Some(proof.digest), point.expected);
            }
            other => panic!("{other:?}"),
        }
    }
    let bed = &quiet.bed;
    bed.instance(Phase::Switch, Work::Switch { to: quiet.target.clone() }).await.unwrap();
    let closed = bed.instance(Phase::StartClosed, bed.starting_closed(quiet.target.clone()).await).await.unwrap();
    let again = bed.instance(Phase::StartClosed, bed.starting_closed(quiet.target.clone()).await).await.unwrap();
    assert_eq!(closed, again, "the copy that runs is taken as it is");
    let verify = Work::Verify { version: target(), ledgers: ledgers() };
    let order = bed.order(Phase::Verify, Subject::Instance(instance()), verify);
    for host in [&bed.host, &bed.restarted_host()] {
        let verified = host.perform(&order, CancellationToken::new()).await;
        assert!(matches!(verified, Outcome::Done(Evidence::Verified { .. })), "{verified:?}");
    }
    bed.instance(Phase::Open, bed.opening(target()).await).await.unwrap();
    assert!(bed.get("/main/stats").unwrap().contains("\"transactions\":5"), "{:?}", bed.get("/main/stats"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_verification_that_fails_in_passing_leaves_the_closed_copy_for_its_next_attempt() {
    let quiet = quiet().await;
    let bed = &quiet.bed;
    let failing = bed.dir.path().join("reads-fail");
    bed.fault(&format!("NUMARY_SIM_FAIL_READS={}", failing.display()));
    bed.instance(Phase::Switch, Work::Switch { to: quiet.target.clone() }).await.unwrap();
    quiet.register().await.unwrap();
    let expected = quiet.expected().await;
    for name in LEDGERS {
        let outcome = bed.outcome(&quiet.migrate(name, expected.clone())).await;
        assert!(matches!(outcome, Outcome::Done(Evidence::Migrated(_))), "{outcome:?}");
    }
    bed.instance(Phase::StartClosed, bed.starting_closed(quiet.target.clone()).await).await.unwrap();
    let copy = bed.pid("closed").unwrap();
    let runs = || std::fs::exists(format!("/proc/{copy}/fd/1")).unwrap();
    let attempt = async |attempt| {
        let work = Work::Verify { version: target(), ledgers: ledgers() };
        let mut order = bed.order(Phase::Verify, Subject::Instance(instance()), work);
        order.id.attempt = attempt;
        bed.outcome(&order).await
    };
    std::fs::write(&failing, "").unwrap();
    match attempt(1).await {
        Outcome::Failed(failure) => {
            assert_eq!(failure.kind, FailureKind::Transient, "{failure:?}");
            assert!(failure.message.contains("500"), "{failure:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(runs(), "the next attempt looks at it");
    std::fs::remove_file(&failing).unwrap();
    let verified = attempt(2).await;
    assert!(matches!(verified, Outcome::Done(Evidence::Verified { .. })), "{verified:?}");
    assert!(!runs(), "it ends once it was looked at");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_way_back_restores_what_was_and_serves_on_the_former_release() {
    let quiet = quiet().await;
    let bed = &quiet.bed;
    let mut points = vec![quiet.secure(RecoveryItem::System).await];
    for name in LEDGERS {
        points.push(quiet.secure(RecoveryItem::Ledger(ledger(name))).await);
    }
    quiet.register().await.unwrap();
    quiet.expected().await;
    bed.instance(Phase::Switch, Work::Switch { to: quiet.target.clone() }).await.unwrap();
    bed.instance(Phase::StartClosed, bed.starting_closed(quiet.target.clone()).await).await.unwrap();
    bed.instance(Phase::ConfirmDrained, Work::Attest).await.unwrap();
    for (point, changed) in points.iter().zip([true, true, false]) {
        let work = Work::Restore { point: Box::new(point.clone()), storage: quiet.storage.clone(), first_start: false };
        match bed.run(Phase::Restore, Subject::Storage, work).await.unwrap() {
            Evidence::Restored(restored) => assert_eq!(restored.changed, changed, "{:?}", point.item),
            other => panic!("{other:?}"),
        }
    }
    bed.instance(Phase::SwitchBack, Work::SwitchBack { to: source() }).await.unwrap();
    bed.instance(Phase::Reopen, bed.opening(source()).await).await.unwrap();
    assert!(bed.get("/main/stats").unwrap().contains("\"transactions\":5"));
    let (status, _) = bed.request("POST", "/main/accounts/nobody/metadata", "{\"x\":\"y\"}").unwrap();
    assert!(status < 300, "it takes writes again: {status}");
}

/// An upgrade whose target was opened and written to, and what break glass prints for it.
async fn opened_and_written_to() -> (Quiet, String) {
    let quiet = quiet().await;
    let bed = &quiet.bed;
    let settings = bed.settings();
    cutover_agent::run::incarnation(&settings.state).await.unwrap();
    for item in [RecoveryItem::System, RecoveryItem::Ledger(ledger("main")), RecoveryItem::Ledger(ledger("other"))] {
        quiet.secure(item).await;
    }
    quiet.register().await.unwrap();
    quiet.expected().await;
    bed.instance(Phase::Switch, Work::Switch { to: quiet.target.clone() }).await.unwrap();
    bed.instance(Phase::Open, bed.opening(target()).await).await.unwrap();
    write(bed);
    let status = local::run(&settings, &LocalCommand::Status { upgrade: None }).await.unwrap();
    let lines = status.lines().skip_while(|line| !line.starts_with("to go back by hand")).skip(1);
    let script = lines.collect::<Vec<_>>().join("\n");
    (quiet, script)
}

/// A client's transaction.
fn write(bed: &Bed) {
    let body = "{\"postings\":[{\"source\":\"world\",\"destination\":\"x\",\"amount\":1,\"asset\":\"USD\"}]}";
    let (status, answer) = bed.request("POST", "/main/transactions", body).unwrap();
    assert_eq!(status, 200, "{answer}");
}

/// As a person runs it; what lies in `first` is found before anything else.
fn by_hand(script: &str, first: Option<&std::path::Path>) -> std::process::Output {
    let mut path = format!("{}:{}", support_folder().display(), std::env::var("PATH").unwrap());
    if let Some(first) = first {
        path = format!("{}:{path}", first.display());
    }
    std::process::Command::new("sh").args(["-e", "-c", script]).env("PATH", path).output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_commands_that_break_glass_prints_put_everything_back_by_hand() {
    let (quiet, script) = opened_and_written_to().await;
    let bed = &quiet.bed;
    let ran = by_hand(&script, None);
    assert!(ran.status.success(), "{script}\n{}", String::from_utf8_lossy(&ran.stderr));
    until("it answers", || bed.get("/_info").is_some_and(|info| info.contains("1.3.1"))).await;
    assert!(bed.get("/main/stats").unwrap().contains("\"transactions\":5"), "what was written since is gone");
    assert!(bed.get("/other/stats").unwrap().contains("\"transactions\":5"));
    assert!(!bed.dir.path().join("data/numary__system.db").exists(), "1.3.1 had no system store");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_commands_that_break_glass_prints_may_be_run_again_wherever_they_ended() {
    let (quiet, script) = opened_and_written_to().await;
    let bed = &quiet.bed;
    // Each command that touches a file fails once in front of its work, and so once behind that of the one before it.
    let fails_once = bed.dir.path().join("fails-once");
    std::fs::create_dir(&fails_once).unwrap();
    let text = "#!/bin/sh\nfirst=$(dirname \"$0\")\ndid=$first/$(echo \"$0 $*\" | cksum | tr -d ' ')\n\
                [ -e \"$did\" ] || { : > \"$did\"; exit 1; }\nPATH=${PATH#\"$first\":}\nexec \"$(basename \"$0\")\" \"$@\"\n";
    for name in ["cp", "mv", "chown", "chmod"] {
        let path = fails_once.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mut failed = 0;
    let last = loop {
        let ran = by_hand(&script, Some(&fails_once));
        if ran.status.success() || failed > 40 {
            break ran;
        }
        failed += 1;
    };
    assert!(last.status.success(), "{script}\n{}", String::from_utf8_lossy(&last.stderr));
    assert!(failed >= 12, "{failed} commands failed once:\n{script}");
    until("it answers", || bed.get("/_info").is_some_and(|info| info.contains("1.3.1"))).await;
    assert!(bed.get("/main/stats").unwrap().contains("\"transactions\":5"));
    assert!(bed.get("/other/stats").unwrap().contains("\"transactions\":5"));
    assert!(!bed.dir.path().join("data/numary__system.db").exists());

    // What clients wrote lies aside, once, under its own name.
    let aside = script.lines().find_map(|line| line.trim().strip_prefix("mkdir -p -m 0700 ")).unwrap();
    let aside = std::path::Path::new(aside.trim_matches('\''));
    let kept = || {
        let names = std::fs::read_dir(aside).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> =
            names.filter(|name| ![".done", "-wal", "-shm"].iter().any(|ending| name.ends_with(ending))).collect();
        names.sort();
        let main = cutover_storage::sqlite::Ledger::open(&aside.join("numary_main.db"), bed.dir.path()).unwrap();
        let digest = cutover_storage::digest::digest(&main).unwrap();
        (names, digest.sections[&Section::Transactions].rows)
    };
    let files = ["numary__system.db", "numary_main.db", "numary_other.db"].map(str::to_owned).to_vec();
    assert_eq!(kept(), (files.clone(), 6));

    // Once more, after clients came back: nothing is put back over what they wrote.
    write(bed);
    let ran = by_hand(&script, None);
    assert!(ran.status.success(), "{script}\n{}", String::from_utf8_lossy(&ran.stderr));
    until("it answers", || bed.get("/main/stats").is_some()).await;
    assert!(bed.get("/main/stats").unwrap().contains("\"transactions\":6"), "{:?}", bed.get("/main/stats"));
    assert_eq!(kept(), (files, 6));
}

/// Where `cutover-agent` lies.
fn support_folder() -> std::path::PathBuf {
    crate::support::worker().path.parent().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_ledger_command_whose_worker_was_killed_is_waited_for_and_not_run_beside() {
    let quiet = quiet().await;
    let bed = &quiet.bed;
    quiet.register().await.unwrap();
    let go = bed.dir.path().join("go");
    bed.fault(&format!("NUMARY_SIM_HOLD_MIGRATION={}\n", go.display()));
    let order = quiet.migrate("other", after());
    let folder = bed.dir.path().join("state/work").join(order.id.file_name());
    let (first, second) = (bed.restarted_host(), bed.restarted_host());
    let (one, other) = (order.clone(), order.clone());
    let first = tokio::spawn(async move { first.perform(&one, CancellationToken::new()).await });
    until("the ledger command holds the migration", || command_of(&quiet, "other").is_some()).await;
    // The agent goes, and then the worker: only the ledger's own command is left.
    first.abort();
    let command = command_of(&quiet, "other").unwrap();
    kill(parent(command), rustix::process::Signal::KILL);
    let second = tokio::spawn(async move { second.perform(&other, CancellationToken::new()).await });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(command_of(&quiet, "other"), Some(command), "no second command beside it");
    assert!(!folder.join("result.json").exists());
    std::fs::write(&go, "").unwrap();
    let outcome = second.await.unwrap();
    match outcome {
        Outcome::Done(Evidence::Migrated(_)) => {}
        // The simulator's numbers may be fewer than this test's; then the look says what it found.
        Outcome::Failed(failure) => assert!(failure.message.contains("records migrations"), "{failure:?}"),
        Outcome::Done(other) => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn lanes_of_different_ledgers_run_side_by_side_and_two_of_one_ledger_never() {
    let quiet = quiet().await;
    let bed = &quiet.bed;
    quiet.register().await.unwrap();
    let go = bed.dir.path().join("go");
    bed.fault(&format!("NUMARY_SIM_HOLD_MIGRATION={}\nNUMARY_SIM_HOLD_LEDGER=other\n", go.display()));
    let (host, slow) = (bed.restarted_host(), quiet.migrate("other", after()));
    let slow = tokio::spawn(async move { host.perform(&slow, CancellationToken::new()).await });
    until("one lane is under way", || command_of(&quiet, "other").is_some()).await;
    let expected = quiet.expected().await;
    assert!(!slow.is_finished(), "the other lane went through meanwhile");
    match bed.outcome(&quiet.migrate("other", expected)).await {
        Outcome::Failed(failure) => assert!(failure.message.contains("another runner"), "{failure:?}"),
        done => panic!("{done:?}"),
    }
    std::fs::write(&go, "").unwrap();
    slow.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_migration_that_is_stopped_leaves_its_ledger_as_it_was() {
    let quiet = quiet().await;
    let bed = &quiet.bed;
    quiet.register().await.unwrap();
    bed.fault(&format!("NUMARY_SIM_HOLD_MIGRATION={}\n", bed.dir.path().join("never").display()));
    let order = quiet.migrate("other", after());
    let stop = CancellationToken::new();
    let (host, asked, token) = (bed.restarted_host(), order.clone(), stop.clone());
    let work = tokio::spawn(async move { host.perform(&asked, token).await });
    until("the ledger command holds the migration", || command_of(&quiet, "other").is_some()).await;
    stop.cancel();
    match work.await.unwrap() {
        Outcome::Failed(failure) => {
            assert_eq!((failure.kind, failure.effect), (FailureKind::Interrupted, Effect::None), "{failure:?}");
        }
        done => panic!("{done:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_migration_that_fails_or_panics_is_told_in_the_ledgers_own_words() {
    let quiet = quiet().await;
    quiet.register().await.unwrap();
    for (fault, word) in [
        ("NUMARY_SIM_FAIL_MIGRATION=main\n", "database or disk is full"),
        ("NUMARY_SIM_PANIC_MIGRATION=main\n", "panicked"),
        ("NUMARY_SIM_KILL_MIGRATION=main\n", "killed by signal 9"),
        ("NUMARY_SIM_FAIL_COMMAND=list\n", "storage list"),
    ] {
        quiet.bed.fault(fault);
        match quiet.bed.outcome(&quiet.migrate("main", after())).await {
            Outcome::Failed(failure) => {
                assert!(failure.message.contains(word), "{failure:?}");
                assert_eq!(failure.effect, Effect::None, "{failure:?}");
                assert!(!failure.message.contains("Usage"), "{failure:?}");
            }
            done => panic!("{done:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_loss_that_nobody_measured_is_found_by_the_proof() {
    let quiet = quiet().await;
    let point = quiet.secure(RecoveryItem::Ledger(ledger("main"))).await;
    quiet.register().await.unwrap();
    quiet.bed.fault("NUMARY_SIM_CHANGE_AMOUNT=main\n");
    let expected = quiet.expected().await;
    let work = Work::Prove { point: Box::new(point), expected, serving: false };
    match quiet.bed.run(Phase::Prove, Subject::Ledger(ledger("main")), work).await.unwrap() {
        Evidence::Proved(proof) => assert!(proof.difference_count > 0 && !proof.differences.is_empty(), "{proof:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_target_that_dies_or_never_answers_when_started_closed_is_ended_and_told() {
    for (fault, patience, word) in [
        ("NUMARY_SIM_DIE_AT_START=3\n", "start_seconds = 60", "ended instead of serving"),
        ("NUMARY_SIM_MUTE_SERVER=1\n", "start_seconds = 1", "does not answer within"),
    ] {
        let bed = Bed::new(patience).await;
        bed.fault(fault);
        let target = bed.staged().await;
        bed.instance(Phase::Drain, Work::Drain { patience: PATIENCE, for_good: false }).await.unwrap();
        let failure = bed.instance(Phase::StartClosed, bed.starting_closed(target).await).await.unwrap_err();
        assert!(failure.message.contains(word), "{failure:?}");
        let pid = bed.pid("closed").unwrap();
        assert!(!std::path::Path::new(&format!("/proc/{pid}/exe")).exists(), "no copy is left behind");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_that_is_killed_again_and_again_is_reported_and_not_started_for_ever() {
    let quiet = quiet().await;
    let bed = &quiet.bed;
    quiet.register().await.unwrap();
    // A program that is no worker: it ends without a result.
    let program = cutover_agent::worker::Program { path: "/bin/true".into(), args: Vec::new(), leaves: false };
    let host = cutover_agent::host::Host::new(bed.settings(), "incarnation-1".to_owned(), program).unwrap();
    match host.perform(&quiet.migrate("main", after()), CancellationToken::new()).await {
        Outcome::Failed(failure) => {
            assert_eq!((failure.kind, failure.effect), (FailureKind::Interrupted, Effect::Unknown), "{failure:?}");
        }
        done => panic!("{done:?}"),
    }
}

/// A power cut between a migration and its result, and then a storage that cannot be looked at: the way back must look and restore.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_order_that_ran_before_never_says_that_nothing_was_changed() {
    let quiet = quiet().await;
    let bed = &quiet.bed;
    quiet.register().await.unwrap();
    let order = quiet.migrate("main", quiet.expected().await);
    assert!(matches!(bed.outcome(&order).await, Outcome::Done(Evidence::Migrated(_))));
    let folder = bed.dir.path().join("state/work").join(order.id.file_name());
    std::fs::remove_file(folder.join("result.json")).unwrap();
    let file = std::fs::File::open(bed.dir.path().join("data/numary_main.db")).unwrap();
    let mut stranger = std::process::Command::new("sleep").arg("60").stdin(file).spawn().unwrap();
    let effect = async |order: &Order| match bed.outcome(order).await {
        Outcome::Failed(failure) => failure.effect,
        done => panic!("{done:?}"),
    };
    let outcomes = (effect(&order).await, effect(&quiet.migrate("main", after())).await);
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert_eq!(outcomes, (Effect::Unknown, Effect::None), "the order that ran before, and one that did not");
}

/// As where the disk of the agent's state is full: the worker has migrated, and nobody hears of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_whose_result_cannot_be_read_may_have_changed_something() {
    let quiet = quiet().await;
    quiet.register().await.unwrap();
    let order = quiet.migrate("main", after());
    let folder = quiet.bed.dir.path().join("state/work").join(order.id.file_name());
    std::fs::create_dir_all(folder.join("result.json")).unwrap();
    match quiet.bed.outcome(&order).await {
        Outcome::Failed(failure) => assert_eq!(failure.effect, Effect::Unknown, "{failure:?}"),
        done => panic!("{done:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_another_order_with_the_same_id_came_to_is_not_taken_for_an_answer() {
    let quiet = quiet().await;
    let attest = Work::AttestStorage { storage: quiet.storage.clone() };
    let mut order = quiet.bed.order(Phase::ConfirmDrained, Subject::Storage, attest);
    assert!(matches!(quiet.bed.outcome(&order).await, Outcome::Done(Evidence::StorageAttested(_))));
    order.work =
        Work::Secure { item: RecoveryItem::System, storage: quiet.storage.clone(), lossy: true, serving: false };
    let Outcome::Failed(failure) = quiet.bed.outcome(&order).await else { panic!("taken for an answer") };
    assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
    assert!(failure.message.contains("another order"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_flag_that_the_target_no_longer_has_is_found_by_the_rehearsal() {
    let bed = Bed::with_args("", ", \"--persist-config=false\"").await;
    bed.serve().await;
    bed.seed("main", 3);
    let target = bed.staged().await;
    let work = Work::Rehearse { target, ledgers: vec![ledger("main")] };
    let failure = bed.run(Phase::Rehearse, Subject::Storage, work).await.unwrap_err();
    assert!(failure.message.contains("unknown flag: --persist-config"), "{failure:?}");
    assert_eq!(failure.effect, Effect::None);
    assert!(bed.get("/main/stats").is_some(), "the service was not disturbed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_storage_that_somebody_has_open_is_neither_quiet_nor_migrated() {
    let quiet = quiet().await;
    quiet.register().await.unwrap();
    let mut stranger = std::process::Command::new("sleep")
        .arg("60")
        .stdin(std::fs::File::open(quiet.bed.dir.path().join("data/numary_main.db")).unwrap())
        .spawn()
        .unwrap();
    let work = Work::AttestStorage { storage: quiet.storage.clone() };
    match quiet.bed.run(Phase::ConfirmDrained, Subject::Storage, work).await.unwrap() {
        Evidence::StorageAttested(attested) => assert_eq!(attested.openers[0].pid, stranger.id()),
        other => panic!("{other:?}"),
    }
    let outcome = quiet.bed.outcome(&quiet.migrate("main", after())).await;
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    match outcome {
        Outcome::Failed(failure) => assert!(failure.message.contains("is not quiet"), "{failure:?}"),
        done => panic!("{done:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_storage_other_than_the_planned_one_is_refused() {
    let mut quiet = quiet().await;
    if let StorageIdentity::Sqlite { inode, .. } = &mut quiet.storage {
        *inode += 1;
    }
    let failure = quiet.register().await.unwrap_err();
    assert_eq!((failure.kind, failure.effect), (FailureKind::Refused, Effect::None));
    assert!(failure.message.contains("does not use the planned storage"), "{failure:?}");
}

/// The process id of the ledger command that migrates that ledger of this bed.
fn command_of(quiet: &Quiet, name: &str) -> Option<u32> {
    let data = quiet.bed.dir.path().join("data").to_string_lossy().into_owned();
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let command = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let environment = String::from_utf8_lossy(&std::fs::read(entry.path().join("environ")).ok()?).into_owned();
        (command.contains(&format!("upgrade\0{name}\0")) && environment.contains(&data)).then_some(pid)
    })
}

fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap()
}
