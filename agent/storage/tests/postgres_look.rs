//! Promises about who is on a PostgreSQL storage and what is in it, on a real server.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/postgres.rs"]
mod support;

use cutover_storage::Storage as _;
use cutover_storage::storage::Look;
use cutover_trial_postgres::Cluster;
use cutover_vocabulary::LedgerName;
use cutover_vocabulary::outcome::StorageAttestation;
use cutover_vocabulary::storage::{Migrations, ObstacleKind, SessionKind};
use cutover_vocabulary::survey::StorageSurvey;
use secrecy::ExposeSecret as _;
use std::path::Path;
use support::{MIGRATE, ROLE, SYSTEM, Session, run};

fn with<T>(exceptions: &[&str], look: impl FnOnce(&Look<'_>) -> T) -> T {
    let exceptions: Vec<String> = exceptions.iter().map(|name| (*name).to_owned()).collect();
    let folder = Path::new("/tmp");
    look(&Look { own: &[], unseen_users: &[], exceptions: &exceptions, recovery: folder, scratch: folder })
}

fn survey(cluster: &Cluster, database: &str) -> StorageSurvey {
    with(&[], |look| support::open(cluster, database).survey(look)).unwrap()
}

fn attest(cluster: &Cluster, database: &str, exceptions: &[&str]) -> StorageAttestation {
    with(exceptions, |look| support::open(cluster, database).attest(look)).unwrap()
}

fn kinds(attestation: &StorageAttestation) -> Vec<(String, SessionKind)> {
    let mut all: Vec<_> = attestation.sessions.iter().map(|one| (one.role.clone(), one.kind)).collect();
    all.sort();
    all
}

/// A role of this database's own, which can log in with its name as password.
fn role(cluster: &Cluster, database: &str, name: &str, grants: &str) -> String {
    let role = format!("{database}_{name}");
    cluster
        .sql(database, &format!("CREATE ROLE {role} LOGIN PASSWORD '{role}'; {}", grants.replace("{R}", &role)))
        .unwrap();
    support::settled(cluster, database);
    role
}

fn session(cluster: &Cluster, database: &str, role: &str) -> Session {
    Session::start(&cluster.url(role, role, database), "SELECT 1;")
}

#[test]
fn a_survey_tells_ledgers_foreign_schemas_and_registered_names_apart() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    run(cluster, &database, "new \"one\"", support::SPLIT);
    run(cluster, &database, "new \"one\"", support::SAMPLE);
    run(cluster, &database, "new \"one\"", MIGRATE);
    run(cluster, &database, "crm", "CREATE SCHEMA {L}; CREATE TABLE {L}.transactions(id bigint, note text)");
    run(cluster, &database, "", SYSTEM);
    run(cluster, &database, "", "INSERT INTO _system.ledgers VALUES ('gone', now()), ('shop', now())");
    let survey = survey(cluster, &database);
    let names: Vec<_> = survey.ledgers.iter().map(|ledger| (ledger.name.as_str(), ledger.legacy_layout)).collect();
    assert_eq!(names, [("new \"one\"", false), ("shop", true)]);
    let shop = &survey.ledgers[1];
    assert_eq!((shop.transactions, shop.losses.count, shop.migrations.clone()), (3, 1, Migrations(Some(vec![0]))));
    assert!(shop.bytes > 0 && survey.needed_bytes > shop.bytes && survey.free_bytes > 0);
    assert_eq!(shop.dependents, [], "the ledger's own view is no stranger");
    let registered = ["gone", "shop"].map(|name| LedgerName::new(name).unwrap());
    assert_eq!(survey.registered.as_deref(), Some(&registered[..]));
    let [(schema, reason)] = survey.skipped.as_slice() else { panic!("{:?}", survey.skipped) };
    assert_eq!(schema, "crm");
    assert!(reason.contains("lacks transactions.timestamp") && reason.contains("rename that table"), "{reason}");
    assert_eq!(survey.read_only, None);
    let attested = attest(cluster, &database, &[]);
    assert_eq!(attested.ledgers.len(), 2);
    assert_eq!(attested.migrations[0].1, Migrations(Some(vec![0, 1])));
    assert_eq!(attested.storage, survey.identity);
}

