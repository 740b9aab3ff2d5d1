//! Targets without storage commands: the first requests to a closed instance of theirs migrate.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

mod support;

use cutover_vocabulary::fact::{Ending, Fact};
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::outcome::*;
use cutover_vocabulary::plan::Plan;
use cutover_vocabulary::*;
use support::*;

/// Three instances on one database, 1.2.1 to 1.3.1.
fn plan() -> Plan {
    let ledgers = vec![("main", 0), ("shop", 0), ("vault", 0)];
    let seen = Seen { from: (1, 2, 1), ledgers, migrations: Vec::new(), ..Seen::three() };
    seen.plan_to((1, 3, 1), None, ask())
}

fn is_migration(order: &Order) -> bool {
    matches!(order.work, Work::Migrate { .. })
}

#[test]
fn it_is_planned_with_downtime_nothing_is_registered_and_every_stage_stands_where_it_always_does() {
    let plan = plan();
    assert!(plan.findings(finding::Level::Block).next().is_none(), "{:#?}", plan.observed.findings);
    assert!(plan.binding.first_start && plan.binding.strategy == cutover_vocabulary::plan::Strategy::Downtime);
    let recorded: Vec<_> = plan.binding.ledgers.values().map(|migrations| migrations.0.clone()).collect();
    assert_eq!(recorded, vec![Some(vec![0]); 3], "what 1.3.1 records");
    let mut play = Play::start(plan);
    play.until_end();
    assert_eq!(play.upgrade.ending(), Some(Ending::Completed));
    let with_commands = {
        let mut play = Play::start(Seen::three().plan());
        play.until_end();
        play.entered()
    };
    assert_eq!(play.entered(), with_commands);
    assert!(!play.facts.iter().any(|recorded| {
        matches!(&recorded.fact, Fact::AttemptOpened { order } if matches!(order.work, Work::Register { .. }))
    }));
}

#[test]
fn one_ledger_migrates_at_a_time_whatever_the_limit_of_lanes() {
    let mut play = Play::start(plan());
    play.until_phase(Phase::Migrate);
    let (mut most, mut migrated) = (0, 0);
    while migrated < 3 {
        let open: Vec<Order> = play.orders().into_iter().map(|(order, _)| order).filter(is_migration).collect();
        most = most.max(open.len());
        let order = open.first().unwrap().clone();
        let evidence = play.evidence(&order);
        play.outcome(&order, Outcome::Done(evidence));
        migrated += 1;
    }
    assert_eq!(most, 1);
}

#[test]
fn a_binary_that_has_the_commands_after_all_or_lacks_them_holds_before_anything_is_stopped() {
    for (plan, has) in [(plan(), true), (Seen::three().plan(), false)] {
        let mut play = Play::start(plan);
        let order = play.until_phase(Phase::Stage);
        let Evidence::Staged(staged) = play.evidence(&order) else { panic!("{order:?}") };
        let other = release::StagedRelease { storage_commands: has, ..staged };
        play.outcome(&order, Outcome::Done(Evidence::Staged(other)));
        let HoldReason::PlanDrifted { changes } = play.hold().reason else { panic!("{:?}", play.hold()) };
        assert!(changes[0].contains("storage commands, against what the plan was made with"), "{changes:?}");
        assert!(!play.entered().contains(&Phase::Drain));
    }
}
