//! Which stages an upgrade has. The only file that knows strategies.

use cutover_vocabulary::Phase;
use cutover_vocabulary::phase::{Border, Stage};
use cutover_vocabulary::plan::Strategy;

/// The way forward. Before each stage that must not run beside a writer stands a fresh round of attestations.
/// Rolling is not built yet; a plan never has it, because `plan::make` refuses it with a finding.
pub fn forward(strategy: Strategy) -> Vec<Stage> {
    match strategy {
        Strategy::Downtime | Strategy::Rolling => vec![
            Stage::of(Phase::Preflight),
            Stage::of(Phase::Stage),
            Stage::of(Phase::Rehearse),
            Stage::of(Phase::Drain),
            Stage::of(Phase::ConfirmDrained),
            Stage::of(Phase::Secure),
            Stage::of(Phase::ConfirmDrained),
            Stage::behind(Border::MigrateAuthorised, Phase::Migrate),
            Stage::of(Phase::Prove),
            Stage::of(Phase::Switch),
            Stage::of(Phase::ConfirmDrained),
            Stage::of(Phase::StartClosed),
            Stage::of(Phase::Verify),
            Stage::of(Phase::ConfirmDrained),
            Stage::behind(Border::OpenAuthorised, Phase::Open),
        ],
    }
}

/// The way back, by what has been authorised and whether any instance may be down.
///
/// Before `MigrateAuthorised` no data was touched: let the instances in again. After it: make sure that nothing runs,
/// restore, switch back, let them in. After `OpenAuthorised` there is no way back without loss: `None`.
pub fn way_back(migrate_authorised: bool, open_authorised: bool, drain_begun: bool) -> Option<Vec<Stage>> {
    match (migrate_authorised, open_authorised, drain_begun) {
        (_, true, _) => None,
        (false, false, false) => Some(vec![]),
        (false, false, true) => Some(vec![Stage::of(Phase::Reopen)]),
        (true, false, _) => Some(vec![
            Stage::of(Phase::Drain),
            Stage::of(Phase::ConfirmDrained),
            Stage::of(Phase::Restore),
            Stage::of(Phase::SwitchBack),
            Stage::of(Phase::ConfirmDrained),
            Stage::of(Phase::Reopen),
        ]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Back up, migrate, restore and start each begin with a fresh round of attestations.
    #[test]
    fn every_stage_that_needs_a_quiet_storage_follows_a_round_of_attestations() {
        let back = way_back(true, false, true).unwrap();
        for stages in [forward(Strategy::Downtime), back] {
            for pair in stages.windows(2) {
                let needs = matches!(
                    pair[1].phase,
                    Phase::Secure | Phase::Migrate | Phase::Restore | Phase::StartClosed | Phase::Open | Phase::Reopen
                );
                assert!(!needs || pair[0].phase == Phase::ConfirmDrained, "{:?} before {:?}", pair[0], pair[1]);
            }
        }
    }

    #[test]
    fn no_ledger_migrates_before_its_recovery_point_and_none_opens_before_its_proof() {
        let stages = forward(Strategy::Downtime);
        let at = |phase| stages.iter().position(|stage| stage.phase == phase).unwrap();
        assert!(at(Phase::Drain) < at(Phase::Secure) && at(Phase::Secure) < at(Phase::Migrate));
        assert!(at(Phase::Migrate) < at(Phase::Prove) && at(Phase::Prove) < at(Phase::Open));
        assert_eq!(stages[at(Phase::Migrate)].border, Some(Border::MigrateAuthorised));
        assert_eq!(stages[at(Phase::Open)].border, Some(Border::OpenAuthorised));
    }

    #[test]
    fn after_the_opening_there_is_no_way_back() {
        assert_eq!(way_back(true, true, true), None);
        assert_eq!(way_back(false, false, false), Some(vec![]));
    }
}
