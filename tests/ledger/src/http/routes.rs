//! Which route does what.

use super::answers::Answer;
use super::{App, auth, lock};
use crate::console::{self, Level};
use crate::go;
use crate::model::{Draft, Metadata, Posting, Target, Volume};
use crate::percent::decode;
use crate::release::{BadBody, SecondRevert};
use crate::storage::{Cancel, Driver, StoreError, Stored};
use axum::http::{HeaderMap, Uri};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Rows on a page.
const PAGE: u32 = 15;

/// A request, read.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

impl Asked<'_> {
    fn query(&self, name: &str) -> Option<String> {
        let pairs = self.uri.query().unwrap_or_default().split('&');
        pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| decode(value))
    }

    /// What a page begins after, and how many rows it has. Where a list names its next page, that name says both.
    fn page(&self, app: &App) -> (Option<String>, u32) {
        let sizes = &app.release.answers.page_size_parameters;
        let size = sizes.iter().find_map(|name| self.query(name)?.parse().ok()).unwrap_or(PAGE);
        let named = ["pagination_token", "cursor"].iter().find_map(|name| self.query(name));
        let next = named.and_then(|name| String::from_utf8(hex::decode(name).ok()?).ok());
        (next.or_else(|| self.query("after")), size)
    }
}

#[derive(Deserialize)]
struct PostingBody {
    #[serde(default)]
    source: String,
    #[serde(default)]
    destination: String,
    #[serde(default)]
    amount: Value,
    #[serde(default)]
    asset: String,
}

