//! What becomes of the rows when a storage of 1.3.1 or earlier is migrated to 1.3.2 or later.

use super::commands::{has_tables, records_its_migrations};
use super::{rows, value};
use crate::contract::http::pay;
use crate::contract::subject::Home;
use crate::contract::{Bench, Check, Number, Step, expect, only_if, same};
use serde_json::{Value, json};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "migrating_keeps_transactions_references_and_postings", look: transactions },
    Check { name: "migrating_keeps_balances", look: balances },
    Check { name: "migrating_loses_metadata_of_accounts_without_postings", look: account_metadata },
    Check { name: "the_first_metadata_entry_survives_on_postgresql", look: first_metadata },
    Check { name: "the_last_of_a_key_s_metadata_entries_counts", look: overridden },
    Check { name: "metadata_of_an_account_named_like_a_transaction_stays_apart", look: namesake },
    Check { name: "what_migrating_loses_stays_in_the_log", look: lost_in_log },
    Check { name: "the_log_has_every_transaction_and_then_every_metadata_row", look: log_rows },
    Check { name: "migrated_accounts_without_metadata_hold_null", look: null_metadata },
    Check { name: "migrated_transactions_keep_their_old_hash", look: old_hash },
    Check { name: "a_backslash_escape_in_a_reference_is_rewritten_in_the_log", look: backslash },
    Check { name: "migrating_drops_the_old_tables_and_records_its_numbers", look: old_tables },
];

/// A storage written by the older binary, migrated by this one.
struct Migrated {
    home: Home,
    /// Answers of the old server.
    transactions: Vec<Value>,
    bank: Value,
}

fn migrated(bench: &Bench) -> Step<Migrated> {
    let from = bench.older()?;
    let home = bench.home()?;
    let server = from.serve(&home, &[])?;
    let mut first = pay("bank", 1000);
    first["metadata"] = json!({ "first": "kept" });
    first["reference"] = json!("r-é");
    server.write("/shop/transactions", &first)?;
    let second = json!({ "reference": "a\\bc", "postings": [
        { "source": "bank", "destination": "users:1", "amount": 300, "asset": "USD/2" },
        { "source": "world", "destination": "users:1", "amount": 7, "asset": "EUR/2" },
        { "source": "bank", "destination": "fees", "amount": 3, "asset": "USD/2" },
    ], "metadata": { "order": { "id": 5, "text": "café \" <b>" } } });
    server.write("/shop/transactions", &second)?;
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

fn transactions(bench: &Bench) -> Step {
    let Migrated { home, transactions, .. } = migrated(bench)?;
    let server = bench.subject.serve(&home, &[])?;
    for before in &transactions {
        let after = server.get(&format!("/shop/transactions/{}", before["txid"]))?.json()["data"].clone();
        for key in ["postings", "metadata", "reference", "timestamp", "txid"] {
            same((key, after[key].clone()), (key, before[key].clone()))?;
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
    let sums = rows(&home, "SELECT asset, sum(input) - sum(output) FROM shop.volumes GROUP BY asset ORDER BY 1")?;
    same(sums, vec![vec!["EUR/2".to_owned(), "0".to_owned()], vec!["USD/2".to_owned(), "0".to_owned()]])
}

fn account_metadata(bench: &Bench) -> Step {
    let Migrated { home, .. } = migrated(bench)?;
    same(value(&home, "SELECT count(*) FROM shop.accounts WHERE address = 'vip'")?.as_str(), "0")
}

fn first_metadata(bench: &Bench) -> Step {
    let Migrated { home, .. } = migrated(bench)?;
    same(value(&home, "SELECT metadata FROM shop.transactions WHERE id = 0")?.as_str(), "{\"first\": \"kept\"}")
}

fn overridden(bench: &Bench) -> Step {
    let Migrated { home, .. } = migrated(bench)?;
    same(value(&home, "SELECT metadata FROM shop.accounts WHERE address = 'bank'")?.as_str(), "{\"tier\": \"gold\"}")
}

fn namesake(bench: &Bench) -> Step {
    let Migrated { home, .. } = migrated(bench)?;
    same(value(&home, "SELECT metadata ? 'stray' FROM shop.transactions WHERE id = 1")?.as_str(), "f")
}

fn lost_in_log(bench: &Bench) -> Step {
    let Migrated { home, .. } = migrated(bench)?;
    let sql = "SELECT data -> 'metadata' ->> 'kyc' FROM shop.log WHERE data ->> 'targetId' = 'vip'";
    same(value(&home, sql)?.as_str(), "lost")
}

fn log_rows(bench: &Bench) -> Step {
    let Migrated { home, .. } = migrated(bench)?;
    let text = |texts: [&str; 3]| texts.map(str::to_owned).to_vec();
    let sql = "SELECT id, type, coalesce(data ->> 'txid', data ->> 'targetId') FROM shop.log ORDER BY id";
    let expected = [
        ["0", "NEW_TRANSACTION", "0"],
        ["1", "NEW_TRANSACTION", "1"],
        ["2", "SET_METADATA", "0"],
        ["3", "SET_METADATA", "1"],
        ["4", "SET_METADATA", "vip"],
        ["5", "SET_METADATA", "bank"],
        ["6", "SET_METADATA", "bank"],
        ["7", "SET_METADATA", "1"],
    ];
    same(rows(&home, sql)?, expected.map(text).to_vec())?;
    same(value(&home, "SELECT count(DISTINCT hash) FROM shop.log WHERE length(hash) = 64")?.as_str(), "8")?;
    same(
        value(&home, "SELECT DISTINCT data -> 'metadata' FROM shop.log WHERE type = 'NEW_TRANSACTION'")?.as_str(),
        "{}",
    )
}

fn null_metadata(bench: &Bench) -> Step {
    let Migrated { home, .. } = migrated(bench)?;
    same(value(&home, "SELECT metadata FROM shop.accounts WHERE address = 'fees'")?.as_str(), "NULL")
}

fn old_hash(bench: &Bench) -> Step {
    let Migrated { home, transactions, .. } = migrated(bench)?;
    let hash = transactions.first().and_then(|first| first["hash"].as_str()).unwrap_or_default().to_owned();
    expect(hash.len() == 64, "64 digits", &hash)?;
    same(value(&home, "SELECT hash FROM shop.transactions WHERE id = 0")?, hash)
}

fn backslash(bench: &Bench) -> Step {
    let Migrated { home, .. } = migrated(bench)?;
    same(value(&home, "SELECT reference FROM shop.transactions WHERE id = 1")?.as_str(), "a\\bc")?;
    same(value(&home, "SELECT data ->> 'reference' FROM shop.log WHERE id = 1")?.as_str(), "a\u{8}c")
}

fn old_tables(bench: &Bench) -> Step {
    let Migrated { home, .. } = migrated(bench)?;
    has_tables(&home, bench.subject.number)?;
    records_its_migrations(&home, bench.subject.number)?;
    only_if(bench.subject.number < Number(1, 8, 0))?;
    let sql = "SELECT string_agg(tgname, ',' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 'shop.log'::regclass";
    same(value(&home, sql)?.as_str(), "log_entry,volumes_changed")
}
