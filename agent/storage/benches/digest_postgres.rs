//! Digest throughput and peak memory on a PostgreSQL of its own, for both layouts:
//! `cargo bench -p cutover-storage --bench digest_postgres [N]`; with a connection string and a ledger's name it reads that.
//!
//! The measured process is a child that only reads, so that building the ledger does not count.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used, reason = "a bench binary")]

use cutover_storage::{clock, digest};
use cutover_trial_postgres::Cluster;
use cutover_vocabulary::LedgerName;
use cutover_vocabulary::storage::Section;
use std::process::Command;

#[path = "../tests/support/postgres.rs"]
mod support;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [url, ledger] = args.as_slice() {
        return read(url, ledger);
    }
    let count: u64 = args.first().and_then(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    let Some(cluster) = support::create("shared_buffers = 256MB\nautovacuum = off") else { return };
    cluster.sql("postgres", &format!("CREATE ROLE {} LOGIN PASSWORD '{}'", support::ROLE, support::PASSWORD)).unwrap();
    let database = support::database(&cluster);
    support::run(&cluster, &database, "big", support::SPLIT);
    support::run(&cluster, &database, "big", &support::BIG.replace("{N}", &count.to_string()));
    child(&cluster, &database);
    support::run(&cluster, &database, "big", support::BIG_MIGRATED);
    child(&cluster, &database);
    let folder = cluster.data().parent().unwrap().parent().unwrap().to_owned();
    drop(cluster);
    std::fs::remove_dir_all(folder).unwrap();
}

fn child(cluster: &Cluster, database: &str) {
    cluster.sql(database, "VACUUM ANALYZE").unwrap();
    let url = cluster.url(support::ROLE, support::PASSWORD, database);
    let status = Command::new(std::env::current_exe().unwrap()).args([&url, "big"]).status().unwrap();
    assert!(status.success());
}

fn read(url: &str, ledger: &str) {
    let begun = clock::since_boot();
    let ledger = support::open_url(url).unwrap().ledger(&LedgerName::new(ledger).unwrap()).unwrap();
    let reading = digest::read(&ledger, &mut |_| Ok(())).unwrap();
    let took = clock::since_boot().since(begun);
    let rows = |section| reading.digest.rows(section);
    println!(
        "digest {:?}: {} transactions, {} postings, {} balances, {} and {} metadata, {} lost rows: {took}, {} transactions/s, peak {:.1} MB",
        ledger.layout(),
        rows(Section::Transactions),
        rows(Section::Postings),
        rows(Section::Balances),
        rows(Section::TransactionMetadata),
        rows(Section::AccountMetadata),
        reading.losses.count,
        rows(Section::Transactions) * 1000 / took.as_millis().max(1),
        support::peak_kib() as f64 / 1024.0,
    );
}
