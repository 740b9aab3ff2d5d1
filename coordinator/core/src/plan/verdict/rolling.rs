//! Whether instances may be moved one after the other.

use super::{Migrates, Obstacle, Question, Reason, Refusal, Rolling, Stored};
use crate::catalogue::{Catalogue, PathVerdict};
use cutover_vocabulary::finding::Source;
use cutover_vocabulary::storage::Driver;

/// What a refusal offers instead.
const WITH_DOWNTIME: &str = "plan it with downtime: `--strategy downtime`";

pub(super) fn of(
    catalogue: &Catalogue,
    question: &Question<'_>,
    stored: &Stored,
    migrates: Migrates,
    blocks: &[Reason<Obstacle>],
) -> Rolling {
    let mut refusals: Vec<Reason<Refusal>> = Vec::new();
    let mut refuse = |why, source, evidence: String| {
        refusals.push(Reason { why, source, evidence, remedy: WITH_DOWNTIME.to_owned() });
    };
    let Question { from, to, .. } = *question;
    if let Some(block) = blocks.first() {
        refuse(Refusal::PathBlocked, block.source, format!("the path itself is blocked: {}", block.evidence));
    }
    match catalogue.path(from, to) {
        PathVerdict::Named(row) if row.downtime => {
            let evidence = format!(
                "the table of paths demands downtime for {} from {} on ({})",
                row.series(),
                row.from,
                row.source
            );
            refuse(Refusal::ManualDemandsDowntime, row.source.source(), evidence);
        }
        PathVerdict::Named(_) => {}
        PathVerdict::NotNamed { .. } => {
            let evidence = format!("the manual's table of paths does not name {from} to {to}, so all must be down");
            refuse(Refusal::NotNamed, Source::Manual, evidence);
        }
    }
    let beside = catalogue.beside(from, to, question.locks);
    for known in &beside {
        if let Some(harm) = known.result.harm() {
            let evidence = format!("{}: {harm} ({from} to {to}; {})", known.known, known.source);
            refuse(Refusal::Harm(known.result), known.source.source(), evidence);
        }
    }
    let lacking = stored.lacking.as_deref();
    let migrates_beside = stored.target_knows_more || lacking.is_none_or(|lacking| !lacking.is_empty());
    if migrates_beside && (beside.is_empty() || lacking.is_none()) {
        refuse(Refusal::Unmeasured, Source::Measured, unmeasured(question, lacking));
    }
    if lacking.is_some_and(|lacking| !lacking.is_empty()) && migrates == Migrates::FirstStart {
        let evidence = format!("{to} has migrations and no command that runs them before its first request");
        refuse(Refusal::NoCommands, Source::Measured, evidence);
    }
    match (question.driver, question.instances) {
        (Driver::Sqlite, _) => {
            let evidence = "SQLite is local to one instance: nothing can go on serving meanwhile".to_owned();
            refuse(Refusal::OneInstance, Source::Manual, evidence);
        }
        (Driver::Postgres, 0 | 1) => {
            let evidence = "a single node is upgraded as all instances down (strategy C of the manual)".to_owned();
            refuse(Refusal::OneInstance, Source::Manual, evidence);
        }
        (Driver::Postgres, 2..) => {}
    }
    match (refusals.is_empty(), lacking) {
        (false, _) | (true, None) => Rolling::Refused(refusals),
        (true, Some([])) => Rolling::AsItIs,
        (true, Some(lacking)) => Rolling::MigrateFirst(lacking.to_vec()),
    }
}

fn unmeasured(question: &Question<'_>, lacking: Option<&[u32]>) -> String {
    let Question { from, to, .. } = *question;
    match lacking {
        None => format!("nothing is known of the migrations of {to}, so nobody knows what {from} does beside it"),
        Some([]) => {
            format!(
                "{to} makes new ledgers with migrations that {from} lacks, and the two were never measured side by side"
            )
        }
        Some(lacking) => format!(
            "{to} has migrations that this storage lacks ({}), and {from} beside {to} was never measured: the old instances \
             may be dead from its first request on",
            super::words::numbers(lacking)
        ),
    }
}
