//! The verdict on every ordered pair of the listed releases, as pages that people read: `verdicts/*.txt`.

use super::*;
use std::fmt::Write as _;
use std::path::Path;

const LEGEND: &str = "\
# Rows: the version that runs. Columns: the target. The storage records exactly what the running version knows.
#   .  not an upgrade
#   !  blocked: nobody should run the target
#   x  blocked: the manual's table does not name the path, and from below 1.4 it is not approved either; go by a stop
#   b  blocked: such upgrades fail or leave a broken ledger on this kind of storage
#   w  blocked: several instances of the target would write, and it bears only one
#   A  downtime, and a person must approve: the table does not name the path
#   D  downtime: the table demands it
#   1  downtime, though the table demands none: there is one instance, and nothing could go on serving
#   l  downtime, though the table demands none: the old one beside the new one loses writes
#   o  downtime, though the table demands none: the old one beside the new one is dead
#   a  downtime, though the table demands none: accounts would be missing from address filters
#   d  downtime, and a person must approve: the ledger works afterwards, and a part of it is damaged
#   B  both: A and d
#   c  downtime, though the table demands none: the two refuse each other's writes
#   u  downtime, though the table demands none: the target migrates, and the pair was never measured
#   R  rolls, and nothing is to be migrated
#   M  rolls, after an explicit migration; measured to work
# Made from `plan::verdict` by tests/verdicts.rs: CUTOVER_WRITE_VERDICTS=1 cargo test -p cutover-core --test verdicts
";

fn letter(verdict: &Verdict) -> char {
    let blocks = blocks(verdict);
    let blocked = [
        (Obstacle::NotNewer, '.'),
        (Obstacle::BadRelease, '!'),
        (Obstacle::NotNamed, 'x'),
        (Obstacle::BrokenUpgrade, 'b'),
        (Obstacle::SeveralWriters, 'w'),
    ];
    if let Some((_, letter)) = blocked.iter().find(|(why, _)| blocks.contains(why)) {
        return *letter;
    }
    assert!(blocks.is_empty(), "no letter for {blocks:?}");
    match approvals(verdict).as_slice() {
        [] => {}
        [Obstacle::NotNamed] => return 'A',
        [Obstacle::BrokenUpgrade] => return 'd',
        [Obstacle::NotNamed, Obstacle::BrokenUpgrade] => return 'B',
        others => panic!("no letter for {others:?}"),
    }
    let refused = match &verdict.rolling {
        Rolling::AsItIs => return 'R',
        Rolling::MigrateFirst(_) => return 'M',
        Rolling::Refused(_) => refusals(verdict),
    };
    let why = [
        (Refusal::ManualDemandsDowntime, 'D'),
        (Refusal::OneInstance, '1'),
        (Refusal::Harm(SideBySideResult::OldLosesWrites), 'l'),
        (Refusal::Harm(SideBySideResult::OldDead), 'o'),
        (Refusal::Harm(SideBySideResult::AddressFiltersMissAccounts), 'a'),
        (Refusal::Harm(SideBySideResult::Conflict), 'c'),
        (Refusal::Unmeasured, 'u'),
    ];
    let found = why.iter().find(|(why, _)| refused.contains(why));
    found.map(|(_, letter)| *letter).unwrap_or_else(|| panic!("no letter for {refused:?}"))
}

/// One page: releases in the order of their numbers, a gap between minor series, the targets' names from top to bottom.
fn page(catalogue: &Catalogue, title: &str, fleet: Fleet) -> String {
    let mut versions: Vec<&Version> = catalogue.releases.iter().map(|facts| &facts.version).collect();
    versions.sort();
    let mut page = format!("# {title}\n{LEGEND}\n");
    let names: Vec<String> = versions.iter().map(ToString::to_string).collect();
    let spread = |cells: Vec<char>| {
        let mut line = String::new();
        for (at, cell) in cells.into_iter().enumerate() {
            if at > 0 && !versions[at].same_minor(versions[at - 1]) {
                line.push(' ');
            }
            line.push(cell);
        }
        line
    };
    let tallest = names.iter().map(String::len).max().unwrap_or(0);
    for row in 0..tallest {
        let cells = names.iter().map(|name| name.chars().nth(row).unwrap_or(' ')).collect();
        let line = format!("{:8} {}", "", spread(cells));
        writeln!(page, "{}", line.trim_end()).unwrap();
    }
    for (at, from) in versions.iter().enumerate() {
        if at == 0 || !versions[at].same_minor(versions[at - 1]) {
            page.push('\n');
        }
        let cells = versions.iter().map(|to| letter(&fleet.ask(catalogue, from, to))).collect();
        writeln!(page, "{:8} {}", from.to_string(), spread(cells)).unwrap();
    }
    page
}

#[test]
fn the_verdict_on_every_pair_is_the_one_that_is_checked_in() {
    let catalogue = shipped().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verdicts");
    for (name, title, fleet) in [
        ("sqlite-one-instance", "SQLite, one instance", ONE_SQLITE),
        ("postgres-one-instance", "PostgreSQL, one instance", ONE),
        ("postgres-three-instances", "PostgreSQL, three instances, no redis lock", THREE),
        (
            "postgres-three-instances-redis-lock",
            "PostgreSQL, three instances, `lock-strategy: redis` on all",
            THREE_REDIS,
        ),
    ] {
        let (path, now) = (folder.join(format!("{name}.txt")), page(&catalogue, title, fleet));
        if std::env::var_os("CUTOVER_WRITE_VERDICTS").is_some() {
            std::fs::write(&path, &now).unwrap();
            println!("wrote {}", path.display());
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        for (line, (expected, now)) in expected.lines().zip(now.lines()).enumerate() {
            assert_eq!(now, expected, "{name}.txt line {}: if that is meant, see its legend", line + 1);
        }
        assert_eq!(now, expected, "{name}.txt");
    }
}
