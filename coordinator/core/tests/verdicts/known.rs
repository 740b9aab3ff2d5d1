//! What is known, written out once more by hand: the rows of both editions of the manual's table, every measured pair, and the
//! rules behind them. Nothing here reads the catalogue's own rows.

use super::*;
use SideBySideResult::{AddressFiltersMissAccounts, Conflict, OldDead, OldLosesWrites, Works};

/// Both editions: target series, minimum present version, whether downtime is required.
const TABLE: [((u64, u64), Numbers, bool); 17] = [
    ((1, 1), (1, 0, 0), true),
    ((1, 1), (1, 1, 0), false),
    ((1, 2), (1, 0, 0), true),
    ((1, 2), (1, 2, 0), false),
    ((1, 3), (1, 0, 0), true),
    ((1, 3), (1, 3, 0), false),
    ((1, 4), (1, 0, 0), true),
    ((1, 4), (1, 4, 0), false),
    ((1, 5), (1, 0, 0), true),
    ((1, 5), (1, 4, 0), false),
    ((1, 6), (1, 0, 0), true),
    ((1, 6), (1, 4, 0), false),
    ((1, 7), (1, 0, 0), true),
    ((1, 7), (1, 4, 0), false),
    ((1, 8), (1, 0, 0), true),
    ((1, 8), (1, 4, 0), true),
    ((1, 9), (1, 4, 0), false),
];

fn in_series(version: &Version, (major, minor): (u64, u64)) -> bool {
    version.same_minor(&Version::new(major, minor, 0))
}

#[test]
fn every_row_of_both_tables_holds_for_every_pair_that_it_names() {
    let catalogue = shipped().unwrap();
    for (row, (series, minimum, downtime)) in TABLE.into_iter().enumerate() {
        let minimum = version(minimum);
        // The rows of one target stand in the order of their minimum: the next one takes over from its own on.
        let next = TABLE.get(row + 1).filter(|(other, _, _)| *other == series).map(|(_, minimum, _)| version(*minimum));
        let mut pairs = 0;
        for (from, to) in upward(&catalogue) {
            if !in_series(&to, series) || from < minimum || next.as_ref().is_some_and(|next| from >= *next) {
                continue;
            }
            pairs += 1;
            for fleet in [THREE, ONE, ONE_SQLITE] {
                let verdict = fleet.ask(&catalogue, &from, &to);
                assert!(!blocks(&verdict).contains(&Obstacle::NotNamed), "{from} to {to} is named");
                assert!(!approvals(&verdict).contains(&Obstacle::NotNamed), "{from} to {to} is named");
                let refused = refusals(&verdict);
                assert_eq!(refused.contains(&Refusal::ManualDemandsDowntime), downtime, "{from} to {to}: {refused:?}");
            }
        }
        // 1.1.x and 1.5.x have one release each, so nothing of the same series is below it.
        assert!(pairs > 0 || matches!(series, (1, 1)), "row {row} names nothing");
    }
}

#[test]
fn a_pair_that_no_row_names_demands_downtime_and_approval_from_1_4_on_and_is_blocked_below() {
    let catalogue = shipped().unwrap();
    let named = |from: &Version, to: &Version| {
        TABLE.iter().any(|(series, minimum, _)| in_series(to, *series) && *from >= version(*minimum))
    };
    let mut seen = (0, 0);
    for (from, to) in upward(&catalogue).into_iter().filter(|(from, to)| !named(from, to)) {
        let verdict = THREE.ask(&catalogue, &from, &to);
        assert!(refusals(&verdict).contains(&Refusal::NotNamed), "{from} to {to}");
        if from >= version((1, 4, 0)) {
            seen.0 += 1;
            assert_eq!(approvals(&verdict).first(), Some(&Obstacle::NotNamed), "{from} to {to}");
        } else {
            seen.1 += 1;
            assert!(blocks(&verdict).contains(&Obstacle::NotNamed), "{from} to {to}");
            let reason = verdict.blocks.iter().find(|reason| reason.why == Obstacle::NotNamed).unwrap();
            let stop = reason.remedy.contains("go by a stop that the table names: 1.");
            assert_eq!(stop, to >= version((1, 9, 0)), "{from} to {to}: {}", reason.remedy);
        }
    }
    assert!(seen.0 > 0 && seen.1 > 0, "{seen:?}");
}

