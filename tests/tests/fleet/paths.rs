//! Every row of both editions of the manual's table, on PostgreSQL, from plan to end, with a client that writes. How it is moved
//! is what `cutover plan` chooses by itself. Where a row has several pairs that matter, each has a test.
//!
//! The row "1.1.x from 1.1.0" has no pair: there is one release of that series.

use cutover_proto::v1;
use cutover_tests::checks::check_facts;
use cutover_tests::clients::check_exactly_once;
use cutover_tests::fleet::{Fleet, LEDGERS, Plan};
use cutover_tests::until;
use cutover_vocabulary::plan::Strategy;
use cutover_vocabulary::plan::Strategy::{Downtime, Rolling};
use cutover_vocabulary::status::State;
use std::time::Duration;

fn goes(from: &'static str, to: &'static str, how: Strategy) {
    let limits = "drain_seconds = 10\nagent_lost_seconds = 60\nbake_seconds = 1".to_owned();
    let plan = Plan { from, to, strategy: v1::Strategy::Auto, instances: 2, limits, ..Plan::default() };
    let Some(fleet) = Fleet::new(plan) else { return };
    fleet.fault("NUMARY_SIM_NO_SLEEP=1");
    let writer = fleet.writer();
    let upgrade = fleet.begin();
    let status = fleet.until_state(&upgrade, State::Completed);
    assert_eq!(status.strategy, how);
    let before = writer.acknowledged();
    until("clients are served", Duration::from_secs(30), || (writer.acknowledged() > before + 5).then_some(()));
    let told = writer.end();
    if how == Rolling {
        assert!(told.refused.is_empty() && told.unanswered.is_empty(), "{:?} {:?}", told.refused, told.unanswered);
    }
    fleet.until_serves(to);
    check_exactly_once(fleet.host(1).address, LEDGERS, &told);
    check_facts(&fleet.voice.facts(&upgrade).unwrap());
    super::check_tidy(&fleet);
}

/// Tests, each a path with its row.
macro_rules! rows {
    ($($test:ident: $from:literal => $to:literal, $how:expr;)*) => {
        $(
            #[test]
            fn $test() {
                goes($from, $to, $how);
            }
        )*
    };
}

rows! {
    to_1_1_from_1_0: "1.0.0" => "1.1.0", Downtime;
    to_1_2_from_1_0: "1.0.5" => "1.2.1", Downtime;
    to_1_2_from_1_2: "1.2.0" => "1.2.1", Rolling;
    to_1_3_from_1_0_without_storage_commands: "1.2.1" => "1.3.1", Downtime;
    to_1_3_from_1_0_with_storage_commands: "1.0.5" => "1.3.3", Downtime;
    to_1_3_from_1_3: "1.3.0" => "1.3.1", Rolling;
    to_1_4_from_1_0: "1.0.0" => "1.4.6", Downtime;
    to_1_4_from_1_4: "1.4.0" => "1.4.6", Rolling;
    to_1_5_from_1_0: "1.3.3" => "1.5.0", Downtime;
    to_1_5_from_1_4: "1.4.6" => "1.5.0", Rolling;
    to_1_6_from_1_0: "1.2.1" => "1.6.1", Downtime;
    to_1_6_from_1_4: "1.4.6" => "1.6.1", Rolling;
    to_1_7_from_1_0: "1.1.0" => "1.7.4", Downtime;
    to_1_7_from_1_4: "1.7.3" => "1.7.8", Rolling;
    to_1_8_from_1_0: "1.0.5" => "1.8.3", Downtime;
    to_1_8_from_1_4: "1.7.4" => "1.8.3", Downtime;
    to_1_9_from_1_4: "1.8.3" => "1.9.3", Rolling;
    to_a_release_that_nobody_knows: "1.4.6" => "1.5.90", Downtime;
}
