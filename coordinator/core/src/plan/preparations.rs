//! Release notes as far as they are known: which apply to this upgrade, which do not and why, and who sees to them.

use super::case::Case;
use crate::catalogue::{self, SeenTo};
use cutover_vocabulary::finding::Finding;
use cutover_vocabulary::plan::{Preparation, PreparationId, PreparationState};
use std::collections::BTreeMap;

/// Every preparation of the catalogue with how it stands; the findings are those of the same case.
pub fn preparations(case: &Case<'_>, findings: &[Finding]) -> Vec<Preparation> {
    let state = |known: &catalogue::Preparation| match applies(case, known) {
        Err(why) => PreparationState::DoesNotApply { why },
        Ok(()) => match &known.how {
            SeenTo::Question(question) => PreparationState::Asks { question: question.clone() },
            SeenTo::ByCutover(how) => PreparationState::Done { how: format!("Cutover sees to it: {how}") },
            SeenTo::CheckedBy(codes) => {
                let found = codes.iter().filter(|code| findings.iter().any(|finding| finding.code == **code));
                let found: Vec<_> = found.cloned().collect();
                if found.is_empty() {
                    PreparationState::Done { how: "it was looked at, and nothing was found".to_owned() }
                } else {
                    PreparationState::Found { codes: found }
                }
            }
        },
    };
    let stands = |known: &catalogue::Preparation| Preparation {
        id: known.id.clone(),
        note: known.note.clone(),
        remedy: known.remedy.clone(),
        source: known.source.source(),
        state: state(known),
    };
    case.catalogue.preparations.iter().map(stands).collect()
}

/// What a person must answer.
pub(super) fn questions(preparations: &[Preparation]) -> BTreeMap<PreparationId, String> {
    let asked = |preparation: &Preparation| match &preparation.state {
        PreparationState::Asks { question } => Some((preparation.id.clone(), question.clone())),
        PreparationState::DoesNotApply { .. } | PreparationState::Done { .. } | PreparationState::Found { .. } => None,
    };
    preparations.iter().filter_map(asked).collect()
}

/// Whether a change lies between a version that runs and the target; if not, why.
fn applies(case: &Case<'_>, known: &catalogue::Preparation) -> Result<(), String> {
    let target = &case.ask.target;
    if let (Some(wanted), Some(driver)) = (known.driver, case.driver())
        && wanted != driver
    {
        return Err(format!("it is about {wanted}, and this storage is {driver}"));
    }
    if !known.to.matches(target.semver()) {
        return Err(format!("it is about targets {}, and this one is {target}", known.to));
    }
    if !case.running().iter().any(|from| known.from.matches(from.semver())) {
        return Err(format!("it is about upgrades from {}, and nothing of that runs", known.from));
    }
    Ok(())
}
