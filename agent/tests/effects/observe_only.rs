//! An instance that may only be looked at: every kind of order that would change something is refused.

use crate::support::{Bed, instance, ledger, source, target, until};
use cutover_agent::perform::Perform as _;
use cutover_vocabulary::outcome::FailureKind;
use cutover_vocabulary::phase::{Phase, Subject};
use cutover_vocabulary::storage::{Migrations, RecoveryItem};
use cutover_vocabulary::{Elapsed, Work};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Every file below a folder with its size and when it was last changed.
fn files(folder: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let data = entry.metadata().unwrap();
        if data.is_dir() {
            all.extend(files(&entry.path()));
        }
        all.insert(entry.path(), (data.size(), data.ctime(), data.ctime_nsec()));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_order_that_would_change_something_is_refused_and_a_look_is_not() {
    let bed = Bed::new("").await;
    bed.serve().await;
    bed.seed("main", 3);
    let (release, staged, storage) = (bed.release(), bed.staged().await, bed.identity().await);
    let pid = bed.pid("service");
    let settings = bed.dir.path().join("agent.toml");
    let text = std::fs::read_to_string(&settings).unwrap().replace("[[instance]]", "[[instance]]\nobserve_only = true");
    std::fs::write(&settings, text).unwrap();
    let host = bed.restarted_host();
    assert!(host.start_services().await.is_empty(), "it is not started either");
    let seen = || {
        ["data", "numary", "state/releases", "home"].map(|name| {
            let path = bed.dir.path().join(name);
            if path.is_dir() {
                files(&path)
            } else {
                files(bed.dir.path()).into_iter().filter(|(file, _)| *file == path).collect()
            }
        })
    };
    let before = seen();
    assert!(host.observe().await[0].observe_only);
    let ours = || Subject::Instance(instance());
    let mut refused = 0;
    for (phase, subject, work) in [
        (Phase::Stage, ours(), Work::StageRelease { release }),
        (
            Phase::Rehearse,
            Subject::Storage,
            Work::Rehearse { target: staged.clone(), ledgers: [ledger("main")].into() },
        ),
        (Phase::Drain, ours(), Work::Drain { patience: Elapsed(1_000), for_good: false }),
        (Phase::ConfirmDrained, ours(), Work::Attest),
        (Phase::ConfirmDrained, Subject::Storage, Work::AttestStorage { storage: storage.clone() }),
        (
            Phase::Secure,
            Subject::Ledger(ledger("main")),
            Work::Secure {
                item: RecoveryItem::Ledger(ledger("main")),
                storage: storage.clone(),
                lossy: true,
                serving: false,
            },
        ),
        (
            Phase::Migrate,
            Subject::Ledger(ledger("main")),
            Work::Migrate {
                target: staged.clone(),
                storage: storage.clone(),
                expected: Migrations::default(),
                mark: None,
                apart: false,
                serving: false,
            },
        ),
        (Phase::Switch, ours(), Work::Switch { to: staged.clone() }),
        (Phase::StartClosed, ours(), Work::StartClosed { target: staged.clone(), storage: Some(storage.clone()) }),
        (Phase::Open, ours(), Work::Open { version: target(), storage: Some(storage.clone()) }),
        (Phase::Reopen, ours(), Work::Open { version: source(), storage: Some(storage.clone()) }),
    ] {
        let order = bed.order(phase, subject, work);
        let outcome = host.perform(&order, tokio_util::sync::CancellationToken::new()).await;
        let cutover_vocabulary::Outcome::Failed(failure) = outcome else { panic!("{} was carried out", order.id) };
        assert_eq!(failure.kind, FailureKind::Refused, "{failure:?}");
        assert!(failure.message.contains("may only be looked at (observe-only)"), "{failure:?}");
        assert!(failure.remedy.contains("agent.toml"), "{failure:?}");
        refused += 1;
    }
    assert_eq!(refused, 11);
    let look = bed.order(Phase::Preflight, ours(), Work::Inspect);
    let looked = host.perform(&look, tokio_util::sync::CancellationToken::new()).await;
    assert!(matches!(looked, cutover_vocabulary::Outcome::Done(_)), "{looked:?}");
    assert_eq!(seen(), before, "and nothing was changed");
    assert_eq!(bed.pid("service"), pid);
    until("it still serves", || bed.get("/_info").is_some()).await;
}
