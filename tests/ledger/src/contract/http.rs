//! The HTTP answers.

use super::subject::{Home, Number, Server};
use super::{Bench, Check, Step, expect, only_if, same, tried};
use crate::storage::Driver;
use crate::wire;
use serde_json::{Value, json};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "info_names_server_version_and_driver", look: info },
    Check { name: "info_names_configured_ledgers_up_to_1_3_1_and_registered_ones_later", look: info_ledgers },
    Check { name: "health_answers_as_its_release_does", look: health },
    Check { name: "a_posted_transaction_is_answered_in_the_form_of_its_release", look: transaction_form },
    Check { name: "transactions_come_newest_first_fifteen_a_page", look: pages },
    Check { name: "a_used_reference_is_a_conflict", look: conflict },
    Check { name: "missing_funds_are_refused", look: funds },
    Check { name: "a_transaction_without_postings_is_refused", look: no_postings },
    Check { name: "a_body_that_is_no_json_is_refused", look: bad_body },
    Check { name: "an_amount_that_is_no_number_is_zero_up_to_1_3_1", look: bad_amount },
    Check { name: "a_batch_with_a_conflict_writes_nothing", look: batch_conflict },
    Check { name: "an_empty_batch_is_answered_as_its_release_does", look: empty_batch },
    Check { name: "a_revert_answers_with_the_new_transaction_and_cannot_be_repeated", look: revert },
    Check { name: "metadata_is_set_with_204_and_read_back", look: metadata },
    Check { name: "an_account_has_balances_and_volumes", look: account },
    Check { name: "an_unknown_account_is_answered_as_its_release_does", look: unknown_account },
    Check { name: "an_unknown_transaction_is_404", look: unknown_transaction },
    Check { name: "stats_count_metadata_only_accounts_from_1_3_2_on", look: stats },
    Check { name: "a_read_of_an_unknown_ledger_creates_it", look: read_creates },
    Check { name: "head_is_answered_from_1_3_2_on", look: head },
    Check { name: "basic_auth_refuses_as_its_release_does", look: basic_auth },
    Check { name: "writes_survive_a_restart_and_balances_do_but_in_1_10_6_and_1_10_7", look: restart },
];

fn old(bench: &Bench) -> bool {
    !bench.subject.has_storage_commands()
}

fn served(bench: &Bench) -> Step<(Home, Server)> {
    let home = bench.home()?;
    let server = bench.subject.serve(&home, &[])?;
    Ok((home, server))
}

pub(super) fn pay(to: &str, amount: i64) -> Value {
    json!({ "postings": [{ "source": "world", "destination": to, "amount": amount, "asset": "USD/2" }] })
}

fn info(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    let reply = server.get("/_info")?;
    same(reply.status, 200)?;
    let data = &reply.json()["data"];
    same(data["server"].as_str(), Some("numary-ledger"))?;
    same(data["version"].as_str(), Some(bench.subject.version.as_str()))?;
    same(data["config"]["storage"]["driver"].as_str(), Some(bench.driver().name()))
}

fn info_ledgers(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    let named = |server: &Server| -> Step<Value> {
        Ok(server.get("/_info")?.json()["data"]["config"]["storage"]["ledgers"].clone())
    };
    let before = named(&server)?;
    server.write("/shop/transactions", &pay("bank", 1))?;
    let after = named(&server)?;
    if old(bench) {
        same(before, json!(["quickstart"]))?;
        same(after, json!(["quickstart", "shop"]))
    } else {
        expect(before.as_array().is_none_or(Vec::is_empty), "no ledger", &before)?;
        same(after, json!(["shop"]))
    }
}

fn health(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    let reply = server.get("/_health")?;
    if bench.subject.number < Number(1, 3, 0) {
        return same(reply.status, 404);
    }
    same(reply.status, 200)?;
    let silent = match bench.driver() {
        Driver::Sqlite => (Number(1, 3, 2)..Number(1, 8, 0)).contains(&bench.subject.number),
        Driver::Postgres => false,
    };
    same(reply.json(), if silent { json!({}) } else { json!({ bench.driver().name(): "OK" }) })?;
    same(server.get("/_healthcheck")?.status, if bench.subject.number < Number(1, 9, 0) { 404 } else { 200 })
}