/// Every pair that was tried, with what happened with the default locks.
const TRIED: [(Numbers, Numbers, SideBySideResult); 40] = [
    ((1, 0, 5), (1, 1, 0), Works),
    ((1, 1, 0), (1, 2, 1), Works),
    ((1, 2, 1), (1, 3, 1), Works),
    ((1, 3, 1), (1, 3, 1), Works),
    ((1, 3, 1), (1, 3, 3), OldDead),
    ((1, 3, 3), (1, 4, 0), Works),
    ((1, 4, 0), (1, 4, 6), Works),
    ((1, 4, 6), (1, 4, 6), Works),
    ((1, 4, 6), (1, 5, 0), Works),
    ((1, 4, 6), (1, 6, 1), Works),
    ((1, 4, 6), (1, 7, 3), Works),
    ((1, 6, 1), (1, 7, 3), Works),
    ((1, 7, 3), (1, 7, 8), Works),
    ((1, 3, 3), (1, 9, 6), OldLosesWrites),
    ((1, 4, 6), (1, 8, 1), OldLosesWrites),
    ((1, 6, 1), (1, 8, 1), OldLosesWrites),
    ((1, 7, 3), (1, 8, 1), OldLosesWrites),
    ((1, 7, 3), (1, 9, 6), OldLosesWrites),
    ((1, 7, 8), (1, 9, 6), OldLosesWrites),
    ((1, 4, 6), (1, 9, 6), OldLosesWrites),
    ((1, 8, 1), (1, 8, 1), Works),
    ((1, 8, 1), (1, 9, 6), AddressFiltersMissAccounts),
    ((1, 9, 0), (1, 12, 0), AddressFiltersMissAccounts),
    ((1, 9, 6), (1, 9, 6), Works),
    ((1, 9, 6), (1, 10, 0), Works),
    ((1, 9, 6), (1, 10, 5), Works),
    ((1, 10, 0), (1, 10, 3), Works),
    ((1, 10, 3), (1, 10, 3), Works),
    ((1, 10, 4), (1, 10, 4), Works),
    ((1, 10, 5), (1, 10, 5), Works),
    ((1, 9, 6), (1, 10, 14), Conflict),
    ((1, 10, 4), (1, 10, 14), Conflict),
    ((1, 10, 6), (1, 10, 6), Conflict),
    ((1, 10, 8), (1, 10, 8), Conflict),
    ((1, 10, 10), (1, 10, 10), Conflict),
    ((1, 10, 12), (1, 10, 12), Conflict),
    ((1, 10, 14), (1, 10, 14), Conflict),
    ((1, 10, 14), (1, 11, 2), Conflict),
    ((1, 11, 2), (1, 12, 0), Conflict),
    ((1, 12, 0), (1, 12, 0), Conflict),
];

/// The one pair of which a rule says worse than its own measurement: the writes worked, the address filters did not.
const STRICTER: (Numbers, Numbers) = ((1, 10, 0), (1, 10, 3));

