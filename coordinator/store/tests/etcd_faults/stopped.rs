//! A process that is stopped past its lease and goes on. The child is this same test, called again with [`CHILD`] set.

use super::*;
use cutover_store::conformance::facts::committed;
use cutover_test_etcd::Etcd;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

/// Names the endpoint for the child; its presence makes the child.
const CHILD: &str = "CUTOVER_ETCD_TEST_CHILD";
const TEST: &str = "stopped::a_process_that_was_stopped_past_its_lease_finds_its_appends_refused";

/// Leads, says so, and appends once for each line it is told.
async fn child(endpoint: String) {
    let store = handle(&[endpoint], SHORT);
    let epoch = leads(&store, "child").await;
    let mut writer = Writer::new(epoch);
    println!("leads={}", epoch.0);
    for line in std::io::stdin().lines() {
        line.unwrap();
        let (before, batch) = (writer.seq, writer.batch(1));
        let may_lead = store.may_lead(epoch);
        let word = match store.append(epoch, &upgrade(), before, &batch).await {
            Appended::Committed => "committed",
            Appended::Fenced { .. } => "fenced",
            other => panic!("{other:?}"),
        };
        println!("answer={word} {may_lead}");
    }
}

struct Running(Child);
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_stopped_past_its_lease_finds_its_appends_refused() {
    if let Ok(endpoint) = std::env::var(CHILD) {
        return child(endpoint).await;
    }
    let etcd = Etcd::start(1);
    let mut running = Running(
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(CHILD, etcd.endpoint(0))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let mut said = |word: &str| loop {
        let line = lines.next().expect("the child runs").unwrap();
        if let Some((_, rest)) = line.rsplit_once(word) {
            return rest.to_owned();
        }
    };
    let mut stdin = running.0.stdin.take().unwrap();
    let epoch: u64 = said("leads=").parse().unwrap();
    stdin.write_all(b"append\n").unwrap();
    assert_eq!(said("answer="), "committed true");
    let pid = Pid::from_child(&running.0);
    kill_process(pid, Signal::STOP).unwrap();
    let store = handle(&etcd.endpoints(), SHORT);
    let next = wins(&store, "b", PATIENCE).await;
    assert!(next > Epoch(epoch));
    let mut writer = Writer::at_the_end_of(&store, next, &upgrade()).await;
    let (before, batch) = (writer.seq, writer.batch(1));
    committed(store.append(next, &upgrade(), before, &batch).await);
    // What it was told while it was stopped is the first thing that it does.
    stdin.write_all(b"append\n").unwrap();
    kill_process(pid, Signal::CONT).unwrap();
    assert_eq!(said("answer="), "fenced false");
    assert_eq!(stored(&store).await.len(), 2);
}
