//! The verdict: a table of all pairs that is read by people, and beside it, from lists of their own, both tables of paths, every
//! measured pair and every rule, so that the table cannot just mirror a fault.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests fail by panicking")]

#[path = "verdicts/known.rs"]
mod known;
#[path = "verdicts/matrix.rs"]
mod matrix;

use cutover_core::catalogue::{Catalogue, Locks, SideBySideResult, shipped};
use cutover_core::plan::verdict::{Migrates, Obstacle, Question, Refusal, Rolling, Standing, Verdict, verdict};
use cutover_core::plan::{StrategyAsk, choose};
use cutover_vocabulary::Version;
use cutover_vocabulary::plan::Strategy;
use cutover_vocabulary::storage::{Driver, Migrations};

type Numbers = (u64, u64, u64);

fn version((major, minor, patch): Numbers) -> Version {
    Version::new(major, minor, patch)
}

/// A fleet whose storage records exactly what its release knows.
#[derive(Clone, Copy)]
struct Fleet {
    driver: Driver,
    instances: usize,
    locks: Locks,
}
const THREE: Fleet = Fleet { driver: Driver::Postgres, instances: 3, locks: Locks::Other };
const THREE_REDIS: Fleet = Fleet { locks: Locks::Redis, ..THREE };
const ONE: Fleet = Fleet { instances: 1, ..THREE };
const ONE_SQLITE: Fleet = Fleet { driver: Driver::Sqlite, ..ONE };

/// What a ledger records that a release made.
fn made_by(catalogue: &Catalogue, release: &Version, driver: Driver) -> Migrations {
    let highest = catalogue.release(release).and_then(|facts| facts.highest_migration(driver));
    Migrations(highest.map(|highest| (0..=highest).collect()))
}

impl Fleet {
    fn ask(self, catalogue: &Catalogue, from: &Version, to: &Version) -> Verdict {
        self.with(catalogue, from, to, &[made_by(catalogue, from, self.driver)])
    }
    fn with(self, catalogue: &Catalogue, from: &Version, to: &Version, recorded: &[Migrations]) -> Verdict {
        let Self { driver, instances, locks } = self;
        verdict(catalogue, &Question { from, to, driver, recorded, instances, locks })
    }
}

fn refusals(verdict: &Verdict) -> Vec<Refusal> {
    match &verdict.rolling {
        Rolling::Refused(reasons) => reasons.iter().map(|reason| reason.why).collect(),
        Rolling::AsItIs | Rolling::MigrateFirst(_) => Vec::new(),
    }
}

fn blocks(verdict: &Verdict) -> Vec<Obstacle> {
    verdict.blocks.iter().map(|reason| reason.why).collect()
}

fn approvals(verdict: &Verdict) -> Vec<Obstacle> {
    verdict.approvals.iter().map(|reason| reason.why).collect()
}

/// Every pair of which the second is newer.
fn upward(catalogue: &Catalogue) -> Vec<(Version, Version)> {
    let versions: Vec<&Version> = catalogue.releases.iter().map(|facts| &facts.version).collect();
    let pairs = versions.iter().flat_map(|from| versions.iter().map(|to| ((*from).clone(), (*to).clone())));
    pairs.filter(|(from, to)| to > from).collect()
}

#[test]
fn what_a_verdict_refuses_it_never_chooses_and_downtime_is_never_refused() {
    let catalogue = shipped().unwrap();
    for (from, to) in upward(&catalogue) {
        for fleet in [THREE, THREE_REDIS, ONE, ONE_SQLITE] {
            let verdict = fleet.ask(&catalogue, &from, &to);
            let refused = !refusals(&verdict).is_empty();
            assert_eq!(verdict.downtime_required(), refused, "{from} to {to}");
            let auto = choose(StrategyAsk::Auto, std::slice::from_ref(&verdict));
            assert_eq!(auto == Strategy::Rolling, !refused, "{from} to {to}");
            assert_eq!(choose(StrategyAsk::Downtime, std::slice::from_ref(&verdict)), Strategy::Downtime);
            if verdict.standing() == Standing::Blocked {
                assert!(refused, "{from} to {to}: what is blocked does not roll");
            }
        }
    }
}

