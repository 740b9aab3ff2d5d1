//! Reading the catalogue's file, and a company's own beside it. Every key is known; an unknown one is an error that names it.

use super::data::{
    Accelerator, BadRelease, BrokenUpgrade, Catalogue, DependentFate, LaneCollision, Loss, PathRow, Preparation,
    ReleaseFacts, SideBySide, SideBySideRule, SingleWriter, UnnamedPath,
};
use super::origin::Origin;
use serde::Deserialize;

/// Why a catalogue cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// It is not a catalogue; the text names the place and the key.
    #[error("the catalogue of releases cannot be read from {file}: {what}")]
    Unreadable {
        /// Which file.
        file: String,
        /// What is wrong, with line, column and key.
        what: String,
    },
    /// A company's file says what it must not say.
    #[error("{file}: {place}: {why}")]
    NotACompanys {
        /// Which file.
        file: String,
        /// Which table, counted from 1, and which key.
        place: String,
        /// Why, and what to do.
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    release: Vec<ReleaseFacts>,
    #[serde(default)]
    path: Vec<PathRow>,
    #[serde(default)]
    unnamed_path: Vec<UnnamedPath>,
    #[serde(default)]
    side_by_side: Vec<SideBySide>,
    #[serde(default)]
    side_by_side_rule: Vec<SideBySideRule>,
    #[serde(default)]
    broken_upgrade: Vec<BrokenUpgrade>,
    #[serde(default)]
    bad_release: Vec<BadRelease>,
    #[serde(default)]
    single_writer: Vec<SingleWriter>,
    #[serde(default)]
    lane_collision: Vec<LaneCollision>,
    #[serde(default)]
    loss: Vec<Loss>,
    #[serde(default)]
    dependent: Vec<DependentFate>,
    #[serde(default)]
    accelerator: Vec<Accelerator>,
    #[serde(default)]
    preparation: Vec<Preparation>,
}

impl Catalogue {
    /// Parses a catalogue; `name` is only named in errors.
    ///
    /// # Errors
    /// [`CatalogueError::Unreadable`].
    pub fn parse(text: &str, name: &str) -> Result<Self, CatalogueError> {
        let file: File = toml::from_str(text)
            .map_err(|error| CatalogueError::Unreadable { file: name.to_owned(), what: error.to_string() })?;
        Ok(Self {
            releases: file.release,
            paths: file.path,
            unnamed_paths: file.unnamed_path,
            side_by_side: file.side_by_side,
            side_by_side_rules: file.side_by_side_rule,
            broken_upgrades: file.broken_upgrade,
            bad_releases: file.bad_release,
            single_writers: file.single_writer,
            lane_collisions: file.lane_collision,
            losses: file.loss,
            dependents: file.dependent,
            accelerators: file.accelerator,
            preparations: file.preparation,
        })
    }

    /// Adds what a company knows. It adds and takes nothing away: where its word and another differ, the strictest holds, and a
    /// release that is listed already is refused.
    ///
    /// # Errors
    /// [`CatalogueError`], with file, place and key.
    pub fn with_company(mut self, text: &str, name: &str) -> Result<Self, CatalogueError> {
        let theirs = Self::parse(text, name)?;
        let refuse =
            |place: String, why: String| Err(CatalogueError::NotACompanys { file: name.to_owned(), place, why });
        for (table, sources) in theirs.sources() {
            if let Some(at) = sources.iter().position(|source| *source != Origin::Company) {
                let why = "leave the key away: everything here is named with the source \"company file\"".to_owned();
                return refuse(format!("{table} number {}: source", at + 1), why);
            }
        }
        if !theirs.unnamed_paths.is_empty() {
            let why = "what may be approved without the manual is no company's to say; name the path with [[path]]"
                .to_owned();
            return refuse("[[unnamed_path]]".to_owned(), why);
        }
        for (at, facts) in theirs.releases.iter().enumerate() {
            if let Some(known) = self.release(&facts.version) {
                let why = format!(
                    "{} is in the catalogue already ({}); a company's file adds releases, it does not change them",
                    facts.version, known.source
                );
                return refuse(format!("[[release]] number {}: version", at + 1), why);
            }
        }
        for (at, preparation) in theirs.preparations.iter().enumerate() {
            if self.preparations.iter().chain(&theirs.preparations[..at]).any(|known| known.id == preparation.id) {
                let why = format!("{} is there already; an answer names one preparation", preparation.id);
                return refuse(format!("[[preparation]] number {}: id", at + 1), why);
            }
        }
        let Self {
            releases,
            paths,
            unnamed_paths: _,
            side_by_side,
            side_by_side_rules,
            broken_upgrades,
            bad_releases,
            single_writers,
            lane_collisions,
            losses,
            dependents,
            accelerators,
            preparations,
        } = theirs;
        self.releases.extend(releases);
        self.paths.extend(paths);
        self.side_by_side.extend(side_by_side);
        self.side_by_side_rules.extend(side_by_side_rules);
        self.broken_upgrades.extend(broken_upgrades);
        self.bad_releases.extend(bad_releases);
        self.single_writers.extend(single_writers);
        self.lane_collisions.extend(lane_collisions);
        self.losses.extend(losses);
        self.dependents.extend(dependents);
        self.accelerators.extend(accelerators);
        self.preparations.extend(preparations);
        Ok(self)
    }