#[derive(Deserialize)]
struct TransactionBody {
    #[serde(default)]
    postings: Option<Vec<PostingBody>>,
    #[serde(default)]
    reference: Option<String>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct BatchBody {
    #[serde(default)]
    transactions: Option<Vec<TransactionBody>>,
}

/// Why a body is refused.
enum Refused {
    Unreadable,
    Invalid(usize, &'static str),
}

/// Answers a request; a panic of the ledger ends the process here.
pub(super) fn answer(app: &App, asked: &Asked<'_>, cancel: &Cancel) -> Answer {
    let path: Vec<String> = asked.uri.path().split('/').skip(1).map(decode).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let of_a_ledger = path.len() > 1;
    if let Some(refusal) = auth::refuse(app, asked, of_a_ledger) {
        return refusal;
    }
    let answered = match (asked.method, path.as_slice()) {
        ("GET", ["_info"]) => Ok(info(app).unwrap_or_else(|error| {
            console::log(Level::Error, &error.to_string(), "");
            Answer::empty(500)
        })),
        ("GET", [route]) if app.release.answers.health.iter().any(|health| health == route) => Ok(health(app)),
        (_, [ledger, ..]) if of_a_ledger && !ledger.is_empty() && *ledger != "_system" => {
            repeatable(app, asked, ledger, &path[1..], cancel)
        }
        _ => Ok(not_found()),
    };
    answered.unwrap_or_else(|error| {
        if let StoreError::Panic(message) = &error {
            console::panic_like_go(message);
        }
        console::log(Level::Error, &error.to_string(), "");
        Answer::of_error(app.release, &error)
    })
}

/// With an `Idempotency-Key` that was seen, the answer is the one from then; for another request under that key, 400.
fn repeatable(app: &App, asked: &Asked<'_>, ledger: &str, path: &[&str], cancel: &Cancel) -> Stored<Answer> {
    let key = asked.headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
    if key.is_empty() || asked.method != "POST" || !app.release.answers.idempotency {
        return of_ledger(app, asked, ledger, path, cancel);
    }
    let request = go::chain(asked.uri.path(), &String::from_utf8_lossy(asked.body));
    let answer = match app.ledger(ledger, cancel)?.recall(key)? {
        Some(seen) if seen.request == request => return Ok(Answer::repeated(seen)),
        Some(_) => return Ok(Answer::error(app.release, 400, "VALIDATION", "idempotency key already used")),
        None => of_ledger(app, asked, ledger, path, cancel)?,
    };
    if answer.status < 300 {
        app.ledger(ledger, cancel)?.keep(key, &answer.repeatable(request))?;
    }
    Ok(answer)
}

fn not_found() -> Answer {
    Answer::text(404, "404 page not found")
}

fn health(app: &App) -> Answer {
    let driver = app.storage.driver();
    match driver {
        Driver::Sqlite if !app.release.answers.sqlite_in_health => Answer::json(200, &json!({})),
        Driver::Sqlite | Driver::Postgres => match app.storage.ping() {
            Ok(()) => Answer::json(200, &json!({ driver.name(): "OK" })),
            Err(error) => Answer::json(500, &json!({ driver.name(): error.to_string() })),
        },
    }
}

fn info(app: &App) -> Stored<Answer> {
    let storage = json!({ "driver": app.storage.driver().name(), "ledgers": app.info_ledgers()? });
    // Written by hand for the order of its keys.
    Ok(Answer::data(
        RawValue::from_string(format!(
            "{{\"server\":\"numary-ledger\",\"version\":\"{}\",\"config\":{{\"storage\":{storage}}}}}",
            app.release.version
        ))
        .map_err(|error| StoreError::Unreadable(error.to_string()))?,
    ))
}

fn of_ledger(app: &App, asked: &Asked<'_>, ledger: &str, path: &[&str], cancel: &Cancel) -> Stored<Answer> {
    let head = app.release.answers.head;
    if asked.method == "GET" && app.faults.reads_fail() {
        return Ok(Answer::error(app.release, 500, "INTERNAL", "reads fail by a switch"));
    }
    if asked.method == "POST" && app.faults.writes_fail() {
        return Ok(Answer::error(app.release, 500, "INTERNAL", "writes fail by a switch"));
    }
    match (asked.method, path) {
        ("POST", ["transactions"]) => match serde_json::from_slice::<TransactionBody>(asked.body) {
            Ok(body) => match draft(app, 0, body) {
                Ok(draft) => write(app, ledger, &[draft], cancel),
                Err(refused) => Ok(refusal(app, &refused)),
            },
            Err(_) => Ok(refusal(app, &Refused::Unreadable)),
        },
        ("POST", ["transactions", "batch"]) => batch(app, asked, ledger, cancel),
        ("GET", ["transactions"]) => {
            let (after, size) = asked.page(app);
            let page = app.ledger(ledger, cancel)?.transactions(after.and_then(|after| after.parse().ok()), size)?;
            Ok(Answer::transactions(app.release, page, size))
        }
        ("HEAD", ["transactions"]) if head => Ok(Answer::counted(app.ledger(ledger, cancel)?.stats()?.0)),
        ("HEAD", ["accounts"]) if head => Ok(Answer::counted(app.ledger(ledger, cancel)?.stats()?.1)),
        ("GET", ["transactions", id]) => {
            let store = app.ledger(ledger, cancel)?;
            let found = id.parse().ok().map(|id| store.transaction(id)).transpose()?.flatten();
            Ok(found.map_or_else(|| no_transaction(app), |found| Answer::transaction(app.release, &found)))
        }
        ("POST", ["transactions", id, "revert"]) => revert(app, ledger, id, cancel),
        ("POST", ["transactions", id, "metadata"]) => match id.parse() {
            Ok(id) => set_metadata(app, asked, ledger, &Target::Transaction(id), cancel),
            Err(_) => Ok(no_transaction(app)),
        },
        ("GET", ["accounts"]) => {
            let ((after, size), address) = (asked.page(app), asked.query("address"));
            let page = app.ledger(ledger, cancel)?.accounts(after.as_deref(), size, address.as_deref())?;
            Ok(Answer::accounts(app.release, page, size))
        }
        ("GET", ["accounts", address]) => {
            let found = app.ledger(ledger, cancel)?.account(address)?;
            Ok(Answer::account(app.release, address, found))
        }
        ("POST", ["accounts", address, "metadata"]) => {
            set_metadata(app, asked, ledger, &Target::Account((*address).to_owned()), cancel)
        }
        ("GET", ["stats"]) => {
            let (transactions, accounts) = app.ledger(ledger, cancel)?.stats()?;
            Ok(Answer::data(
                RawValue::from_string(format!("{{\"transactions\":{transactions},\"accounts\":{accounts}}}"))
                    .map_err(|error| StoreError::Unreadable(error.to_string()))?,
            ))
        }
        ("GET", ["balances"]) if app.release.answers.balances => {
            let volumes = app.ledger(ledger, cancel)?.volumes()?;
            let balances = volumes.into_iter().map(|(account, assets)| {
                let of = |(asset, volume): (String, Volume)| (asset, volume.input - volume.output);
                (account, assets.into_iter().map(of).collect())
            });
            Ok(Answer::balances(app.release, &balances.collect()))
        }
        ("GET", ["aggregate", "balances"]) if app.release.answers.balances => {
            let mut sums: BTreeMap<String, i64> = BTreeMap::new();
            for (asset, volume) in app.ledger(ledger, cancel)?.volumes()?.into_values().flatten() {
                *sums.entry(asset).or_default() += volume.input - volume.output;
            }
            Ok(Answer::data(sums))
        }
        ("GET", ["logs"]) if app.release.answers.ledger_info_and_logs => {
            let (after, size) = asked.page(app);
            let page = app.ledger(ledger, cancel)?.log(after.and_then(|after| after.parse().ok()), size)?;
            Ok(Answer::log(app.release, page, size))
        }
        ("GET", ["_info"]) if app.release.answers.ledger_info_and_logs => {
            let migrations = app.ledger(ledger, cancel)?.migrations()?;
            let migrations: Vec<Value> = migrations
                .iter()
                .map(|(version, date)| {
                    json!({ "version": version, "name": format!("migration-{version}"), "date": date, "state": "DONE" })
                })
                .collect();
            Ok(Answer::data(json!({ "name": ledger, "storage": { "migrations": migrations } })))
        }
        _ => Ok(not_found()),
    }
}

fn no_transaction(app: &App) -> Answer {
    if app.release.answers.unknown_transaction_has_body {
        Answer::error(app.release, 404, "NOT_FOUND", "transaction not found")
    } else {
        Answer::empty(404)
    }
}

fn draft(app: &App, index: usize, body: TransactionBody) -> Result<Draft, Refused> {
    let mut postings = Vec::new();
    for posting in body.postings.unwrap_or_default() {
        let amount = match posting.amount.as_i64() {
            Some(amount) => amount,
            None if app.release.answers.bad_amount_is_zero => 0,
            None => return Err(Refused::Unreadable),
        };
        if amount < 0 {
            return Err(Refused::Invalid(index, "negative amount"));
        }
        let PostingBody { source, destination, asset, .. } = posting;
        postings.push(Posting { source, destination, amount, asset });
    }
    if postings.is_empty() {
        return Err(Refused::Invalid(index, "transaction has no postings"));
    }
    Ok(Draft { postings, reference: body.reference.unwrap_or_default(), metadata: body.metadata, timestamp: None })
}

fn refusal(app: &App, refused: &Refused) -> Answer {
    let invalid = |message: String| Answer::error(app.release, 400, "VALIDATION", &message);
    match (refused, app.release.answers.bad_body) {
        (Refused::Unreadable, BadBody::Validation) => {
            invalid("processing tx 0: transaction has no postings".to_owned())
        }
        (Refused::Unreadable, BadBody::Fails) => Answer::empty(500),
        (Refused::Invalid(index, message), _) => invalid(format!("processing tx {index}: {message}")),
    }
}

fn write(app: &App, ledger: &str, drafts: &[Draft], cancel: &Cancel) -> Stored<Answer> {
    let mut store = app.ledger(ledger, cancel)?;
    let writer = app.writer(ledger);
    let _writing = lock(&writer);
    let written = store.commit(drafts)?;
    drop(store);
    Ok(remembered(app, ledger, Answer::written(app.release, &written)))
}

/// The answer, unless the ledger cannot be remembered and the release fails at that.
fn remembered(app: &App, ledger: &str, answer: Answer) -> Answer {
    if app.remember(ledger) { answer } else { Answer::empty(500) }
}

fn batch(app: &App, asked: &Asked<'_>, ledger: &str, cancel: &Cancel) -> Stored<Answer> {
    let Ok(body) = serde_json::from_slice::<BatchBody>(asked.body) else {
        return Ok(refusal(app, &Refused::Unreadable));
    };
    let bodies = body.transactions.unwrap_or_default();
    let drafts =
        bodies.into_iter().enumerate().map(|(index, body)| draft(app, index, body)).collect::<Result<Vec<_>, _>>();
    let drafts = match drafts {
        Ok(drafts) => drafts,
        Err(refused) => return Ok(refusal(app, &refused)),
    };
    if drafts.is_empty() {
        return Ok(match app.release.answers.empty_batch {
            200 => Answer::data(json!([])),
            400 => Answer::error(app.release, 400, "VALIDATION", "no transaction to insert"),
            status => Answer::empty(status),
        });
    }
    match write(app, ledger, &drafts, cancel) {
        Err(StoreError::Conflict { index, reference }) if app.release.answers.batch_errors_per_item => {
            let message = format!("conflict error on reference '{reference}'");
            Ok(Answer::batch_errors(&drafts, index, "CONFLICT", &message))
        }
        Err(StoreError::InsufficientFund { index, asset }) if app.release.answers.batch_errors_per_item => {
            Ok(Answer::batch_errors(&drafts, index, "INSUFFICIENT_FUND", &format!("balance.insufficient.{asset}")))
        }
        other => other,
    }
}

fn set_metadata(app: &App, asked: &Asked<'_>, ledger: &str, target: &Target, cancel: &Cancel) -> Stored<Answer> {
    let Ok(metadata) = serde_json::from_slice::<Metadata>(asked.body) else {
        return Ok(Answer::empty(400));
    };
    let mut store = app.ledger(ledger, cancel)?;
    if let Target::Transaction(id) = target
        && store.transaction(*id)?.is_none()
    {
        return Ok(no_transaction(app));
    }
    let writer = app.writer(ledger);
    let _writing = lock(&writer);
    match store.set_metadata(target, &metadata) {
        Ok(()) => Ok(Answer::empty(204)),
        Err(StoreError::Conflict { .. }) if app.release.answers.metadata_conflict != 409 => {
            Ok(Answer::empty(app.release.answers.metadata_conflict))
        }
        Err(error) => Err(error),
    }
}

fn revert(app: &App, ledger: &str, id: &str, cancel: &Cancel) -> Stored<Answer> {
    let mut store = app.ledger(ledger, cancel)?;
    let found = id.parse().ok().map(|id| store.transaction(id)).transpose()?.flatten();
    let Some(found) = found else { return Ok(no_transaction(app)) };
    let again = found.metadata.as_ref().is_some_and(|metadata| metadata.contains_key("com.numary.spec/state/reverted"));
    if again && app.release.answers.second_revert == SecondRevert::AlreadyReverted {
        return Ok(Answer::error(app.release, 400, "VALIDATION", "already reverted"));
    }
    let both = app.release.answers.revert_marks_both;
    let last = store.transactions(None, 1)?.items.first().map_or(0, |last| last.txid);
    let mark = if both { format!("\"{}\"", found.txid) } else { last.to_string() };
    let reversed = found.postings.into_iter().flatten().rev().map(|posting| Posting {
        source: posting.destination,
        destination: posting.source,
        amount: posting.amount,
        asset: posting.asset,
    });
    let metadata = one("com.numary.spec/state/reverts", mark)?;
    let draft =
        Draft { postings: reversed.collect(), reference: String::new(), metadata: Some(metadata), timestamp: None };
    let writer = app.writer(ledger);
    let _writing = lock(&writer);
    let mut written = store.commit(std::slice::from_ref(&draft))?;
    let Some(written) = written.pop() else { return Ok(Answer::empty(500)) };
    if both {
        let mark = one("com.numary.spec/state/reverted", json!({ "by": written.txid.to_string() }).to_string())?;
        store.set_metadata(&Target::Transaction(found.txid), &mark)?;
    }
    let answer = match app.release.answers.revert {
        204 => Answer::empty(204),
        _ => Answer::transaction(app.release, &written),
    };
    Ok(remembered(app, ledger, answer))
}

fn one(key: &str, json: String) -> Stored<Metadata> {
    let value = RawValue::from_string(json).map_err(|error| StoreError::Unreadable(error.to_string()))?;
    Ok(Metadata::from([(key.to_owned(), value)]))
}
