//! Which migrations a ledger records after an upgrade, and what that upgrade loses.

use super::{Catalogue, ReleaseFacts};
use cutover_vocabulary::Version;
use cutover_vocabulary::storage::{Driver, LossClass, Migrations};
use std::collections::BTreeSet;

impl ReleaseFacts {
    /// The highest migration it knows for this kind of storage; it knows all from 0 up to it.
    pub fn highest_migration(&self, driver: Driver) -> Option<u32> {
        match driver {
            Driver::Sqlite => self.sqlite,
            Driver::Postgres => self.postgres,
        }
    }

    /// What a ledger records once this release has migrated it: what was there, joined with what the release knows.
    /// A release may know fewer migrations than a ledger has; it removes none.
    pub fn migrations_after(&self, driver: Driver, before: &Migrations) -> Migrations {
        let there = before.0.iter().flatten().copied();
        match self.highest_migration(driver) {
            Some(highest) => {
                Migrations(Some(there.chain(0..=highest).collect::<BTreeSet<u32>>().into_iter().collect()))
            }
            None => before.clone(),
        }
    }
}

impl Catalogue {
    /// The classes of rows that a migration of a ledger with the tables of 1.3.1 or earlier loses.
    pub fn losses_to(&self, target: &Version, driver: Driver) -> Vec<LossClass> {
        let applies = |loss: &&super::Loss| *target >= loss.to_from && loss.drivers.contains(&driver);
        self.losses.iter().filter(applies).filter_map(super::Loss::class).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_records_what_was_there_joined_with_what_the_target_knows() {
        let catalogue = crate::catalogue::shipped().unwrap();
        let after = |target, before: Option<Vec<u32>>| {
            let facts = catalogue.release(&target).unwrap();
            facts.migrations_after(Driver::Sqlite, &Migrations(before)).0
        };
        assert_eq!(after(Version::new(1, 4, 6), Some(vec![0])), Some(vec![0, 1]));
        assert_eq!(after(Version::new(1, 4, 6), None), Some(vec![0, 1]));
        // 1.10.0 knows 0 to 17, 1.9.6 knew 0 to 20: nothing is taken away.
        assert_eq!(after(Version::new(1, 10, 0), Some((0..=20).collect())), Some((0..=20).collect()));
        assert_eq!(after(Version::new(1, 2, 1), None), None);
    }
}
