//! The rooms and the arrows between them, checked against the transitive tree of dependencies. `ARCHITECTURE.md` draws
//! the same arrows; here is where they hold.
#![allow(clippy::unwrap_used, reason = "a test")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What each room may use of the others, in all that it pulls in.
const ROOMS: &[(&str, &[&str])] = &[
    ("cutover-vocabulary", &[]),
    ("cutover-core", &["cutover-vocabulary"]),
    ("cutover-desk", &["cutover-vocabulary"]),
    ("cutover-storage", &["cutover-vocabulary"]),
    ("cutover-proto", &["cutover-vocabulary"]),
    ("cutover-store", &["cutover-vocabulary"]),
    ("cutover-log", &[]),
    ("cutover-coordinator", &["cutover-vocabulary", "cutover-core", "cutover-log", "cutover-proto", "cutover-store"]),
    ("cutover-trial-postgres", &[]),
    ("cutover-agent", &["cutover-vocabulary", "cutover-desk", "cutover-log", "cutover-storage", "cutover-proto"]),
];

/// What the command line may use when it is built without `all-in-one`: the API, and nothing else.
const CLIENT: &[&str] = &["cutover-vocabulary", "cutover-proto"];

/// What may never be below the pure rooms: a clock, randomness, a runtime, the wire, a database.
const PURE: &[&str] = &["cutover-vocabulary", "cutover-core", "cutover-desk"];
const IMPURE: &[&str] =
    &["tokio", "prost", "tonic", "rand", "getrandom", "uuid", "rusqlite", "sqlx", "reqwest", "hyper", "rustix", "libc"];

/// Package name to the names of everything it depends on, however far away; development and build dependencies apart.
fn closure(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let names: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package["name"].as_str().unwrap()))
        .collect();
    let direct: BTreeMap<&str, Vec<&str>> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| {
            let normal = node["deps"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|dep| dep["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null()));
            (node["id"].as_str().unwrap(), normal.map(|dep| dep["pkg"].as_str().unwrap()).collect())
        })
        .collect();
    let mut all = BTreeMap::new();
    for member in metadata["workspace_members"].as_array().unwrap() {
        let mut seen = BTreeSet::new();
        let mut open = vec![member.as_str().unwrap()];
        while let Some(id) = open.pop() {
            for dep in direct.get(id).into_iter().flatten() {
                if seen.insert(*dep) {
                    open.push(dep);
                }
            }
        }
        let reached = seen.into_iter().map(|id| names[id].to_owned()).collect();
        all.insert(names[member.as_str().unwrap()].to_owned(), reached);
    }
    all
}

/// Every arrow that must not be, in words.
fn wrong_arrows(tree: &BTreeMap<String, BTreeSet<String>>, rooms: &[(&str, &[&str])]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (room, allowed) in rooms {
        let Some(reached) = tree.get(*room) else {
            wrong.push(format!("{room} is missing from the workspace"));
            continue;
        };
        let ours = reached.iter().filter(|name| name.starts_with("cutover"));
        wrong.extend(ours.filter(|name| !allowed.contains(&name.as_str())).map(|name| format!("{room} -> {name}")));
        if PURE.contains(room) {
            let impure = reached.iter().filter(|name| IMPURE.contains(&name.as_str()));
            wrong.extend(impure.map(|name| format!("{room} -> {name}")));
        }
    }
    wrong
}

fn metadata(extra: &[&str]) -> Value {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--manifest-path", manifest, "--filter-platform"])
        .arg("x86_64-unknown-linux-gnu")
        .args(extra)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_arrow_points_one_way() {
    let wrong = wrong_arrows(&closure(&metadata(&[])), ROOMS);
    assert!(wrong.is_empty(), "arrows that must not be:\n{}", wrong.join("\n"));
}

#[test]
fn the_command_line_needs_nothing_but_the_api() {
    let tree = closure(&metadata(&["--no-default-features"]));
    let wrong = wrong_arrows(&tree, &[("cutover", CLIENT)]);
    assert!(wrong.is_empty(), "arrows that must not be:\n{}", wrong.join("\n"));
}

#[test]
fn a_planted_wrong_arrow_is_seen() {
    let mut tree = closure(&metadata(&[]));
    tree.get_mut("cutover-core").unwrap().insert("tokio".to_owned());
    tree.get_mut("cutover-desk").unwrap().insert("cutover-agent".to_owned());
    assert_eq!(wrong_arrows(&tree, ROOMS), ["cutover-core -> tokio", "cutover-desk -> cutover-agent"]);
}

#[test]
fn every_room_is_in_the_list() {
    let tree = closure(&metadata(&[]));
    let listed: BTreeSet<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    // The command line and the tests may use everything.
    let free = ["cutover", "cutover-tests", "cutover-ledger-simulator", "cutover-test-etcd", "cutover-test-hosts"];
    let open: Vec<&String> =
        tree.keys().filter(|name| !listed.contains(name.as_str()) && !free.contains(&name.as_str())).collect();
    assert!(open.is_empty(), "rooms without a rule: {open:?}");
}
