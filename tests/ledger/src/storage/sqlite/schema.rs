//! The tables, to the letter: SQLite keeps the text of each statement, and a look at a storage sees it.

/// Migration 0: what 1.0 to 1.3.1 create, in the order they do.
pub(super) const ROWS: &[&str] = &[
    r#"CREATE TABLE IF NOT EXISTS transactions (
  "id"        integer,
  "timestamp" varchar,
  "reference" varchar,
  "hash"      varchar,

  UNIQUE("id"),
  UNIQUE("reference")
)"#,
    r#"CREATE TABLE IF NOT EXISTS migrations (
  "version" varchar,
  "date"    varchar,

  UNIQUE ("version")
)"#,
    r#"CREATE TABLE IF NOT EXISTS postings (
  "id"          integer,
  "txid"        integer,
  "source"      varchar,
  "destination" varchar,
  "amount"      integer,
  "asset"       varchar,

  UNIQUE("id", "txid")
)"#,
    r#"CREATE INDEX IF NOT EXISTS 'p_c0' ON "postings" (
  "txid" DESC,
  "source",
  "destination"
)"#,
    r#"CREATE INDEX IF NOT EXISTS 'posting_source' ON "postings" (
  "source"
)"#,
    r#"CREATE INDEX IF NOT EXISTS 'posting_destination' ON "postings" (
  "destination"
)"#,
    r#"CREATE INDEX IF NOT EXISTS 'posting_asset' ON "postings" (
  "asset"
)"#,
    r#"CREATE TABLE IF NOT EXISTS metadata (
  "meta_id"          integer,
  "meta_target_type" varchar,
  "meta_target_id"   varchar,
  "meta_key"         varchar,
  "meta_value"       varchar,
  "timestamp"        varchar,

  UNIQUE("meta_id")
)"#,
    r#"CREATE TABLE IF NOT EXISTS mapping (
    "mapping_id" varchar,
    "mapping" varchar,

    UNIQUE("mapping_id")
)"#,
    r#"CREATE INDEX IF NOT EXISTS 'm_i0' ON "metadata" (
  "meta_target_type",
  "meta_target_id"
)"#,
    r#"CREATE VIEW IF NOT EXISTS addresses AS SELECT address FROM (
  SELECT source as address FROM postings GROUP BY source
  UNION
  SELECT destination as address FROM postings GROUP BY destination
) GROUP BY address"#,
];

/// Migration 1.
pub(super) const VOLUMES: &str = r#"CREATE TABLE IF NOT EXISTS volumes
(
    "account" varchar,
    "asset"   varchar,
    "input"   integer,
    "output"  integer,

    UNIQUE ("account", "asset")
)"#;

/// Migration 1.
pub(super) const ACCOUNTS: &str = r#"CREATE TABLE IF NOT EXISTS accounts
(
    "address"  varchar NOT NULL,
    "metadata" varchar DEFAULT '{}',

    UNIQUE ("address")
)"#;

/// Migration 1 makes `log` with `autoincrement` first, then without: that leaves an empty `sqlite_sequence` behind.
pub(super) const LOG_FIRST: &str = "CREATE TABLE IF NOT EXISTS log (id integer primary key autoincrement)";

/// Migration 1, the table that stays.
pub(super) const LOG: &str = r#"CREATE TABLE log
(
    "id"   integer primary key, -- without auto increment
    "type" varchar,
    "hash" varchar,
    "date" date,
    "data" varchar
)"#;

/// Migration 1: from now on everything is written through `log`.
pub(super) const TRIGGERS: &[&str] = &[
    r#"CREATE TRIGGER IF NOT EXISTS new_transaction
    AFTER INSERT
          ON transactions
BEGIN
    INSERT OR IGNORE INTO accounts(address, metadata)
    SELECT json_extract(p.value, '$.source'), '{}'
    FROM json_each(new.postings) p;

    INSERT OR IGNORE INTO accounts(address, metadata)
    SELECT json_extract(p.value, '$.destination'), '{}'
    FROM json_each(new.postings) p;

    INSERT INTO volumes (account, asset, input, output)
    SELECT json_extract(p.value, '$.source'),
           json_extract(p.value, '$.asset'),
           0,
           json_extract(p.value, '$.amount')
    FROM json_each(new.postings) p
    WHERE true
    ON CONFLICT (account, asset) DO UPDATE SET output = output + excluded.output;

    INSERT INTO volumes (account, asset, input, output)
    SELECT json_extract(p.value, '$.destination'),
           json_extract(p.value, '$.asset'),
           json_extract(p.value, '$.amount'),
           0
    FROM json_each(new.postings) p
    WHERE true
    ON CONFLICT (account, asset) DO UPDATE SET input = input + excluded.input;
END"#,
    r#"CREATE TRIGGER IF NOT EXISTS new_log_transaction
AFTER INSERT
ON log
    WHEN new.type = 'NEW_TRANSACTION'
BEGIN
    INSERT INTO transactions (id, reference, timestamp, postings, metadata)
    VALUES (json_extract(new.data, '$.txid'),
        CASE
            WHEN json_extract(new.data, '$.reference') = '' THEN NULL
            ELSE json_extract(new.data, '$.reference') END,
        json_extract(new.data, '$.timestamp'),
        json_extract(new.data, '$.postings'),
        CASE
            WHEN json_extract(new.data, '$.metadata') IS NULL THEN '{}'
            ELSE json_extract(new.data, '$.metadata') END);
END"#,
    r#"CREATE TRIGGER IF NOT EXISTS new_log_set_metadata_on_transaction
AFTER INSERT
ON log
WHEN new.type = 'SET_METADATA' AND json_extract(new.data, '$.targetType') = 'TRANSACTION'
BEGIN
    UPDATE transactions
    SET metadata = json_patch(metadata, json_extract(new.data, '$.metadata'))
    WHERE id = json_extract(new.data, '$.targetId');
END"#,
    r#"CREATE TRIGGER IF NOT EXISTS new_log_set_metadata_on_account
AFTER INSERT
ON log
WHEN new.type = 'SET_METADATA' AND json_extract(new.data, '$.targetType') = 'ACCOUNT'
BEGIN
    INSERT INTO accounts(address, metadata)
    VALUES (json_extract(new.data, '$.targetId'), json_extract(new.data, '$.metadata'))
    ON CONFLICT (address) DO UPDATE SET metadata = json_patch(metadata, excluded.metadata);
END"#,
];

