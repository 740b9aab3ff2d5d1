//! The JSON that the releases answer.

use crate::model::{Account, Metadata, Page, Posting, Transaction, Volume};
use crate::release::Release;
use crate::storage::StoreError;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use std::collections::BTreeMap;

/// An answer before it is HTTP.
pub(super) struct Answer {
    pub(super) status: u16,
    body: String,
    kind: &'static str,
    count: Option<u64>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error_code: &'a str,
    error_message: &'a str,
}

#[derive(Serialize)]
struct Data<T> {
    data: T,
}

#[derive(Serialize)]
struct Cursor<T> {
    cursor: CursorBody<T>,
}

#[derive(Serialize)]
struct CursorBody<T> {
    page_size: u32,
    has_more: bool,
    total: u64,
    data: Vec<T>,
}

/// An account: balances and volumes are left out where there are none.
#[derive(Serialize)]
struct AccountBody {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    balances: Option<BTreeMap<String, i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volumes: Option<BTreeMap<String, Volume>>,
    metadata: Option<Metadata>,
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
        Self { status, body, kind: "application/json; charset=utf-8", count: None }
    }

    pub(super) fn data(data: impl Serialize) -> Self {
        Self::json(200, &Data { data })
    }

    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::json(status, &ErrorBody { error_code: code, error_message: message })
    }

    pub(super) fn counted(total: u64) -> Self {
        Self { status: 200, body: String::new(), kind: "", count: Some(total) }
    }

    /// What a failure of the storage looks like: its cause is on standard error only.
    pub(super) fn of_error(release: &Release, error: &StoreError) -> Self {
        match error {
            StoreError::Conflict { index, reference } if release.answers.conflict_names_reference => {
                let message = format!("processing tx {index}: conflict error on reference '{reference}'");
                Self::error(409, "CONFLICT", &message)
            }
            StoreError::Conflict { .. } => Self::error(409, "CONFLICT", "conflict error on reference"),
            StoreError::InsufficientFund { index, asset } => {
                let message = format!("processing tx {index}: balance.insufficient.{asset}");
                Self::error(400, "INSUFFICIENT_FUND", &message)
            }
            StoreError::Refused(_)
            | StoreError::Migration { .. }
            | StoreError::Unreadable(_)
            | StoreError::Cancelled
            | StoreError::Panic(_) => Self::empty(503),
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

    pub(super) fn transactions(release: &Release, page: Page<Transaction>, limit: u32) -> Self {
        Self::page(release, page, limit)
    }

    pub(super) fn accounts(release: &Release, page: Page<Account>, limit: u32) -> Self {
        let Page { items, has_more, total } = page;
        Self::page(release, Page { items: items.into_iter().map(account).collect(), has_more, total }, limit)
    }

    fn page<T: Serialize>(release: &Release, page: Page<T>, limit: u32) -> Self {
        let Page { items: data, has_more, total } = page;
        let rows = u32::try_from(data.len()).unwrap_or(limit);
        let page_size = if release.answers.page_size_is_row_count { rows } else { limit };
        Self::json(200, &Cursor { cursor: CursorBody { page_size, has_more, total, data } })
    }

    pub(super) fn account(release: &Release, address: &str, found: Option<Account>) -> Self {
        Self::data(match found {
            Some(found) => account(found),
            None if release.answers.unknown_account_echoes => AccountBody {
                address: address.to_owned(),
                balances: None,
                volumes: None,
                metadata: Some(Metadata::new()),
            },
            None => AccountBody { address: String::new(), balances: None, volumes: None, metadata: None },
        })
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

fn account(found: Account) -> AccountBody {
    let balances: BTreeMap<_, _> = found.volumes.iter().map(|(asset, v)| (asset.clone(), v.input - v.output)).collect();
    let known = !found.volumes.is_empty();
    AccountBody {
        address: found.address,
        balances: known.then_some(balances),
        volumes: known.then_some(found.volumes),
        metadata: Some(found.metadata),
    }
}
