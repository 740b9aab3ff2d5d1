//! An agent whose journal is gone comes back as another incarnation: it is given its orders again, and what runs or was done
//! is found, not done twice.

use crate::{check_completed, until_phase};
use cutover_core::upgrade::{Way, forward};
use cutover_tests::house::{House, Plan};
use cutover_vocabulary::status::State;
use std::collections::BTreeSet;

#[test]
fn an_agent_with_a_new_journal_goes_on_in_every_phase() {
    let phases: BTreeSet<_> = forward(Way::Downtime).iter().map(|stage| stage.phase).collect();
    for phase in phases {
        let mut house = House::new(Plan::default());
        let writer = house.writer();
        let upgrade = house.begin();
        until_phase(&house, &upgrade, phase);
        house.kill_agent();
        for entry in std::fs::read_dir(house.state()).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("journal.db") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        house.start_agent();
        let status = house.until_state(&upgrade, State::Completed);
        check_completed(&house, &upgrade, &status, &writer.end());
    }
}
