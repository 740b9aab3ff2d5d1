//! Small texts that several pages share.

use cutover_vocabulary::Timestamp;
use cutover_vocabulary::phase::{Border, Phase, Stage};
use cutover_vocabulary::plan::Strategy;
use cutover_vocabulary::storage::{Driver, StorageIdentity};

/// A phase as a person says it.
pub fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Preflight => "Preflight",
        Phase::Stage => "Stage",
        Phase::Rehearse => "Rehearse",
        Phase::Drain => "Drain",
        Phase::ConfirmDrained => "Confirm drained",
        Phase::Secure => "Secure",
        Phase::Migrate => "Migrate",
        Phase::Prove => "Prove",
        Phase::Switch => "Switch",
        Phase::StartClosed => "Start closed",
        Phase::Verify => "Verify",
        Phase::Open => "Open",
        Phase::Restore => "Restore",
        Phase::SwitchBack => "Switch back",
        Phase::Reopen => "Reopen",
        Phase::Bake => "Bake",
    }
}

/// What happens in a phase, in one line.
pub fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Preflight => "look again: everything still as the plan saw it",
        Phase::Stage => "verify the target release and unpack it beside the present one",
        Phase::Rehearse => "migrate a copy, and start the target there",
        Phase::Drain => "out of rotation, fenced, stopped",
        Phase::ConfirmDrained => "prove again that all are down and the storage is quiet",
        Phase::Secure => "recovery points, each proved to restore",
        Phase::Migrate => "storage scan, storage list, storage upgrade of each ledger",
        Phase::Prove => "every ledger holds what it held, but for approved losses",
        Phase::Switch => "the target release becomes the one that starts",
        Phase::StartClosed => "one instance on a port that no client knows",
        Phase::Verify => "right version, every ledger reads, real port refuses",
        Phase::Open => "clients are let in on the target version",
        Phase::Restore => "the ledgers that changed become what they were",
        Phase::SwitchBack => "the former release becomes the one that starts",
        Phase::Reopen => "clients are let in on the former version",
        Phase::Bake => "old and new instances are watched, every ledger read through each",
    }
}

/// What happens in the phase of migration where the target has no storage commands.
pub const FIRST_START: &str = "the target, closed, reads each ledger once: its first request migrates";

/// What crossing a border means, where a stage does so.
pub fn border(stage: &Stage, strategy: Strategy) -> Option<&'static str> {
    stage.border.map(|border| match (border, strategy) {
        (Border::MigrateAuthorised, Strategy::Downtime) => "from here the storage changes: going back means restoring",
        (Border::MigrateAuthorised, Strategy::Rolling | Strategy::Rejoin) => {
            "from here the storage changes, and stays so: going back means the former version on it"
        }
        (Border::OpenAuthorised, Strategy::Downtime) => "from here clients write: no way back without losing writes",
        (Border::OpenAuthorised, Strategy::Rolling) => "from here clients write through the target too",
        (Border::OpenAuthorised, Strategy::Rejoin) => "from here clients reach the instances that are brought in",
    })
}

/// A strategy with the manual's letter.
pub fn strategy(strategy: Strategy, members: usize) -> &'static str {
    match (strategy, members) {
        (Strategy::Downtime, 1) => "with downtime, single node (strategy C of the manual)",
        (Strategy::Downtime, _) => "with downtime (strategy A of the manual)",
        (Strategy::Rolling, _) => "rolling, without downtime (strategy B of the manual)",
        (Strategy::Rejoin, _) => "a rejoin: brought to what the others run, which serve meanwhile",
    }
}

/// A storage's kind and place.
pub fn storage(identity: &StorageIdentity) -> String {
    match identity.driver() {
        Driver::Sqlite | Driver::Postgres => identity.to_string(),
    }
}

/// A moment to the second, in UTC, as `2026-11-23 14:03:07Z`.
pub fn moment(at: Timestamp) -> String {
    at.0.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// The time of day of a moment, in UTC.
pub fn clock(at: Timestamp) -> String {
    at.0.strftime("%H:%M:%S").to_string()
}

/// Bytes for people.
pub fn bytes(count: u64) -> String {
    let (unit, size) = match count {
        0..10_000 => return format!("{count} B"),
        10_000..10_000_000 => ("kB", 1_000),
        10_000_000..10_000_000_000 => ("MB", 1_000_000),
        10_000_000_000.. => ("GB", 1_000_000_000),
    };
    format!("{} {unit}", count / size)
}

/// `1 row`, `2 rows`, `10,000 rows`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// A number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A text as one word for a POSIX shell.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '@' | '-' | '/' | ':' | '=' | ',' | '+');
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_for_the_shell_survives_the_shell() {
        for (text, word) in [("/tmp/a-1", "/tmp/a-1"), ("", "''"), ("it's $x", r"'it'\''s $x'")] {
            assert_eq!(quoted(text), word);
        }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000_000), "1,000,000");
        assert_eq!(count(1, "row", "rows"), "1 row");
    }
}
