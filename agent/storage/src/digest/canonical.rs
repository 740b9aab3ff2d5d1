//! Digest v1: the canonical form, byte by byte.
//!
//! ```text
//! section = SHA-256( "cutover-digest-v1" 00 NAME 00  row*  "end" count )
//! row     = field*                     always the same fields in the same order, so that no row can be read as another
//! field   = tag length bytes           tag: 1 byte; length: 4 bytes, big-endian; count: 8 bytes, big-endian
//! ```
//!
//! | tag | bytes |
//! |---|---|
//! | `-` | absent, length 0 |
//! | `t` | text, UTF-8, as stored |
//! | `i` | whole number in decimal ASCII, `-` before it if negative, no leading zeros |
//! | `n` | instant: nanoseconds since 1970-01-01T00:00:00Z in decimal ASCII |
//! | `j` | JSON in the form of [`super::json`] |
//! | `?` | what should have been a number, an instant or JSON and is not, verbatim |
//!
//! | NAME | fields of a row | order of rows |
//! |---|---|---|
//! | `transactions` | id `i`, instant `n`, reference `t` (empty: absent) | id |
//! | `postings` | txid `i`, index `i`, source `t`, destination `t`, asset `t`, amount `i` | txid, index: place among the transaction's postings sorted by source, destination, asset (by bytes), amount |
//! | `balances` | account `t`, asset `t`, input `i`, output `i` | account, asset, by bytes |
//! | `transaction_metadata` | id `i` (or `t` if no plain number), key `t`, value `j` | ids as numbers, then other ids by bytes; key by bytes |
//! | `account_metadata` | address `t`, key `t`, value `j` | address, key, by bytes |
//!
//! A change to any of this is version 2, never another version 1: `tests/golden/digest-v1.txt` holds vectors that are not
//! re-accepted.

use super::rows::{Amount, BalanceRow, Instant, MetadataRow, PostingRow, Target, TransactionRow, Value};
use cutover_vocabulary::Digest;
use cutover_vocabulary::storage::{Section, SectionDigest};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;

/// The version that this module writes.
pub const VERSION: u16 = 1;

/// Every section, in the order in which they are computed and compared.
pub const SECTIONS: [Section; 5] = [
    Section::Transactions,
    Section::Postings,
    Section::Balances,
    Section::TransactionMetadata,
    Section::AccountMetadata,
];

fn name(section: Section) -> &'static str {
    match section {
        Section::Transactions => "transactions",
        Section::Postings => "postings",
        Section::Balances => "balances",
        Section::TransactionMetadata => "transaction_metadata",
        Section::AccountMetadata => "account_metadata",
    }
}

/// Hashes one section row by row.
#[derive(Clone)]
pub struct SectionHasher {
    hasher: Sha256,
    rows: u64,
    row: Vec<u8>,
}

impl SectionHasher {
    /// Begins a section.
    pub fn new(section: Section) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"cutover-digest-v1\0");
        hasher.update(name(section).as_bytes());
        hasher.update(b"\0");
        Self { hasher, rows: 0, row: Vec::with_capacity(256) }
    }

    /// Takes one row. The caller keeps the order.
    pub fn row(&mut self, row: &impl Canonical) {
        self.row.clear();
        row.encode(&mut Fields(&mut self.row));
        self.hasher.update(&self.row);
        self.rows += 1;
    }

    /// Ends the section.
    pub fn finish(mut self) -> SectionDigest {
        self.hasher.update(b"end");
        self.hasher.update(self.rows.to_be_bytes());
        SectionDigest { rows: self.rows, sha256: Digest::from_bytes(self.hasher.finalize().into()) }
    }
}

/// A row that has a canonical form.
pub trait Canonical {
    /// Writes the row's fields.
    fn encode(&self, fields: &mut Fields<'_>);
}

/// Writes fields behind one another.
pub struct Fields<'a>(&'a mut Vec<u8>);

impl Fields<'_> {
    fn field(&mut self, tag: u8, bytes: &[u8]) {
        self.0.push(tag);
        // SQLite's and PostgreSQL's largest value is 1 GB.
        self.0.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }
    fn text(&mut self, text: &str) {
        self.field(b't', text.as_bytes());
    }
    fn number(&mut self, tag: u8, number: i128) {
        let mut digits = [0_u8; 48];
        let mut room = &mut digits[..];
        // 40 characters are the most that an i128 takes.
        let _ = write!(room, "{number}");
        let left = room.len();
        self.field(tag, &digits[..48 - left]);
    }
    fn amount(&mut self, amount: &Amount) {
        match amount {
            Amount::Whole(number) => self.number(b'i', *number),
            Amount::Other(text) => self.field(b'?', text.as_bytes()),
        }
    }
}

impl Canonical for TransactionRow {
    fn encode(&self, fields: &mut Fields<'_>) {
        fields.number(b'i', i128::from(self.id));
        match &self.instant {
            Instant::None => fields.field(b'-', b""),
            Instant::At(nanos) => fields.number(b'n', *nanos),
            Instant::Other(text) => fields.field(b'?', text.as_bytes()),
        }
        match &self.reference {
            None => fields.field(b'-', b""),
            Some(reference) => fields.text(reference),
        }
    }
}
impl Canonical for PostingRow {
    fn encode(&self, fields: &mut Fields<'_>) {
        fields.number(b'i', i128::from(self.txid));
        fields.number(b'i', i128::from(self.index));
        fields.text(&self.source);
        fields.text(&self.destination);
        fields.text(&self.asset);
        fields.amount(&self.amount);
    }
}
impl Canonical for BalanceRow {
    fn encode(&self, fields: &mut Fields<'_>) {
        fields.text(&self.account);
        fields.text(&self.asset);
        fields.amount(&self.input);
        fields.amount(&self.output);
    }
}
impl Canonical for MetadataRow {
    fn encode(&self, fields: &mut Fields<'_>) {
        match &self.target {
            Target::Account(address) => fields.text(address),
            Target::Transaction(id) => fields.number(b'i', i128::from(*id)),
            Target::Other(text) => fields.text(text),
        }
        fields.text(&self.key);
        match &self.value {
            Value::Json(text) => fields.field(b'j', text.as_bytes()),
            Value::Other(text) => fields.field(b'?', text.as_bytes()),
        }
    }
}
