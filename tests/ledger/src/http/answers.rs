//! The JSON that the releases answer.

use crate::model::{Account, LogEntry, Page, Posting, Repeatable, Transaction, Volume};
use crate::release::{AccountKey, CursorKey, ErrorKey, Release, TransactionKey, UnknownAccount};
use crate::storage::StoreError;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

const JSON: &str = "application/json; charset=utf-8";

/// An answer before it is HTTP.
pub(super) struct Answer {
    pub(super) status: u16,
    body: String,
    kind: &'static str,
    count: Option<u64>,
}

#[derive(Serialize)]
struct Data<T> {
    data: T,
}

/// A JSON object whose keys come in the order they were put.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn put(&mut self, key: &str, value: &impl Serialize) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        // A key is a word of ours; a value that is no JSON does not come here.
        self.0.push_str(&format!("\"{key}\":{}", serde_json::to_string(value).unwrap_or_default()));
    }

    fn text(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn raw(self) -> Box<RawValue> {
        RawValue::from_string(self.text()).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }
}

#[derive(Serialize)]
struct BatchItem<'a> {
    postings: &'a [Posting],
    reference: &'a str,
    #[serde(rename = "errorCode", skip_serializing_if = "Option::is_none")]
    error_code: Option<&'a str>,
    #[serde(rename = "errorMessage", skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
}

impl Answer {
    pub(super) fn empty(status: u16) -> Self {
        Self { status, body: String::new(), kind: "", count: None }
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self { status, body: body.to_owned(), kind: "text/plain", count: None }
    }

    pub(super) fn json(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_string(body).unwrap_or_default();
        Self { status, body, kind: JSON, count: None }
    }

    pub(super) fn data(data: impl Serialize) -> Self {
        Self::json(200, &Data { data })
    }

    pub(super) fn error(release: &Release, status: u16, code: &str, message: &str) -> Self {
        let mut object = Object::new();
        for key in &release.answers.error {
            match key {
                ErrorKey::CodeCamel => object.put("errorCode", &code),
                ErrorKey::MessageCamel => object.put("errorMessage", &message),
                ErrorKey::CodeSnake => object.put("error_code", &code),
                ErrorKey::MessageSnake => object.put("error_message", &message),
            }
        }
        Self::json(status, &object.raw())
    }

    pub(super) fn counted(total: u64) -> Self {
        Self { status: 200, body: String::new(), kind: "", count: Some(total) }
    }

    /// What a failure of the storage looks like: its cause is in the log only.
    pub(super) fn of_error(release: &Release, error: &StoreError) -> Self {
        let answers = &release.answers;
        match error {
            StoreError::Conflict { index, reference } if answers.conflict_names_reference => {
                let message = format!("processing tx {index}: conflict error on reference '{reference}'");
                Self::error(release, 409, "CONFLICT", &message)
            }
            StoreError::Conflict { .. } => Self::error(release, 409, "CONFLICT", "conflict error on reference"),
            StoreError::InsufficientFund { index, asset } => {
                let prefix =
                    if answers.missing_funds_names_index { format!("processing tx {index}: ") } else { String::new() };
                Self::error(release, 400, "INSUFFICIENT_FUND", &format!("{prefix}balance.insufficient.{asset}"))
            }
            StoreError::Refused(_) if error.lacks_a_column() => Self::empty(500),
            StoreError::Refused(_)
            | StoreError::Migration { .. }
            | StoreError::Unreadable(_)
            | StoreError::Cancelled
            | StoreError::Panic(_) => Self::empty(answers.storage_error),
        }
    }

