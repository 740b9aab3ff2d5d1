//! What the manual's table says of a path.

use super::{Catalogue, PathRow};
use cutover_vocabulary::Version;

/// What the manual's table says of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathVerdict {
    /// It names the path; this row holds. Where several do, the one with the highest minimum.
    Named(PathRow),
    /// It does not name it.
    NotNamed {
        /// Targets on the way that the table does name from here, nearest to the goal first.
        stops: Vec<Version>,
    },
}

impl Catalogue {
    /// The manual's word on a path.
    pub fn path(&self, from: &Version, to: &Version) -> PathVerdict {
        if let Some(row) = self.row(from, to) {
            return PathVerdict::Named(row.clone());
        }
        let on_the_way = self.releases.iter().map(|facts| &facts.version).filter(|stop| *stop > from && *stop < to);
        let safe = on_the_way.filter(|stop| self.row(from, stop).is_some() && self.bad_release(stop).is_none());
        let mut stops: Vec<Version> = safe.cloned().collect();
        stops.sort();
        stops.reverse();
        stops.truncate(3);
        PathVerdict::NotNamed { stops }
    }

    fn row(&self, from: &Version, to: &Version) -> Option<&PathRow> {
        let applies = |row: &&PathRow| row.to.matches(to.semver()) && *from >= row.from;
        self.paths.iter().filter(applies).max_by(|a, b| a.from.cmp(&b.from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_with_the_highest_minimum_holds() {
        let catalogue = crate::catalogue::shipped().unwrap();
        let downtime = |from, to| match catalogue.path(&from, &to) {
            PathVerdict::Named(row) => Some(row.downtime),
            PathVerdict::NotNamed { .. } => None,
        };
        assert_eq!(downtime(Version::new(1, 3, 1), Version::new(1, 4, 6)), Some(true));
        assert_eq!(downtime(Version::new(1, 4, 0), Version::new(1, 4, 6)), Some(false));
        assert_eq!(downtime(Version::new(1, 4, 6), Version::new(1, 8, 1)), Some(true));
        assert_eq!(downtime(Version::new(1, 3, 1), Version::new(1, 9, 6)), None);
        assert_eq!(downtime(Version::new(1, 9, 6), Version::new(1, 12, 0)), None);
    }

    #[test]
    fn a_path_that_is_not_named_names_its_stops() {
        let catalogue = crate::catalogue::shipped().unwrap();
        let PathVerdict::NotNamed { stops } = catalogue.path(&Version::new(1, 3, 1), &Version::new(1, 9, 6)) else {
            panic!("the table does not name it")
        };
        assert_eq!(stops.first(), Some(&Version::new(1, 8, 3)));
    }
}
