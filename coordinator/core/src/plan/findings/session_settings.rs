//! What the role, the database or the server set for each session of the service: a time zone that a migration goes by, limits
//! of time that end long work. The commands that Cutover runs override both; whoever runs the ledger's commands by hand has
//! them.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::name::shown;
use cutover_vocabulary::storage::{Driver, SessionSetting};
use cutover_vocabulary::survey::StorageSurvey;

/// Names of PostgreSQL's for the zone in which nothing shifts.
const UTC: [&str; 12] = [
    "utc",
    "etc/utc",
    "uct",
    "etc/uct",
    "gmt",
    "etc/gmt",
    "gmt0",
    "etc/gmt0",
    "zulu",
    "etc/zulu",
    "universal",
    "etc/universal",
];

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for storage in case.storages() {
        let setting = |name: &str| storage.session_settings.iter().find(|setting| setting.name == name);
        if let Some(zone) = setting("TimeZone")
            && !UTC.contains(&zone.value.to_ascii_lowercase().as_str())
            && shifts(case, storage)
        {
            findings.push(finding(
                "session-time-zone",
                Level::Info,
                FindingSubject::Storage,
                Source::Measured,
                format!(
                    "the service's sessions run in time zone {} (set by: {}); the migration reads every transaction's time in its \
                     session's zone. Cutover's commands run in UTC, so nothing shifts",
                    shown(&zone.value),
                    shown(&zone.source)
                ),
                "let nobody run `storage upgrade`, or start the new release, by hand before the upgrade is complete",
            ));
        }
        // Set in every command's connection string to none, so they end nothing of ours.
        let ours = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
        let overridden: Vec<&SessionSetting> = ours.into_iter().filter_map(setting).collect();
        if !overridden.is_empty() {
            findings.push(finding(
                "session-limits",
                Level::Info,
                FindingSubject::Storage,
                Source::ThisStorage,
                format!("{}; the commands of Cutover run without these limits", listed(&overridden)),
                "nothing for this upgrade; the ledger's commands run by hand would end with `canceling statement`",
            ));
        }
        if let Some(limit) = setting("transaction_timeout") {
            findings.push(finding(
                "session-limits",
                Level::Approve,
                FindingSubject::Storage,
                Source::ThisStorage,
                format!("{}; a ledger migrates in one transaction, which the server would end there", listed(&[limit])),
                "take the limit from the ledger's role for the upgrade: ALTER ROLE … SET transaction_timeout = 0",
            ));
        }
    }
    findings
}

/// Whether some ledger's times would be read in the session's zone: the same migration that changes their column's type, which
/// the table of what stops on dependents names.
fn shifts(case: &Case<'_>, storage: &StorageSurvey) -> bool {
    let Some(highest) = case.target().and_then(|facts| facts.highest_migration(Driver::Postgres)) else { return false };
    let changes =
        case.catalogue.dependents.iter().filter(|fate| fate.on.iter().any(|on| on == "transactions.timestamp"));
    let mut missing = changes.map(|fate| fate.migration).filter(|number| *number <= highest);
    missing.any(|number| {
        let has = |ledger: &cutover_vocabulary::storage::LedgerSurvey| {
            ledger.migrations.0.as_ref().is_some_and(|numbers| numbers.contains(&number))
        };
        storage.ledgers.iter().any(|ledger| !has(ledger))
    })
}

fn listed(settings: &[&SessionSetting]) -> String {
    let one = |setting: &&SessionSetting| {
        format!("{} = {} (set by: {})", shown(&setting.name), shown(&setting.value), shown(&setting.source))
    };
    super::listed(settings.iter().map(one))
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[
    super::Page {
        code: "session-time-zone",
        title: "the service's sessions on the database do not run in UTC",
        levels: &[Level::Info],
        sources: &[Source::Measured],
        means: "The migration to 1.8 and later turns `transactions.timestamp` from a text into a moment, by the time zone of \
         its session: 15:01:33Z became 06:01:33Z on every row under `Asia/Tokyo`. The commands that Cutover runs have \
         `timezone=UTC` in their connection string, which was seen to prevent it, and the proof after the migration \
         compares every transaction's time. The service's own sessions keep the zone; they migrate nothing, because \
         everything is migrated before the first of them starts.",
        found: "The agent starts a `psql` the way the service connects, and asks for `TimeZone` and who set it: `user` and \
         `database` are `ALTER ROLE` and `ALTER DATABASE`, `configuration file` is the server's own, `client` the \
         connection string. It is said only where the target has that migration and a ledger lacks it.",
        remedy: "Nothing for this upgrade. See that nobody runs `storage upgrade` by hand, or starts an instance of the new \
         release, before the upgrade is complete. To be rid of it for good: `ALTER ROLE … SET timezone = 'UTC'`, or \
         `?timezone=UTC` on the service's connection string.",
    },
    super::Page {
        code: "session-limits",
        title: "limits of time on the service's sessions",
        levels: &[Level::Info, Level::Approve],
        sources: &[Source::ThisStorage],
        means: "A limit on statements, locks or idle transactions ends a long migration half way: with 200 ms on the role the \
         plain command failed. The commands of Cutover have no such limit in their connection string, which was seen \
         to help, so these are only good to know. `transaction_timeout` (PostgreSQL 17 and later) needs approval: a \
         ledger migrates in one transaction, older servers refuse to have that name set, and so the commands do not \
         override it.",
        found: "What a session of the role on this database begins with, and who set it, by `pg_settings` and \
         `pg_db_role_setting`.",
        remedy: "For `transaction_timeout`: `ALTER ROLE … SET transaction_timeout = 0` until the upgrade is complete. For the \
         others nothing; whoever runs the ledger's commands by hand adds `statement_timeout=0` to the connection \
         string.",
    },
];