/// The keys of an object in the order of the text.
fn keys(text: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let (mut depth, mut chars) = (0, text.chars().peekable());
    while let Some(letter) = chars.next() {
        match letter {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            '"' => {
                let mut string = String::new();
                while let Some(letter) = chars.next().filter(|letter| *letter != '"') {
                    string.push(letter);
                    if letter == '\\' {
                        string.extend(chars.next());
                    }
                }
                if depth == 1 && chars.peek() == Some(&':') {
                    keys.push(string);
                }
            }
            _ => {}
        }
    }
    keys
}

fn transaction_form(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    let reply = server.write("/shop/transactions", &pay("bank", 100))?;
    same(reply.status, 200)?;
    let inner =
        reply.body.trim().strip_prefix("{\"data\":[").and_then(|body| body.strip_suffix("]}")).unwrap_or_default();
    let number = bench.subject.number;
    let expected: &[&str] = if old(bench) {
        &["postings", "reference", "metadata", "txid", "timestamp", "hash"]
    } else if number < Number(1, 6, 0) {
        &["postings", "reference", "metadata", "txid", "timestamp"]
    } else if number < Number(1, 7, 0) {
        &["postings", "reference", "metadata", "txid", "timestamp", "preCommitVolumes", "postCommitVolumes"]
    } else if number < Number(1, 8, 0) {
        &["metadata", "postCommitVolumes", "postings", "preCommitVolumes", "reference", "timestamp", "txid"]
    } else {
        &["postings", "reference", "metadata", "txid", "preCommitVolumes", "postCommitVolumes", "timestamp"]
    };
    let saw = keys(inner);
    if number < Number(1, 8, 0) {
        same(saw, expected.iter().map(|key| (*key).to_owned()).collect())?;
    } else {
        // Of the others only their presence was seen.
        same(saw.last().map(String::as_str), Some("timestamp"))?;
        expect(
            expected.iter().all(|key| saw.iter().any(|saw| saw == key)),
            format!("{expected:?}"),
            format!("{saw:?}"),
        )?;
    }
    let transaction = &reply.json()["data"][0];
    same(transaction["txid"].clone(), json!(0))?;
    same(transaction["reference"].clone(), json!(""))?;
    same(transaction["metadata"].clone(), Value::Null)?;
    let timestamp = transaction["timestamp"].as_str().unwrap_or_default();
    expect(timestamp.len() == 20 && timestamp.ends_with('Z'), "whole seconds ending in Z", timestamp)?;
    same(transaction["postings"][0]["amount"].clone(), json!(100))?;
    same(server.get("/shop/transactions/0")?.json()["data"]["metadata"].clone(), json!({}))
}

fn pages(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    for number in 1..=20 {
        server.write("/shop/transactions", &pay("bank", number))?;
    }
    let ids = |path: &str| -> Step<Vec<i64>> {
        let reply = server.get(path)?.json();
        let data = reply["cursor"]["data"].as_array().cloned().unwrap_or_default();
        Ok(data.iter().filter_map(|transaction| transaction["txid"].as_i64()).collect())
    };
    same(ids("/shop/transactions")?, (5..20).rev().collect())?;
    same(ids("/shop/transactions?after=5")?, (0..5).rev().collect())?;
    let cursor = server.get("/shop/transactions")?.json()["cursor"].clone();
    same(cursor["has_more"].clone(), json!(true))?;
    same(cursor["page_size"].clone(), json!(15))
}

fn conflict(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    let mut body = pay("bank", 1);
    body["reference"] = json!("r1");
    server.write("/shop/transactions", &body)?;
    let reply = server.post("/shop/transactions", &body)?;
    same(reply.status, 409)?;
    same(reply.json()["error_code"].clone(), json!("CONFLICT"))?;
    let message =
        if old(bench) { "processing tx 0: conflict error on reference 'r1'" } else { "conflict error on reference" };
    same(reply.json()["error_message"].clone(), json!(message))?;
    same(server.get("/shop/stats")?.json()["data"]["transactions"].clone(), json!(1))
}