#[test]
fn every_kind_of_session_is_told_by_what_it_could_do() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    // A role of this test's own: what one test gives or takes from the shared one, another would meet.
    let ledger = role(cluster, &database, "ledger", &format!("GRANT {ROLE}, pg_read_all_stats TO {{R}}"));
    let storage = support::open_url(&cluster.url(&ledger, &ledger, &database)).unwrap();
    let attest = |exceptions: &[&str]| with(exceptions, |look| storage.attest(look)).unwrap();
    assert_eq!(kinds(&attest(&[])), [], "our own connections are nobody");
    let read = role(
        cluster,
        &database,
        "read",
        "GRANT USAGE ON SCHEMA shop TO {R}; GRANT SELECT ON ALL TABLES IN SCHEMA shop TO {R}",
    );
    let direct = role(cluster, &database, "direct", "GRANT UPDATE (reference) ON shop.transactions TO {R}");
    let group = role(cluster, &database, "group", "GRANT INSERT ON shop.metadata TO {R}");
    let member = role(cluster, &database, "member", &format!("ALTER ROLE {{R}} NOINHERIT; GRANT {group} TO {{R}}"));
    let owner = role(cluster, &database, "owner", &format!("GRANT {ROLE} TO {{R}}"));
    let root = role(cluster, &database, "root", "ALTER ROLE {R} SUPERUSER");
    let mut sessions: Vec<Session> =
        [&read, &direct, &member, &owner, &root].map(|role| session(cluster, &database, role)).into();
    sessions.push(session(cluster, &database, &ledger));
    let holder = role(cluster, &database, "holder", &format!("GRANT {read} TO {{R}}"));
    sessions
        .push(Session::start(&cluster.url(&holder, &holder, &database), "BEGIN; SELECT count(*) FROM shop.postings;"));
    let mut wanted = vec![
        (read.clone(), SessionKind::Reader),
        (direct.clone(), SessionKind::Writer),
        (member, SessionKind::Writer),
        (owner, SessionKind::Writer),
        (root, SessionKind::Writer),
        (ledger.clone(), SessionKind::Ledger),
        (holder.clone(), SessionKind::LockHolder),
    ];
    wanted.sort();
    let attested = attest(&[]);
    assert_eq!(kinds(&attested), wanted);
    assert_eq!(attested.not_visible, Vec::<String>::new());
    assert!(attested.sessions.iter().all(|one| one.pid > 0 && one.client.starts_with("127.0.0.1:")));

    let surveyed: Vec<_> =
        with(&[], |look| storage.survey(look)).unwrap().sessions.iter().map(|one| one.kind).collect();
    assert_eq!(surveyed.iter().filter(|kind| **kind == SessionKind::Writer).count(), 4);
    assert!(surveyed.contains(&SessionKind::LockHolder) && surveyed.len() == 5, "{surveyed:?}");

    let declared = attest(&[&direct, &read]);
    assert_eq!(declared.sessions.len(), 5, "declared roles are nobody");
    let named =
        Session::start(&format!("{}?application_name=monitor", cluster.url(&direct, &direct, &database)), "SELECT 1;");
    assert_eq!(attest(&["monitor"]).sessions.len(), 7, "a declared application is nobody");
    drop(named);
    let posing = Session::start(
        &format!("{}?application_name=cutover:x", cluster.url(&direct, &direct, &database)),
        "SELECT 1;",
    );
    assert_eq!(attest(&[]).sessions.len(), 8, "another role's session is not ours, whatever it says");
    drop(posing);

    cluster.sql(&database, "BEGIN; DELETE FROM shop.postings WHERE txid = 9; PREPARE TRANSACTION 'stuck'").unwrap();
    let stuck = attest(&[]);
    let prepared = stuck.sessions.iter().find(|one| one.pid == 0).unwrap();
    assert_eq!((prepared.kind, prepared.application.as_str()), (SessionKind::LockHolder, "stuck"));
    cluster.sql(&database, "ROLLBACK PREPARED 'stuck'").unwrap();
}

#[test]
fn what_other_roles_do_is_not_visible_without_the_grant_and_the_grant_is_named() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let narrow =
        role(cluster, &database, "narrow", &format!("ALTER DATABASE {database} OWNER TO {{R}}; GRANT {ROLE} TO {{R}}"));
    let other = role(cluster, &database, "other", "");
    let _session = session(cluster, &database, &other);
    let storage = support::open_url(&cluster.url(&narrow, &narrow, &database)).unwrap();
    let attested = with(&[], |look| storage.attest(look)).unwrap();
    let [unseen] = attested.not_visible.as_slice() else { panic!("{:?}", attested.not_visible) };
    assert!(
        unseen.contains(&other) && unseen.ends_with(&format!("GRANT pg_read_all_stats TO \"{narrow}\"")),
        "{unseen}"
    );
    let declared = with(&[&other], |look| storage.attest(look)).unwrap();
    assert_eq!((declared.not_visible.len(), declared.sessions.len()), (0, 0));
    cluster.sql(&database, &format!("GRANT pg_read_all_stats TO {narrow}")).unwrap();
    support::settled(cluster, &database);
    assert_eq!(with(&[], |look| storage.attest(look)).unwrap().not_visible, Vec::<String>::new());
}

