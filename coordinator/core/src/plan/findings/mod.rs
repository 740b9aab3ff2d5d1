//! Findings, one file a rule. To add one: a file with `check` and `PAGES`, its lines in `RULES` and `PAGES`, its case in
//! `tests/findings.rs`; then write the pages of `docs/findings` anew (the failing test says how).

mod agent_not_seen;
mod arguments;
mod bad_release;
mod bad_rows;
mod broken_upgrade;
mod damage;
mod db_name;
mod dependents;
mod disk_and_running_differ;
mod disk_space;
mod drift;
mod first_start;
mod foreign_schema;
mod inconsistent;
mod instance_unreadable;
mod losses;
mod manager;
mod mixed_versions;
mod not_allowed;
mod observe_only;
mod obstacles;
mod one_storage;
mod page;
mod path;
mod registered_ledgers;
mod release;
mod rolling;
mod session_settings;
mod sessions;
mod settings_file;
mod shared_sqlite;
mod single_writer;
mod skipped;
mod storage_access;
mod storage_newer;
mod triggers;
mod unknown_release;

use super::case::Case;
use cutover_vocabulary::Finding;

pub use page::{Page, index};

/// A rule looks at the case and says what it noticed.
struct Rule {
    /// Every code that it can say; each has a case of its own in `tests/findings.rs`.
    codes: &'static [&'static str],
    check: fn(&Case<'_>) -> Vec<Finding>,
}

/// Every rule. The order is the order on screens within a level.
const RULES: &[Rule] = &[
    Rule { codes: &["agent-not-seen"], check: agent_not_seen::check },
    Rule { codes: &["instance-unreadable"], check: instance_unreadable::check },
    Rule { codes: &["observe-only"], check: observe_only::check },
    Rule { codes: &["release-unusable", "releases-differ"], check: release::check },
    Rule { codes: &["argument-unknown", "variable-ignored", "target-does-not-run"], check: arguments::check },
    Rule { codes: &["target-not-newer", "path-not-in-table"], check: path::check },
    Rule { codes: &["unknown-release"], check: unknown_release::check },
    Rule { codes: &["target-without-storage-commands"], check: first_start::check },
    Rule { codes: &["bad-release", "ran-on-bad-release"], check: bad_release::check },
    Rule { codes: &["broken-upgrade"], check: broken_upgrade::check },
    Rule { codes: &["several-writers"], check: single_writer::check },
    Rule { codes: &["storage-newer", "target-knows-fewer-migrations"], check: storage_newer::check },
    Rule { codes: &["rolling-refused"], check: rolling::check },
    Rule { codes: &["several-storages"], check: one_storage::check },
    Rule { codes: &["sqlite-shared"], check: shared_sqlite::check },
    Rule { codes: &["mixed-versions"], check: mixed_versions::check },
    Rule { codes: &["disk-and-running-differ"], check: disk_and_running_differ::check },
    Rule { codes: &["drift"], check: drift::check },
    Rule { codes: &["other-release-than-allowed"], check: not_allowed::check },
    Rule { codes: &["storage-read-only", "storage-held-by-others"], check: storage_access::check },
    Rule {
        codes: &["missing-grant", "missing-tool", "storage-not-writable", "missing-extension"],
        check: obstacles::check,
    },
    Rule { codes: &["sessions-on-the-storage"], check: sessions::check },
    Rule { codes: &["db-name-with-underscore"], check: db_name::check },
    Rule { codes: &["file-skipped"], check: skipped::check },
    Rule { codes: &["foreign-schema"], check: foreign_schema::check },
    Rule { codes: &["ledger-only-registered"], check: registered_ledgers::check },
    Rule { codes: &["bad-rows"], check: bad_rows::check },
    Rule { codes: &["dependents-dropped", "dependents-stop-the-migration"], check: dependents::check },
    Rule { codes: &["times-shifted", "transactions-only-in-log", "balances-disagree"], check: damage::check },
    Rule { codes: &["storage-inconsistent"], check: inconsistent::check },
    Rule { codes: &["account-metadata-without-posting", "sqlite-first-metadata"], check: losses::check },
    Rule { codes: &["disk-space"], check: disk_space::check },
    Rule { codes: &["process-manager-has-no-guard"], check: manager::check },
    Rule { codes: &["started-by-others"], check: triggers::check },
    Rule { codes: &["session-time-zone", "session-limits"], check: session_settings::check },
    Rule {
        codes: &["settings-file-differs", "settings-file-ignored", "settings-file-readable"],
        check: settings_file::check,
    },
];

/// The pages of every rule's codes, in the same order.
const PAGES: &[&[Page]] = &[
    agent_not_seen::PAGES,
    instance_unreadable::PAGES,
    observe_only::PAGES,
    release::PAGES,
    arguments::PAGES,
    path::PAGES,
    unknown_release::PAGES,
    first_start::PAGES,
    bad_release::PAGES,
    broken_upgrade::PAGES,
    single_writer::PAGES,
    storage_newer::PAGES,
    rolling::PAGES,
    one_storage::PAGES,
    shared_sqlite::PAGES,
    mixed_versions::PAGES,
    disk_and_running_differ::PAGES,
    drift::PAGES,
    not_allowed::PAGES,
    storage_access::PAGES,
    obstacles::PAGES,
    sessions::PAGES,
    db_name::PAGES,
    skipped::PAGES,
    foreign_schema::PAGES,
    registered_ledgers::PAGES,
    bad_rows::PAGES,
    dependents::PAGES,
    damage::PAGES,
    inconsistent::PAGES,
    losses::PAGES,
    disk_space::PAGES,
    manager::PAGES,
    triggers::PAGES,
    session_settings::PAGES,
    settings_file::PAGES,
];

/// A rule whose code has no page does not compile.
const _: () = {
    let mut rule = 0;
    while rule < RULES.len() {
        let mut code = 0;
        while code < RULES[rule].codes.len() {
            assert!(
                page::is_among(RULES[rule].codes[code], PAGES),
                "a code in RULES has no page: add it to PAGES of its rule's file"
            );
            code += 1;
        }
        rule += 1;
    }
};

/// Every page, rule by rule.
pub fn pages() -> impl Iterator<Item = &'static Page> {
    PAGES.iter().copied().flatten()
}

/// Every code that a rule can say, rule by rule.
pub fn codes() -> impl Iterator<Item = &'static str> {
    RULES.iter().flat_map(|rule| rule.codes).copied()
}

/// Everything that every rule noticed; what blocks first.
pub fn all(case: &Case<'_>) -> Vec<Finding> {
    let noticed = |rule: &Rule| {
        let findings = (rule.check)(case);
        let declared = |finding: &Finding| rule.codes.contains(&finding.code.0.as_str());
        debug_assert!(
            findings.iter().all(declared),
            "a rule says a code that its line in RULES leaves out: {findings:?}"
        );
        findings
    };
    let mut findings: Vec<Finding> = RULES.iter().flat_map(noticed).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    findings
}

/// How many of several things an evidence names; the plan has all of them.
const NAMED: usize = 10;

/// Several things as one text, no longer than a person reads.
fn listed(things: impl ExactSizeIterator<Item = String>) -> String {
    let more = things.len().saturating_sub(NAMED);
    let named: Vec<String> = things.take(NAMED).collect();
    match more {
        0 => named.join("; "),
        _ => format!("{}; and {more} more", named.join("; ")),
    }
}
