//! Digest throughput on one core and peak memory, for both layouts: `cargo bench -p cutover-storage --bench digest [N]`.
//!
//! The measured process is a child that only reads, so that building the ledger does not count.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used, reason = "a bench binary")]

use cutover_storage::{clock, digest, sqlite::Ledger};
use std::path::Path;
use std::process::Command;

#[path = "../tests/support/mod.rs"]
mod support;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [verb, path, scratch] = args.as_slice()
        && verb == "read"
    {
        return read(Path::new(path), Path::new(scratch));
    }
    let count: i64 = args.first().and_then(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let split = folder.path().join("numary_split.db");
    build(&split, count);
    child(&split, folder.path());
    let connection = rusqlite::Connection::open(&split).unwrap();
    documents(&connection);
    drop(connection);
    child(&split, folder.path());
}

fn child(path: &Path, scratch: &Path) {
    let status = Command::new(std::env::current_exe().unwrap()).arg("read").arg(path).arg(scratch).status().unwrap();
    assert!(status.success());
}

fn read(path: &Path, scratch: &Path) {
    let begun = clock::since_boot();
    let ledger = Ledger::open(path, scratch).unwrap();
    let reading = digest::read(&ledger, &mut |_| Ok(())).unwrap();
    let took = clock::since_boot().since(begun);
    let transactions = reading.digest.rows(cutover_vocabulary::storage::Section::Transactions);
    let accounts = reading.digest.rows(cutover_vocabulary::storage::Section::Balances);
    let memory = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .unwrap();
    println!(
        "digest {:?}: {transactions} transactions, {accounts} balances, {} lost rows: {took}, {} transactions/s, peak {:.1} MB",
        ledger.layout(),
        reading.losses.count,
        transactions * 1000 / took.as_millis().max(1),
        peak as f64 / 1024.0,
    );
}

/// As many accounts as transactions, metadata for every second transaction and every tenth account.
fn build(path: &Path, count: i64) {
    let mut connection = support::create_split(path);
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    let batch = connection.transaction().unwrap();
    {
        let mut entry = batch
            .prepare("INSERT INTO transactions VALUES (?1, '2026-11-23T14:12:58Z', ?2, 'a64-digit-hash')")
            .unwrap();
        let mut posting = batch.prepare(support::POSTING).unwrap();
        let mut metadata =
            batch.prepare("INSERT INTO metadata VALUES (?1, ?2, ?3, ?4, ?5, '2026-11-23T14:12:58Z')").unwrap();
        let mut meta_id = 0_i64;
        for id in 0..count {
            entry.execute(rusqlite::params![id, (id % 3 == 0).then(|| format!("ref-{id}"))]).unwrap();
            // A multiplication modulo a prime spreads the accounts, so that no index is walked in order.
            let account = format!("users:{:09}", id * 7_919 % 999_999_937);
            posting.execute(rusqlite::params![id, 0, "world", account, "USD/2", id % 1000]).unwrap();
            if id % 2 == 0 {
                metadata.execute(rusqlite::params![meta_id, "transaction", id.to_string(), "order", "\"o1\""]).unwrap();
                meta_id += 1;
            }
            if id % 10 == 0 {
                metadata.execute(rusqlite::params![meta_id, "account", account, "kyc", "{\"level\": 2}"]).unwrap();
                meta_id += 1;
            }
        }
    }
    batch.commit().unwrap();
}

/// The new layout of the same ledger. The real migration is quadratic; this one is not.
fn documents(connection: &rusqlite::Connection) {
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    let sql = format!(
        r#"BEGIN; {}
        UPDATE transactions SET metadata = CASE WHEN id % 2 = 0 THEN '{{"order":"o1"}}' ELSE '{{}}' END,
          postings = (SELECT json_array(json_object('amount', amount, 'asset', asset, 'destination', destination, 'source', source)) FROM postings WHERE txid = transactions.id AND id = 0);
        INSERT INTO accounts SELECT destination, CASE WHEN txid % 10 = 0 THEN '{{"kyc":{{"level":2}}}}' ELSE '{{}}' END FROM postings;
        INSERT INTO volumes SELECT destination, asset, amount, 0 FROM postings;
        INSERT INTO volumes SELECT 'world', asset, 0, sum(amount) FROM postings GROUP BY asset;
        COMMIT;"#,
        support::DOCUMENTS
    );
    connection.execute_batch(&sql).unwrap();
}
