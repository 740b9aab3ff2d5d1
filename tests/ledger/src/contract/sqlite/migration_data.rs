//! What becomes of the rows when a storage of 1.3.1 or earlier is migrated to 1.3.2 or later.

use super::files::has_tables;
use crate::contract::http::pay;
use crate::contract::subject::{Home, Number};
use crate::contract::{Bench, Check, Step, expect, only_if, same};
use serde_json::{Value, json};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "migrating_keeps_transactions_references_and_postings", look: transactions },
    Check { name: "migrating_keeps_balances", look: balances },
    Check { name: "migrating_loses_metadata_of_accounts_without_postings", look: account_metadata },
    Check { name: "migrating_loses_the_first_metadata_entry_on_sqlite", look: first_metadata },
    Check { name: "a_first_metadata_entry_that_was_overridden_survives", look: overridden },
    Check { name: "metadata_that_is_no_known_loss_survives", look: other_metadata },
    Check { name: "metadata_of_an_account_named_like_a_transaction_lands_on_both", look: namesake },
    Check { name: "what_migrating_loses_stays_in_the_log", look: lost_in_log },
    Check { name: "the_log_has_an_entry_for_each_transaction_and_metadata_row", look: log_rows },
    Check { name: "migrated_accounts_without_metadata_hold_null", look: null_metadata },
    Check { name: "migrated_transactions_keep_their_old_hash", look: old_hash },
    Check { name: "migrating_leaves_the_old_tables_behind_on_sqlite", look: old_tables },
];

/// A storage written by the older binary, migrated by this one.
struct Migrated {
    home: Home,
    /// Answers of the old server: every transaction, and the accounts that the checks ask for.
    transactions: Vec<Value>,
    bank: Value,
}

fn migrated(bench: &Bench) -> Step<Migrated> {
    let from = bench.older()?;
    let home = bench.home()?;
    let server = from.serve(&home, &[])?;
    let mut first = pay("bank", 1000);
    first["metadata"] = json!({ "first": "lost" });
    first["reference"] = json!("r-é");
    server.write("/shop/transactions", &first)?;
    let second = json!({ "postings": [
        { "source": "bank", "destination": "users:1", "amount": 300, "asset": "USD/2" },
        { "source": "world", "destination": "users:1", "amount": 7, "asset": "EUR/2" },
        { "source": "bank", "destination": "fees", "amount": 3, "asset": "USD/2" },
    ], "metadata": { "order": { "id": 5, "text": "café \" <b>" } } });
    server.write("/shop/transactions", &second)?;
    server.write("/shop/transactions/0/metadata", &json!({ "later": 1 }))?;
    server.write("/shop/accounts/vip/metadata", &json!({ "kyc": "lost" }))?;
    server.write("/shop/accounts/bank/metadata", &json!({ "tier": "silver" }))?;
    server.write("/shop/accounts/bank/metadata", &json!({ "tier": "gold" }))?;
    server.write("/shop/accounts/1/metadata", &json!({ "stray": true }))?;
    let mut transactions = Vec::new();
    for id in 0..2 {
        transactions.push(server.get(&format!("/shop/transactions/{id}"))?.json()["data"].clone());
    }
    let bank = server.get("/shop/accounts/bank")?.json()["data"].clone();
    server.stop()?;
    let ran = bench.subject.run(&home, &["storage", "upgrade", "shop"])?;
    ran.ends(0)?;
    ran.prints("Storage 'shop' migrated\r\n")?;
    Ok(Migrated { home, transactions, bank })
}

/// A transaction's postings in no particular order: the migration may change it.
fn postings(transaction: &Value) -> Vec<String> {
    let one = |p: &Value| format!("{} {} {} {}", p["source"], p["destination"], p["amount"], p["asset"]);
    let mut all: Vec<String> = transaction["postings"].as_array().into_iter().flatten().map(one).collect();
    all.sort();
    all
}

fn transactions(bench: &Bench) -> Step {
    let Migrated { home, transactions, .. } = migrated(bench)?;
    let server = bench.subject.serve(&home, &[])?;
    for before in &transactions {
        let after = server.get(&format!("/shop/transactions/{}", before["txid"]))?.json()["data"].clone();
        same(postings(&after), postings(before))?;
        for key in ["reference", "timestamp", "txid"] {
            same(after[key].clone(), before[key].clone())?;
        }
    }
    same(server.get("/shop/stats")?.json()["data"]["transactions"].clone(), json!(2))
}

