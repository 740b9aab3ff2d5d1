//! The three words, side by side, as an operator reads them.

use super::{Question, Stored, path};
use crate::catalogue::{Catalogue, Locks, PathVerdict, Unless};
use cutover_vocabulary::plan::PathWords;
use cutover_vocabulary::storage::Migrations;
use std::collections::BTreeSet;

pub(super) fn of(catalogue: &Catalogue, question: &Question<'_>, stored: &Stored) -> PathWords {
    PathWords {
        manual: manual(catalogue, question),
        measured: measured(catalogue, question),
        storage: storage(catalogue, question, stored),
    }
}

fn manual(catalogue: &Catalogue, question: &Question<'_>) -> Vec<String> {
    let Question { from, to, .. } = *question;
    if to <= from {
        return vec![format!("{to} is not newer than {from}")];
    }
    vec![match catalogue.path(from, to) {
        PathVerdict::Named(row) => {
            let downtime = if row.downtime { "with downtime" } else { "without downtime" };
            format!("{} from {} on: {downtime} ({})", row.series(), row.from, row.source)
        }
        PathVerdict::NotNamed { .. } => format!("the table of paths does not name {from} to {to}"),
    }]
}

fn measured(catalogue: &Catalogue, question: &Question<'_>) -> Vec<String> {
    let Question { from, to, locks, .. } = *question;
    let mut lines: Vec<String> = catalogue
        .beside(from, to, locks)
        .into_iter()
        .map(|beside| format!("{}: {} ({})", beside.known, beside.result.harm().unwrap_or("it works"), beside.source))
        .collect();
    if lines.is_empty() {
        lines.push(format!("{from} beside {to} was not measured"));
    }
    let broken = path::broken(catalogue, question);
    lines.extend(broken.into_iter().map(|(broken, reason)| format!("{} ({})", reason.evidence, broken.source)));
    for version in [from, to] {
        lines.extend(catalogue.bad_release(version).map(|bad| format!("{version}: {} ({})", bad.reason, bad.source)));
    }
    for single in catalogue.bears_one_writer(to) {
        let lifted = match (single.unless, locks) {
            (Some(Unless::RedisLock), Locks::Redis) => "; the redis lock that every instance has makes several safe",
            (Some(Unless::RedisLock), Locks::Other) => "; a redis lock on every instance would make several safe",
            (None, Locks::Redis | Locks::Other) => "",
        };
        lines.push(format!("{to} bears one writing instance: it {}{lifted} ({})", single.reason, single.source));
    }
    lines
}

fn storage(catalogue: &Catalogue, question: &Question<'_>, stored: &Stored) -> Vec<String> {
    let Question { to, driver, recorded, .. } = *question;
    let mut kinds: Vec<&Migrations> = recorded.iter().collect();
    kinds.sort_by_key(|kind| &kind.0);
    kinds.dedup();
    let mut lines: Vec<String> = kinds
        .into_iter()
        .map(|kind| {
            let ledgers = recorded.iter().filter(|ledger| *ledger == kind).count();
            let what = kind.0.as_deref().map_or("no migrations".to_owned(), |it| format!("migrations {}", numbers(it)));
            format!("{ledgers} ledger(s) record {what}")
        })
        .collect();
    if recorded.is_empty() {
        lines.push("it holds no ledger".to_owned());
    }
    let knows = catalogue.release(to).map(|facts| facts.highest_migration(driver));
    lines.push(match (knows, stored.lacking.as_deref()) {
        (None, _) | (_, None) => format!("nobody knows the migrations of {to}"),
        (Some(None), Some(_)) => format!("{to} keeps no record of migrations"),
        (Some(Some(highest)), Some([])) => format!("{to} knows 0 to {highest}: nothing to migrate"),
        (Some(Some(highest)), Some(lacking)) => {
            format!("{to} knows 0 to {highest}: {} to migrate", numbers(lacking))
        }
    });
    if let Some(beyond) = stored.beyond_target {
        lines.push(format!("it records migration {beyond}, which {to} does not know; no release takes one away"));
    }
    lines
}

/// Numbers as a person reads them: `0 to 6, 9`.
pub(super) fn numbers(numbers: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers.iter().copied().collect::<BTreeSet<u32>>() {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            Some(_) | None => runs.push((number, number)),
        }
    }
    let text = |(first, last): &(u32, u32)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first} to {last}"),
    };
    runs.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_read_as_runs() {
        assert_eq!(super::numbers(&[0, 1, 2, 5, 7, 8]), "0 to 2, 5, 7, 8");
        assert_eq!(super::numbers(&[]), "");
    }
}
