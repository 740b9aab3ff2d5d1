//! The statements that make a ledger's schema. `LEDGER` stands for its quoted name.
//!
//! Migration 0 is the layout of 1.0 to 1.3.1, as a dump of such a storage shows it. The others are written for what was measured of
//! them: the tables they leave, what they move, lose and drop, in which order they refuse, and how long they take.

use std::fmt::{self, Display};

/// A ledger's schema.
#[derive(Clone, Debug)]
pub(super) struct Schema(String);

impl Schema {
    pub(super) fn new(ledger: &str) -> Self {
        Self(format!("\"{}\"", ledger.replace('"', "\"\"")))
    }

    /// A statement about this schema.
    pub(super) fn fill(&self, template: &str) -> String {
        template.replace("LEDGER", &self.0)
    }
}

/// The quoted name.
impl Display for Schema {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Where every release that knows migrations records them; made before the first one.
pub(super) const MIGRATIONS: &str =
    r#"CREATE TABLE IF NOT EXISTS LEDGER.migrations ("version" varchar, "date" varchar, UNIQUE ("version"))"#;

/// Migration 0.
pub(super) const ROWS: &[&str] = &[
    r#"CREATE TABLE IF NOT EXISTS LEDGER.transactions (
        "id" bigint, "timestamp" varchar, "reference" varchar, "hash" varchar, UNIQUE ("id"), UNIQUE ("reference"))"#,
    r#"CREATE TABLE IF NOT EXISTS LEDGER.postings (
        "id" smallint, "txid" bigint, "source" varchar, "destination" varchar, "amount" bigint, "asset" varchar,
        UNIQUE ("id", "txid"))"#,
    r#"CREATE INDEX IF NOT EXISTS posting_txid ON LEDGER.postings ("txid" DESC)"#,
    r#"CREATE INDEX IF NOT EXISTS p_c0 ON LEDGER.postings ("txid" DESC, "source", "destination")"#,
    r#"CREATE INDEX IF NOT EXISTS posting_source ON LEDGER.postings ("source")"#,
    r#"CREATE INDEX IF NOT EXISTS posting_destination ON LEDGER.postings ("destination")"#,
    r#"CREATE INDEX IF NOT EXISTS posting_asset ON LEDGER.postings ("asset")"#,
    r#"CREATE TABLE IF NOT EXISTS LEDGER.metadata (
        "meta_id" bigint,
        "meta_target_type" varchar NOT NULL CHECK (meta_target_type <> ''),
        "meta_target_id" varchar NOT NULL CHECK (meta_target_id <> ''),
        "meta_key" varchar NOT NULL CHECK (meta_key <> ''),
        "meta_value" varchar,
        "timestamp" varchar NOT NULL CHECK ("timestamp" <> ''),
        UNIQUE ("meta_id"))"#,
    r#"CREATE INDEX IF NOT EXISTS m_i0 ON LEDGER.metadata ("meta_target_type", "meta_target_id")"#,
    r#"CREATE TABLE IF NOT EXISTS LEDGER.contract (
        "contract_id" integer, "contract_account" varchar, "contract_expr" varchar, UNIQUE ("contract_id"))"#,
    r#"CREATE TABLE IF NOT EXISTS LEDGER.mapping ("mapping_id" varchar, "mapping" varchar, UNIQUE ("mapping_id"))"#,
    r#"CREATE OR REPLACE VIEW LEDGER.addresses AS SELECT address FROM (
        SELECT source AS address FROM LEDGER.postings GROUP BY source
        UNION
        SELECT destination AS address FROM LEDGER.postings GROUP BY destination
    ) addr_agg GROUP BY address"#,
];

/// Migration 1: the layout through `log`, and everything moved into it. Its order is what shows outside: of two commands on one
/// ledger the second waits at the first new table, for a duplicate key (of the catalogue's `pg_type`); statement 11 is where the
/// texts of rows become JSON, without escaping, and where a foreign table `transactions` lacks a column; 13 is the search of all
/// metadata for each transaction that makes the whole quadratic without an index on `meta_target_id::bigint`.
pub(super) fn log() -> Vec<String> {
    let owned = |statement: &&str| (*statement).to_owned();
    let before = LOG_BEFORE.iter().map(owned);
    before.chain([handle_log_entry(Fills::TheTables)]).chain(LOG_AFTER.iter().map(owned)).collect()
}

