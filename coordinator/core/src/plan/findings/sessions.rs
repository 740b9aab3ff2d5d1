//! Sessions of other roles on the database. The upgrade holds at Confirm drained while one that may write is there, so the
//! plan says it before the downtime. One finding a level, because sessions come and go: a plan is not stale for it.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::storage::{SessionKind, StorageSession};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for storage in case.storages() {
        let (mut locking, mut writing) = (Vec::new(), Vec::new());
        for session in &storage.sessions {
            match session.kind {
                SessionKind::LockHolder => locking.push(session),
                SessionKind::Writer => writing.push(session),
                // Instances are there while a plan is made, and a reader without a lock is in nobody's way.
                SessionKind::Ledger | SessionKind::Reader => {}
            }
        }
        let about = |level, evidence: String, remedy| {
            finding("sessions-on-the-storage", level, FindingSubject::Storage, Source::ThisStorage, evidence, remedy)
        };
        if !locking.is_empty() {
            findings.push(about(
                Level::Block,
                format!("a migration would wait for {}", listed(&locking)),
                "end that transaction; a prepared one is in pg_prepared_xacts: COMMIT PREPARED or ROLLBACK PREPARED it",
            ));
        }
        if !writing.is_empty() {
            findings.push(about(
                Level::Approve,
                format!("others may write while the instances are down: {}", listed(&writing)),
                "end it, or declare it an exception in the agent's settings, before the downtime; the upgrade holds while it \
                 is there",
            ));
        }
    }
    findings
}

fn listed(sessions: &[&StorageSession]) -> String {
    super::listed(sessions.iter().map(ToString::to_string))
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[super::Page {
    code: "sessions-on-the-storage",
    title: "somebody else is on the database",
    levels: &[Level::Block, Level::Approve],
    sources: &[Source::ThisStorage],
    means: "A session that holds a lock on a ledger's table, and every prepared transaction, makes a migration wait: \
         that blocks. One whose role may write could write while the instances are down, and what it writes is in no \
         backup: the upgrade holds at Confirm drained while it is there, so it needs approval that it will be gone by \
         then. Readers without a lock are in nobody's way and are not listed.",
    found: "The agent looks at `pg_stat_activity`, `pg_locks` and `pg_prepared_xacts` with the ledger's role, and tells \
         sessions apart by role and by what that role may do. Sessions under the ledger's own role count as instances \
         here.",
    remedy: "End the session, or commit or roll back the prepared transaction. A monitor that never writes can be \
         declared in the agent's setting `database_exceptions`.",
}];
