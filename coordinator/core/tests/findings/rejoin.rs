//! Cases of a rejoin: `b` was away and is down behind its fence, `a` serves 1.4.6. `tests/rejoin.rs` has what else refuses one.

use super::*;
use cutover_vocabulary::instance::RunState;

/// Nothing to notice.
fn away() -> World {
    let mut world = World::two().from(NEW);
    for n in 0..2 {
        world.instance(n).report.running = Some(version(NEW));
        world.instance(n).report.on_disk = Some(version(NEW));
    }
    world.each_storage(|storage| storage.ledgers[0].migrations = Migrations(Some((0..=6).collect())));
    world.each_storage(|storage| storage.ledgers[0].legacy_layout = false);
    down(world.instance(1), OLD);
    (world.ask.strategy, world.ask.allowed) = (StrategyAsk::Rejoin, Some(version(NEW)));
    world.ask.instances = [instance("b")].into();
    world
}

pub(super) fn cases() -> Vec<Made> {
    let made =
        |code, level, subject, seen, remedy, world| Made { code, level, subject, seen, remedy, also: &[], world };
    let behind = |world: &mut World| {
        world.each_storage(|storage| storage.ledgers[0].migrations = Migrations(Some((0..=4).collect())));
    };
    let runs = |world: &mut World| {
        world.runs(1, OLD);
        let report = &mut world.instance(1).report;
        (report.run, report.running, report.fenced) = (RunState::Running { pid: 9 }, Some(version(OLD)), false);
    };
    vec![
        made(
            "rejoin-refused",
            Level::Block,
            of_ledger("main"),
            "does not record migration 5, 6 of 1.4.6",
            "cutover plan prod --to 1.4.6",
            away().with(behind),
        ),
        made(
            "rejoin-refused",
            Level::Block,
            of_deployment(),
            "is to run 1.4.5, as its latest upgrade left it, and not 1.4.6",
            "rejoin without naming a version",
            away().with(|world| world.ask.allowed = Some(version((1, 4, 5)))),
        ),
        made(
            "runs-beside-target",
            Level::Approve,
            about("b"),
            "it runs 1.3.1 beside instances that run 1.4.6",
            "stop it at once",
            away().with(runs),
        ),
        made(
            "others-not-seen",
            Level::Approve,
            about("a"),
            "agent host-a did not answer for it",
            "cutover member excuse prod a",
            away().with(|world| drop(world.surveys.remove(0))),
        ),
    ]
}

#[test]
fn nothing_is_noticed_of_an_instance_that_was_away_and_stayed_down() {
    assert_eq!(away().findings(), []);
}

/// What is said of upgrades is about paths and migrations, and about everybody; a rejoin has none of these.
#[test]
fn what_only_an_upgrade_must_heed_does_not_keep_an_instance_away() {
    let world = away().with(|world| {
        world.ledger().bad_rows = vec![BadRow { what: "reference".to_owned(), text: "x".to_owned() }];
        world.storage().needed_bytes = u64::MAX;
        world.ask.declared = [instance("z")].into();
    });
    assert_eq!(world.findings(), []);
}

/// It has the target already, as one that was excused after its switch has: nothing is upgraded, and there is one writer more.
#[test]
fn an_instance_that_comes_back_with_the_target_is_refused_where_that_bears_one_writer() {
    const SINGLE: (u64, u64, u64) = (1, 12, 0);
    let back = |locks: [Option<LockStrategy>; 2]| {
        away().to(SINGLE).from(SINGLE).with(|world| {
            world.ask.allowed = Some(version(SINGLE));
            world.instance(0).report.running = Some(version(SINGLE));
            down(world.instance(1), SINGLE);
            world.each_storage(|storage| storage.ledgers[0].migrations = Migrations(Some((0..=19).collect())));
            for (n, lock) in locks.into_iter().enumerate() {
                world.instance(n).lock = lock;
            }
        })
    };
    let several = |world: &World| world.findings().iter().any(|finding| finding.code.0 == "several-writers");
    let redis = Some(LockStrategy::Redis);
    assert!(several(&back([None, None])) && several(&back([redis, None])) && several(&back([None, redis])));
    assert!(!several(&back([redis, redis])));
    // Of one that cannot be asked a person says it.
    let unseen = back([redis, redis]).with(|world| drop(world.surveys.remove(0)));
    assert!(!several(&unseen));
    let said = unseen.findings().into_iter().find(|finding| finding.code.0 == "others-not-seen").unwrap();
    assert!(said.remedy.contains("the same `lock-strategy`"), "{}", said.remedy);
}
