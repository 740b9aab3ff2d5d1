//! How long one durable append takes: `cargo run --release -p cutover-store --features conformance --example
//! append_latency -- [WHERE] [APPENDS]`. WHERE is a folder, whose disk is measured under SQLite (a tmpfs measures nothing), or
//! URLs of an etcd joined by commas, which get keys below `cutover-bench/`.
#![expect(clippy::print_stdout, reason = "printing figures is its purpose")]

use cutover_store::conformance::facts::{Writer, committed};
use cutover_store::{CoordinatorName, EtcdSettings, EtcdStore, SqliteStore, Store};
use cutover_vocabulary::UpgradeId;
use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock; no deadline hangs on it")]
fn now() -> Instant {
    Instant::now()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().unwrap_or_else(|| ".".to_owned());
    let appends: usize = arguments.next().map_or(Ok(500), |text| text.parse())?;
    if place.starts_with("http") {
        let endpoints = place.split(',').map(str::to_owned);
        let store =
            EtcdStore::open(EtcdSettings { prefix: "cutover-bench/".to_owned(), ..EtcdSettings::new(endpoints) })?;
        return measure(&store, appends).await;
    }
    let folder = tempfile::tempdir_in(place)?;
    let store = SqliteStore::open(folder.path().join("store.db")).await?;
    measure(&store, appends).await?;
    store.close().await;
    Ok(())
}

async fn measure(store: &dyn Store, appends: usize) -> Result<(), Box<dyn std::error::Error>> {
    let epoch = store.lead(&CoordinatorName::new("bench")?).await?.ok_or("another process leads")?;
    for size in [1, 10, 100] {
        // An etcd that was measured before holds the upgrades of other epochs.
        let upgrade = UpgradeId::new(format!("of-{size}-{epoch}"))?;
        let mut writer = Writer::new(epoch);
        let mut took: Vec<Duration> = Vec::with_capacity(appends);
        for _append in 0..appends.max(1) {
            let (before, batch) = (writer.seq, writer.batch(size));
            let begun = now();
            committed(store.append(epoch, &upgrade, before, &batch).await);
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() - 1) * percent / 100];
        println!(
            "append of {size:>3} facts, {} times: median {:?}, 99 % {:?}, worst {:?}",
            took.len(),
            at(50),
            at(99),
            at(100)
        );
    }
    store.resign(epoch).await?;
    Ok(())
}
