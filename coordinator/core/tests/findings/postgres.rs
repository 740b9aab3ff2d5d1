//! Cases of a PostgreSQL storage with several instances.

use super::*;
use cutover_core::catalogue::{Locks, SideBySideResult};

pub(super) fn cases() -> Vec<Made> {
    let made = |code, level, seen, remedy, world| Made {
        code,
        level,
        subject: FindingSubject::Storage,
        seen,
        remedy,
        also: &[],
        world,
    };
    let obstacle = |code, kind, what: &'static str, remedy: &'static str| {
        let found = Obstacle { kind, what: what.to_owned(), remedy: remedy.to_owned(), from: None };
        made(
            code,
            Level::Block,
            what,
            remedy,
            World::two().with(|w| w.each_storage(|storage| storage.obstacles = vec![found.clone()])),
        )
    };
    let session = |kind| StorageSession {
        pid: 4711,
        role: "report\ner".to_owned(),
        client: "10.0.0.9:5555".to_owned(),
        application: "metabase".to_owned(),
        kind,
        since: None,
    };
    let with_sessions = |kinds: &[SessionKind]| {
        World::two().with(|w| w.storage().sessions = kinds.iter().copied().map(session).collect())
    };
    let main = |code, level, seen, remedy, world| Made {
        subject: of_ledger("main"),
        ..made(code, level, seen, remedy, world)
    };
    vec![
        obstacle(
            "missing-grant",
            ObstacleKind::MissingGrant,
            "role ledger may not CREATE in schema public",
            "GRANT CREATE ON SCHEMA public TO ledger",
        ),
        obstacle("missing-tool", ObstacleKind::MissingTool, "pg_dump 13 is too old", "install postgresql-client-15"),
        obstacle("storage-not-writable", ObstacleKind::NotWritable, "the server is in recovery", "name the primary"),
        obstacle(
            "missing-extension",
            ObstacleKind::MissingExtension,
            "pg_trgm is not there",
            "CREATE EXTENSION pg_trgm",
        ),
        made(
            "sessions-on-the-storage",
            Level::Block,
            "would wait for session 4711 of role report\\ner from 10.0.0.9:5555 (metabase): holds a lock",
            "ROLLBACK PREPARED",
            with_sessions(&[SessionKind::LockHolder, SessionKind::Ledger, SessionKind::Reader]),
        ),
        made(
            "sessions-on-the-storage",
            Level::Approve,
            "may write while the instances are down: session 4711",
            "declare it an exception",
            with_sessions(&[SessionKind::Writer, SessionKind::Reader]),
        ),
        made(
            "foreign-schema",
            Level::Block,
            "register schema shop as a ledger: it has no column `timestamp`",
            "rename its table `transactions`",
            World::two().with(|w| {
                w.storage().skipped = vec![("shop".to_owned(), "it has no column `timestamp`".to_owned())];
            }),
        ),
        main(
            "dependents-dropped",
            Level::Approve,
            "view reports.daily of analyst on postings; view reports.who of analyst on addresses: the migration drops",
            "make them again afterwards",
            depended_on(&[("daily", "view", "postings", ""), ("who", "view", "addresses", "")]),
        ),
        main(
            "dependents-stop-the-migration",
            Level::Block,
            "view reports.meta of analyst on metadata; function reports.of_contract of analyst on contract: the migration",
            "drop them before the upgrade",
            depended_on(&[("meta", "view", "metadata", ""), ("of_contract", "function", "contract", "")]),
        ),
        main(
            "dependents-stop-the-migration",
            Level::Block,
            "view reports.when of analyst on transactions: the migration changes the type",
            "drop them before the upgrade",
            migrated_to_six(&[("when", "view", "transactions", "SELECT t.\"timestamp\" FROM main.transactions t")])
                .to((1, 8, 2)),
        ),
    ]
}

/// Dependents of ledger `main`: name, what, on which table, definition.
fn depended_on(dependents: &[(&str, &str, &str, &str)]) -> World {
    World::two().with(|w| {
        let made = dependents.iter().map(|(name, what, on, definition)| Dependent {
            what: (*what).to_owned(),
            name: format!("reports.{name}"),
            owner: "analyst".to_owned(),
            on: (*on).to_owned(),
            definition: (*definition).to_owned(),
        });
        w.ledger().dependents = made.collect();
    })
}

/// The same on a storage that 1.4.6 migrated.
fn migrated_to_six(dependents: &[(&str, &str, &str, &str)]) -> World {
    depended_on(dependents).from(NEW).with(|w| {
        w.each_storage(|storage| {
            storage.ledgers[0].legacy_layout = false;
            storage.ledgers[0].migrations = Migrations(Some((0..=6).collect()));
        });
    })
}

fn codes(world: &World) -> Vec<String> {
    world.findings().iter().map(|finding| finding.code.to_string()).collect()
}

