//! Release notes: which apply, which do not and why, and who sees to them.

use super::*;
use cutover_core::catalogue::SeenTo;
use cutover_vocabulary::plan::PreparationState;

fn state(world: &World, id: &str) -> PreparationState {
    let plan = world.plan().unwrap();
    let found = plan.observed.preparations.iter().find(|preparation| preparation.id.0 == id);
    found.unwrap_or_else(|| panic!("no preparation {id}")).state.clone()
}

fn newer(world: World) -> World {
    world.with(|w| w.each_storage(|storage| storage.ledgers[0].legacy_layout = false))
}

#[test]
fn every_check_of_a_preparation_is_a_finding_that_a_rule_says() {
    let codes: BTreeSet<&str> = findings::codes().collect();
    let catalogue = catalogue::shipped().unwrap();
    for preparation in &catalogue.preparations {
        match &preparation.how {
            SeenTo::CheckedBy(checks) => {
                assert!(
                    !checks.is_empty() && checks.iter().all(|code| codes.contains(code.0.as_str())),
                    "{preparation:?}"
                );
            }
            SeenTo::Question(text) => assert!(text.ends_with('?'), "{preparation:?}"),
            SeenTo::ByCutover(text) => assert!(!text.is_empty(), "{preparation:?}"),
        }
    }
    let ids: BTreeSet<_> = catalogue.preparations.iter().map(|preparation| &preparation.id).collect();
    assert_eq!(ids.len(), catalogue.preparations.len(), "an answer names one preparation");
}

#[test]
fn a_preparation_applies_where_its_range_is_crossed_and_says_why_where_it_is_not() {
    let crossing = newer(World::healthy().from((1, 9, 6)).to((1, 10, 5)));
    assert!(matches!(state(&crossing, "log-on-stdout"), PreparationState::Asks { .. }));
    let plan = crossing.plan().unwrap();
    assert_eq!(plan.binding.questions.keys().map(|id| id.0.as_str()).collect::<Vec<_>>(), ["log-on-stdout"]);
    let why = |world: &World, id| match state(world, id) {
        PreparationState::DoesNotApply { why } => why,
        other @ (PreparationState::Done { .. } | PreparationState::Found { .. } | PreparationState::Asks { .. }) => {
            panic!("{id}: {other:?}")
        }
    };
    let within = newer(World::healthy().from((1, 10, 0)).to((1, 10, 5)));
    assert!(why(&within, "log-on-stdout").contains("nothing of that runs"));
    assert!(why(&World::healthy(), "log-on-stdout").contains("this one is 1.4.6"));
    assert!(why(&crossing, "pg-trgm").contains("about postgres, and this storage is sqlite"));
    assert!(World::healthy().plan().unwrap().binding.questions.is_empty(), "1.3.1 to 1.4.6 asks nothing");
}

#[test]
fn a_check_is_done_where_nothing_was_found_and_names_the_findings_where_something_was() {
    assert!(matches!(state(&World::healthy(), "unit-arguments"), PreparationState::Done { .. }));
    assert!(matches!(state(&World::healthy(), "backups-with-wal"), PreparationState::Done { .. }));
    let two = newer(World::two().from((1, 9, 6)).to((1, 12, 0)));
    let PreparationState::Found { codes } = state(&two, "redis-lock") else { panic!("two writers") };
    assert_eq!(codes.iter().map(|code| code.0.as_str()).collect::<Vec<_>>(), ["several-writers"]);
    let redis = two.with(|w| (0..2).for_each(|n| w.instance(n).lock = Some(LockStrategy::Redis)));
    assert!(matches!(state(&redis, "redis-lock"), PreparationState::Done { .. }));
}

#[test]
fn a_plan_shows_the_three_words_on_its_path() {
    let path = World::healthy().plan().unwrap().observed.path.unwrap();
    assert_eq!(path.manual, ["1.4.x from 1.0.0 on: with downtime (manual, first edition)"]);
    assert!(!path.measured.is_empty() && !path.storage.is_empty(), "{path:?}");
}
