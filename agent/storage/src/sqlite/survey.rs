//! A close look at every ledger for a plan, with the service running. Read only.

use super::backup::backup;
use super::inventory::{Inventory, LedgerFile, Problem, ProblemKind};
use super::open::Ledger;
use super::place::SqlitePlace;
use super::recovery::journal_mode;
use crate::StorageError;
use crate::digest::{self, consistency};
use crate::files;
use cutover_vocabulary::storage::{LISTED_ROWS, LedgerSurvey};
use std::path::Path;

impl SqlitePlace {
    /// What an inventory cannot tell without reading every row: losses, bad rows, inconsistencies. A ledger that turns out
    /// to be damaged while it is read becomes a problem instead.
    ///
    /// A ledger with a rollback journal (1.3.2 and later) is copied to `scratch` first and read there: a reader blocks its
    /// writers, and the service refuses writes after 5 s. With a write-ahead log readers block nobody. Killed half way it
    /// leaves a copy in `scratch`, which the next run overwrites.
    pub fn survey(
        &self,
        inventory: &Inventory,
        scratch: &Path,
    ) -> Result<(Vec<LedgerSurvey>, Vec<Problem>), StorageError> {
        self.refuse_inside(scratch)?;
        let mut surveys = Vec::new();
        let mut problems = Vec::new();
        for file in &inventory.ledgers {
            match close_look(file, scratch) {
                Ok(survey) => surveys.push(survey),
                Err(error @ StorageError::Corrupt { .. }) => problems.push(Problem {
                    file: file.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
                    kind: ProblemKind::Corrupt,
                    reason: error.to_string(),
                }),
                Err(error) => return Err(error),
            }
        }
        Ok((surveys, problems))
    }
}

fn close_look(file: &LedgerFile, scratch: &Path) -> Result<LedgerSurvey, StorageError> {
    let original = Ledger::open(&file.path, scratch)?;
    if journal_mode(&original.connection, &file.path)?.eq_ignore_ascii_case("wal") {
        return read(file, &original);
    }
    let copy = scratch.join("survey.copy");
    backup(original.connection, &file.path, &copy, scratch)?;
    let survey = Ledger::open(&copy, scratch).and_then(|ledger| read(file, &ledger));
    files::remove_database(&copy)?;
    survey
}

fn read(file: &LedgerFile, ledger: &Ledger) -> Result<LedgerSurvey, StorageError> {
    let reading = digest::read(ledger, &mut |_| Ok(()))?;
    let check = consistency::check(ledger, LISTED_ROWS)?;
    Ok(LedgerSurvey {
        name: file.name.clone(),
        migrations: ledger.migrations()?,
        legacy_layout: ledger.layout().is_legacy(),
        transactions: ledger.count()?,
        bytes: files::bytes(&file.path),
        losses: reading.losses,
        bad_rows: ledger.bad_rows(LISTED_ROWS)?,
        inconsistencies: check.listed.iter().map(ToString::to_string).collect(),
        dependents: Vec::new(),
        damage: check.damage,
    })
}