#[test]
fn of_mixed_versions_every_one_must_be_able_to_roll() {
    let catalogue = shipped().unwrap();
    let to = version((1, 7, 3));
    let rolls = THREE.ask(&catalogue, &version((1, 4, 6)), &to);
    let not = THREE.ask(&catalogue, &version((1, 4, 5)), &to);
    assert_eq!(choose(StrategyAsk::Auto, std::slice::from_ref(&rolls)), Strategy::Rolling);
    assert_eq!(choose(StrategyAsk::Auto, &[rolls, not]), Strategy::Downtime);
    assert_eq!(choose(StrategyAsk::Auto, &[]), Strategy::Downtime, "who knows nothing does not roll");
}

/// Each pair of the issue, in the words of an operator.
#[test]
fn the_paths_that_are_spoken_of_most() {
    let catalogue = shipped().unwrap();
    let three = |from, to| THREE.ask(&catalogue, &version(from), &version(to));
    assert_eq!(three((1, 4, 0), (1, 4, 6)).rolling, Rolling::AsItIs);
    assert_eq!(three((1, 4, 6), (1, 7, 3)).rolling, Rolling::MigrateFirst(vec![7, 8, 9, 10]));
    let same_minor = three((1, 3, 1), (1, 3, 3));
    assert_eq!(refusals(&same_minor), [Refusal::Harm(SideBySideResult::OldDead)]);
    assert_eq!(same_minor.standing(), Standing::Fine, "with downtime");
    let loses = three((1, 4, 6), (1, 9, 6));
    assert_eq!(refusals(&loses).first(), Some(&Refusal::Harm(SideBySideResult::OldLosesWrites)));
    assert_eq!(loses.standing(), Standing::Fine, "with downtime");
    assert_eq!(refusals(&three((1, 3, 1), (1, 4, 6))).first(), Some(&Refusal::ManualDemandsDowntime));
    assert_eq!(refusals(&ONE.ask(&catalogue, &version((1, 4, 0)), &version((1, 4, 6)))), [Refusal::OneInstance]);
}

#[test]
fn what_this_storage_records_decides_not_the_number_of_the_version() {
    let catalogue = shipped().unwrap();
    let (from, to) = (version((1, 7, 0)), version((1, 7, 4)));
    let recorded = |highest: u32| Migrations(Some((0..=highest).collect()));
    assert_eq!(THREE.with(&catalogue, &from, &to, &[recorded(10), recorded(10)]).rolling, Rolling::AsItIs);
    let behind = THREE.with(&catalogue, &from, &to, &[recorded(10), recorded(6)]);
    assert_eq!(refusals(&behind), [Refusal::Unmeasured], "one ledger lacks 7 to 10");
    assert_eq!(behind.stored.lacking, Some(vec![7, 8, 9, 10]));
    assert_eq!(behind.standing(), Standing::Fine, "with downtime");
    // Measured to work, and one ledger is at the target already.
    let (from, to) = (version((1, 4, 6)), version((1, 7, 3)));
    let half = THREE.with(&catalogue, &from, &to, &[recorded(6), recorded(10)]);
    assert_eq!(half.rolling, Rolling::MigrateFirst(vec![7, 8, 9, 10]));
    assert_eq!(THREE.with(&catalogue, &from, &to, &[recorded(10)]).rolling, Rolling::AsItIs);
    // The storage has all of it, but ledgers that are made meanwhile would not.
    let (from, to) = (version((1, 7, 4)), version((1, 7, 5)));
    let mut all = THREE.with(&catalogue, &from, &to, &[recorded(11)]);
    assert_eq!(refusals(&all), [Refusal::Unmeasured]);
    all = THREE.with(&catalogue, &from, &to, &[]);
    assert_eq!(refusals(&all), [Refusal::Unmeasured], "it holds no ledger yet");
}

#[test]
fn a_number_that_means_another_migration_is_not_recorded() {
    let catalogue = shipped().unwrap();
    let verdict = ONE.ask(&catalogue, &version((1, 7, 8)), &version((1, 8, 2)));
    assert_eq!(verdict.stored.lacking, Some((11..=17).collect()));
    assert_eq!(verdict.standing(), Standing::NeedsApproval, "with downtime, on PostgreSQL: rows are there twice");
}