const LOG_BEFORE: &[&str] = &[
    r#"CREATE TABLE IF NOT EXISTS LEDGER.volumes (
        "account" varchar, "asset" varchar, "input" bigint, "output" bigint, UNIQUE ("account", "asset"))"#,
    r#"CREATE TABLE IF NOT EXISTS LEDGER.accounts ("address" varchar NOT NULL, "metadata" jsonb DEFAULT '{}', UNIQUE ("address"))"#,
    r#"CREATE TABLE IF NOT EXISTS LEDGER.log (
        "id" bigint, "type" varchar, "hash" varchar, "date" timestamp with time zone, "data" jsonb, UNIQUE ("id"))"#,
    r#"ALTER TABLE LEDGER.transactions ADD COLUMN "postings" jsonb"#,
    r#"ALTER TABLE LEDGER.transactions ADD COLUMN "metadata" jsonb DEFAULT '{}'"#,
    NORMALIZ,
    COMPUTE_HASHES,
];

const LOG_AFTER: &[&str] = &[
    COMPUTE_VOLUMES,
    r#"UPDATE LEDGER.transactions SET postings = (
        SELECT jsonb_agg(jsonb_build_object('source', p.source, 'destination', p.destination, 'asset', p.asset, 'amount', p.amount)
                         ORDER BY p.id)
        FROM LEDGER.postings p WHERE p.txid = transactions.id)"#,
    "INSERT INTO LEDGER.accounts (address, metadata) SELECT address, NULL FROM LEDGER.addresses",
    r#"INSERT INTO LEDGER.log (id, type, date, data)
    SELECT row_number() OVER (ORDER BY kind, "timestamp", place) - 1, kind, "timestamp"::timestamptz, data::jsonb
    FROM (
        SELECT 'NEW_TRANSACTION' AS kind, "timestamp", id AS place,
               '{"txid": ' || id || ', "postings": ' || coalesce(postings::text, 'null') || ', "metadata": {}, "timestamp": "'
               || "timestamp" || '", "reference": "' || coalesce(reference, '') || '"}' AS data
        FROM LEDGER.transactions
        UNION ALL
        SELECT 'SET_METADATA', "timestamp", meta_id,
               '{"targetType": "' || upper(meta_target_type) || '", "targetId": '
               || CASE meta_target_type WHEN 'transaction' THEN meta_target_id ELSE '"' || meta_target_id || '"' END
               || ', "metadata": {"' || meta_key || '": ' || meta_value || '}}'
        FROM LEDGER.metadata
    ) entries"#,
    "SELECT LEDGER.compute_hashes()",
    r#"UPDATE LEDGER.transactions SET metadata = (
        SELECT jsonb_object_agg(m.meta_key, m.meta_value::jsonb ORDER BY m.meta_id)
        FROM LEDGER.metadata m
        WHERE m.meta_target_type = 'transaction' AND m.meta_target_id::bigint = transactions.id)"#,
    r#"UPDATE LEDGER.accounts SET metadata = (
        SELECT jsonb_object_agg(m.meta_key, m.meta_value::jsonb ORDER BY m.meta_id)
        FROM LEDGER.metadata m
        WHERE m.meta_target_type = 'account' AND m.meta_target_id = accounts.address)"#,
    r#"INSERT INTO LEDGER.volumes (account, asset, input, output)
    SELECT account, asset, sum(input), sum(output)
    FROM (SELECT destination AS account, asset, amount AS input, 0 AS output FROM LEDGER.postings
          UNION ALL
          SELECT source, asset, 0, amount FROM LEDGER.postings) moved
    GROUP BY account, asset"#,
    "CREATE TRIGGER log_entry AFTER INSERT ON LEDGER.log FOR EACH ROW EXECUTE PROCEDURE LEDGER.handle_log_entry()",
    "CREATE TRIGGER volumes_changed AFTER INSERT ON LEDGER.log REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE PROCEDURE LEDGER.compute_volumes()",
];

