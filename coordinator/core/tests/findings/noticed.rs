//! Cases of what an agent notices on its host beside the storage itself, and of past damage.

use super::*;
use cutover_vocabulary::survey::{SettingsFile, Tried};

pub(super) fn cases() -> Vec<Made> {
    let mut cases = about_services();
    cases.extend(about_damage());
    cases.push(ran_on_it());
    cases.extend(about_sessions());
    cases
}

fn about_services() -> Vec<Made> {
    let made =
        |code, level, seen, remedy, world| Made { code, level, subject: about("a"), seen, remedy, also: &[], world };
    let trying = |tried: Result<Tried, String>| World::healthy().with(|w| w.instance(0).tried = Some(tried));
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let refused = texts(&["unknown flag: --persist-config", "unknown flag: --ledgers"]);
    let ignored = texts(&["NUMARY_LEDGERS", "NUMARY_PERSIST_CONFIG"]);
    let file = || SettingsFile {
        path: "/home/numary/.numary/numary.yaml".to_owned(),
        ignored: None,
        overridden: Vec::new(),
        exposed: false,
    };
    let with_file = |file: SettingsFile| World::healthy().with(|w| w.instance(0).settings_file = Some(file));
    let driver = ("storage.driver".to_owned(), "environment variable NUMARY_STORAGE_DRIVER".to_owned());
    vec![
        made(
            "argument-unknown",
            Level::Block,
            "1.4.6 does not start with this instance's arguments: unknown flag: --persist-config; unknown flag: --ledgers",
            "take these out of the service's arguments",
            trying(Ok(Tried { refused, ignored: Vec::new() })),
        ),
        made(
            "variable-ignored",
            Level::Approve,
            "1.4.6 does not know variables that the present version knows, and ignores them: NUMARY_LEDGERS; NUMARY_PERSIST_CONFIG",
            "find out what each of them did",
            trying(Ok(Tried { refused: Vec::new(), ignored })),
        ),
        made(
            "target-does-not-run",
            Level::Block,
            "1.4.6 could not be asked for its help here: cannot run /state/numary: Exec format error",
            "built for this host",
            trying(Err("cannot run /state/numary: Exec format error (os error 8)".to_owned())),
        ),
        made(
            "settings-file-differs",
            Level::Info,
            "/home/numary/.numary/numary.yaml says another storage.driver (the service has it from: environment variable \
             NUMARY_STORAGE_DRIVER)",
            "run no command of the ledger by hand",
            with_file(SettingsFile { overridden: vec![driver], ..file() }),
        ),
        made(
            "settings-file-ignored",
            Level::Info,
            "the ledger ignores /home/numary/.numary/numary.yaml: it is no YAML, see line 3",
            "mend it only on purpose",
            with_file(SettingsFile { ignored: Some("it is no YAML, see line 3".to_owned()), ..file() }),
        ),
        made(
            "settings-file-readable",
            Level::Info,
            "/home/numary/.numary/numary.yaml holds a connection string, and everybody on the host may read it",
            "chmod 600 /home/numary/.numary/numary.yaml",
            with_file(SettingsFile { exposed: true, ..file() }),
        ),
    ]
}

/// An instance runs a release that stores wrong sums, and some are wrong.
fn ran_on_it() -> Made {
    Made {
        code: "ran-on-bad-release",
        level: Level::Info,
        subject: FindingSubject::Storage,
        seen: "they disagree in 1 of 1 ledger(s): main",
        remedy: "compare balances with your own books",
        also: &["path-not-in-table", "balances-disagree"],
        world: damaged(&[(DamageKind::Balances, 1, "account bank, USD/2: volumes say 1, the postings add up to 301")])
            .from((1, 10, 7))
            .to((1, 10, 8))
            .with(|w| {
                w.ledger().migrations = Migrations(Some((0..=20).collect()));
                w.ledger().legacy_layout = false;
            }),
    }
}

fn about_damage() -> Vec<Made> {
    let made = |code, kind, count, some: &str, seen, remedy| Made {
        code,
        level: Level::Approve,
        subject: of_ledger("main"),
        seen,
        remedy,
        also: &[],
        world: damaged(&[(kind, count, some)]),
    };
    vec![
        made(
            "times-shifted",
            DamageKind::Times,
            1200,
            "transaction 0: log says 2026-11-23T15:01:33Z, transactions say 2026-11-23T06:01:33Z",
            "1200 transaction(s) have another time in `transactions` than in `log`: transaction 0: log says 2026-11-23T15:01:33Z",
            "`log` has the true times",
        ),
        made(
            "transactions-only-in-log",
            DamageKind::OnlyInLog,
            10,
            "transaction 7: log says 2026-11-23T15:01:33Z: world to bank, 100 USD/2, transactions say nothing",
            "10 transaction(s) were acknowledged and exist only in `log`: transaction 7: log says",
            "stop the older one NOW",
        ),
        made(
            "balances-disagree",
            DamageKind::Balances,
            1,
            "account bank, USD/2: volumes say 1, the postings add up to 301",
            "1 balance(s) differ from the sum of their postings: account bank, USD/2: volumes say 1",
            "correct `volumes` by the postings",
        ),
        made(
            "storage-inconsistent",
            DamageKind::Other,
            2,
            "transaction 3: its postings cannot be read",
            "2 place(s) disagree, among them: transaction 3: its postings cannot be read; …",
            "find out how it came about",
        ),
    ]
}