#[test]
fn every_missing_right_is_an_obstacle_whose_remedy_removes_it() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let bare = role(cluster, &database, "bare", "");
    run(
        cluster,
        &database,
        "shop",
        &format!("GRANT USAGE ON SCHEMA {{L}} TO {bare}; GRANT SELECT ON ALL TABLES IN SCHEMA {{L}} TO {bare}"),
    );
    let storage = support::open_url(&cluster.url(&bare, &bare, &database)).unwrap();
    let obstacles = || with(&[], |look| storage.survey(look)).unwrap().obstacles;
    let found = obstacles();
    let remedies: Vec<&str> = found.iter().map(|obstacle| obstacle.remedy.as_str()).collect();
    assert_eq!(
        remedies,
        [
            format!("GRANT CREATE ON DATABASE \"{database}\" TO \"{bare}\""),
            format!("GRANT CREATE ON SCHEMA public TO \"{bare}\""),
            format!("ALTER ROLE \"{bare}\" CREATEDB"),
            format!("GRANT pg_read_all_stats TO \"{bare}\""),
            format!("GRANT \"{ROLE}\" TO \"{bare}\""),
        ]
    );
    assert!(found.iter().all(|obstacle| obstacle.kind == ObstacleKind::MissingGrant));
    for remedy in remedies {
        cluster.sql(&database, remedy).unwrap();
    }
    assert_eq!(obstacles(), []);
    cluster.sql(&database, &format!("ALTER DATABASE {database} SET default_transaction_read_only = on")).unwrap();
    let survey =
        with(&[], |look| support::open_url(&cluster.url(&bare, &bare, &database)).unwrap().survey(look)).unwrap();
    assert_eq!(survey.obstacles[0].kind, ObstacleKind::NotWritable);
    assert!(survey.read_only.unwrap().contains("default_transaction_read_only"));
}

#[test]
fn an_extension_counts_as_missing_only_where_it_cannot_be_created() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let extensions = || {
        let obstacles = survey(cluster, &database).obstacles;
        obstacles.into_iter().filter(|obstacle| obstacle.kind == ObstacleKind::MissingExtension).count()
    };
    assert_eq!(extensions(), 0);
    cluster.sql(&database, "DROP EXTENSION pgcrypto").unwrap();
    assert_eq!(extensions(), 0, "it is a trusted one: whoever may create in the database may create it");
}

#[test]
fn a_ledger_that_the_role_may_not_read_is_not_passed_over() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    cluster.sql(&database, "CREATE SCHEMA hidden; CREATE TABLE hidden.transactions (LIKE shop.transactions); CREATE TABLE hidden.postings (LIKE shop.postings); CREATE TABLE hidden.metadata (LIKE shop.metadata)").unwrap();
    let surveyed = survey(cluster, &database);
    assert_eq!(surveyed.skipped, [("hidden".to_owned(), "a ledger that the role may not read".to_owned())]);
    let attested = attest(cluster, &database, &[]);
    assert!(attested.not_visible.contains(&"schema hidden: a ledger that the role may not read".to_owned()));
    assert_eq!(attested.ledgers.len(), 1);
}

