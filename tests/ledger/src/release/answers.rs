//! What differs in HTTP answers.

use serde::Deserialize;

/// What differs in HTTP answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// Which ledgers `/_info` names.
    pub info: InfoLedgers,
    /// The routes of health.
    pub health: Vec<String>,
    /// Health says `{"sqlite":"OK"}` on SQLite, and not `{}`; on PostgreSQL it always names its driver.
    pub sqlite_in_health: bool,
    /// The keys of a transaction, in their order.
    pub transaction: Vec<TransactionKey>,
    /// The keys of an account, in their order.
    pub account: Vec<AccountKey>,
    /// The keys of a list, in their order.
    pub cursor: Vec<CursorKey>,
    /// The parameters that say how many rows a page has.
    pub page_size_parameters: Vec<String>,
    /// `page_size` of a list says how many rows there are, not how many there could be.
    pub page_size_is_row_count: bool,
    /// The keys of an error, in their order.
    pub error: Vec<ErrorKey>,
    /// `processing tx 0: conflict error on reference 'r1'`; later without the prefix and the reference.
    pub conflict_names_reference: bool,
    /// `processing tx 0: balance.insufficient.USD/2`; later without the prefix.
    pub missing_funds_names_index: bool,
    /// A batch with a conflict answers 400 with an error for each item; later 409.
    pub batch_errors_per_item: bool,
    /// The status of an empty batch.
    pub empty_batch: u16,
    /// What a body is answered with that cannot be read.
    pub bad_body: BadBody,
    /// An amount that cannot be read is stored as 0; later it is a bad body.
    pub bad_amount_is_zero: bool,
    /// What an account is answered with of which nothing is known.
    pub unknown_account: UnknownAccount,
    /// 404 for a transaction has a body.
    pub unknown_transaction_has_body: bool,
    /// HEAD is answered.
    pub head: bool,
    /// The status of a revert.
    pub revert: u16,
    /// What the second revert of a transaction is answered with.
    pub second_revert: SecondRevert,
    /// The key under which a revert is noted on the new transaction holds the reverted id as text; up to 1.3.1 the last id as a
    /// number, and nothing is noted on the reverted one.
    pub revert_marks_both: bool,
    /// The status of a failure of the storage.
    pub storage_error: u16,
    /// The status of metadata that another instance's write stands in the way of.
    pub metadata_conflict: u16,
    /// `/balances` and `/aggregate/balances` are answered.
    pub balances: bool,
    /// `/{ledger}/_info` and `/{ledger}/logs` are answered.
    pub ledger_info_and_logs: bool,
    /// `Idempotency-Key` is minded.
    pub idempotency: bool,
}

/// Which ledgers `/_info` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InfoLedgers {
    /// The configured list.
    Configured,
    /// What the system store has registered.
    Registered,
}

/// A key of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is the key of its name")]
pub enum TransactionKey {
    Postings,
    Reference,
    Metadata,
    Txid,
    Timestamp,
    Hash,
    PreCommitVolumes,
    PostCommitVolumes,
}

/// A key of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the key of its name")]
pub enum AccountKey {
    Address,
    Balances,
    Volumes,
    Metadata,
}

/// A key of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "each is the key of its name")]
pub enum CursorKey {
    #[serde(rename = "page_size")]
    PageSizeSnake,
    #[serde(rename = "pageSize")]
    PageSizeCamel,
    #[serde(rename = "has_more")]
    HasMoreSnake,
    #[serde(rename = "hasMore")]
    HasMoreCamel,
    #[serde(rename = "total")]
    Total,
    #[serde(rename = "remaining_results")]
    RemainingResults,
    #[serde(rename = "previous")]
    Previous,
    #[serde(rename = "next")]
    Next,
    #[serde(rename = "data")]
    Data,
}

/// A key of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "each is the key of its name")]
pub enum ErrorKey {
    #[serde(rename = "errorCode")]
    CodeCamel,
    #[serde(rename = "errorMessage")]
    MessageCamel,
    #[serde(rename = "error_code")]
    CodeSnake,
    #[serde(rename = "error_message")]
    MessageSnake,
}

/// What a body is answered with that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BadBody {
    /// 400, as a body without postings.
    Validation,
    /// 500.
    Fails,
}

/// What an account is answered with of which nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownAccount {
    /// Its address and no metadata.
    Echoed,
    /// No address, and `null` for its metadata.
    Empty,
    /// Its address, and everything empty.
    EmptyMaps,
}

/// What the second revert of a transaction is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecondRevert {
    /// Whatever the funds allow.
    InsufficientFund,
    /// `already reverted`.
    AlreadyReverted,
}
