//! The program moves a whole store, and the upgrades in it go on there.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod support;

use cutover_test_etcd::Etcd;
use cutover_vocabulary::status::State;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use support::host::Seen;
use support::{Backend, FakeAgent, Manners, Site};

/// Runs the program; what it said, and whether it succeeded.
fn program(settings: &Path, words: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutover-coordinator"));
    let ran = command.args(words).arg("--settings").arg(settings).output().unwrap();
    (ran.status.success(), String::from_utf8(ran.stderr).unwrap())
}

fn settings(folder: &Path, name: &str, store: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    let listen = folder.join("none.sock");
    std::fs::write(&path, format!("name = \"mover\"\nlisten = \"unix:{}\"\n{store}", listen.display())).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_go_on_in_etcd_that_were_begun_in_sqlite() {
    let mut site = Site::sqlite();
    let first = site.coordinator().await;
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    let upgrade = site.client().begin().await;
    site.client().reaches(&upgrade, State::Completed).await;
    let folder = site.dir.path().to_owned();
    let sqlite = settings(&folder, "sqlite.toml", &format!("store = \"sqlite:{}\"\n", folder.join("c.db").display()));
    let file = folder.join("store.jsonl");
    let file = file.to_str().unwrap();
    let (done, said) = program(&sqlite, &["export", file]);
    assert!(!done && said.contains("coordinator c-1 leads this store"), "{said}");
    assert!(!Path::new(file).exists(), "nothing is left of an export that failed");
    first.stop().await;

    let (done, said) = program(&sqlite, &["export", file]);
    assert!(done && said.contains("1 upgrades with"), "{said}");
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let (done, said) = program(&sqlite, &["export", file]);
    assert!(!done && said.contains("never written over"), "{said}");
    let (done, said) = program(&sqlite, &["import", file]);
    assert!(!done && said.contains("this store is not empty (1 upgrades"), "{said}");
    let (done, said) = program(&settings(&folder, "memory.toml", "store = \"memory\"\n"), &["export", "/dev/null/x"]);
    assert!(!done && said.contains("gone when a coordinator ends"), "{said}");

    let etcd = Arc::new(Etcd::start(1));
    let to = format!("store = \"etcd\"\n[etcd]\nendpoints = [\"{}\"]\n", etcd.endpoint(0));
    let to = settings(&folder, "etcd.toml", &to);
    let cut = folder.join("cut.jsonl");
    let whole = std::fs::read_to_string(file).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let (done, said) = program(&to, &["import", cut.to_str().unwrap()]);
    assert!(!done && said.contains("in the middle of a line") && said.contains("cut.jsonl"), "{said}");
    let (done, said) = program(&to, &["import", file]);
    assert!(done && said.contains("imported 1 upgrades"), "{said}");
    let before = site.facts(&upgrade).await;
    site.backend = Backend::Etcd(etcd);
    assert_eq!(site.facts(&upgrade).await, before);

    let second = site.coordinator().await;
    assert_eq!(site.client().status(&upgrade).await.state, State::Completed);
    let next = site.client().begin_again().await;
    site.client().reaches(&next, State::Completed).await;
    assert_eq!(agent.journal.lock().unwrap().violations, Vec::<String>::new());
    second.stop().await;
}

/// Lines of the blocks of docs/coordinators.md with this mark.
fn typed(mark: &str) -> Vec<String> {
    let page = include_str!("../../docs/coordinators.md");
    let begins = format!("\n```{mark}\n");
    let blocks = page.split(&begins).skip(1);
    blocks.flat_map(|block| block.split("\n```").next().unwrap().lines().map(str::to_owned)).collect()
}

#[test]
fn the_settings_of_the_page_about_three_coordinators_can_be_used() {
    let text = typed("toml coordinator.toml").join("\n");
    let settings = cutover_coordinator::Settings::parse(&text, Path::new("coordinator.toml")).unwrap();
    assert_eq!(settings.advertise.unwrap().to_string(), "https://c1:7443");
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_from_a_file_to_etcd_as_the_page_types_it() {
    let site = Site::sqlite();
    let coordinator = site.coordinator().await;
    let _agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    let upgrade = site.client().begin().await;
    site.client().reaches(&upgrade, State::Completed).await;
    coordinator.stop().await;
    let folder = site.dir.path().to_owned();
    let etcd = Arc::new(Etcd::start(1));
    let former = format!("store = \"sqlite:{}\"\n", folder.join("c.db").display());
    let new = format!("store = \"etcd\"\n[etcd]\nendpoints = [\"{}\"]\n", etcd.endpoint(0));
    let mut path = settings(&folder, "coordinator.toml", &former);
    let mut done = Vec::new();
    for line in typed("sh move") {
        let line = line.replace("/root", folder.to_str().unwrap());
        let words: Vec<&str> = line.split(' ').collect();
        // The service is this test's business.
        let ["cutover-coordinator", words @ ..] = words.as_slice() else { continue };
        if words[0] == "import" {
            path = settings(&folder, "coordinator.toml", &new);
        }
        let (well, said) = program(&path, words);
        assert!(well, "{line}: {said}");
        done.push(words[0].to_owned());
    }
    assert_eq!(done, ["export", "import"]);
    let before = site.facts(&upgrade).await;
    let moved = Site { backend: Backend::Etcd(etcd), ..Site::memory() };
    assert_eq!(moved.facts(&upgrade).await, before);
}
