//! Which stages an upgrade has. The only file that knows strategies.

use cutover_vocabulary::Phase;
use cutover_vocabulary::phase::{Border, Stage};

/// What a way forward depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// All down, migrate, all up.
    Downtime,
    /// One wave after the other.
    Rolling {
        /// How many waves.
        waves: u16,
        /// Whether the target has migrations that the storage lacks: then they are made first, explicitly.
        migrates: bool,
    },
    /// Instances that were away come to what the others run.
    Rejoin,
}

/// The way forward. With downtime, a fresh round of attestations stands before each stage that must not run beside a writer;
/// rolling, before a wave's instances start.
pub fn forward(way: Way) -> Vec<Stage> {
    match way {
        Way::Downtime => vec![
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
        Way::Rolling { waves, migrates } => {
            let mut stages = vec![Stage::of(Phase::Preflight), Stage::of(Phase::Stage), Stage::of(Phase::Rehearse)];
            if migrates {
                stages.extend([
                    Stage::of(Phase::Secure),
                    Stage::behind(Border::MigrateAuthorised, Phase::Migrate),
                    Stage::of(Phase::Prove),
                ]);
            }
            stages.extend((0..waves).flat_map(move_wave));
            stages
        }
        // The storage is what the target needs, and stays as it is.
        Way::Rejoin => {
            let beforehand = [Stage::of(Phase::Preflight), Stage::of(Phase::Stage)];
            beforehand.into_iter().chain(move_wave(0)).collect()
        }
    }
}

/// What of the way forward is done beforehand: while clients are served, and beside the storage.
pub fn rehearsal(way: Way) -> Vec<Stage> {
    let beforehand = forward(way).into_iter();
    beforehand.take_while(|stage| matches!(stage.phase, Phase::Preflight | Phase::Stage | Phase::Rehearse)).collect()
}

fn move_wave(wave: u16) -> [Stage; 8] {
    [
        Stage::of(Phase::Drain),
        Stage::of(Phase::ConfirmDrained),
        Stage::of(Phase::Switch),
        Stage::of(Phase::StartClosed),
        Stage::of(Phase::Verify),
        Stage::of(Phase::ConfirmDrained),
        Stage::behind(Border::OpenAuthorised, Phase::Open),
        Stage::of(Phase::Bake),
    ]
    .map(|stage| stage.of_wave(wave))
}

/// How far an upgrade has come, as far as the way back depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Whether the storage may have been changed.
    pub migrate_authorised: bool,
    /// Whether clients may write to the new version.
    pub open_authorised: bool,
    /// The last wave of which an instance may have been stopped; with downtime all are one wave.
    pub drained: Option<u16>,
}

/// The way back; `None` where none is without loss.
///
/// With downtime, before `MigrateAuthorised` no data was touched: let the instances in again. After it: make sure that nothing
/// runs, restore, switch back, let them in. After `OpenAuthorised` there is no way back. Rolling, the storage stays as it is, at
/// any time: only pairs of which the former version goes on with it may roll. The last wave goes back first, and one at a
/// time, so that the others serve.
///
/// From a rejoin nothing leads back to the former version: it is older than the storage. What was brought in is stopped, and stays
/// down behind its fence, as it was found.
pub fn way_back(way: Way, reached: Reached) -> Option<Vec<Stage>> {
    let Reached { migrate_authorised, open_authorised, drained } = reached;
    match (way, migrate_authorised, open_authorised, drained) {
        (Way::Rolling { .. }, _, _, drained) => {
            let waves = drained.into_iter().flat_map(|last| (0..=last).rev());
            Some(waves.flat_map(move_wave_back).collect())
        }
        (Way::Rejoin, _, _, None) => Some(vec![]),
        (Way::Rejoin, _, _, Some(wave)) => Some(vec![Stage::of(Phase::Drain).of_wave(wave)]),
        (Way::Downtime, _, true, _) => None,
        (Way::Downtime, false, false, None) => Some(vec![]),
        (Way::Downtime, false, false, Some(_)) => Some(vec![Stage::of(Phase::Reopen)]),
        (Way::Downtime, true, false, _) => Some(vec![
            Stage::of(Phase::Drain),
            Stage::of(Phase::ConfirmDrained),
            Stage::of(Phase::Restore),
            Stage::of(Phase::SwitchBack),
            Stage::of(Phase::ConfirmDrained),
            Stage::of(Phase::Reopen),
        ]),
    }
}

