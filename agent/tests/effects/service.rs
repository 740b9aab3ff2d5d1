//! Starting, observing, draining, opening.

use crate::support::{Bed, instance, kill, source, target, until};
use cutover_agent::perform::Perform as _;
use cutover_vocabulary::instance::RunState;
use cutover_vocabulary::outcome::{CleanEnd, DrainProof, FailureKind};
use cutover_vocabulary::phase::{Phase, Subject};
use cutover_vocabulary::storage::StorageIdentity;
use cutover_vocabulary::{Elapsed, Evidence, Failure, Outcome, Work};
use std::net::TcpStream;
use tokio_util::sync::CancellationToken;

const PATIENCE: Elapsed = Elapsed(10_000);

async fn drain(bed: &Bed, patience: Elapsed) -> Result<DrainProof, Failure> {
    match bed.instance(Phase::Drain, Work::Drain { patience, for_good: false }).await? {
        Evidence::Drained(proof) => Ok(proof),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_ledger_outlives_the_agent_that_started_it_and_is_found_again() {
    let bed = Bed::new("").await;
    bed.serve().await;
    let pid = bed.pid("service").unwrap();
    let host = bed.restarted_host();
    let report = host.observe().await.remove(0);
    assert_eq!(report.run, RunState::Running { pid });
    assert_eq!((report.running, report.on_disk), (Some(source()), Some(source())));
    host.start_services().await;
    assert_eq!(bed.pid("service"), Some(pid), "a second start makes no second ledger");
    let order =
        bed.order(Phase::Drain, Subject::Instance(instance()), Work::Drain { patience: PATIENCE, for_good: false });
    match host.perform(&order, CancellationToken::new()).await {
        Outcome::Done(Evidence::Drained(proof)) => assert_eq!(proof.ended, Some(CleanEnd::Gone)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn two_starts_at_once_make_one_ledger() {
    let bed = Bed::new("").await;
    let other = bed.restarted_host();
    let (one, two) = tokio::join!(bed.host.start_services(), other.start_services());
    for (name, result) in one.into_iter().chain(two) {
        result.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    until("it answers", || bed.get("/_info").is_some()).await;
    let command = bed.dir.path().join("numary").to_string_lossy().into_owned();
    let ledgers = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.starts_with(format!("{command}\0server").as_bytes())
    });
    assert_eq!(ledgers.count(), 1);
    assert!(matches!(bed.host.observe().await[0].run, RunState::Running { .. }), "and the record is its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_drained_instance_is_down_fenced_and_stays_so_until_it_is_opened() {
    let bed = Bed::new("").await;
    bed.serve().await;
    let first = drain(&bed, PATIENCE).await.unwrap();
    assert_eq!((first.ended, first.fence, first.connections, first.guarded), (Some(CleanEnd::Exited), 1, 0, false));
    assert_eq!(drain(&bed, PATIENCE).await.unwrap().ended, first.ended, "again: proved, not done twice");
    match bed.instance(Phase::ConfirmDrained, Work::Attest).await.unwrap() {
        Evidence::Drained(proof) => assert_eq!((proof.fence, proof.ended), (1, first.ended)),
        other => panic!("{other:?}"),
    }
    assert!(bed.host.start_services().await.is_empty(), "fenced: not even tried");
    let opened = bed.instance(Phase::Reopen, bed.opening(source()).await).await.unwrap();
    assert!(matches!(opened, Evidence::Opened { ref version, .. } if *version == source()));
    let refused = bed.instance(Phase::ConfirmDrained, Work::Attest).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Refused);
    assert!(refused.message.contains("not fenced"), "{refused:?}");
    assert_eq!(drain(&bed, PATIENCE).await.unwrap().fence, 2, "the fence of another generation");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn no_signal_is_sent_while_a_client_is_connected() {
    let bed = Bed::new("").await;
    bed.serve().await;
    let client = TcpStream::connect(("127.0.0.1", bed.port)).unwrap();
    let held = drain(&bed, Elapsed(300)).await.unwrap_err();
    assert_eq!(held.kind, FailureKind::StillRuns);
    assert!(held.message.contains("1 active and 0 idle connections"), "{held:?}");
    assert!(bed.get("/_info").is_some(), "it still serves");
    drop(client);
    assert_eq!(drain(&bed, PATIENCE).await.unwrap().ended, Some(CleanEnd::Exited));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_instance_that_ignores_sigterm_is_reported_and_never_killed() {
    let bed = Bed::new("").await;
    bed.fault("NUMARY_SIM_IGNORE_SIGTERM=1\n");
    bed.serve().await;
    let failure = drain(&bed, Elapsed(500)).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::StillRuns);
    assert!(failure.message.contains("will not stop"), "{failure:?}");
    assert!(bed.get("/_info").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_bad_end_stays_a_bad_end_for_its_order_whatever_crashes_and_is_no_clean_end_for_another() {
    let bed = Bed::new("").await;
    let ready = bed.dir.path().join("ready");
    let script = format!("#!/bin/sh\ntrap 'exit 3' TERM\ntouch {}\nwhile :; do sleep 0.05; done\n", ready.display());
    std::fs::write(bed.dir.path().join("numary"), script).unwrap();
    bed.host.start_services().await;
    until("its handler stands", || ready.exists()).await;
    let order =
        bed.order(Phase::Drain, Subject::Instance(instance()), Work::Drain { patience: PATIENCE, for_good: false });
    for host in [&bed.host, &bed.restarted_host()] {
        match host.perform(&order, CancellationToken::new()).await {
            Outcome::Failed(failure) => {
                assert_eq!(failure.kind, FailureKind::Unclean);
                assert!(failure.message.contains("ended badly"), "{failure:?}");
            }
            done => panic!("{done:?}"),
        }
    }
    assert_eq!(drain(&bed, PATIENCE).await.unwrap().ended, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_ledger_that_somebody_started_by_hand_keeps_the_port_from_being_proved_closed() {
    let bed = Bed::new("").await;
    let _stranger = std::net::TcpListener::bind(("127.0.0.1", bed.port)).unwrap();
    let failure =
        bed.instance(Phase::Drain, Work::Drain { patience: Elapsed(200), for_good: false }).await.unwrap_err();
    let named = format!("process {} (", std::process::id());
    assert!(failure.message.contains(&named) && failure.message.contains("listens on its port"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crash_between_sigterm_and_the_proof_still_knows_how_it_ended() {
    let bed = Bed::new("").await;
    bed.serve().await;
    drain(&bed, PATIENCE).await.unwrap();
    let path = bed.dir.path().join("state/instances/ledger-a/stopping.json");
    let text = std::fs::read_to_string(&path).unwrap().replace("{\n    \"clean\": \"exited\"\n  }", "\"not-seen\"");
    assert!(text.contains("not-seen"), "{text}");
    std::fs::write(&path, text).unwrap();
    assert_eq!(drain(&bed, PATIENCE).await.unwrap().ended, Some(CleanEnd::Gone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_wrong_binary_is_not_started_not_even_to_find_out() {
    let bed = Bed::new("").await;
    drain(&bed, PATIENCE).await.unwrap();
    let failure = bed.instance(Phase::Open, bed.opening(target()).await).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(bed.host.observe().await[0].fenced, "the fence was not lifted");
    assert!(bed.pid("service").is_none(), "nothing was started");
}

/// A promoted standby has another timeline, a folder may have another device after a reboot.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_disk_with_another_number_keeps_no_instance_down_and_one_that_is_not_mounted_does() {
    let bed = Bed::new("").await;
    bed.serve().await;
    drain(&bed, PATIENCE).await.unwrap();
    let mut storage = bed.identity().await;
    let StorageIdentity::Sqlite { device, .. } = &mut storage else { panic!("{storage}") };
    *device += 1;
    // Of what was mounted there nothing is left but the folder.
    let mut unmounted = storage.clone();
    let StorageIdentity::Sqlite { inode, .. } = &mut unmounted else { panic!("{storage}") };
    *inode += 1;
    let open = |storage| Work::Open { version: source(), storage: Some(storage) };
    let refused = bed.instance(Phase::Reopen, open(unmounted)).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Refused, "{refused:?}");
    bed.instance(Phase::Reopen, open(storage)).await.unwrap();
}

/// That one has no recovery point, and the first request would migrate it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_service_that_was_pointed_at_another_storage_meanwhile_is_started_neither_closed_nor_for_clients() {
    let bed = Bed::new("").await;
    bed.serve().await;
    let works = [bed.starting_closed(bed.staged().await).await, bed.opening(source()).await];
    drain(&bed, PATIENCE).await.unwrap();
    let elsewhere = bed.dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let file = bed.dir.path().join("agent.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let data = bed.dir.path().join("data").display().to_string();
    assert!(text.contains(&data), "{text}");
    std::fs::write(&file, text.replace(&data, &elsewhere.display().to_string())).unwrap();
    let host = bed.restarted_host();
    for work in works {
        let order = bed.order(Phase::Open, Subject::Instance(instance()), work);
        let Outcome::Failed(failure) = host.perform(&order, CancellationToken::new()).await else { panic!() };
        assert_eq!(failure.kind, FailureKind::Refused, "{failure:?}");
        assert!(failure.message.contains("it is not started there"), "{failure:?}");
        let seen = host.observe().await.remove(0);
        assert!(seen.fenced && seen.run == RunState::Stopped, "{seen:?}");
        assert_eq!(bed.pid("closed"), None, "no copy was started");
    }
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0, "nothing was made there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_service_that_dies_at_its_start_is_reported_with_its_own_words() {
    let bed = Bed::with_args("", ", \"--no-such-flag\"").await;
    drain(&bed, PATIENCE).await.unwrap();
    let failure = bed.instance(Phase::Reopen, bed.opening(source()).await).await.unwrap_err();
    assert!(failure.message.contains("unknown flag: --no-such-flag"), "{failure:?}");
    assert!(!failure.message.contains("Usage"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rotation_commands_run_before_the_drain_and_after_the_start_and_their_failure_is_told() {
    let bed = Bed::new(
        "out_of_rotation = [\"sh\", \"-c\", \"exit 0\"]\ninto_rotation = [\"sh\", \"-c\", \"echo no pool >&2; exit 7\"]",
    )
    .await;
    bed.serve().await;
    drain(&bed, PATIENCE).await.unwrap();
    let failure = bed.instance(Phase::Reopen, bed.opening(source()).await).await.unwrap_err();
    assert!(failure.message.contains("into_rotation") && failure.message.contains("no pool"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_rotation_command_is_done_once_it_ends_whatever_it_leaves_running() {
    let bed =
        Bed::new("rotation_seconds = 5\nout_of_rotation = [\"sh\", \"-c\", \"sleep 20 & echo $! > $HERE/left\"]").await;
    let file = bed.dir.path().join("agent.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("$HERE", &bed.dir.path().display().to_string());
    std::fs::write(&file, text).unwrap();
    bed.serve().await;
    let order =
        bed.order(Phase::Drain, Subject::Instance(instance()), Work::Drain { patience: PATIENCE, for_good: false });
    let drained = bed.restarted_host().perform(&order, CancellationToken::new()).await;
    let left = std::fs::read_to_string(bed.dir.path().join("left")).unwrap().trim().parse().unwrap();
    kill(left, rustix::process::Signal::KILL);
    assert!(matches!(drained, Outcome::Done(Evidence::Drained(_))), "{drained:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_script_in_a_binarys_place_is_never_run_to_be_asked() {
    let bed = Bed::new("").await;
    let ran = bed.dir.path().join("ran");
    std::fs::write(bed.dir.path().join("numary"), format!("#!/bin/sh\necho >> {}\n", ran.display())).unwrap();
    assert_eq!(bed.host.observe().await[0].on_disk, None);
    // A variable that the target does not know is looked up in the help of what is there now.
    let file = bed.dir.path().join("agent.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("env = {", "env = { NUMARY_OLD_FLAG = \"x\",");
    std::fs::write(&file, text).unwrap();
    let survey = bed.survey().await;
    assert!(survey.instances[0].tried.is_some(), "{survey:?}");
    let failure = bed.instance(Phase::Reopen, Work::Open { version: source(), storage: None }).await.unwrap_err();
    assert!(failure.message.contains("does not say which version"), "{failure:?}");
    assert!(!ran.exists(), "it was run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_binary_that_hangs_ends_with_the_look_that_asked_it_and_reports_leave_it_alone_for_a_while() {
    let bed = Bed::new("").await;
    std::fs::create_dir_all(bed.dir.path().join("data")).unwrap();
    let hangs = bed.dir.path().join(".numary-sim.env");
    std::fs::write(&hangs, "NUMARY_SIM_HANG_COMMAND=version\n").unwrap();
    let asked = || {
        let words = format!("{}\0version\0", bed.dir.path().join("numary").display());
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok()).any(|line| line == words)
    };
    tokio::select! {
        reports = bed.host.observe() => panic!("{reports:?}"),
        () = until("it is asked", asked) => {}
    }
    until("it is gone", || !asked()).await;
    std::fs::remove_file(&hangs).unwrap();
    assert_eq!(bed.host.observe().await[0].on_disk, None, "a report asks it again at once");
    match bed.instance(Phase::Preflight, Work::Inspect).await.unwrap() {
        Evidence::Inspected(found) => assert_eq!(found.on_disk, Some(source()), "an order asks"),
        other => panic!("{other:?}"),
    }
    assert_eq!(bed.host.observe().await[0].on_disk, Some(source()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_ledger_that_was_killed_is_seen_as_stopped_and_not_as_ended_by_us() {
    let bed = Bed::new("").await;
    bed.serve().await;
    let pid = bed.pid("service").unwrap();
    kill(pid, rustix::process::Signal::KILL);
    // Its port is closed a moment before the process is gone.
    let stopped = async {
        while bed.host.observe().await[0].run != RunState::Stopped {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), stopped).await.unwrap();
    assert_eq!(drain(&bed, PATIENCE).await.unwrap().ended, None);
}
