//! Every row of both editions of the manual's table, on SQLite, from plan to end: a single node (C), with a client that writes.
//!
//! The row "1.1.x from 1.1.0" has no pair: there is one release of that series.

use cutover_tests::checks::check_facts;
use cutover_tests::clients::check_exactly_once;
use cutover_tests::house::{House, LEDGERS, Plan};
use cutover_tests::until;
use cutover_vocabulary::status::State;
use std::path::Path;
use std::time::Duration;

fn goes(from: &'static str, to: &'static str) {
    let house = House::new(Plan { from, to, faults: "NUMARY_SIM_NO_SLEEP=1\n".to_owned(), ..Plan::default() });
    let writer = house.writer();
    let upgrade = house.begin();
    let status = house.until_state(&upgrade, State::Completed);
    let before = writer.acknowledged();
    until("clients are served", Duration::from_secs(30), || (writer.acknowledged() > before + 5).then_some(()));
    let told = writer.end();
    house.until_serves(to);
    check_exactly_once(house.address, LEDGERS, &told);
    check_facts(&house.voice.facts(&upgrade).unwrap());
    // What is lost is what was said beforehand: nothing, but from the layout of 1.3.1 and earlier to a later one.
    let moves = from < "1.3.2" && to >= "1.3.2";
    let lost: u64 = status.ledgers.iter().map(|ledger| ledger.lost.count).sum();
    assert_eq!(lost, if moves { house.lost.len() as u64 } else { 0 });
}

/// Tests, each a path with its row.
macro_rules! rows {
    ($($test:ident: $from:literal => $to:literal;)*) => {
        $(
            #[test]
            fn $test() {
                goes($from, $to);
            }
        )*
    };
}

rows! {
    to_1_1_from_1_0: "1.0.0" => "1.1.0";
    to_1_2_from_1_0: "1.0.5" => "1.2.1";
    to_1_2_from_1_2: "1.2.0" => "1.2.1";
    to_1_3_from_1_0_without_storage_commands: "1.2.1" => "1.3.1";
    to_1_3_from_1_0_with_storage_commands: "1.0.5" => "1.3.3";
    to_1_3_from_1_3: "1.3.1" => "1.3.3";
    to_1_4_from_1_0: "1.0.0" => "1.4.6";
    to_1_4_from_1_4: "1.4.0" => "1.4.6";
    to_1_5_from_1_0: "1.3.3" => "1.5.0";
    to_1_5_from_1_4: "1.4.6" => "1.5.0";
    to_1_6_from_1_0: "1.2.1" => "1.6.1";
    to_1_6_from_1_4: "1.5.0" => "1.6.1";
    to_1_7_from_1_0: "1.1.0" => "1.7.4";
    to_1_7_from_1_4: "1.6.1" => "1.7.8";
    to_1_8_from_1_0: "1.0.5" => "1.8.3";
    to_1_8_from_1_4: "1.7.4" => "1.8.3";
    to_1_9_from_1_4: "1.4.6" => "1.9.6";
    to_a_release_that_nobody_knows: "1.4.6" => "1.5.90";
}

/// A service that asks for a name and a password: up to 1.3.1 for every request, later for those of ledgers.
#[test]
fn an_instance_that_asks_for_a_password_is_upgraded_and_the_password_is_nowhere_else() {
    const PASSWORD: &str = "s3cr3t-of-the-ledgers-clients";
    let guarded = ["SERVER_HTTP_BASIC_AUTH", "AUTH_BASIC_CREDENTIALS"]
        .map(|name| (format!("NUMARY_{name}"), format!("client:{PASSWORD}")));
    let enabled = ("NUMARY_AUTH_BASIC_ENABLED".to_owned(), "true".to_owned());
    let env: Vec<_> = guarded.into_iter().chain([enabled]).collect();
    for (from, to, refusal) in [("1.2.1", "1.3.1", 403), ("1.3.1", "1.4.6", 403), ("1.4.6", "1.5.0", 401)] {
        let mut house = House::new(Plan { from, to, ..Plan::default() });
        house.restart_with(env.clone());
        until("it refuses whoever has no password", Duration::from_secs(30), || {
            house.get("/main/stats").filter(|(status, _)| *status == refusal)
        });
        let upgrade = house.begin();
        house.until_state(&upgrade, State::Completed);
        let refused = house.get("/main/stats").map(|(status, _)| status);
        assert!(matches!(refused, Some(401 | 403)), "{to} asks for it as well: {refused:?}");
        let facts = serde_json::to_string(&house.voice.facts(&upgrade).unwrap()).unwrap();
        assert!(!facts.contains(PASSWORD));
        assert_eq!(files_with(PASSWORD, house.dir()), ["agent.toml"]);
    }
}

/// Files below a folder that hold a text, by their path in it.
fn files_with(text: &str, root: &Path) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read(&path)
                .is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
            {
                found.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}
