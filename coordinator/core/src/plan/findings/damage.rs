//! Damage that was done before, in the ways that were measured with the real binaries. A migration carries it on or hides it,
//! so it is told apart and named while the traces are fresh. What fits none of them is `storage-inconsistent`.

use crate::plan::case::{Case, finding};
use cutover_vocabulary::finding::{Finding, FindingSubject, Level, Source};
use cutover_vocabulary::name::shown;
use cutover_vocabulary::storage::{Damage, DamageKind};

pub(super) fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ledger in case.storages().into_iter().flat_map(|storage| &storage.ledgers) {
        for (kind, damage) in &ledger.damage {
            let (code, what, remedy) = match kind {
                DamageKind::Times => (
                    "times-shifted",
                    "transaction(s) have another time in `transactions` than in `log`",
                    "`log` has the true times: set `transactions` right by it before or after, with the instances stopped",
                ),
                DamageKind::OnlyInLog => (
                    "transactions-only-in-log",
                    "transaction(s) were acknowledged and exist only in `log`",
                    "look for two versions on one storage and stop the older one NOW; then write these transactions again",
                ),
                DamageKind::Balances => (
                    "balances-disagree",
                    "balance(s) differ from the sum of their postings",
                    "find out how it came about (1.10.6 and 1.10.7 do this); correct `volumes` by the postings",
                ),
                // Said by `storage-inconsistent`.
                DamageKind::Other => continue,
            };
            findings.push(finding(
                code,
                Level::Approve,
                FindingSubject::Ledger(ledger.name.clone()),
                Source::ThisStorage,
                format!("{} {what}: {}", damage.count, some(damage)),
                remedy,
            ));
        }
    }
    findings
}

/// A few of them in words, and that there are more.
pub(super) fn some(damage: &Damage) -> String {
    let few: Vec<String> = damage.some.iter().take(3).map(|text| shown(text).to_string()).collect();
    let more = if damage.count > few.len() as u64 { "; …" } else { "" };
    format!("{}{more}", few.join("; "))
}

/// The pages of its codes.
pub(super) const PAGES: &[super::Page] = &[
    super::Page {
        code: "times-shifted",
        title: "transactions whose time differs from what `log` says",
        levels: &[Level::Approve],
        sources: &[Source::ThisStorage],
        means: "Somebody migrated this ledger to 1.8 or later in a session whose time zone was not UTC: every time was read \
         in that zone and moved by its offset. Whoever filters by time gets the wrong transactions; `log` still has \
         the true times.",
        found: "The agent reads every transaction in `transactions` and in `log` and compares them: id, time, reference and \
         postings. Here all but the time is equal.",
        remedy: "Look at the evidence: the same difference on every row tells the zone. With the instances stopped and a \
         backup taken, set `transactions.timestamp` to what `log` has. A migration neither mends it nor makes it \
         worse.",
    },
    super::Page {
        code: "transactions-only-in-log",
        title: "transactions that were acknowledged and exist only in `log`",
        levels: &[Level::Approve],
        sources: &[Source::ThisStorage],
        means: "Clients got 200 for them, and they moved nothing: no transaction, no volume. An instance of 1.3.2 to 1.7.8 \
         that runs beside one of 1.8 or later on one PostgreSQL does this with every write after its first few, with \
         the same transaction id again and again.",
        found: "The agent reads every transaction in `log` and looks for it in `transactions`.",
        remedy: "First see that it does not go on: `cutover fleet` shows which versions run; take the older one out of \
         rotation at once. Then read these entries in `log` and decide with the owners of the money which to write \
         again: some clients may have sent them again by themselves.",
    },
    super::Page {
        code: "balances-disagree",
        title: "balances that differ from the sum of their postings",
        levels: &[Level::Approve],
        sources: &[Source::ThisStorage],
        means: "`volumes` is what the ledger decides by whether an account has enough. 1.10.6 and 1.10.7 count an account \
         from zero after each start of the process and store the wrong sums; one instance is enough.",
        found: "The agent adds up the postings per account and asset and compares the sums with `volumes`.",
        remedy: "The transactions are right, the sums are not. With the instances stopped and a backup taken, set `volumes` \
         to the sums of the postings, and never run those two releases again.",
    },
];