#[test]
fn every_measured_pair_is_judged_by_its_measurement() {
    let catalogue = shipped().unwrap();
    for (old, new, result) in TRIED {
        let (from, to) = (version(old), version(new));
        let beside: Vec<_> = catalogue.beside(&from, &to, Locks::Other).iter().map(|it| it.result).collect();
        assert!(beside.contains(&result), "{from} beside {to}: {beside:?}");
        if from == to {
            // Nothing rolls here; what is left at the end may have several writers, or not.
            continue;
        }
        let verdict = THREE.ask(&catalogue, &from, &to);
        let refused = refusals(&verdict);
        assert!(!refused.contains(&Refusal::Unmeasured), "{from} beside {to} was measured");
        match result {
            Works if (old, new) == STRICTER => {
                assert!(refused.contains(&Refusal::Harm(AddressFiltersMissAccounts)), "the strictest holds");
            }
            Works => {
                let harm = refused.iter().find(|why| matches!(why, Refusal::Harm(_)));
                assert_eq!(harm, None, "{from} beside {to} works");
                let only_the_manual = refused
                    .iter()
                    .all(|why| matches!(why, Refusal::ManualDemandsDowntime | Refusal::NotNamed | Refusal::NoCommands));
                assert!(only_the_manual, "{from} to {to}: {refused:?}");
            }
            OldDead | OldLosesWrites | AddressFiltersMissAccounts | Conflict => {
                assert!(refused.contains(&Refusal::Harm(result)), "{from} to {to}: {refused:?}");
            }
        }
    }
}

#[test]
fn the_rules_behind_the_measurements_hold_for_every_pair() {
    let catalogue = shipped().unwrap();
    let knows_address_json = |it: &Version| {
        let nine = *it >= version((1, 9, 4)) && *it < version((1, 10, 0));
        nine || *it >= version((1, 10, 1))
    };
    let (triggers, none) = (version((1, 3, 2))..=version((1, 7, 8)), version((1, 8, 0)));
    let (caches, redis_helps) = (version((1, 10, 6)), version((1, 10, 11)));
    for (old, new) in upward(&catalogue) {
        let of = |locks| catalogue.beside(&old, &new, locks).into_iter().map(|it| it.result).collect::<Vec<_>>();
        let loses = triggers.contains(&old) && new >= none;
        assert_eq!(of(Locks::Other).contains(&OldLosesWrites), loses, "{old} beside {new}");
        let misses = old >= none && !knows_address_json(&old) && knows_address_json(&new);
        assert_eq!(of(Locks::Other).contains(&AddressFiltersMissAccounts), misses, "{old} beside {new}");
        assert_eq!(of(Locks::Other).contains(&Conflict), new >= caches, "{old} beside {new}");
        let still = new >= caches && !(old >= redis_helps && new >= redis_helps);
        assert_eq!(of(Locks::Redis).contains(&Conflict), still, "{old} beside {new} with redis");
    }
}

#[test]
fn releases_that_cache_are_no_end_state_of_several_writers_whatever_the_strategy() {
    let catalogue = shipped().unwrap();
    for (from, to) in upward(&catalogue) {
        let several = |fleet: Fleet| blocks(&fleet.ask(&catalogue, &from, &to)).contains(&Obstacle::SeveralWriters);
        assert_eq!(several(THREE), to >= version((1, 10, 6)), "{from} to {to}");
        let redis_helps = to >= version((1, 10, 11));
        assert_eq!(several(THREE_REDIS), to >= version((1, 10, 6)) && !redis_helps, "{from} to {to} with redis");
        assert!(!several(ONE) && !several(ONE_SQLITE), "{from} to {to}: one writer");
    }
}

#[test]
fn two_releases_are_never_a_target_and_others_always_may_be() {
    let catalogue = shipped().unwrap();
    for (from, to) in upward(&catalogue) {
        let bad = [version((1, 10, 6)), version((1, 10, 7))].contains(&to);
        for fleet in [THREE, ONE, ONE_SQLITE] {
            assert_eq!(
                blocks(&fleet.ask(&catalogue, &from, &to)).contains(&Obstacle::BadRelease),
                bad,
                "{from} to {to}"
            );
        }
    }
}

