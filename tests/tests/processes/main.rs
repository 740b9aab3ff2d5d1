//! Fault tier (b): real programs on real storages. Each upgrade meets a fault at each of its phases and around each of its
//! borders; what, and whom, changes from place to place, until every kind has happened at every place. The places come from the
//! machine's own list, so a new phase is covered by itself; what was not met fails.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]
#![allow(clippy::disallowed_methods, reason = "the moment of a fault is compared with the facts' moments")]

mod fault;

use cutover_core::upgrade::{Reached, Way, forward, way_back};
use cutover_proto::v1::Strategy;
use cutover_tests::bed::Bed;
use cutover_tests::fleet::{self, Fleet};
use cutover_tests::house::{self, House, skipped};
use cutover_tests::tier::{self, Coverage, Direction, drive, lost};
use cutover_vocabulary::Phase;
use cutover_vocabulary::phase::Stage;
use cutover_vocabulary::status::State;
use fault::Fault;
use std::collections::BTreeSet;
use std::time::Instant;

/// How many upgrades of a configuration may be needed. About one a kind of fault is; more where one turns it back or comes too
/// late.
const UPGRADES: usize = 40;

/// What is upgraded, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Configuration {
    name: &'static str,
    from: &'static str,
    to: &'static str,
    sqlite: bool,
    way: Way,
    /// Whether its migration loses rows that are known beforehand.
    loses: bool,
    /// The stage in which a person asks for the way back.
    turn: Option<Stage>,
}

const WAVES: u16 = 3;
const ROLLING: Way = Way::Rolling { waves: WAVES, migrates: false };

const DOWNTIME: Configuration = Configuration {
    name: "A on PostgreSQL",
    from: "1.3.1",
    to: "1.4.6",
    sqlite: false,
    way: Way::Downtime,
    loses: true,
    turn: None,
};
const SINGLE: Configuration = Configuration { name: "C on SQLite", sqlite: true, ..DOWNTIME };
const FIRST_START: Configuration =
    Configuration { name: "C on SQLite, a first start", from: "1.2.1", to: "1.3.1", loses: false, ..SINGLE };
const ROLL: Configuration =
    Configuration { name: "B on PostgreSQL", from: "1.4.0", to: "1.4.6", way: ROLLING, loses: false, ..DOWNTIME };
const MIGRATING_ROLL: Configuration = Configuration {
    name: "B on PostgreSQL, migrated first",
    from: "1.4.6",
    to: "1.7.3",
    way: Way::Rolling { waves: WAVES, migrates: true },
    loses: false,
    ..DOWNTIME
};
const BACK: Configuration =
    Configuration { name: "A on PostgreSQL, the way back", turn: Some(Stage::of(Phase::Prove)), ..DOWNTIME };
const ROLL_BACK: Configuration =
    Configuration { name: "B on PostgreSQL, the way back", turn: Some(Stage::of(Phase::Bake).of_wave(1)), ..ROLL };

impl Configuration {
    /// The stages at which something is broken.
    fn stages(&self) -> Vec<Stage> {
        let Some(turn) = self.turn else { return forward(self.way) };
        let open_authorised = turn.wave.is_some();
        let reached = Reached { migrate_authorised: true, open_authorised, drained: Some(turn.wave.unwrap_or(0)) };
        way_back(self.way, reached).unwrap()
    }

    /// None, said loudly, where it cannot be had here.
    fn bed(&self) -> Option<Box<dyn Bed>> {
        let Self { from, to, .. } = *self;
        if self.sqlite {
            let limits = "lanes = 1\ndrain_seconds = 30\nagent_lost_seconds = 60".to_owned();
            return Some(Box::new(House::new(house::Plan {
                from,
                to,
                limits,
                breakable: true,
                ..house::Plan::default()
            })));
        }
        let limits = "drain_seconds = 30\nagent_lost_seconds = 60\nbake_seconds = 1".to_owned();
        let strategy = if self.way == Way::Downtime { Strategy::Auto } else { Strategy::Rolling };
        let plan = fleet::Plan { from, to, strategy, limits, lanes: 1, breakable: true, ..fleet::Plan::default() };
        Some(Box::new(Fleet::new(plan)?))
    }

    /// Upgrades until every kind of fault has happened at every place.
    fn is_covered(&self) {
        let began = Instant::now();
        let stages = self.stages();
        let direction = if self.turn.is_some() { Direction::Back } else { Direction::Forward };
        let way = tier::Way { stages: &stages, direction, turn: self.turn };
        let mut coverage: Option<Coverage<Fault>> = None;
        let mut upgrades = 0;
        while coverage.as_ref().is_none_or(|coverage| !coverage.missing().is_empty()) && upgrades < UPGRADES {
            let Some(mut bed) = self.bed() else { return };
            if bed.breakable().disks.is_empty() {
                skipped("full disks: a file system of a few megabytes cannot be mounted here; it takes root");
            }
            let coverage = coverage.get_or_insert_with(|| Coverage::of(&stages, &Fault::all(&*bed)));
            let writer = bed.writer();
            // One that went back can be begun again where it is.
            let completed = loop {
                let status = drive(&mut *bed, &way, coverage);
                upgrades += 1;
                let completed = status.state == State::Completed;
                if completed && self.loses {
                    assert_eq!(lost(&status), bed.lost().iter().cloned().collect(), "exactly the known rows are lost");
                }
                if completed || coverage.missing().is_empty() || upgrades >= UPGRADES {
                    break completed;
                }
            };
            bed.check_end(if completed { self.to } else { self.from }, writer);
        }
        let Some(coverage) = coverage else { return };
        println!("{}: {upgrades} upgrades, {:.0} s\n{coverage}", self.name, began.elapsed().as_secs_f64());
        tier::count("(b) processes", (1, "configurations"), upgrades as u64, coverage.points() as u64, began);
        let missing = coverage.missing();
        assert!(missing.is_empty(), "{}: never met in {upgrades} upgrades: {missing:?}", self.name);
    }
}

/// A test for each configuration, and one that counts them.
macro_rules! configurations {
    ($($test:ident: $configuration:ident;)*) => {
        $(
            #[test]
            fn $test() {
                $configuration.is_covered();
            }
        )*
        const CONFIGURATIONS: &[Configuration] = &[$($configuration,)*];
    };
}
configurations! {
    whatever_happens_to_a_single_node_on_sqlite_its_upgrade_ends_as_it_should: SINGLE;
    whatever_happens_to_a_single_node_whose_target_is_started_to_migrate_its_upgrade_ends_as_it_should: FIRST_START;
    whatever_happens_to_three_hosts_on_postgres_their_upgrade_with_downtime_ends_as_it_should: DOWNTIME;
    whatever_happens_to_three_hosts_on_postgres_their_way_back_with_downtime_ends_as_it_should: BACK;
    whatever_happens_to_three_hosts_on_postgres_their_roll_ends_as_it_should: ROLL;
    whatever_happens_to_three_hosts_on_postgres_their_roll_that_migrates_first_ends_as_it_should: MIGRATING_ROLL;
    whatever_happens_to_three_hosts_on_postgres_their_roll_back_ends_as_it_should: ROLL_BACK;
}

#[test]
fn every_phase_is_in_some_configuration() {
    let met: BTreeSet<Phase> = CONFIGURATIONS.iter().flat_map(|of| of.stages()).map(|stage| stage.phase).collect();
    let missing: Vec<&Phase> = Phase::ALL.iter().filter(|phase| !met.contains(phase)).collect();
    assert!(missing.is_empty(), "phases without a run: {missing:?}");
}