fn balances(bench: &Bench) -> Step {
    let Migrated { home, bank, .. } = migrated(bench)?;
    let server = bench.subject.serve(&home, &[])?;
    let after = server.get("/shop/accounts/bank")?.json()["data"].clone();
    same(after["balances"].clone(), bank["balances"].clone())?;
    for side in ["input", "output"] {
        same(after["volumes"]["USD/2"][side].clone(), bank["volumes"]["USD/2"][side].clone())?;
    }
    let sums = home.query("shop", "SELECT asset, sum(input) - sum(output) FROM volumes GROUP BY asset ORDER BY 1")?;
    same(sums, vec![vec!["EUR/2".to_owned(), "0".to_owned()], vec!["USD/2".to_owned(), "0".to_owned()]])
}

fn account_metadata(bench: &Bench) -> Step {
    let Migrated { home, .. } = migrated(bench)?;
    same(home.value("shop", "SELECT count(*) FROM accounts WHERE address = 'vip'")?.as_str(), "0")
}

fn first_metadata(bench: &Bench) -> Step {
    let Migrated { home, .. } = migrated(bench)?;
    let metadata: Value = serde_json::from_str(&home.value("shop", "SELECT metadata FROM transactions WHERE id = 0")?)
        .unwrap_or(Value::Null);
    same(metadata, json!({ "later": 1 }))
}

fn overridden(bench: &Bench) -> Step {
    let from = bench.older()?;
    let home = bench.home()?;
    let server = from.serve(&home, &[])?;
    server.write("/shop/transactions", &pay("bank", 1))?;
    server.write("/shop/transactions/0/metadata", &json!({ "key": "old" }))?;
    server.write("/shop/transactions/0/metadata", &json!({ "key": "new" }))?;
    server.stop()?;
    bench.subject.run(&home, &["storage", "upgrade", "shop"])?.ends(0)?;
    let metadata = home.value("shop", "SELECT json_extract(metadata, '$.key') FROM transactions WHERE id = 0")?;
    same(metadata.as_str(), "new")
}

fn other_metadata(bench: &Bench) -> Step {
    let Migrated { home, .. } = migrated(bench)?;
    let metadata = home.value("shop", "SELECT json_extract(metadata, '$.order') FROM transactions WHERE id = 1")?;
    same(serde_json::from_str::<Value>(&metadata).unwrap_or(Value::Null), json!({ "id": 5, "text": "café \" <b>" }))?;
    same(
        home.value("shop", "SELECT json_extract(metadata, '$.tier') FROM accounts WHERE address = 'bank'")?.as_str(),
        "gold",
    )
}

fn namesake(bench: &Bench) -> Step {
    let Migrated { home, .. } = migrated(bench)?;
    same(home.value("shop", "SELECT json_extract(metadata, '$.stray') FROM transactions WHERE id = 1")?.as_str(), "1")
}

fn lost_in_log(bench: &Bench) -> Step {
    let Migrated { home, .. } = migrated(bench)?;
    let sql = "SELECT count(*) FROM log WHERE type = 'SET_METADATA' AND (
                   (json_extract(data, '$.targetId') = 'vip' AND json_extract(data, '$.metadata.kyc') = 'lost')
                   OR (json_extract(data, '$.targetId') = 0 AND json_extract(data, '$.metadata.first') = 'lost'))";
    same(home.value("shop", sql)?.as_str(), "2")
}

fn log_rows(bench: &Bench) -> Step {
    let Migrated { home, .. } = migrated(bench)?;
    let metadata = home.value("shop", "SELECT count(*) FROM metadata")?;
    let counts = home.query("shop", "SELECT type, count(*) FROM log GROUP BY type ORDER BY type")?;
    same(
        counts,
        vec![vec!["NEW_TRANSACTION".to_owned(), "2".to_owned()], vec!["SET_METADATA".to_owned(), metadata.clone()]],
    )?;
    let rows = metadata.parse::<i64>().unwrap_or(0) + 2;
    same(home.query("shop", "SELECT min(id), max(id) FROM log")?, vec![vec!["0".to_owned(), (rows - 1).to_string()]])?;
    same(home.value("shop", "SELECT count(DISTINCT hash) FROM log")?, rows.to_string())
}

fn null_metadata(bench: &Bench) -> Step {
    let Migrated { home, .. } = migrated(bench)?;
    same(home.value("shop", "SELECT metadata FROM accounts WHERE address = 'fees'")?.as_str(), "NULL")
}

fn old_hash(bench: &Bench) -> Step {
    only_if(bench.subject.number < Number(1, 8, 0))?;
    let Migrated { home, transactions, .. } = migrated(bench)?;
    let hash = transactions.first().and_then(|first| first["hash"].as_str()).unwrap_or_default().to_owned();
    expect(hash.len() == 64, "64 digits", &hash)?;
    same(home.value("shop", "SELECT hash FROM transactions WHERE id = 0")?, hash)
}

fn old_tables(bench: &Bench) -> Step {
    let Migrated { home, .. } = migrated(bench)?;
    same(home.value("shop", "SELECT count(*) FROM postings")?.as_str(), "4")?;
    has_tables(&home, "shop", bench.subject.number)
}