#[test]
fn everything_of_others_on_a_ledgers_tables_is_listed_with_what_makes_it_again() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let owner = role(cluster, &database, "rep", &format!("GRANT {ROLE} TO {{R}}"));
    let create = r#"CREATE SCHEMA "re""port"; SET search_path = "re""port";
        CREATE VIEW flows AS SELECT asset, sum(amount) AS moved FROM shop.postings GROUP BY asset;
        CREATE VIEW "a upon" AS SELECT moved FROM flows;
        CREATE MATERIALIZED VIEW keys AS SELECT DISTINCT meta_key AS key FROM shop.metadata;
        CREATE UNIQUE INDEX keys_once ON keys(key);
        CREATE VIEW accounts AS SELECT address FROM shop.addresses;
        CREATE TABLE notes(txid bigint REFERENCES shop.transactions(id));
        CREATE FUNCTION newest() RETURNS bigint BEGIN ATOMIC SELECT max(id) FROM shop.transactions; END;
        CREATE FUNCTION rows() RETURNS SETOF shop.postings LANGUAGE sql AS 'SELECT * FROM shop.postings';
        CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER tell AFTER INSERT ON shop.metadata FOR EACH ROW EXECUTE FUNCTION told();"#;
    cluster.sql(&database, &format!("{create} ALTER VIEW flows OWNER TO {owner}")).unwrap();
    let list = || survey(cluster, &database).ledgers.remove(0).dependents;
    let found = list();
    let named: Vec<_> = found.iter().map(|one| (one.what.as_str(), one.name.as_str(), one.on.as_str())).collect();
    assert_eq!(
        named,
        [
            ("foreign key", "re\"port.notes notes_txid_fkey", "transactions"),
            ("trigger", "tell on shop.metadata", "metadata"),
            ("function", "re\"port.newest", "transactions"),
            ("function", "re\"port.rows", "postings"),
            ("materialized view", "re\"port.keys", "metadata"),
            ("view", "re\"port.accounts", "addresses"),
            ("view", "re\"port.flows", "postings"),
            ("view", "re\"port.a upon", "postings"),
        ]
    );
    assert_eq!(found.iter().filter(|one| one.owner == owner).count(), 1);
    // Gone, and made again from what was listed.
    cluster.sql(&database, "DROP TRIGGER tell ON shop.metadata; DROP VIEW shop.addresses CASCADE; DROP SCHEMA \"re\"\"port\" CASCADE; CREATE SCHEMA \"re\"\"port\"").unwrap();
    assert_eq!(list(), []);
    let view = "CREATE VIEW shop.addresses AS SELECT source AS address FROM shop.postings";
    let body = "CREATE TABLE \"re\"\"port\".notes(txid bigint); CREATE FUNCTION \"re\"\"port\".told() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'";
    cluster.sql(&database, &format!("{view}; {body}")).unwrap();
    for one in &found {
        cluster.sql(&database, &one.definition).unwrap_or_else(|error| panic!("{}: {error}", one.definition));
    }
    assert_eq!(list().len(), found.len());
}

#[test]
fn size_is_told_while_a_migration_locks_the_tables() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let storage = support::open(cluster, &database);
    let shop = LedgerName::new("shop").unwrap();
    let before = storage.growth(&shop).unwrap();
    let mut migrating = Session::begin(
        cluster,
        &database,
        "ALTER TABLE shop.transactions ADD COLUMN postings jsonb; INSERT INTO shop.transactions(id, hash) SELECT n, repeat('x', 100) FROM generate_series(100, 20000) n",
    );
    assert!(storage.growth(&shop).unwrap() > before + 1_000_000);
    migrating.end();
}

#[test]
fn a_mark_changes_with_every_write_and_with_nothing_else() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let storage = support::open(cluster, &database);
    let shop = LedgerName::new("shop").unwrap();
    let mark = || storage.mark(&shop, Path::new("/tmp")).unwrap();
    let first = mark();
    assert_eq!(first, "transactions 3/2, metadata 6/5");
    storage.analyse(&shop).unwrap();
    assert_eq!(mark(), first);
    let analysed = cluster.sql(
        &database,
        "SELECT count(*) FROM pg_stat_user_tables WHERE schemaname = 'shop' AND last_analyze IS NOT NULL",
    );
    assert_eq!(analysed.unwrap(), "6");
    run(cluster, &database, "shop", "INSERT INTO {L}.metadata VALUES (6, 'account', 'bank', 'k', '1', 'now')");
    assert_ne!(mark(), first);
    assert!(storage.exists(&shop).unwrap() && !storage.exists(&LedgerName::new("shop2").unwrap()).unwrap());
}

#[test]
fn a_role_with_time_limits_of_its_own_has_none_in_our_sessions_and_commands() {
    let Some(cluster) = support::cluster() else { return };
    let database = support::sample(cluster, "shop");
    let hurried = role(
        cluster,
        &database,
        "hurried",
        &format!(
            "GRANT {ROLE}, pg_read_all_stats TO {{R}}; ALTER ROLE {{R}} SET statement_timeout = '25ms'; ALTER ROLE {{R}} SET timezone = 'Asia/Tokyo'; ALTER ROLE {{R}} SET idle_in_transaction_session_timeout = '25ms'"
        ),
    );
    let storage = support::open_url(&cluster.url(&hurried, &hurried, &database)).unwrap();
    with(&[], |look| storage.survey(look)).unwrap();
    let environment = storage.environment("t").unwrap();
    let string = environment.iter().find(|(name, _)| name.ends_with("CONN_STRING")).unwrap().1.expose_secret();
    // The driver of the ledger's releases takes these as settings of the session; sqlx takes them under `options` only.
    for (name, value) in [("statement_timeout", "0"), ("timezone", "UTC"), ("idle_in_transaction_session_timeout", "0")]
    {
        assert!(string.contains(&format!("{name}={value}")), "{name}");
    }
}