fn funds(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    server.write("/shop/transactions", &pay("bank", 100))?;
    let posting = json!({ "source": "bank", "destination": "shop", "amount": 101, "asset": "USD/2" });
    let reply = server.post("/shop/transactions", &json!({ "postings": [posting] }))?;
    same(reply.status, 400)?;
    same(reply.json()["error_code"].clone(), json!("INSUFFICIENT_FUND"))?;
    let prefix = if bench.subject.number < Number(1, 9, 0) { "processing tx 0: " } else { "" };
    same(reply.json()["error_message"].clone(), json!(format!("{prefix}balance.insufficient.USD/2")))
}

fn no_postings(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    let reply = server.post("/shop/transactions", &json!({ "postings": [] }))?;
    same((reply.status, reply.json()["error_code"].clone()), (400, json!("VALIDATION")))
}

fn bad_body(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    let reply = tried("post", wire::request(&server.address, "POST", "/shop/transactions", Some("{no json")))?;
    let number = bench.subject.number;
    let fails = matches!(number, Number(1, 3, 2 | 3)) || (Number(1, 4, 1)..Number(1, 6, 0)).contains(&number);
    same(reply.status, if fails { 500 } else { 400 })
}

fn bad_amount(bench: &Bench) -> Step {
    only_if(old(bench))?;
    let (_home, server) = served(bench)?;
    let posting = json!({ "source": "world", "destination": "bank", "amount": "many", "asset": "USD/2" });
    let reply = server.write("/shop/transactions", &json!({ "postings": [posting] }))?;
    same(reply.json()["data"][0]["postings"][0]["amount"].clone(), json!(0))
}

fn batch_conflict(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    let with = |reference: &str| {
        let mut body = pay("bank", 1);
        body["reference"] = json!(reference);
        body
    };
    server.write("/shop/transactions/batch", &json!({ "transactions": [with("a"), with("b")] }))?;
    let reply = server.post("/shop/transactions/batch", &json!({ "transactions": [with("c"), with("a")] }))?;
    same(reply.status, if old(bench) { 400 } else { 409 })?;
    if old(bench) {
        expect(reply.body.contains("errorCode"), "an errorCode for the item", &reply.body)?;
    }
    same(server.get("/shop/stats")?.json()["data"]["transactions"].clone(), json!(2))
}

fn empty_batch(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    let reply = server.post("/shop/transactions/batch", &json!({ "transactions": [] }))?;
    let number = bench.subject.number;
    let expected = if number < Number(1, 3, 2) {
        200
    } else if number < Number(1, 6, 0) {
        500
    } else {
        400
    };
    same(reply.status, expected)
}

fn revert(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    server.write("/shop/transactions", &pay("bank", 100))?;
    let reply = server.write("/shop/transactions/0/revert", &json!({}))?;
    if bench.subject.number < Number(1, 2, 0) {
        return same(reply.status, 204);
    }
    same(reply.status, 200)?;
    let posting = reply.json()["data"]["postings"][0].clone();
    same((posting["source"].clone(), posting["destination"].clone()), (json!("bank"), json!("world")))?;
    let again = server.post("/shop/transactions/0/revert", &json!({}))?;
    same(again.status, 400)?;
    if bench.subject.number < Number(1, 6, 0) {
        same(again.json()["error_code"].clone(), json!("INSUFFICIENT_FUND"))?;
    } else {
        expect(again.body.contains("already reverted"), "`already reverted`", &again.body)?;
    }
    same(server.post("/shop/transactions/77/revert", &json!({}))?.status, 404)
}

fn metadata(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    server.write("/shop/transactions", &pay("bank", 100))?;
    for path in ["/shop/transactions/0", "/shop/accounts/bank", "/shop/accounts/nobody"] {
        let reply = server.post(&format!("{path}/metadata"), &json!({ "a": { "b": [1, "é \" <x>"] }, "c": 1 }))?;
        same((path, reply.status), (path, 204))?;
        server.write(&format!("{path}/metadata"), &json!({ "c": 2 }))?;
        let read = server.get(path)?.json()["data"]["metadata"].clone();
        same((path, read), (path, json!({ "a": { "b": [1, "é \" <x>"] }, "c": 2 })))?;
    }
    Ok(())
}

