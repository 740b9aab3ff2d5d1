//! Real `kill -9` in every phase of the way back on SQLite. Every other way is fault tier (b)'s, `tests/tests/processes`.

use crate::{check_went_back, go_back_from_the_migration, until_phase};
use cutover_tests::house::{House, Plan};
use cutover_vocabulary::Phase;
use cutover_vocabulary::status::State;

#[test]
fn a_killed_agent_goes_on_in_every_phase_of_the_way_back() {
    for phase in [Phase::Restore, Phase::SwitchBack, Phase::Reopen] {
        let mut house = House::new(Plan::default());
        let writer = house.writer();
        let upgrade = go_back_from_the_migration(&house);
        assert!(until_phase(&house, &upgrade, phase));
        house.kill_agent();
        house.kill_coordinator();
        house.start_agent();
        house.start_coordinator();
        house.until_state(&upgrade, State::RolledBack);
        let told = writer.end();
        check_went_back(&house, &upgrade, &told);
    }
}
