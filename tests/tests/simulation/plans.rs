//! The upgrades that are played.

use crate::support::{self, Seen};
use cutover_core::plan::{PlanAsk, StrategyAsk};
use cutover_vocabulary::plan::{Limits, Plan};

/// Which upgrade is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanKind {
    /// One instance on SQLite.
    Single,
    /// Three on PostgreSQL, with downtime.
    Downtime,
    /// Three that move one after the other; nothing is migrated.
    Rolling,
    /// Three that move one after the other, migrated beside them first.
    RollingMigrating,
    /// The target has no storage commands: its first start migrates.
    FirstStart,
    /// Nothing is known of the target.
    UnknownTarget,
}

impl PlanKind {
    pub const ALL: &[Self] =
        &[Self::Single, Self::Downtime, Self::Rolling, Self::RollingMigrating, Self::FirstStart, Self::UnknownTarget];

    pub fn plan(self) -> Plan {
        let rolling = PlanAsk { strategy: StrategyAsk::Rolling, limits: Limits::default(), ..support::ask() };
        match self {
            Self::Single => Seen::default().plan_without_blocks(),
            Self::Downtime => Seen::three().plan_without_blocks(),
            Self::Rolling => Seen::three_at((1, 4, 0), 6).plan_for(&rolling),
            Self::RollingMigrating => Seen::three_at((1, 4, 6), 6).plan_to((1, 7, 3), None, rolling),
            Self::FirstStart => {
                let ledgers = vec![("main", 0), ("shop", 0), ("vault", 0)];
                let seen = Seen { from: (1, 2, 1), ledgers, migrations: Vec::new(), ..Seen::three() };
                seen.plan_to((1, 3, 1), None, support::ask())
            }
            Self::UnknownTarget => Seen::three_at((1, 4, 6), 6).plan_to((1, 4, 99), Some(true), support::ask()),
        }
    }
}