#[test]
fn the_upgrades_that_break_are_blocked_by_driver_with_the_way_around() {
    let catalogue = shipped().unwrap();
    let renumbered = version((1, 7, 5))..=version((1, 7, 8));
    for (from, to) in upward(&catalogue) {
        let sqlite = renumbered.contains(&from) && to >= version((1, 8, 0));
        let postgres = renumbered.contains(&from) && (version((1, 8, 0))..=version((1, 8, 1))).contains(&to);
        for (fleet, broken) in [(ONE_SQLITE, sqlite), (ONE, postgres), (THREE, postgres)] {
            let verdict = fleet.ask(&catalogue, &from, &to);
            assert_eq!(blocks(&verdict).contains(&Obstacle::BrokenUpgrade), broken, "{from} to {to}");
        }
    }
    let verdict = ONE.ask(&catalogue, &version((1, 7, 8)), &version((1, 8, 0)));
    assert_eq!(verdict.blocks[0].remedy, "way around: 1.8.2 or later");
}

#[test]
fn an_upgrade_that_leaves_rows_twice_is_approved_by_a_person() {
    let catalogue = shipped().unwrap();
    let renumbered = version((1, 7, 5))..=version((1, 7, 8));
    for (from, to) in upward(&catalogue) {
        let doubles = renumbered.contains(&from) && to >= version((1, 8, 2));
        for (fleet, doubles) in [(ONE, doubles), (THREE, doubles), (ONE_SQLITE, false)] {
            let found = approvals(&fleet.ask(&catalogue, &from, &to)).contains(&Obstacle::BrokenUpgrade);
            assert_eq!(found, doubles, "{from} to {to}");
        }
    }
}

/// No release refuses a newer schema: whoever went back from 1.7.8 runs 1.7.4 on what 1.7.8 left.
#[test]
fn what_breaks_a_ledger_goes_by_the_release_that_migrated_it_whatever_runs_now() {
    let catalogue = shipped().unwrap();
    let left = |by: Numbers, driver| made_by(&catalogue, &version(by), driver);
    let to = version((1, 8, 3));
    for fleet in [ONE_SQLITE, ONE, THREE] {
        let whole = left((1, 8, 2), fleet.driver);
        for (from, behind) in [((1, 7, 4), &left((1, 7, 4), fleet.driver)), ((1, 8, 2), &whole)] {
            let ask = |ledgers: &[Migrations]| fleet.with(&catalogue, &version(from), &to, ledgers);
            let found = ask(&[behind.clone(), left((1, 7, 8), fleet.driver)]);
            let (list, reasons) = match fleet.driver {
                Driver::Sqlite => (blocks(&found), &found.blocks),
                Driver::Postgres => (approvals(&found), &found.approvals),
            };
            assert!(list.contains(&Obstacle::BrokenUpgrade), "{from:?} on {}", fleet.driver);
            let said = reasons.iter().find(|reason| reason.why == Obstacle::BrokenUpgrade).unwrap();
            assert!(said.evidence.starts_with("a ledger records what 1.7.5 or"), "{}", said.evidence);
            assert!(found.stored.lacking.as_ref().unwrap().contains(&11), "it has another 11");
            let fine = ask(std::slice::from_ref(behind));
            assert!(![blocks(&fine), approvals(&fine)].concat().contains(&Obstacle::BrokenUpgrade), "{from:?}");
        }
    }
}

#[test]
fn an_instance_that_has_the_target_already_is_one_more_writer_all_the_same() {
    let catalogue = shipped().unwrap();
    let single = version((1, 12, 0));
    assert_eq!(blocks(&THREE.ask(&catalogue, &single, &single)), [Obstacle::NotNewer, Obstacle::SeveralWriters]);
    assert_eq!(blocks(&THREE_REDIS.ask(&catalogue, &single, &single)), [Obstacle::NotNewer]);
}

#[test]
fn targets_without_storage_commands_migrate_at_their_first_start() {
    let catalogue = shipped().unwrap();
    for (from, to) in upward(&catalogue) {
        let commands = if to >= version((1, 3, 2)) { Migrates::Commands } else { Migrates::FirstStart };
        assert_eq!(ONE.ask(&catalogue, &from, &to).migrates, commands, "{to}");
    }
}