#[test]
fn a_view_is_no_obstacle_to_a_migration_that_leaves_its_columns_alone() {
    let on_ids = ("ids", "view", "transactions", "SELECT t.id FROM main.transactions t");
    let key = ("key", "foreign key", "transactions", "FOREIGN KEY (txid) REFERENCES main.transactions(id)");
    let when = ("when", "view", "transactions", "SELECT t.\"timestamp\" FROM main.transactions t");
    let whole = ("all", "view", "transactions", "SELECT to_jsonb(t.*) FROM main.transactions t");
    let sums = ("sums", "materialized view", "volumes", "SELECT v.account, v.input FROM main.volumes v");
    let named = ("when", "view", "transactions.timestamp", "");
    assert_eq!(codes(&migrated_to_six(&[on_ids, key]).to((1, 8, 2))), Vec::<String>::new());
    for met in [whole, sums, named] {
        assert_eq!(codes(&migrated_to_six(&[met]).to((1, 8, 2))), ["dependents-stop-the-migration"], "{met:?}");
    }
    // The target knows no such migration, or the storage has it already.
    assert_eq!(codes(&migrated_to_six(&[when, sums]).to((1, 7, 3))), Vec::<String>::new());
    let there = migrated_to_six(&[when, sums]).from((1, 8, 2)).to((1, 9, 0)).with(|w| {
        w.each_storage(|storage| storage.ledgers[0].migrations = Migrations(Some((0..=17).collect())));
    });
    assert!(!codes(&there).iter().any(|code| code.starts_with("dependents")), "{:?}", codes(&there));
}

#[test]
fn an_extension_that_only_later_releases_need_is_missing_only_for_them() {
    let without_trigrams = |target| {
        World::two().to(target).with(|w| {
            let found = Obstacle {
                kind: ObstacleKind::MissingExtension,
                what: "the server has no extension pg_trgm".to_owned(),
                remedy: "install it".to_owned(),
                from: Some(version((1, 8, 0))),
            };
            w.each_storage(|storage| storage.obstacles = vec![found.clone()]);
        })
    };
    assert_eq!(codes(&without_trigrams((1, 7, 3))), Vec::<String>::new());
    assert_eq!(codes(&without_trigrams((1, 8, 2))), ["missing-extension"]);
}

#[test]
fn ten_of_many_are_named_and_the_others_counted() {
    let world = World::two().with(|w| {
        w.storage().sessions = (0..12)
            .map(|pid| StorageSession {
                pid,
                role: "app".to_owned(),
                client: "local".to_owned(),
                application: String::new(),
                kind: SessionKind::Writer,
                since: None,
            })
            .collect();
    });
    let findings = world.findings();
    let [finding] = findings.as_slice() else { panic!("{findings:#?}") };
    assert!(finding.evidence.contains("session 9 of") && !finding.evidence.contains("session 10 of"), "{finding:#?}");
    assert!(finding.evidence.ends_with("and 2 more"), "{finding:#?}");
}

/// The room, the tools and the rights that count are the runner's: the agent of the first instance by name on whose host
/// nothing is in the way.
#[test]
fn what_another_host_lacks_does_not_block() {
    let lacking = |which: &[usize]| {
        World::two().with(|w| {
            for n in which {
                let storage = w.instance(*n).storage.as_mut().unwrap();
                (storage.needed_bytes, storage.free_bytes) = (2 << 20, 1 << 20);
                let tool = Obstacle {
                    kind: ObstacleKind::MissingTool,
                    what: "no pg_dump".to_owned(),
                    remedy: String::new(),
                    from: None,
                };
                storage.obstacles = vec![tool];
            }
            // Agents answer in any order.
            w.surveys.reverse();
        })
    };
    for (which, runner) in [([1], "host-a"), ([0], "host-b")] {
        assert_eq!(codes(&lacking(&which)), Vec::<String>::new());
        assert_eq!(lacking(&which).plan().unwrap().binding.runner, agent(runner));
    }
    assert_eq!(codes(&lacking(&[0, 1])), ["missing-tool", "disk-space"]);
    assert_eq!(lacking(&[0, 1]).plan().unwrap().binding.runner, agent("host-a"));
}

#[test]
fn of_mixed_versions_each_is_looked_up() {
    let broken = World::two().from((1, 7, 3)).with(|w| w.runs(1, (1, 7, 8))).to((1, 8, 1)).with(|w| {
        w.each_storage(|storage| storage.ledgers[0].legacy_layout = false);
    });
    assert_eq!(codes(&broken), ["broken-upgrade", "mixed-versions"]);
    let unknown = World::two().with(|w| w.runs(1, (1, 3, 77)));
    assert_eq!(codes(&unknown), ["unknown-release", "mixed-versions"]);
}

#[test]
fn mixed_versions_that_destroy_writes_are_called_urgent() {
    let world = World::two().from(NEW).with(|w| w.runs(1, (1, 9, 6))).to((1, 9, 6)).with(|w| {
        w.each_storage(|storage| storage.ledgers[0].legacy_layout = false);
    });
    let findings = world.findings();
    let mixed = findings.iter().find(|finding| finding.code.0 == "mixed-versions").unwrap();
    assert!(
        mixed.evidence.contains("1.4.6 beside 1.9.6") && mixed.evidence.contains("out of rotation NOW"),
        "{mixed:#?}"
    );
    let catalogue = catalogue::shipped().unwrap();
    let pair = |old, new| catalogue.worst_beside(&version(old), &version(new), Locks::Other).map(|it| it.result);
    assert_eq!(pair(NEW, (1, 9, 6)), Some(SideBySideResult::OldLosesWrites));
    assert_eq!(pair((1, 9, 6), NEW), None);
}