fn account(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    server.write("/shop/transactions", &pay("bank", 100))?;
    let posting = json!({ "source": "bank", "destination": "shop", "amount": 30, "asset": "USD/2" });
    server.write("/shop/transactions", &json!({ "postings": [posting] }))?;
    let data = server.get("/shop/accounts/bank")?.json()["data"].clone();
    same(data["address"].clone(), json!("bank"))?;
    same(data["balances"].clone(), json!({ "USD/2": 70 }))?;
    same(data["volumes"]["USD/2"]["input"].clone(), json!(100))?;
    same(data["volumes"]["USD/2"]["output"].clone(), json!(30))
}

fn unknown_account(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    let reply = server.get("/shop/accounts/nobody")?;
    if bench.subject.number >= Number(1, 6, 0) {
        let data = reply.json()["data"].clone();
        return same((data["metadata"].clone(), data["balances"].clone()), (json!({}), json!({})));
    }
    let expected = if old(bench) {
        json!({ "address": "nobody", "metadata": {} })
    } else {
        json!({ "address": "", "metadata": null })
    };
    same((reply.status, reply.json()["data"].clone()), (200, expected))
}

fn unknown_transaction(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    let reply = server.get("/shop/transactions/0")?;
    same(reply.status, 404)?;
    same(reply.body.is_empty(), bench.subject.number < Number(1, 6, 0))
}

fn stats(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    server.write("/shop/transactions", &pay("bank", 100))?;
    server.write("/shop/accounts/vip/metadata", &json!({ "kyc": 1 }))?;
    let accounts = if old(bench) { 2 } else { 3 };
    same(server.get("/shop/stats")?.json()["data"].clone(), json!({ "transactions": 1, "accounts": accounts }))
}

fn read_creates(bench: &Bench) -> Step {
    let (home, server) = served(bench)?;
    same(server.get("/typo/stats")?.status, 200)?;
    expect(home.has_ledger("typo")?, "a ledger `typo`", "none")
}

fn head(bench: &Bench) -> Step {
    let (_home, server) = served(bench)?;
    server.write("/shop/transactions", &pay("bank", 100))?;
    let reply = tried("HEAD", wire::request(&server.address, "HEAD", "/shop/transactions", None))?;
    same(reply.status, if old(bench) { 404 } else { 200 })
}

fn basic_auth(bench: &Bench) -> Step {
    let home = bench.home()?;
    let (flags, status, info): (&[&str], u16, u16) = if old(bench) {
        (&["--server.http.basic_auth=user:pass"], 403, 403)
    } else {
        (&["--auth-basic-enabled", "--auth-basic-credentials=user:pass"], 401, 200)
    };
    let server = bench.subject.serve(&home, flags)?;
    same(server.get("/shop/stats")?.status, status)?;
    same(server.get("/_info")?.status, info)?;
    // user:pass
    let header = "Authorization: Basic dXNlcjpwYXNz\r\n";
    let reply = tried("GET with a password", wire::request_with(&server.address, "GET", "/shop/stats", None, header))?;
    same(reply.status, 200)
}

fn restart(bench: &Bench) -> Step {
    let (home, server) = served(bench)?;
    server.write("/shop/transactions", &pay("bank", 100))?;
    server.stop()?;
    let server = bench.subject.serve(&home, &[])?;
    same(server.write("/shop/transactions", &pay("bank", 1))?.json()["data"][0]["txid"].clone(), json!(1))?;
    // Disaster 11.
    let from_zero = matches!(bench.subject.number, Number(1, 10, 6 | 7));
    let expected = json!({ "USD/2": if from_zero { 1 } else { 101 } });
    same(server.get("/shop/accounts/bank")?.json()["data"]["balances"].clone(), expected)
}
