//! What the sandbox's ledgers hold before the upgrade, written through the running old instance as clients would.
//!
//! Every ledger gets metadata of both classes that the ledger's own migration loses: the first metadata entry ever
//! written in it, and metadata of accounts that appear in no posting.

use super::http::{Ledger, Reply, Unanswered};
use crate::trouble::Trouble;
use cutover_vocabulary::name::shown;
use serde_json::{Value, json};

/// The ledger that the clients write to; the first that is filled.
pub(super) const WRITTEN: &str = "main";
/// Names of the others; then they are numbered.
const OTHERS: [&str; 2] = ["shop", "wallets"];

fn name(number: u64) -> String {
    match number {
        0 => WRITTEN.to_owned(),
        _ => {
            let other = usize::try_from(number - 1).ok().and_then(|at| OTHERS.get(at));
            other.map_or_else(|| format!("ledger-{}", number + 1), |name| (*name).to_owned())
        }
    }
}

/// Transactions a request.
const BATCH: u64 = 100;

/// Fills `ledgers` ledgers; `transactions` over all of them. Answers with how many each has.
///
/// # Errors
/// When the instance does not answer, or refuses.
pub(super) async fn fill(at: &Ledger, ledgers: u16, transactions: u64) -> Result<Vec<(String, u64)>, Trouble> {
    let mut filled = Vec::new();
    let ledgers = u64::from(ledgers.max(1));
    let (share, rest) = (transactions / ledgers, transactions % ledgers);
    for number in 0..ledgers {
        let (ledger, count) = (name(number), if number == 0 { share + rest } else { share });
        fill_one(at, &ledger, count).await?;
        filled.push((ledger, count));
    }
    Ok(filled)
}

async fn fill_one(at: &Ledger, ledger: &str, count: u64) -> Result<(), Trouble> {
    // A run that was stopped in the middle is gone on with.
    let stats = at
        .get(&format!("/{ledger}/stats"))
        .await
        .map_err(|error| Trouble::failed(format!("cannot fill ledger {ledger} of the sandbox"), error))?;
    let mut next = stats.body["data"]["transactions"].as_u64().unwrap_or(0);
    while next < count {
        let end = (next + BATCH).min(count);
        let batch: Vec<Value> = (next..end).map(|number| transaction(ledger, number)).collect();
        post(at, ledger, "transactions/batch", &json!({ "transactions": batch })).await?;
        next = end;
    }
    post(at, ledger, "accounts/users:0/metadata", &json!({ "tier": "gold" })).await?;
    for number in 0..2 {
        let path = format!("accounts/prospects:{number}/metadata");
        post(at, ledger, &path, &json!({ "kyc": { "level": number, "by": "desk" } })).await?;
    }
    Ok(())
}

/// The very first transaction carries the ledger's first metadata entry, and it alone is known to be lost.
fn transaction(ledger: &str, number: u64) -> Value {
    let asset = ["USD/2", "EUR/2", "JPY"][usize::try_from(number % 3).unwrap_or(0)];
    let user = format!("users:{}", number % 97);
    let mut postings =
        vec![json!({ "source": "world", "destination": user, "amount": number % 1000 + 100, "asset": asset })];
    if number.is_multiple_of(5) {
        postings.push(json!({ "source": user, "destination": "fees", "amount": number % 50 + 1, "asset": asset }));
    }
    let mut transaction = json!({ "postings": postings, "reference": format!("seed-{ledger}-{number}") });
    if number.is_multiple_of(4) {
        transaction["metadata"] = json!({ "order": format!("o-{number}"), "note": "caf\u{e9} \"quoted\"" });
    }
    if number == 0 {
        transaction["metadata"] = json!({ "first": "ever written in this ledger" });
    }
    transaction
}

async fn post(at: &Ledger, ledger: &str, path: &str, body: &Value) -> Result<Reply, Trouble> {
    let path = format!("/{ledger}/{path}");
    let reply = at
        .post(&path, body)
        .await
        .map_err(|error: Unanswered| Trouble::failed(format!("cannot fill ledger {ledger} of the sandbox"), error))?;
    if reply.status.is_success() {
        return Ok(reply);
    }
    let said = shown(&reply.body.to_string()).to_string();
    Err(Trouble::plain(format!("cannot fill ledger {ledger} of the sandbox: {path} answered {}: {said}", reply.status)))
}