/// Ledger `main` with damage of these kinds, each with its count and one place in words.
fn damaged(kinds: &[(DamageKind, u64, &str)]) -> World {
    World::healthy().with(|w| {
        let damage = |(kind, count, some): &(DamageKind, u64, &str)| {
            (*kind, Damage { count: *count, some: vec![(*some).to_owned()] })
        };
        w.ledger().damage = kinds.iter().map(damage).collect();
        w.ledger().inconsistencies = kinds.iter().map(|(_, _, some)| (*some).to_owned()).collect();
    })
}

fn about_sessions() -> Vec<Made> {
    let made = |code, level, seen, remedy, world| Made {
        code,
        level,
        subject: FindingSubject::Storage,
        seen,
        remedy,
        also: &[],
        world,
    };
    vec![
        made(
            "session-time-zone",
            Level::Info,
            "run in time zone Asia/Tokyo (set by: database); the migration reads every transaction's time in its session's zone",
            "let nobody run `storage upgrade`",
            beginning_with(&[("TimeZone", "Asia/Tokyo", "database")]).to((1, 8, 2)),
        ),
        made(
            "session-limits",
            Level::Info,
            "statement_timeout = 200 ms (set by: user); lock_timeout = 1000 ms (set by: database user)",
            "nothing for this upgrade",
            beginning_with(&[("statement_timeout", "200 ms", "user"), ("lock_timeout", "1000 ms", "database user")]),
        ),
        made(
            "session-limits",
            Level::Approve,
            "transaction_timeout = 60000 ms (set by: user); a ledger migrates in one transaction",
            "SET transaction_timeout = 0",
            beginning_with(&[("transaction_timeout", "60000 ms", "user")]),
        ),
    ]
}

/// Sessions of the service that begin with these: name, value, who set it.
fn beginning_with(settings: &[(&str, &str, &str)]) -> World {
    World::two().with(|w| {
        w.each_storage(|storage| {
            let setting = |(name, value, source): &(&str, &str, &str)| SessionSetting {
                name: (*name).to_owned(),
                value: (*value).to_owned(),
                source: (*source).to_owned(),
            };
            storage.session_settings = settings.iter().map(setting).collect();
        });
    })
}

fn codes(world: &World) -> Vec<String> {
    world.findings().iter().map(|finding| finding.code.to_string()).collect()
}

#[test]
fn a_time_zone_is_said_only_where_a_migration_goes_by_it() {
    let tokyo = beginning_with(&[("TimeZone", "Asia/Tokyo", "user")]);
    assert_eq!(codes(&tokyo), Vec::<String>::new(), "1.4.6 keeps times as text");
    for utc in ["UTC", "Etc/UTC", "GMT", "Zulu"] {
        let world = beginning_with(&[("TimeZone", utc, "configuration file")]).to((1, 8, 2));
        assert_eq!(codes(&world), Vec::<String>::new(), "{utc}");
    }
    let there = tokyo.from((1, 8, 2)).to((1, 9, 0)).with(|w| {
        w.each_storage(|storage| storage.ledgers[0].migrations = Migrations(Some((0..=17).collect())));
    });
    assert!(!codes(&there).contains(&"session-time-zone".to_owned()), "{:?}", codes(&there));
}

#[test]
fn damage_of_several_kinds_is_told_apart() {
    let world = damaged(&[
        (DamageKind::Times, 3, "a"),
        (DamageKind::OnlyInLog, 2, "b"),
        (DamageKind::Balances, 1, "c"),
        (DamageKind::Other, 1, "d"),
    ]);
    let wanted = ["times-shifted", "transactions-only-in-log", "balances-disagree", "storage-inconsistent"];
    assert_eq!(codes(&world), wanted);
}

#[test]
fn an_agent_that_did_not_try_the_target_is_no_finding() {
    assert_eq!(
        codes(&World::healthy().with(|w| w.instance(0).tried = Some(Ok(Tried::default())))),
        Vec::<String>::new()
    );
    assert_eq!(codes(&World::healthy().with(|w| w.instance(0).tried = None)), Vec::<String>::new());
}
