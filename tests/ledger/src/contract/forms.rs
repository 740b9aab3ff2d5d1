//! What the answers and lines look like in the releases that changed them.

use super::http::pay;
use super::subject::{Home, Number, Server};
use super::{Bench, Check, Step, expect, only_if, same, tried};
use crate::storage::Driver;
use crate::wire;
use serde_json::{Value, json};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "a_list_has_the_keys_of_its_release", look: cursor },
    Check { name: "the_size_of_a_page_can_be_asked_for_from_1_6_on", look: page_size },
    Check { name: "an_error_has_the_keys_of_its_release", look: error_keys },
    Check { name: "transactions_carry_volumes_from_1_6_on", look: commit_volumes },
    Check { name: "balances_are_answered_from_1_6_on", look: balances },
    Check { name: "accounts_are_filtered_by_address_from_1_7_on", look: filter },
    Check { name: "a_repeated_idempotency_key_gives_the_first_answer_from_1_8_on", look: idempotency },
    Check { name: "a_ledger_tells_its_migrations_and_its_log_from_1_9_on", look: ledger_info },
    Check { name: "starts_and_storage_commands_sleep_two_seconds_up_to_1_4_2", look: sleeps },
    Check { name: "log_lines_come_between_the_lines_of_a_command_from_1_10_on", look: log_lines },
    Check { name: "sqlite_is_called_deprecated_from_1_10_on", look: deprecated },
    Check { name: "telemetry_without_a_key_is_told_as_its_release_does", look: telemetry },
    Check { name: "init_of_a_ledger_that_is_there_is_ok_from_1_10_6_on", look: init },
];

fn served(bench: &Bench) -> Step<(Home, Server)> {
    let home = bench.home()?;
    let server = bench.subject.serve(&home, &[])?;
    server.write("/shop/transactions", &pay("bank", 100))?;
    Ok((home, server))
}

fn has(object: &Value, keys: &[&str], lacks: &[&str]) -> Step {
    let missing: Vec<&&str> = keys.iter().filter(|key| object.get(**key).is_none()).collect();
    let extra: Vec<&&str> = lacks.iter().filter(|key| object.get(**key).is_some()).collect();
    expect(missing.is_empty() && extra.is_empty(), format!("{keys:?} without {lacks:?}"), object)
}

fn cursor(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    let cursor = server.get("/shop/transactions")?.json()["cursor"].clone();
    let number = bench.subject.number;
    if number < Number(1, 3, 0) {
        return has(&cursor, &["page_size", "has_more", "total", "remaining_results", "data"], &["pageSize"]);
    }
    if number < Number(1, 6, 0) {
        let size = if matches!(number, Number(1, 3, 2 | 3)) { 1 } else { 15 };
        same(cursor["page_size"].clone(), json!(size))?;
        return has(&cursor, &["page_size", "has_more", "total", "data"], &["remaining_results", "pageSize"]);
    }
    if number < Number(1, 9, 0) {
        return has(&cursor, &["page_size", "has_more", "data"], &["pageSize", "hasMore"]);
    }
    has(&cursor, &["pageSize", "hasMore", "data", "page_size", "has_more"], &[])
}

fn page_size(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    only_if(bench.subject.number >= Number(1, 6, 0))?;
    server.write("/shop/transactions", &pay("bank", 2))?;
    let rows = |path: &str| -> Step<Value> { Ok(server.get(path)?.json()["cursor"].clone()) };
    let first = rows("/shop/transactions?page_size=1")?;
    same((first["data"][0]["txid"].clone(), first["has_more"].clone()), (json!(1), json!(true)))?;
    expect(first["next"].is_string(), "a name for the next page", &first)?;
    only_if(bench.subject.number >= Number(1, 9, 0))?;
    same(rows("/shop/transactions?pageSize=1")?["data"].as_array().map(Vec::len), Some(1))
}

fn error_keys(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    let error = server.post("/shop/transactions", &json!({ "postings": [] }))?.json();
    if bench.subject.number < Number(1, 9, 0) {
        return has(&error, &["error_code", "error_message"], &["errorCode", "errorMessage"]);
    }
    has(&error, &["errorCode", "errorMessage", "error_code", "error_message"], &[])
}

fn commit_volumes(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    let second = server.write("/shop/transactions", &pay("bank", 1))?.json()["data"][0].clone();
    if bench.subject.number < Number(1, 6, 0) {
        return has(&second, &[], &["preCommitVolumes", "postCommitVolumes"]);
    }
    let bank = |key: &str| second[key]["bank"]["USD/2"].clone();
    // Two releases count from zero after a start alone, and this is the same process.
    same(bank("preCommitVolumes"), json!({ "input": 100, "output": 0, "balance": 100 }))?;
    same(bank("postCommitVolumes"), json!({ "input": 101, "output": 0, "balance": 101 }))?;
    let read = server.get("/shop/transactions/1")?.json()["data"]["postCommitVolumes"]["bank"].clone();
    same(read["USD/2"]["input"].clone(), json!(101))
}

fn balances(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    let reply = server.get("/shop/aggregate/balances")?;
    if bench.subject.number < Number(1, 6, 0) {
        return same(reply.status, 404);
    }
    same(reply.json()["data"].clone(), json!({ "USD/2": 0 }))?;
    let all = server.get("/shop/balances")?.json()["cursor"]["data"].clone();
    expect(all.to_string().contains("{\"bank\":{\"USD/2\":100}}"), "bank with 100", &all)
}

