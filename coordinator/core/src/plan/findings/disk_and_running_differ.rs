//! The binary on disk is not the one that runs: a restart would change the version, and going back would start a third.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    case.instances()
        .filter_map(|(_, survey)| {
            let found = survey.inspection.as_ref().ok()?;
            let running = found.running.as_ref()?;
            let on_disk = match &found.on_disk {
                Some(on_disk) => format!("its binary on disk is {on_disk}"),
                // Where there is none at all, another rule says so.
                None => "its binary on disk does not say which version it is; a script is never asked, as it may start the ledger"
                    .to_owned(),
            };
            (found.on_disk.as_ref() != Some(running) && found.binary.is_some()).then(|| {
                finding(
                    "disk-and-running-differ",
                    Level::Block,
                    FindingSubject::Instance(survey.instance.clone()),
                    Source::ThisHost,
                    format!("it runs {running}, but {on_disk}"),
                    "put the binary of the version that runs back in its place, or restart the instance on purpose",
                )
            })
        })
        .collect()
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "disk-and-running-differ",
    title: "the binary on disk is not the one that runs",
    levels: &[Level::Block],
    sources: &[Source::ThisHost],
    means: "A restart would change the version without anybody asking for it, and going back would start a third one. A binary that \
         tells no version is broken, or another machine's: neither an upgrade nor a way back would bring the instance up.",
    found: "The agent asks the running service for its version, and the binary that its unit names with `version`. \
         A script is not asked, since it may start the ledger: let the unit start the binary itself.",
    remedy: "Put the binary of the version that runs back in its place; or restart the instance on purpose, with the care \
         that a change of version needs.",
}];