    /// A batch that failed, told item by item.
    pub(super) fn batch_errors(items: &[crate::model::Draft], failed: usize, code: &str, message: &str) -> Self {
        let data: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(index, draft)| BatchItem {
                postings: &draft.postings,
                reference: &draft.reference,
                error_code: (index == failed).then_some(code),
                error_message: (index == failed).then_some(message),
            })
            .collect();
        Self::json(400, &Data { data })
    }

    /// `{"data":[…]}` of new transactions, or of one.
    pub(super) fn written(release: &Release, written: &[Transaction]) -> Self {
        Self::data(written.iter().map(|one| transaction(release, one)).collect::<Vec<_>>())
    }

    pub(super) fn transaction(release: &Release, one: &Transaction) -> Self {
        Self::data(transaction(release, one))
    }

    pub(super) fn transactions(release: &Release, page: Page<Transaction>, limit: u32) -> Self {
        let next = page.items.last().map(|last| last.txid.to_string());
        Self::page(release, &Shown::of(page, next, |one| transaction(release, one)), limit)
    }

    pub(super) fn accounts(release: &Release, page: Page<Account>, limit: u32) -> Self {
        let next = page.items.last().map(|last| last.address.clone());
        Self::page(release, &Shown::of(page, next, |one| account(release, one)), limit)
    }

    pub(super) fn log(release: &Release, page: Page<LogEntry>, limit: u32) -> Self {
        let next = page.items.last().map(|last| last.id.to_string());
        Self::page(release, &Shown::of(page, next, |one| one), limit)
    }

    /// `{"cursor":{…}}` of `{"account":{"asset":1}}`, all on one page.
    pub(super) fn balances(release: &Release, all: &BTreeMap<String, BTreeMap<String, i64>>) -> Self {
        let items: Vec<_> = all.iter().map(|(account, balances)| BTreeMap::from([(account, balances)])).collect();
        let total = u64::try_from(items.len()).unwrap_or(0);
        let limit = u32::try_from(items.len()).unwrap_or(u32::MAX);
        Self::page(release, &Shown::of(Page { items, has_more: false, total }, None, |one| one), limit)
    }

    fn page<T: Serialize>(release: &Release, page: &Shown<T>, limit: u32) -> Self {
        let rows = u32::try_from(page.items.len()).unwrap_or(limit);
        let page_size = if release.answers.page_size_is_row_count { rows } else { limit };
        let mut cursor = Object::new();
        for key in &release.answers.cursor {
            match key {
                CursorKey::PageSizeSnake => cursor.put("page_size", &page_size),
                CursorKey::PageSizeCamel => cursor.put("pageSize", &page_size),
                CursorKey::HasMoreSnake => cursor.put("has_more", &page.has_more),
                CursorKey::HasMoreCamel => cursor.put("hasMore", &page.has_more),
                CursorKey::Total => cursor.put("total", &page.total),
                CursorKey::RemainingResults => cursor.put("remaining_results", &page.total.saturating_sub(rows.into())),
                // Nobody was seen to go back.
                CursorKey::Previous => {}
                CursorKey::Next => {
                    if let Some(next) = page.next.as_ref().filter(|_| page.has_more) {
                        cursor.put("next", &hex::encode(next));
                    }
                }
                CursorKey::Data => cursor.put("data", &page.items),
            }
        }
        Self::json(200, &BTreeMap::from([("cursor", cursor.raw())]))
    }

    pub(super) fn account(release: &Release, address: &str, found: Option<Account>) -> Self {
        if let Some(found) = found {
            return Self::data(account(release, found));
        }
        match release.answers.unknown_account {
            UnknownAccount::Echoed => Self::data(json!({ "address": address, "metadata": {} })),
            UnknownAccount::Empty => {
                let mut object = Object::new();
                object.put("address", &"");
                object.put("metadata", &());
                Self::data(object.raw())
            }
            UnknownAccount::EmptyMaps => {
                let mut object = Object::new();
                object.put("address", &address);
                for key in ["metadata", "volumes", "balances"] {
                    object.put(key, &json!({}));
                }
                Self::data(object.raw())
            }
        }
    }

    /// As it is kept under an idempotency key.
    pub(super) fn repeatable(&self, request: String) -> Repeatable {
        Repeatable { status: self.status, body: self.body.clone(), request }
    }

    pub(super) fn repeated(answer: Repeatable) -> Self {
        Self { status: answer.status, body: answer.body, kind: JSON, count: None }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if !self.kind.is_empty() {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        }
        if let Some(count) = self.count {
            response.headers_mut().insert("count", HeaderValue::from(count));
        }
        response
    }
}

/// A page in the form of its answer.
struct Shown<T> {
    items: Vec<T>,
    has_more: bool,
    total: u64,
    /// What the next page begins after.
    next: Option<String>,
}

impl<T> Shown<T> {
    fn of<F>(page: Page<F>, next: Option<String>, form: impl Fn(F) -> T) -> Self {
        let Page { items, has_more, total } = page;
        Self { items: items.into_iter().map(form).collect(), has_more, total, next }
    }
}

fn transaction(release: &Release, one: impl std::borrow::Borrow<Transaction>) -> Box<RawValue> {
    let one = one.borrow();
    let mut object = Object::new();
    for key in &release.answers.transaction {
        match key {
            TransactionKey::Postings => object.put("postings", &one.postings),
            TransactionKey::Reference => object.put("reference", &one.reference),
            TransactionKey::Metadata => object.put("metadata", &one.metadata),
            TransactionKey::Txid => object.put("txid", &one.txid),
            TransactionKey::Timestamp => object.put("timestamp", &one.timestamp),
            TransactionKey::Hash => object.put("hash", &one.hash),
            // An older instance's transactions have none.
            TransactionKey::PreCommitVolumes => {
                if let Some(volumes) = &one.volumes {
                    object.put("preCommitVolumes", &volumes.pre);
                }
            }
            TransactionKey::PostCommitVolumes => {
                if let Some(volumes) = &one.volumes {
                    object.put("postCommitVolumes", &volumes.post);
                }
            }
        }
    }
    object.raw()
}

/// Balances and volumes are left out where there are none.
fn account(release: &Release, found: Account) -> Box<RawValue> {
    let known = !found.volumes.is_empty();
    let mut object = Object::new();
    for key in &release.answers.account {
        match key {
            AccountKey::Address => object.put("address", &found.address),
            AccountKey::Metadata => object.put("metadata", &found.metadata),
            AccountKey::Balances if known => {
                let of = |(asset, volume): (&String, &Volume)| (asset.clone(), volume.input - volume.output);
                object.put("balances", &found.volumes.iter().map(of).collect::<BTreeMap<_, _>>());
            }
            AccountKey::Volumes if known && release.commit_volumes => {
                let with_balance = |(asset, volume): (&String, &Volume)| {
                    let Volume { input, output } = volume;
                    (asset.clone(), json!({ "input": input, "output": output, "balance": input - output }))
                };
                object.put("volumes", &found.volumes.iter().map(with_balance).collect::<BTreeMap<_, _>>());
            }
            AccountKey::Volumes if known => object.put("volumes", &found.volumes),
            AccountKey::Balances | AccountKey::Volumes => {}
        }
    }
    object.raw()
}
