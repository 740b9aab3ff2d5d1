//! How long one durable append takes: `cargo run --release -p cutover-store --features conformance --example
//! append_latency -- [FOLDER] [APPENDS]`. FOLDER decides which disk is measured; a tmpfs measures nothing.
#![expect(clippy::print_stdout, reason = "printing figures is its purpose")]

use cutover_store::conformance::facts::{Writer, committed};
use cutover_store::{CoordinatorName, SqliteStore, Store};
use cutover_vocabulary::UpgradeId;
use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock; no deadline hangs on it")]
fn now() -> Instant {
    Instant::now()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| ".".to_owned());
    let appends: usize = arguments.next().map_or(Ok(500), |text| text.parse())?;
    let folder = tempfile::tempdir_in(folder)?;
    let store = SqliteStore::open(folder.path().join("store.db")).await?;
    let epoch = store.lead(&CoordinatorName::new("bench")?).await?.ok_or("another process leads")?;
    for size in [1, 10, 100] {
        let upgrade = UpgradeId::new(format!("of-{size}"))?;
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
    store.close().await;
    Ok(())
}
