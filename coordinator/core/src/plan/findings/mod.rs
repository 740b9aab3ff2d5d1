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
mod rejoin;
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
    of: Whose,
    check: fn(&Case<'_>) -> Vec<Finding>,
}

/// Of which plans a rule is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Of upgrades: it is about a path between releases, about what happens to the storage, or about all instances at once.
    Upgrade,
    /// Of whatever moves an instance: an upgrade looks at all of them, a rejoin at those that it brings in.
    Moved,
    /// Of a rejoin alone.
    Rejoin,
}
impl Whose {
    fn asked(self, rejoins: bool) -> bool {
        match self {
            Self::Upgrade => !rejoins,
            Self::Moved => true,
            Self::Rejoin => rejoins,
        }
    }
}

/// Every rule. The order is the order on screens within a level.
const RULES: &[Rule] = &[
    Rule { codes: &["agent-not-seen"], of: Whose::Moved, check: agent_not_seen::check },
    Rule { codes: &["instance-unreadable"], of: Whose::Moved, check: instance_unreadable::check },
    Rule { codes: &["observe-only"], of: Whose::Moved, check: observe_only::check },
    Rule { codes: &["release-unusable", "releases-differ"], of: Whose::Moved, check: release::check },
    Rule {
        codes: &["argument-unknown", "variable-ignored", "target-does-not-run"],
        of: Whose::Moved,
        check: arguments::check,
    },
    Rule { codes: &["target-not-newer", "path-not-in-table"], of: Whose::Upgrade, check: path::check },
    Rule { codes: &["unknown-release"], of: Whose::Upgrade, check: unknown_release::check },
    Rule { codes: &["target-without-storage-commands"], of: Whose::Upgrade, check: first_start::check },
    Rule { codes: &["bad-release", "ran-on-bad-release"], of: Whose::Upgrade, check: bad_release::check },
    Rule { codes: &["broken-upgrade"], of: Whose::Upgrade, check: broken_upgrade::check },
    Rule { codes: &["several-writers"], of: Whose::Moved, check: single_writer::check },
    Rule { codes: &["storage-newer", "target-knows-fewer-migrations"], of: Whose::Moved, check: storage_newer::check },
    Rule { codes: &["rolling-refused"], of: Whose::Upgrade, check: rolling::check },
    Rule { codes: &["several-storages", "storage-of-another-deployment"], of: Whose::Moved, check: one_storage::check },
    Rule { codes: &["sqlite-shared"], of: Whose::Upgrade, check: shared_sqlite::check },
    Rule { codes: &["mixed-versions"], of: Whose::Upgrade, check: mixed_versions::check },
    Rule { codes: &["disk-and-running-differ"], of: Whose::Upgrade, check: disk_and_running_differ::check },
    Rule { codes: &["drift"], of: Whose::Moved, check: drift::check },
    Rule { codes: &["other-release-than-allowed"], of: Whose::Upgrade, check: not_allowed::check },
    Rule { codes: &["storage-read-only", "storage-held-by-others"], of: Whose::Moved, check: storage_access::check },
    Rule {
        codes: &["missing-grant", "missing-tool", "storage-not-writable", "missing-extension"],
        of: Whose::Upgrade,
        check: obstacles::check,
    },
    Rule { codes: &["sessions-on-the-storage"], of: Whose::Upgrade, check: sessions::check },
    Rule { codes: &["db-name-with-underscore"], of: Whose::Upgrade, check: db_name::check },
    Rule { codes: &["file-skipped"], of: Whose::Upgrade, check: skipped::check },
    Rule { codes: &["foreign-schema"], of: Whose::Upgrade, check: foreign_schema::check },
    Rule { codes: &["ledger-only-registered"], of: Whose::Upgrade, check: registered_ledgers::check },
    Rule { codes: &["bad-rows"], of: Whose::Upgrade, check: bad_rows::check },
    Rule {
        codes: &["dependents-dropped", "dependents-stop-the-migration"],
        of: Whose::Upgrade,
        check: dependents::check,
    },
    Rule {
        codes: &["times-shifted", "transactions-only-in-log", "balances-disagree"],
        of: Whose::Upgrade,
        check: damage::check,
    },
    Rule { codes: &["storage-inconsistent"], of: Whose::Upgrade, check: inconsistent::check },
    Rule {
        codes: &["account-metadata-without-posting", "sqlite-first-metadata"],
        of: Whose::Upgrade,
        check: losses::check,
    },
    Rule { codes: &["disk-space"], of: Whose::Upgrade, check: disk_space::check },
    Rule { codes: &["process-manager-has-no-guard"], of: Whose::Moved, check: manager::check },
    Rule { codes: &["started-by-others"], of: Whose::Moved, check: triggers::check },
    Rule { codes: &["session-time-zone", "session-limits"], of: Whose::Upgrade, check: session_settings::check },
    Rule {
        codes: &["settings-file-differs", "settings-file-ignored", "settings-file-readable"],
        of: Whose::Moved,
        check: settings_file::check,
    },
    Rule {
        codes: &["rejoin-refused", "runs-beside-target", "others-not-seen"],
        of: Whose::Rejoin,
        check: rejoin::check,
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
    rejoin::PAGES,
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
    let mut findings: Vec<Finding> =
        RULES.iter().filter(|rule| rule.of.asked(case.rejoins())).flat_map(noticed).collect();
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
