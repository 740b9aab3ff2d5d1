//! Real processes on one file, killed with SIGKILL. The child is this same test, called again with [`CHILD`] set.
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test: what is not as expected panics")]

use cutover_store::conformance::facts::{Writer, all_known, load_in_pages};
use cutover_store::{Appended, CoordinatorName, SqliteStore, Store};
use cutover_vocabulary::{Epoch, UpgradeId};
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Names the database for the child; its presence makes the child.
const CHILD: &str = "CUTOVER_STORE_TEST_CHILD";

fn upgrade() -> UpgradeId {
    UpgradeId::new("u").unwrap()
}

fn name(text: &str) -> CoordinatorName {
    CoordinatorName::new(text).unwrap()
}

/// What a child says, one line each; lines of the test harness are passed over.
enum Said {
    Leads(u64),
    Acknowledged(u64),
}

struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(test: &str, database: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }
    /// The next thing it says; none once it is dead and all it said is read.
    fn hear(&mut self) -> Option<Said> {
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            // The harness prints `test NAME ... ` without a newline first, so our words may stand behind it.
            if let Some((_, number)) = line.rsplit_once("leads=") {
                return Some(Said::Leads(number.parse().unwrap()));
            }
            // A last line that the kill cut short acknowledges nothing.
            if let Some((_, number)) = line.rsplit_once("acknowledged=")
                && let Some(number) = number.strip_suffix('.')
            {
                return Some(Said::Acknowledged(number.parse().unwrap()));
            }
        }
        None
    }
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").unwrap();
    out.flush().unwrap();
}

/// Leads, then appends batches of 1 to 7 facts until it is killed, saying each commit.
async fn append_for_ever(database: &Path) {
    let store = SqliteStore::open(database).await.unwrap();
    let epoch = store.lead(&name("child")).await.unwrap().unwrap();
    say(&format!("leads={epoch}"));
    let mut writer = Writer::at_the_end_of(&store, epoch, &upgrade()).await;
    loop {
        let before = writer.seq;
        let batch = writer.batch(usize::try_from(before % 7).unwrap() + 1);
        match store.append(epoch, &upgrade(), before, &batch).await {
            Appended::Committed => say(&format!("acknowledged={}.", writer.seq)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_there_and_the_chain_is_whole() {
    if let Some(database) = std::env::var_os(CHILD) {
        return append_for_ever(Path::new(&database)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("store.db");
    let mut last_epoch = 0;
    let mut facts = Vec::new();
    for round in 0..6_usize {
        let test = "what_was_acknowledged_before_a_kill_is_there_and_the_chain_is_whole";
        let mut child = Running::start(test, &database);
        let mut acknowledged = 0;
        let mut commits = 0;
        // Killed as soon as so many commits were heard: it is in the middle of the next one, or between two.
        while commits < 3 + round * 5 {
            match child.hear().unwrap() {
                Said::Leads(epoch) => {
                    assert!(epoch > last_epoch, "{epoch} after {last_epoch}");
                    last_epoch = epoch;
                }
                Said::Acknowledged(seq) => {
                    acknowledged = seq;
                    commits += 1;
                }
            }
        }
        child.kill();
        while let Some(Said::Acknowledged(seq)) = child.hear() {
            acknowledged = seq;
        }
        let store = SqliteStore::open(&database).await.unwrap();
        let found = all_known(load_in_pages(&store, &upgrade(), 10).await);
        let last = found.last().unwrap().seq;
        assert!(last >= acknowledged, "round {round}: {acknowledged} was acknowledged, {last} is the last");
        assert!(last <= acknowledged + 7, "at most the one batch that was under way");
        assert!(found.starts_with(&facts), "round {round} changed what was there before");
        assert_eq!(store.head(&upgrade()).await.unwrap().unwrap().seq, last);
        facts = found;
        store.close().await;
    }
}

/// Leads and then waits to be killed.
async fn lead_for_ever(database: &Path) {
    let store = SqliteStore::open(database).await.unwrap();
    let epoch = store.lead(&name("child")).await.unwrap().unwrap();
    say(&format!("leads={epoch}"));
    let mut nothing = String::new();
    std::io::stdin().read_line(&mut nothing).unwrap();
}

#[tokio::test]
async fn a_second_process_cannot_lead_until_the_first_is_dead() {
    if let Some(database) = std::env::var_os(CHILD) {
        return lead_for_ever(Path::new(&database)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("store.db");
    let mut child = Running::start("a_second_process_cannot_lead_until_the_first_is_dead", &database);
    let Some(Said::Leads(first)) = child.hear() else { panic!("the child did not lead") };
    let store = SqliteStore::open(&database).await.unwrap();
    assert_eq!(store.lead(&name("parent")).await.unwrap(), None);
    let batch = Writer::new(Epoch(first + 1)).batch(1);
    let refused = store.append(Epoch(first + 1), &upgrade(), 0, &batch).await;
    assert!(matches!(refused, Appended::Fenced { by } if by == Epoch(first)), "{refused:?}");
    child.kill();
    let next = store.lead(&name("parent")).await.unwrap().unwrap();
    assert!(next > Epoch(first));
    Writer::new(next).append(&store, &upgrade(), 1).await;
}