    /// The source of every entry, table by table. Exhaustive by destructuring: a new table must have sources.
    fn sources(&self) -> Vec<(&'static str, Vec<Origin>)> {
        let Self {
            releases,
            paths,
            unnamed_paths,
            side_by_side,
            side_by_side_rules,
            broken_upgrades,
            bad_releases,
            single_writers,
            lane_collisions,
            losses,
            dependents,
            accelerators,
            preparations,
        } = self;
        vec![
            ("[[release]]", releases.iter().map(|entry| entry.source).collect()),
            ("[[path]]", paths.iter().map(|entry| entry.source).collect()),
            ("[[unnamed_path]]", unnamed_paths.iter().map(|entry| entry.source).collect()),
            ("[[side_by_side]]", side_by_side.iter().map(|entry| entry.source).collect()),
            ("[[side_by_side_rule]]", side_by_side_rules.iter().map(|entry| entry.source).collect()),
            ("[[broken_upgrade]]", broken_upgrades.iter().map(|entry| entry.source).collect()),
            ("[[bad_release]]", bad_releases.iter().map(|entry| entry.source).collect()),
            ("[[single_writer]]", single_writers.iter().map(|entry| entry.source).collect()),
            ("[[lane_collision]]", lane_collisions.iter().map(|entry| entry.source).collect()),
            ("[[loss]]", losses.iter().map(|entry| entry.source).collect()),
            ("[[dependent]]", dependents.iter().map(|entry| entry.source).collect()),
            ("[[accelerator]]", accelerators.iter().map(|entry| entry.source).collect()),
            ("[[preparation]]", preparations.iter().map(|entry| entry.source).collect()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cutover_vocabulary::Version;

    fn with(text: &str) -> Result<Catalogue, String> {
        crate::catalogue::shipped().unwrap().with_company(text, "/etc/cutover/ours.toml").map_err(|e| e.to_string())
    }

    #[test]
    fn the_shipped_catalogue_is_complete_and_every_entry_says_where_it_comes_from() {
        let catalogue = crate::catalogue::shipped().unwrap();
        assert_eq!(catalogue.releases.len(), 64);
        assert_eq!(catalogue.paths.len(), 17);
        assert_eq!(catalogue.side_by_side.len(), 40);
        assert_eq!(catalogue.side_by_side_rules.len(), 7);
        assert_eq!(catalogue.losses.iter().filter_map(Loss::class).count(), 2);
        assert_eq!(catalogue.dependents.len(), 4);
        for (table, sources) in catalogue.sources() {
            assert!(!sources.is_empty(), "{table} is empty");
            assert!(!sources.contains(&Origin::Company), "an entry of {table} has no source");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file_and_place() {
        let error = with("[[release]]\nversion = \"1.13.0\"\ndate = \"\"\nstorage_comands = true").unwrap_err();
        for part in ["/etc/cutover/ours.toml", "storage_comands", "line 4"] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }

    #[test]
    fn what_a_company_adds_is_there_and_named_as_a_companys() {
        let ours = with(
            "[[release]]\nversion = \"1.12.1\"\ndate = \"2026-01-01\"\nstorage_commands = true\npostgres = 21\nsqlite = 21\n\
             [[bad_release]]\nversions = \"=1.12.0\"\nreason = \"our auditors say so\"",
        )
        .unwrap();
        assert_eq!(ours.releases.len(), 65);
        assert_eq!(ours.release(&Version::new(1, 12, 1)).unwrap().source, Origin::Company);
        let bad = ours.bad_release(&Version::new(1, 12, 0)).unwrap();
        assert_eq!((bad.source, bad.source.source().to_string()), (Origin::Company, "company file".to_owned()));
    }

    #[test]
    fn the_file_that_the_documentation_shows_can_be_used() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/catalogue.md");
        let page = std::fs::read_to_string(page).unwrap();
        let shown = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let ours = with(shown).unwrap();
        assert_eq!(ours.preparations.iter().filter(|it| it.source == Origin::Company).count(), 1);
    }

    #[test]
    fn a_company_changes_no_release_states_no_source_and_lifts_no_block() {
        for (text, place, why) in [
            (
                "[[release]]\nversion = \"1.4.6\"\ndate = \"\"\nstorage_commands = true",
                "[[release]] number 1: version",
                "1.4.6 is in the catalogue already",
            ),
            (
                "[[bad_release]]\nversions = \"=1.2.0\"\nreason = \"x\"\n[[bad_release]]\nversions = \"=1.2.1\"\nreason = \
                 \"x\"\nsource = \"measured\"",
                "[[bad_release]] number 2: source",
                "leave the key away",
            ),
            ("[[unnamed_path]]\nfrom = \"*\"", "[[unnamed_path]]", "name the path with [[path]]"),
            ("[[bad_release]]\nversions = \"=1.2.0\"\nreason = \"x\"\nsource = \"company\"", "line 4", "source"),
        ] {
            let error = with(text).unwrap_err();
            assert!(error.contains("/etc/cutover/ours.toml"), "{error}");
            assert!(error.contains(place) && error.contains(why), "{place}, {why}: {error}");
        }
    }
}