/// JSON as Go's encoder writes it, which the hashes are taken over.
const NORMALIZ: &str = r#"CREATE OR REPLACE FUNCTION LEDGER.normaliz(value jsonb) RETURNS text AS $body$
BEGIN
    CASE jsonb_typeof(value)
    WHEN 'object' THEN
        RETURN (SELECT '{' || coalesce(string_agg(to_json(key)::text || ':' || LEDGER.normaliz(item), ',' ORDER BY key COLLATE "C"), '') || '}'
                FROM jsonb_each(value) AS fields(key, item));
    WHEN 'array' THEN
        RETURN (SELECT '[' || coalesce(string_agg(LEDGER.normaliz(item), ',' ORDER BY place), '') || ']'
                FROM jsonb_array_elements(value) WITH ORDINALITY AS items(item, place));
    WHEN 'string' THEN
        RETURN replace(replace(replace(value::text, '<', '\u003c'), '>', '\u003e'), '&', '\u0026');
    ELSE
        RETURN value::text;
    END CASE;
END
$body$ LANGUAGE plpgsql IMMUTABLE"#;

/// `digest` is the extension's.
const COMPUTE_HASHES: &str = r#"CREATE OR REPLACE FUNCTION LEDGER.compute_hashes() RETURNS void AS $body$
DECLARE
    entry record;
    previous text := 'null';
    head text;
    tail text;
    sum text;
BEGIN
    FOR entry IN SELECT id, type, date, data FROM LEDGER.log ORDER BY id LOOP
        head := '{"data":' || LEDGER.normaliz(entry.data) || ',"date":"'
                || to_char(entry.date AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || '","hash":"';
        tail := '","id":' || entry.id || ',"type":"' || entry.type || '"}';
        sum := encode(digest(previous || head || tail, 'sha256'), 'hex');
        UPDATE LEDGER.log SET hash = sum WHERE id = entry.id;
        previous := head || sum || tail;
    END LOOP;
END
$body$ LANGUAGE plpgsql"#;

/// What the trigger fills beside what it fills from 1.3.2 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fills {
    /// Nothing.
    TheTables,
    /// From 1.6 on: volumes before and after, where the entry has them.
    CommitVolumes,
    /// From 1.7.5 on: `postings` too.
    CommitVolumesAndPostings,
}

/// What becomes of metadata that is set on a migrated account or transaction without any was not measured here; it is kept.
pub(super) fn handle_log_entry(fills: Fills) -> String {
    let (columns, values) = match fills {
        Fills::TheTables => ("", ""),
        Fills::CommitVolumes | Fills::CommitVolumesAndPostings => (
            ", pre_commit_volumes, post_commit_volumes",
            ", NEW.data -> 'preCommitVolumes', NEW.data -> 'postCommitVolumes'",
        ),
    };
    let postings = match fills {
        Fills::TheTables | Fills::CommitVolumes => "",
        Fills::CommitVolumesAndPostings => {
            "INSERT INTO LEDGER.postings (txid, posting_index, source, destination)
        SELECT (NEW.data ->> 'txid')::bigint, place - 1, to_jsonb(string_to_array(p ->> 'source', ':')),
               to_jsonb(string_to_array(p ->> 'destination', ':'))
        FROM jsonb_array_elements(NEW.data -> 'postings') WITH ORDINALITY items (p, place);"
        }
    };
    format!(
        r#"CREATE OR REPLACE FUNCTION LEDGER.handle_log_entry() RETURNS trigger AS $body$
BEGIN
    IF NEW.type = 'NEW_TRANSACTION' THEN
        INSERT INTO LEDGER.transactions (id, "timestamp", reference, postings, metadata{columns})
        VALUES ((NEW.data ->> 'txid')::bigint, NEW.data ->> 'timestamp', nullif(NEW.data ->> 'reference', ''), NEW.data -> 'postings',
                coalesce(nullif(NEW.data -> 'metadata', 'null'), '{{}}'){values});
        {postings}
    ELSIF NEW.type = 'SET_METADATA' AND NEW.data ->> 'targetType' = 'TRANSACTION' THEN
        UPDATE LEDGER.transactions SET metadata = coalesce(metadata, '{{}}') || (NEW.data -> 'metadata')
        WHERE id = (NEW.data ->> 'targetId')::bigint;
    ELSIF NEW.type = 'SET_METADATA' THEN
        INSERT INTO LEDGER.accounts (address, metadata) VALUES (NEW.data ->> 'targetId', NEW.data -> 'metadata')
        ON CONFLICT (address) DO UPDATE SET metadata = coalesce(accounts.metadata, '{{}}') || excluded.metadata;
    END IF;
    RETURN NULL;
END
$body$ LANGUAGE plpgsql"#
    )
}

