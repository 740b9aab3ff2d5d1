//! The statements of the migrations from 1.6 on, in the manner of [`super::schema`]: written for what was measured of them.

use super::schema::{Fills, handle_log_entry};

/// Number 8. An older instance beside it goes on writing through the trigger; its transactions have no volumes.
pub(super) fn commit_volumes() -> Vec<String> {
    vec![
        "ALTER TABLE LEDGER.transactions ADD COLUMN pre_commit_volumes jsonb".to_owned(),
        "ALTER TABLE LEDGER.transactions ADD COLUMN post_commit_volumes jsonb".to_owned(),
        handle_log_entry(Fills::CommitVolumes),
    ]
}

/// Number 11 of 1.7.5 to 1.7.8.
pub(super) fn postings_by_trigger() -> Vec<String> {
    let mut statements = postings("");
    statements.push(handle_log_entry(Fills::CommitVolumesAndPostings));
    statements
}

/// Addresses of each posting in parts. Without `IF NOT EXISTS` the indices of 1.7.5 to 1.7.8 stand in the way, and with it every row
/// that is there is written once more (disaster 12).
pub(super) fn postings(if_missing: &str) -> Vec<String> {
    vec![
        "CREATE TABLE IF NOT EXISTS LEDGER.postings (txid bigint, posting_index integer, source jsonb, destination jsonb)"
            .to_owned(),
        format!("CREATE INDEX {if_missing} postings_src ON LEDGER.postings USING gin (source)"),
        format!("CREATE INDEX {if_missing} postings_dest ON LEDGER.postings USING gin (destination)"),
        format!("CREATE INDEX {if_missing} postings_txid ON LEDGER.postings (txid)"),
        "INSERT INTO LEDGER.postings (txid, posting_index, source, destination)
         SELECT id, place - 1, to_jsonb(string_to_array(p ->> 'source', ':')), to_jsonb(string_to_array(p ->> 'destination', ':'))
         FROM LEDGER.transactions, jsonb_array_elements(transactions.postings) WITH ORDINALITY items (p, place)"
            .to_owned(),
    ]
}

/// What an instance of 1.3.2 to 1.7.8 writes from then on reaches `log` alone (disaster 10).
pub(super) const WITHOUT_TRIGGERS: &[&str] =
    &["DROP TRIGGER IF EXISTS log_entry ON LEDGER.log", "DROP TRIGGER IF EXISTS volumes_changed ON LEDGER.log"];

/// Number 12. A view on these columns stops it (0A000).
pub(super) const WIDE_VOLUMES: &[&str] =
    &["ALTER TABLE LEDGER.volumes ALTER COLUMN input TYPE numeric, ALTER COLUMN output TYPE numeric"];

/// Number 14. The text loses its zone on the way, and gets the session's (disaster 9). A view on the column stops it (0A000).
pub(super) const TIMESTAMPS: &[&str] = &[
    r#"ALTER TABLE LEDGER.transactions ALTER COLUMN "timestamp" TYPE timestamp with time zone USING "timestamp"::timestamp without time zone"#,
];

/// Answers that are given again.
pub(super) const IDEMPOTENCY: &[&str] = &["CREATE TABLE IF NOT EXISTS LEDGER.idempotency (
        key varchar, date varchar, status_code integer, headers varchar, body varchar, request_hash varchar, PRIMARY KEY (key))"];

/// Number 18. An account that another release creates later has none of it.
pub(super) const ADDRESS_SEGMENTS: &[&str] = &[
    "ALTER TABLE LEDGER.accounts ADD COLUMN address_json jsonb",
    "UPDATE LEDGER.accounts SET address_json = to_jsonb(string_to_array(address, ':'))",
    "ALTER TABLE LEDGER.volumes ADD COLUMN account_json jsonb",
    "UPDATE LEDGER.volumes SET account_json = to_jsonb(string_to_array(account, ':'))",
];
