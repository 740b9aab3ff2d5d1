//! Watching an instance that serves.

use crate::support::{Bed, instance, kill, ledger, source, until};
use cutover_agent::perform::Perform as _;
use cutover_vocabulary::outcome::{Evidence, Failure};
use cutover_vocabulary::phase::{Phase, Subject};
use cutover_vocabulary::served::Served;
use cutover_vocabulary::{Elapsed, Outcome, Work};
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// One that serves the ledger `main`, and the file that has its reads fail while it is there.
async fn serving() -> (Bed, PathBuf) {
    let bed = Bed::new("").await;
    let failing = bed.dir.path().join("reads-fail");
    bed.fault(&format!("NUMARY_SIM_FAIL_READS={}", failing.display()));
    bed.serve().await;
    bed.seed("main", 1);
    (bed, failing)
}

/// Watches it for so long, beside what else is done meanwhile; others serve.
async fn baked(bed: &Bed, length: Elapsed, meanwhile: impl Future<Output = ()>) -> Result<Evidence, Failure> {
    baked_beside(bed, true, length, meanwhile).await
}

async fn baked_beside(
    bed: &Bed,
    withdraw: bool,
    length: Elapsed,
    meanwhile: impl Future<Output = ()>,
) -> Result<Evidence, Failure> {
    let (version, ledgers, before) = (source(), vec![ledger("main")], Served { requests: 1000, errors: 0 });
    let work = Work::Bake { version, ledgers, length, withdraw, before };
    let order = bed.order(Phase::Bake, Subject::Instance(instance()), work);
    let host = bed.restarted_host();
    match tokio::join!(host.perform(&order, CancellationToken::new()), meanwhile).0 {
        Outcome::Done(evidence) => Ok(evidence),
        Outcome::Failed(failure) => Err(failure),
    }
}

/// How often the ledger was read with this status, by its request log.
fn reads(bed: &Bed, status: u16) -> usize {
    let log =
        |stream| std::fs::read_to_string(bed.dir.path().join(format!("state/instances/ledger-a/service.{stream}")));
    let text = log("stdout").unwrap_or_default() + &log("stderr").unwrap_or_default();
    let read = |line: &&str| line.contains("path=/main/stats") && line.contains(&format!("status={status} "));
    text.lines().filter(read).count()
}

fn is_out(bed: &Bed) -> bool {
    bed.dir.path().join("state/instances/ledger-a/out-of-rotation").exists()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_instance_that_cannot_be_read_for_some_looks_serves_on_and_stays_in_rotation() {
    let (bed, failing) = serving().await;
    let outage = async {
        until("it was read", || reads(&bed, 200) > 0).await;
        std::fs::write(&failing, "").unwrap();
        until("four looks failed", || reads(&bed, 500) >= 4).await;
        std::fs::remove_file(&failing).unwrap();
    };
    match baked(&bed, Elapsed::from_secs(15), outage).await.unwrap() {
        Evidence::Baked { served, .. } => assert!(served.errors >= 4, "all of it is told: {served}"),
        other => panic!("{other:?}"),
    }
    assert!(!is_out(&bed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_instance_that_cannot_be_read_at_the_end_of_its_bake_has_failed_and_is_taken_out_of_rotation() {
    let (bed, failing) = serving().await;
    std::fs::write(&failing, "").unwrap();
    let failure = baked(&bed, Elapsed::from_secs(3), async {}).await.unwrap_err();
    assert!(failure.message.contains("does not serve as it must: ledger main cannot be read"), "{failure:?}");
    assert!(failure.message.contains("looks in a row"), "{failure:?}");
    assert!(reads(&bed, 500) > 4, "it is watched to the end");
    assert!(is_out(&bed));
    // Whoever else served has moved or was excused since.
    let again = baked_beside(&bed, false, Elapsed::from_secs(1), async {}).await.unwrap_err();
    assert!(again.message.contains("it is out of rotation since an earlier attempt"), "{again:?}");
    std::fs::remove_file(&failing).unwrap();
    baked_beside(&bed, false, Elapsed(0), async {}).await.unwrap();
    assert!(!is_out(&bed), "a bake that ends well takes it back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_instance_that_fails_while_nobody_else_serves_stays_in_rotation() {
    let (bed, failing) = serving().await;
    std::fs::write(&failing, "").unwrap();
    let failure = baked_beside(&bed, false, Elapsed::from_secs(1), async {}).await.unwrap_err();
    assert!(failure.message.contains("it was not taken out of rotation"), "{failure:?}");
    assert!(!is_out(&bed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_instance_that_cannot_be_read_again_and_again_fails_by_what_it_answers() {
    let (bed, failing) = serving().await;
    let flaps = async {
        for time in 1..=3 {
            let (good, bad) = (reads(&bed, 200), reads(&bed, 500));
            until("it is read", || reads(&bed, 200) > good || is_out(&bed)).await;
            std::fs::write(&failing, "").unwrap();
            until("it is not read", || reads(&bed, 500) > bad + 1 || is_out(&bed)).await;
            std::fs::remove_file(&failing).unwrap();
            assert!(time > 1 || !is_out(&bed), "the first time passes");
        }
    };
    let failure = baked(&bed, Elapsed::from_secs(12), flaps).await.unwrap_err();
    assert!(failure.message.contains("requests with a status of 500 or above while it was watched"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_instance_that_is_restarted_while_it_is_watched_has_failed() {
    let (bed, _) = serving().await;
    let former = bed.pid("service").unwrap();
    let restarted = async {
        // The second look comes after the first one is done.
        until("it was read twice", || reads(&bed, 200) > 1).await;
        kill(former, rustix::process::Signal::KILL);
        until("it is gone", || bed.get("/_info").is_none()).await;
        while bed.pid("service") == Some(former) {
            for (name, started) in bed.host.start_services().await {
                started.unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
    };
    let failure = baked(&bed, Elapsed::from_secs(8), restarted).await.unwrap_err();
    // Where its restart takes longer than three looks, that is said instead.
    assert!(failure.message.contains(&format!("process {former} ended")), "{failure:?}");
}
