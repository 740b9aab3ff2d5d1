//! What the manual's table says of a path.

use super::{Catalogue, Origin, PathRow, UnnamedPath};
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

impl PathRow {
    /// The targets as the manual writes them: `1.4.x`.
    pub fn series(&self) -> String {
        self.to.to_string().replace('*', "x")
    }
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

    /// The row that holds: of the manual's and of a company's the one with the highest minimum each, and of these the one that
    /// demands downtime.
    fn row(&self, from: &Version, to: &Version) -> Option<&PathRow> {
        let (mut manual, mut company): (Option<&PathRow>, Option<&PathRow>) = (None, None);
        for row in self.paths.iter().filter(|row| row.to.matches(to.semver()) && *from >= row.from) {
            let best = match row.source {
                Origin::Company => &mut company,
                Origin::ManualFirstEdition
                | Origin::ManualLaterEdition
                | Origin::ReleaseTag
                | Origin::Measured
                | Origin::Cutover => &mut manual,
            };
            // Of two with one minimum the one with downtime.
            if best.is_none_or(|best| (&row.from, row.downtime) > (&best.from, best.downtime)) {
                *best = Some(row);
            }
        }
        [manual, company].into_iter().flatten().max_by_key(|row| row.downtime)
    }

    /// The entry by which a person may approve a path that the table does not name; none where such paths are blocked.
    pub fn may_approve_unnamed(&self, from: &Version) -> Option<&UnnamedPath> {
        self.unnamed_paths.iter().find(|unnamed| unnamed.from.matches(from.semver()))
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
    fn a_companys_row_names_new_paths_and_lifts_no_downtime() {
        let ours = crate::catalogue::shipped().unwrap().with_company(
            "[[path]]\nto = \"1.10.x\"\nfrom = \"1.9.6\"\ndowntime = false\n[[path]]\nto = \"1.8.x\"\nfrom = \"1.8.0\"\ndowntime = false",
            "ours.toml",
        );
        let ours = ours.unwrap();
        let said = |from, to| match ours.path(&from, &to) {
            PathVerdict::Named(row) => Some((row.downtime, row.source)),
            PathVerdict::NotNamed { .. } => None,
        };
        assert_eq!(said(Version::new(1, 9, 6), Version::new(1, 10, 5)), Some((false, Origin::Company)));
        assert_eq!(said(Version::new(1, 8, 0), Version::new(1, 8, 3)), Some((true, Origin::ManualLaterEdition)));
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
