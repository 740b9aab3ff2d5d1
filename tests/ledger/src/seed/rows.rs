//! The rows of a large storage: the same for the same shape, whatever storage they go into.

use crate::{clock, go};
use jiff::Timestamp;

/// How large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How many transactions, of one posting each from `world`.
    pub transactions: u64,
    /// How many accounts they go to, in turn.
    pub accounts: u64,
    /// Every how manyth transaction has a metadata key; 0 for none. A migration's time grows with the product of transactions and
    /// metadata rows.
    pub metadata_every: u64,
}

/// One transaction with all that belongs to it.
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) timestamp: String,
    /// On every third.
    pub(super) reference: Option<String>,
    pub(super) hash: String,
    pub(super) account: String,
    pub(super) amount: i64,
    /// `meta_id` and JSON of its key `order`.
    pub(super) order: Option<(i64, String)>,
}

impl Shape {
    pub(super) fn rows(self) -> impl Iterator<Item = Row> {
        let mut hash = "null".to_owned();
        let mut meta_id = 0_i64;
        let accounts = i64::try_from(self.accounts).unwrap_or(i64::MAX).max(1);
        let every = i64::try_from(self.metadata_every).unwrap_or(i64::MAX);
        (0..i64::try_from(self.transactions).unwrap_or(i64::MAX)).map(move |id| {
            // One a second from a fixed day on, so that the rows do not depend on the day they are made.
            let timestamp = clock::seconds(Timestamp::from_second(1_640_995_200 + id).unwrap_or(Timestamp::UNIX_EPOCH));
            hash = go::chain(&hash, &timestamp);
            let order = (every > 0 && id % every == 0).then(|| {
                meta_id += 1;
                (meta_id - 1, format!("\"o{id}\""))
            });
            Row {
                id,
                timestamp,
                reference: (id % 3 == 0).then(|| format!("ref-{id}")),
                hash: hash.clone(),
                account: format!("users:{:07}", id % accounts),
                amount: id * 7907 % 100_000 + 1,
                order,
            }
        })
    }
}