/// The addresses that a filter finds.
pub(super) fn found(server: &Server, filter: &str) -> Step<Vec<String>> {
    let data = server.get(&format!("/shop/accounts?address={filter}"))?.json()["cursor"]["data"].clone();
    let addresses = data.as_array().into_iter().flatten().filter_map(|account| account["address"].as_str());
    Ok(addresses.map(str::to_owned).collect())
}

fn filter(bench: &Bench) -> Step {
    only_if(bench.subject.number >= Number(1, 7, 0))?;
    let (_home, server) = served(bench)?;
    server.write("/shop/transactions", &pay("users:1", 1))?;
    server.write("/shop/accounts/users:2/metadata", &json!({ "a": 1 }))?;
    same(found(&server, "users:.*")?, vec!["users:2".to_owned(), "users:1".to_owned()])
}

fn idempotency(bench: &Bench) -> Step {
    only_if(bench.subject.number >= Number(1, 8, 0))?;
    let (_home, server) = served(bench)?;
    let body = pay("bank", 5).to_string();
    let post = || {
        let header = "Idempotency-Key: k1\r\n";
        tried("post", wire::request_with(&server.address, "POST", "/shop/transactions", Some(&body), header))
    };
    let (first, again) = (post()?, post()?);
    same((first.status, again.body), (200, first.body))?;
    same(server.get("/shop/stats")?.json()["data"]["transactions"].clone(), json!(2))
}

fn ledger_info(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    let info = server.get("/shop/_info")?;
    if bench.subject.number < Number(1, 9, 0) {
        return same((info.status, server.get("/shop/logs")?.status), (404, 404));
    }
    let migrations = info.json()["data"]["storage"]["migrations"].clone();
    let known = bench.subject.number.highest_migration(bench.driver()).map_or(0, |highest| highest as usize + 1);
    same(migrations.as_array().map(Vec::len), Some(known))?;
    has(&migrations[0], &["version", "name", "state"], &[])?;
    let entry = server.get("/shop/logs")?.json()["cursor"]["data"][0].clone();
    same(entry["type"].clone(), json!("NEW_TRANSACTION"))
}

/// The quickest of three: on a busy machine any command can take long.
#[expect(clippy::disallowed_methods, reason = "how long a command takes can only be measured with a clock")]
fn sleeps(bench: &Bench) -> Step {
    only_if(bench.subject.has_storage_commands())?;
    let home = bench.home()?;
    let mut quickest = f64::MAX;
    for _ in 0..3 {
        let began = std::time::Instant::now();
        bench.subject.run(&home, &["storage", "list"])?.ends(0)?;
        quickest = quickest.min(began.elapsed().as_secs_f64());
    }
    let expected = (Number(1, 4, 0)..=Number(1, 4, 2)).contains(&bench.subject.number);
    expect((quickest >= 2.0) == expected, format!("two seconds: {expected}"), format!("{quickest} s"))
}

fn log_lines(bench: &Bench) -> Step {
    only_if(bench.subject.has_storage_commands())?;
    let ran = bench.subject.run(&bench.home()?, &["storage", "list"])?;
    let logged = ran.out.lines().any(|line| line.starts_with("time=\""));
    same(logged, bench.subject.number >= Number(1, 10, 0))?;
    let missing = bench.subject.run(&bench.home()?, &["storage", "upgrade", "_system"])?;
    same(missing.out.contains("Router closed"), bench.subject.number >= Number(1, 10, 0))
}

fn deprecated(bench: &Bench) -> Step {
    only_if(bench.subject.has_storage_commands())?;
    let expected = bench.subject.number >= Number(1, 10, 0);
    let home = bench.home()?;
    let ran = bench.subject.run(&home, &["storage", "list"])?;
    same(ran.err.contains("WARNING: SQLite is being deprecated"), expected && bench.driver() == Driver::Sqlite)?;
    let flag = format!("--storage.driver={}", bench.driver().name());
    let ran = bench.subject.run(&home, &["storage", "list", &flag])?;
    ran.ends(0)?;
    same(ran.err.contains("Flag --storage.driver has been deprecated, "), expected)
}

fn telemetry(bench: &Bench) -> Step {
    only_if(bench.subject.number >= Number(1, 4, 0))?;
    let on = [("NUMARY_SEGMENT_ENABLED", "true"), ("NUMARY_TELEMETRY_ENABLED", "true")];
    let ran = bench.subject.run_with(&bench.home()?, &["storage", "list"], &on)?;
    let said = ran.out.clone() + &ran.err;
    if bench.subject.number < Number(1, 7, 4) {
        return ran.complains("Segment enabled but no write key provided");
    }
    let line = "level=info msg=\"telemetry enabled but no write key provided\"";
    expect(said.contains(line), line, said)
}

fn init(bench: &Bench) -> Step {
    only_if(bench.subject.has_storage_commands())?;
    let home = bench.home()?;
    bench.subject.run(&home, &["storage", "init"])?.ends(0)?;
    let again = bench.subject.run(&home, &["storage", "init"])?;
    same(again.out.contains("Already initialized!"), bench.subject.number < Number(1, 10, 6))
}