const COMPUTE_VOLUMES: &str = r#"CREATE OR REPLACE FUNCTION LEDGER.compute_volumes() RETURNS trigger AS $body$
BEGIN
    INSERT INTO LEDGER.volumes (account, asset, input, output)
    SELECT account, asset, sum(input), sum(output)
    FROM (SELECT p ->> 'destination' AS account, p ->> 'asset' AS asset, (p ->> 'amount')::bigint AS input, 0 AS output
          FROM added, jsonb_array_elements(data -> 'postings') p WHERE type = 'NEW_TRANSACTION'
          UNION ALL
          SELECT p ->> 'source', p ->> 'asset', 0, (p ->> 'amount')::bigint
          FROM added, jsonb_array_elements(data -> 'postings') p WHERE type = 'NEW_TRANSACTION') moved
    GROUP BY account, asset ORDER BY account, asset
    ON CONFLICT (account, asset) DO UPDATE SET input = volumes.input + excluded.input, output = volumes.output + excluded.output;

    INSERT INTO LEDGER.accounts (address, metadata)
    SELECT DISTINCT address, '{}'::jsonb
    FROM added, jsonb_array_elements(data -> 'postings') p, unnest(ARRAY[p ->> 'source', p ->> 'destination']) address
    WHERE type = 'NEW_TRANSACTION' ORDER BY address
    ON CONFLICT (address) DO NOTHING;
    RETURN NULL;
END
$body$ LANGUAGE plpgsql"#;

/// Migration 2: three functions of one name. 1.4.x creates the first without a schema, so in `public`, for all ledgers the same one:
/// two ledgers that migrate at once collide there, and a role that may not CREATE in `public` fails.
pub(super) fn meta_compare(boolean: &str) -> Vec<String> {
    let one = |place: &str, kind: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION {place}meta_compare(metadata jsonb, value {kind}, VARIADIC path text[]) RETURNS boolean AS $body$
BEGIN
    RETURN jsonb_extract_path_text(metadata, VARIADIC path)::{kind} = value;
EXCEPTION WHEN others THEN
    RETURN false;
END
$body$ LANGUAGE plpgsql IMMUTABLE"
        )
    };
    vec![one(boolean, "boolean"), one("LEDGER.", "numeric"), one("LEDGER.", "varchar")]
}

/// Migration 5. What depends on `postings` goes with it, in whatever schema; what depends on the other two stops the migration.
pub(super) const DROP: &[&str] = &[
    "DROP TABLE IF EXISTS LEDGER.postings CASCADE",
    "DROP TABLE IF EXISTS LEDGER.metadata",
    "DROP TABLE IF EXISTS LEDGER.contract",
];

/// Migration 7, of 1.3.2 and 1.3.3.
pub(super) const SEQUENCE: &[&str] = &[
    "CREATE SEQUENCE LEDGER.log_seq START WITH 0 MINVALUE 0",
    "SELECT setval('LEDGER.log_seq', coalesce((SELECT max(id) FROM LEDGER.log) + 1, 0), false)",
];
