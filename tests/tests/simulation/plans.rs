//! The upgrades that are played.

use crate::hosts::Host;
use crate::support::{self, Seen};
use cutover_core::plan::{PlanAsk, StrategyAsk};
use cutover_vocabulary::AgentName;
use cutover_vocabulary::plan::{Limits, Plan};
use std::collections::BTreeMap;

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
    /// Two of four were off while the others were upgraded, and come to what those run.
    Rejoin,
}

impl PlanKind {
    pub const ALL: &[Self] = &[
        Self::Single,
        Self::Downtime,
        Self::Rolling,
        Self::RollingMigrating,
        Self::FirstStart,
        Self::UnknownTarget,
        Self::Rejoin,
    ];

    /// Who there is at the beginning: whoever takes part serves the former release, but what was off is down behind its fence, and
    /// the others serve the target.
    pub fn hosts(self, plan: &Plan) -> BTreeMap<AgentName, Host> {
        let away = self == Self::Rejoin;
        let members = plan.binding.members.iter().map(|(name, member)| {
            (member.agent.clone(), Host { running: !away, fenced: away, ..Host::new(name.as_str()) })
        });
        let beside = plan.binding.beside.iter();
        let beside = beside.map(|(name, agent)| (agent.clone(), Host { new_binary: true, ..Host::new(name.as_str()) }));
        members.chain(beside).collect()
    }

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
            Self::Rejoin => {
                let (instances, away) = (vec!["a", "b", "c", "e"], vec!["c", "e"]);
                Seen { instances, away, ..Seen::three_at(support::NEW, 6) }.rejoin()
            }
            Self::UnknownTarget => Seen::three_at((1, 4, 6), 6).plan_to((1, 4, 99), Some(true), support::ask()),
        }
    }
}