#[test]
fn a_storage_that_a_later_release_has_migrated_is_told_and_blocks_where_the_target_would_harm_it() {
    let catalogue = shipped().unwrap();
    let recorded = |highest: u32| [Migrations(Some((0..=highest).collect()))];
    // 1.7.3 on the tables of 1.8.1: it would lose what clients write.
    let harm = ONE.with(&catalogue, &version((1, 4, 6)), &version((1, 7, 3)), &recorded(17));
    assert_eq!(blocks(&harm), [Obstacle::StorageNewer]);
    assert!(harm.blocks[0].evidence.contains("reach nothing but `log`"), "{}", harm.blocks[0].evidence);
    // 1.4.6 on those of 1.5.0, or of 1.3.3 before it: known to work.
    let works = ONE.with(&catalogue, &version((1, 4, 0)), &version((1, 4, 6)), &recorded(7));
    assert_eq!((blocks(&works), approvals(&works)), (vec![], vec![Obstacle::StorageNewer]));
    // A target that knows fewer than the present release is no such thing.
    let fewer = ONE.with(&catalogue, &version((1, 9, 6)), &version((1, 10, 0)), &recorded(20));
    assert_eq!((blocks(&fewer), approvals(&fewer)), (vec![], vec![Obstacle::NotNamed]));
    assert_eq!(fewer.stored.beyond_target, Some(20));
}

#[test]
fn a_release_that_nobody_knows_needs_approval_and_so_does_a_companys_word_for_it() {
    let catalogue = shipped().unwrap();
    let (known, unknown) = (version((1, 4, 6)), version((1, 4, 99)));
    let target = THREE.ask(&catalogue, &known, &unknown);
    assert_eq!((blocks(&target), approvals(&target)), (vec![], vec![Obstacle::UnknownRelease]));
    assert_eq!(target.migrates, Migrates::Unknown);
    assert!(refusals(&target).contains(&Refusal::Unmeasured));
    let present = THREE.ask(&catalogue, &version((1, 3, 77)), &known);
    assert_eq!((blocks(&present), approvals(&present)), (vec![], vec![Obstacle::UnknownRelease]));
    let ours =
        "[[release]]\nversion = \"1.4.99\"\ndate = \"2026-01-01\"\nstorage_commands = true\npostgres = 6\nsqlite = 1\n";
    let ours = catalogue.with_company(ours, "ours.toml").unwrap();
    let told = THREE.ask(&ours, &known, &unknown);
    assert_eq!((blocks(&told), approvals(&told)), (vec![], vec![Obstacle::UnknownRelease]));
    assert_eq!(told.approvals[0].source.to_string(), "company file");
    assert_eq!(told.rolling, Rolling::AsItIs);
}

#[test]
fn a_companys_measurement_allows_what_was_unmeasured_and_never_lifts_what_is_known_to_harm() {
    let ours = "[[side_by_side]]\nold = \"1.4.5\"\nnew = \"1.7.3\"\nresult = \"works\"\n\
                [[side_by_side]]\nold = \"1.3.1\"\nnew = \"1.3.3\"\nresult = \"works\"\n";
    let (shipped, ours) = (shipped().unwrap(), shipped().unwrap().with_company(ours, "ours.toml").unwrap());
    let (from, to) = (version((1, 4, 5)), version((1, 7, 3)));
    assert_eq!(refusals(&THREE.ask(&shipped, &from, &to)), [Refusal::Unmeasured]);
    let allowed = THREE.ask(&ours, &from, &to);
    assert_eq!(allowed.rolling, Rolling::MigrateFirst(vec![7, 8, 9, 10]));
    assert!(allowed.words.measured[0].contains("company file"), "{:?}", allowed.words);
    let still = THREE.ask(&ours, &version((1, 3, 1)), &version((1, 3, 3)));
    assert_eq!(refusals(&still), [Refusal::Harm(SideBySideResult::OldDead)]);
}

#[test]
fn all_three_words_are_shown_each_with_its_source() {
    let catalogue = shipped().unwrap();
    let words = THREE.ask(&catalogue, &version((1, 4, 6)), &version((1, 9, 6))).words;
    assert_eq!(words.manual, ["1.9.x from 1.4.0 on: without downtime (manual, later edition)"]);
    assert!(words.measured[0].starts_with("1.4.6 beside 1.9.6 was tried: the old one answers 200"), "{words:?}");
    assert!(words.measured.iter().all(|line| line.ends_with("(measured)")), "{words:?}");
    assert_eq!(words.storage, ["1 ledger(s) record migrations 0 to 6", "1.9.6 knows 0 to 20: 7 to 20 to migrate"]);
}