/// The system store.
pub(super) const SYSTEM: &str =
    "CREATE TABLE IF NOT EXISTS ledgers (ledger varchar(255) primary key, addedAt timestamp)";

/// The system store from 1.7.4 on.
pub(super) const CONFIGURATION: &str =
    "CREATE TABLE IF NOT EXISTS configuration (key varchar(255) primary key, value text, addedAt timestamp)";

/// The columns of 1.6, and the trigger that fills them where the entry of `log` has them.
pub(super) const COMMIT_VOLUMES: &[&str] = &[
    "ALTER TABLE transactions ADD COLUMN pre_commit_volumes varchar",
    "ALTER TABLE transactions ADD COLUMN post_commit_volumes varchar",
    "DROP TRIGGER new_log_transaction",
    r#"CREATE TRIGGER new_log_transaction
AFTER INSERT
ON log
    WHEN new.type = 'NEW_TRANSACTION'
BEGIN
    INSERT INTO transactions (id, reference, timestamp, postings, metadata, pre_commit_volumes, post_commit_volumes)
    VALUES (json_extract(new.data, '$.txid'),
        nullif(json_extract(new.data, '$.reference'), ''),
        json_extract(new.data, '$.timestamp'),
        json_extract(new.data, '$.postings'),
        coalesce(json_extract(new.data, '$.metadata'), '{}'),
        json_extract(new.data, '$.preCommitVolumes'),
        json_extract(new.data, '$.postCommitVolumes'));
END"#,
];

/// From 1.8.0 on the release does itself what the triggers did.
pub(super) const WITHOUT_TRIGGERS: &[&str] = &[
    "DROP TRIGGER IF EXISTS new_transaction",
    "DROP TRIGGER IF EXISTS new_log_transaction",
    "DROP TRIGGER IF EXISTS new_log_set_metadata_on_transaction",
    "DROP TRIGGER IF EXISTS new_log_set_metadata_on_account",
];

/// The table of 1.8: another type for the time, no hash, addresses for the filters. The old one's triggers go with it; those on `log`
/// stay, where number 11 was another migration, and write into this one (disaster 12).
pub(super) const TIMESTAMPS: &[&str] = &[
    "PRAGMA legacy_alter_table = ON",
    r#"CREATE TABLE transactions_new
(
    "id"                  integer,
    "timestamp"           date,
    "reference"           varchar,
    "postings"            varchar,
    "metadata"            varchar,
    "pre_commit_volumes"  varchar,
    "post_commit_volumes" varchar,
    "sources"             text,
    "destinations"        text,

    UNIQUE ("id"),
    UNIQUE ("reference")
)"#,
    r#"INSERT INTO transactions_new
SELECT id, timestamp, reference, postings, metadata, pre_commit_volumes, post_commit_volumes,
       (SELECT ';' || group_concat(DISTINCT json_extract(value, '$.source')) || ';' FROM json_each(postings)),
       (SELECT ';' || group_concat(DISTINCT json_extract(value, '$.destination')) || ';' FROM json_each(postings))
FROM transactions"#,
    "DROP TABLE transactions",
    "ALTER TABLE transactions_new RENAME TO transactions",
    "PRAGMA legacy_alter_table = OFF",
];

/// Answers that are given again.
pub(super) const IDEMPOTENCY: &str = r#"CREATE TABLE IF NOT EXISTS idempotency
(
    "key"          varchar,
    "date"         varchar,
    "status_code"  int,
    "headers"      varchar,
    "body"         varchar,
    "request_hash" varchar,

    PRIMARY KEY ("key")
)"#;

/// Where every release that knows migrations records them; also part of [`ROWS`].
pub(super) const MIGRATIONS: &str = ROWS[1];
