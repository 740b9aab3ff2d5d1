//! What is known of two versions side by side on one storage: measurements of the very pair, and the rules behind them.

use super::data::{SideBySideResult, Unless};
use super::{Catalogue, Origin};
use cutover_vocabulary::Version;

/// How the instances of a deployment keep out of each other's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locks {
    /// Every one of them says `lock-strategy: redis`.
    Redis,
    /// At least one says something else, or could not be asked.
    Other,
}

/// One thing that is known of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// What happens, with the locks that the question was asked for.
    pub result: SideBySideResult,
    /// How it is known, for people.
    pub known: String,
    /// Where it comes from.
    pub source: Origin,
}

impl Catalogue {
    /// Everything that is known of an old instance beside a new one; empty where nothing was measured and no rule covers it.
    pub fn beside(&self, old: &Version, new: &Version, locks: Locks) -> Vec<Beside> {
        let with = |result: SideBySideResult, unless: Option<Unless>| match (unless, locks) {
            (Some(Unless::RedisLock), Locks::Redis) => SideBySideResult::Works,
            (Some(Unless::RedisLock), Locks::Other) | (None, Locks::Redis | Locks::Other) => result,
        };
        let pairs = self.side_by_side.iter().filter(|pair| pair.old == *old && pair.new == *new).map(|pair| Beside {
            result: with(pair.result, pair.unless),
            known: format!("{old} beside {new} was tried"),
            source: pair.source,
        });
        let covers = |rule: &&super::data::SideBySideRule| {
            rule.old.matches(old.semver()) && rule.new.matches(new.semver()) && old <= new
        };
        let rules = self.side_by_side_rules.iter().filter(covers).map(|rule| Beside {
            result: with(rule.result, rule.unless),
            known: format!("any {} beside {}: {}", rule.old, rule.new, rule.because),
            source: rule.source,
        });
        pairs.chain(rules).collect()
    }

    /// The worst that is known of two versions side by side; none where nothing is.
    pub fn worst_beside(&self, old: &Version, new: &Version, locks: Locks) -> Option<Beside> {
        self.beside(old, new, locks).into_iter().max_by_key(|beside| beside.result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_measurement_and_a_rule_differ_the_strictest_holds() {
        let catalogue = crate::catalogue::shipped().unwrap();
        let (old, new) = (Version::new(1, 10, 0), Version::new(1, 10, 3));
        let all: Vec<_> = catalogue.beside(&old, &new, Locks::Other).iter().map(|beside| beside.result).collect();
        assert_eq!(all, [SideBySideResult::Works, SideBySideResult::AddressFiltersMissAccounts]);
        let worst = catalogue.worst_beside(&old, &new, Locks::Other).map(|beside| beside.result);
        assert_eq!(worst, Some(SideBySideResult::AddressFiltersMissAccounts));
    }

    #[test]
    fn a_redis_lock_helps_only_where_both_are_late_enough() {
        let catalogue = crate::catalogue::shipped().unwrap();
        let worst = |old: (u64, u64, u64), new: (u64, u64, u64), locks| {
            let version = |(a, b, c)| Version::new(a, b, c);
            catalogue.worst_beside(&version(old), &version(new), locks).map(|beside| beside.result)
        };
        assert_eq!(worst((1, 11, 2), (1, 12, 0), Locks::Other), Some(SideBySideResult::Conflict));
        assert_eq!(worst((1, 11, 2), (1, 12, 0), Locks::Redis), Some(SideBySideResult::Works));
        assert_eq!(worst((1, 10, 10), (1, 10, 11), Locks::Redis), Some(SideBySideResult::Conflict));
        assert_eq!(worst((1, 10, 8), (1, 10, 10), Locks::Redis), Some(SideBySideResult::Conflict));
    }
}