fn move_wave_back(wave: u16) -> [Stage; 4] {
    [Stage::of(Phase::Drain), Stage::of(Phase::SwitchBack), Stage::of(Phase::ConfirmDrained), Stage::of(Phase::Reopen)]
        .map(|stage| stage.of_wave(wave))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIGRATED: Reached = Reached { migrate_authorised: true, open_authorised: false, drained: Some(0) };

    /// Back up, migrate, restore and start each begin with a fresh round of attestations.
    #[test]
    fn every_stage_that_needs_a_quiet_storage_follows_a_round_of_attestations() {
        let back = way_back(Way::Downtime, MIGRATED).unwrap();
        for stages in [forward(Way::Downtime), back] {
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
    fn a_rehearsal_ends_before_anything_is_stopped_or_touched_however_the_instances_would_move() {
        for way in
            [Way::Downtime, Way::Rolling { waves: 2, migrates: false }, Way::Rolling { waves: 2, migrates: true }]
        {
            let phases: Vec<Phase> = rehearsal(way).iter().map(|stage| stage.phase).collect();
            assert_eq!(phases, [Phase::Preflight, Phase::Stage, Phase::Rehearse]);
        }
    }

    #[test]
    fn no_ledger_migrates_before_its_recovery_point_and_none_opens_before_its_proof() {
        let stages = forward(Way::Downtime);
        let at = |phase| stages.iter().position(|stage| stage.phase == phase).unwrap();
        assert!(at(Phase::Drain) < at(Phase::Secure) && at(Phase::Secure) < at(Phase::Migrate));
        assert!(at(Phase::Migrate) < at(Phase::Prove) && at(Phase::Prove) < at(Phase::Open));
        assert_eq!(stages[at(Phase::Migrate)].border, Some(Border::MigrateAuthorised));
        assert_eq!(stages[at(Phase::Open)].border, Some(Border::OpenAuthorised));
    }

    #[test]
    fn after_the_opening_there_is_no_way_back_with_downtime() {
        assert_eq!(way_back(Way::Downtime, Reached { open_authorised: true, ..MIGRATED }), None);
        let untouched = Reached { migrate_authorised: false, open_authorised: false, drained: None };
        assert_eq!(way_back(Way::Downtime, untouched), Some(vec![]));
    }

    #[test]
    fn a_rolling_upgrade_starts_nothing_of_a_wave_without_a_round_of_attestations() {
        let way = Way::Rolling { waves: 3, migrates: true };
        let back = way_back(way, Reached { open_authorised: true, drained: Some(1), ..MIGRATED }).unwrap();
        for stages in [forward(way), back.clone()] {
            for pair in stages.windows(2) {
                let starts = matches!(pair[1].phase, Phase::Open | Phase::Reopen);
                let attested = pair[0].phase == Phase::ConfirmDrained && pair[0].wave == pair[1].wave;
                assert!(!starts || attested, "{:?} before {:?}", pair[0], pair[1]);
            }
        }
        let waves: Vec<u16> = back.iter().filter_map(|stage| stage.wave).collect();
        assert_eq!(waves, [1, 1, 1, 1, 0, 0, 0, 0], "the last first, and none that was never touched");
    }

    #[test]
    fn a_rejoin_never_touches_the_storage_and_never_starts_a_former_version() {
        let wave_of_a_roll: Vec<Stage> = move_wave(0).to_vec();
        assert_eq!(forward(Way::Rejoin)[2..], wave_of_a_roll, "an instance is moved as in a roll");
        for open_authorised in [false, true] {
            for drained in [None, Some(0)] {
                let reached = Reached { migrate_authorised: false, open_authorised, drained };
                let back = way_back(Way::Rejoin, reached).expect("there is a way back at any time");
                for stage in forward(Way::Rejoin).into_iter().chain(back) {
                    let never = matches!(
                        stage.phase,
                        Phase::Rehearse
                            | Phase::Secure
                            | Phase::Migrate
                            | Phase::Prove
                            | Phase::Restore
                            | Phase::SwitchBack
                            | Phase::Reopen
                    );
                    assert!(!never && stage.border != Some(Border::MigrateAuthorised), "{stage:?}");
                }
            }
        }
    }

    #[test]
    fn a_rolling_upgrade_migrates_explicitly_and_before_any_instance_moves_or_not_at_all() {
        let stages = forward(Way::Rolling { waves: 2, migrates: true });
        let at = |phase| stages.iter().position(|stage| stage.phase == phase);
        assert!(at(Phase::Secure) < at(Phase::Migrate) && at(Phase::Prove) < at(Phase::Drain));
        let stages = forward(Way::Rolling { waves: 2, migrates: false });
        let touches = |stage: &Stage| matches!(stage.phase, Phase::Secure | Phase::Migrate | Phase::Restore);
        assert!(!stages.iter().any(touches));
    }
}
