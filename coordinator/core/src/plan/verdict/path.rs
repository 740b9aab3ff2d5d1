//! What stands in the way of a path, whatever the strategy.

use super::{Obstacle, Question, Reason, Stored, stored};
use crate::catalogue::{BrokenUpgrade, Catalogue, Locks, Origin, PathVerdict, SideBySideResult, SingleWriter, Unless};
use cutover_vocabulary::Version;
use cutover_vocabulary::finding::Source;
use std::collections::BTreeSet;

pub(super) struct Obstacles {
    pub(super) blocks: Vec<Reason<Obstacle>>,
    pub(super) approvals: Vec<Reason<Obstacle>>,
}

pub(super) fn obstacles(catalogue: &Catalogue, question: &Question<'_>, stored: &Stored) -> Obstacles {
    let Question { from, to, .. } = *question;
    // Also where nothing is to be upgraded: a rejoin makes writers of instances that have the target already.
    let several = several_writers(catalogue, question);
    if to <= from {
        let not_newer = Reason {
            why: Obstacle::NotNewer,
            source: Source::Manual,
            evidence: format!("the deployment runs {from}; {to} is not newer"),
            remedy:
                "choose a newer target; a downgrade is not an upgrade back, the older version cannot read the newer \
                     tables"
                    .to_owned(),
        };
        return Obstacles { blocks: [not_newer].into_iter().chain(several).collect(), approvals: Vec::new() };
    }
    let (mut blocks, mut approvals) = (Vec::new(), Vec::new());
    if let PathVerdict::NotNamed { stops } = catalogue.path(from, to) {
        let may_be_approved = catalogue.may_approve_unnamed(from);
        let list = if may_be_approved.is_some() { &mut approvals } else { &mut blocks };
        list.push(not_named(from, to, &stops));
    }
    blocks.extend(catalogue.bad_release(to).map(|bad| Reason {
        why: Obstacle::BadRelease,
        source: bad.source.source(),
        evidence: format!("{to}: {}", bad.reason),
        remedy: "choose another target".to_owned(),
    }));
    for (broken, reason) in broken(catalogue, question) {
        if broken.may_be_approved { approvals.push(reason) } else { blocks.push(reason) }
    }
    blocks.extend(several);
    known(catalogue, question, &mut approvals);
    if let Some(highest) = stored.beyond_both {
        let (harm, reason) = storage_newer(catalogue, question, highest);
        if harm { blocks.push(reason) } else { approvals.push(reason) }
    }
    Obstacles { blocks, approvals }
}

fn not_named(from: &Version, to: &Version, stops: &[Version]) -> Reason<Obstacle> {
    let stops: Vec<String> = stops.iter().map(ToString::to_string).collect();
    let remedy = if stops.is_empty() {
        "no stop on the way is named either".to_owned()
    } else {
        format!("go by a stop that the table names: {}", stops.join(" or "))
    };
    Reason {
        why: Obstacle::NotNamed,
        source: Source::Manual,
        evidence: format!("the manual's table of paths does not name {from} to {to}"),
        remedy,
    }
}

/// Of the present release, and of whichever migrated a ledger of this storage.
pub(super) fn broken<'a>(
    catalogue: &'a Catalogue,
    question: &Question<'_>,
) -> Vec<(&'a BrokenUpgrade, Reason<Obstacle>)> {
    let Question { from, to, driver, recorded, .. } = *question;
    let others = recorded.iter().flat_map(|ledger| stored::writers(catalogue, question, ledger));
    let others: BTreeSet<&Version> = others.map(|facts| &facts.version).filter(|version| *version != from).collect();
    let applies = |broken: &&BrokenUpgrade| broken.driver == driver && broken.to.matches(to.semver());
    let whose = |broken: &BrokenUpgrade| {
        if broken.from.matches(from.semver()) {
            return Some(format!("{from} to {to} on {driver}"));
        }
        let wrote: Vec<String> =
            others.iter().filter(|version| broken.from.matches(version.semver())).map(ToString::to_string).collect();
        let ledgers = format!("a ledger records what {} would have left, to {to} on {driver}", wrote.join(" or "));
        (!wrote.is_empty()).then_some(ledgers)
    };
    let reason = |broken: &'a BrokenUpgrade| {
        let reason = Reason {
            why: Obstacle::BrokenUpgrade,
            source: broken.source.source(),
            evidence: format!("{}: {}", whose(broken)?, broken.result),
            remedy: format!("way around: {}", broken.way_around.as_deref().unwrap_or("none is known")),
        };
        Some((broken, reason))
    };
    catalogue.broken_upgrades.iter().filter(applies).filter_map(reason).collect()
}

/// What is left at the end writes with all instances, whatever the strategy was.
fn several_writers(catalogue: &Catalogue, question: &Question<'_>) -> Vec<Reason<Obstacle>> {
    let Question { to, instances, locks, .. } = *question;
    let applies = |single: &&SingleWriter| {
        let lifted = single.unless == Some(Unless::RedisLock) && locks == Locks::Redis;
        instances > 1 && !lifted
    };
    let reason = |single: &SingleWriter| Reason {
        why: Obstacle::SeveralWriters,
        source: single.source.source(),
        evidence: format!("{instances} instances of {to} would write, and it bears only one: it {}", single.reason),
        remedy: match single.unless {
            Some(Unless::RedisLock) => {
                "set `lock-strategy: redis` on every instance first, keep one instance, or choose an earlier target"
            }
            None => "keep one instance, or choose another target",
        }
        .to_owned(),
    };
    catalogue.bears_one_writer(to).filter(applies).map(reason).collect()
}

/// Both releases as far as the catalogue knows them. What a ledger must record after a target that nobody knows, its rehearsal on
/// a copy tells.
fn known(catalogue: &Catalogue, question: &Question<'_>, approvals: &mut Vec<Reason<Obstacle>>) {
    let Question { from, to, .. } = *question;
    let reason = |source, evidence, remedy: &str| Reason {
        why: Obstacle::UnknownRelease,
        source,
        evidence,
        remedy: remedy.to_owned(),
    };
    match catalogue.release(to) {
        None => approvals.push(reason(
            Source::Measured,
            format!("nothing is known of {to}: which migrations it has, what it loses, what it does beside others"),
            "choose a release of the catalogue; or go on: before anything is stopped it is rehearsed on a copy of this storage, \
             and what a copy records there is what the ledger must record; or describe the release in the company's own \
             file: the setting `catalogue` of the coordinator, a table [[release]]",
        )),
        Some(facts) if facts.source == Origin::Company => approvals.push(reason(
            Source::CompanyFile,
            format!("all that is known of {to} is what the company's own file says"),
            "go on where you trust the file: before anything is stopped the release is rehearsed on a copy of this storage",
        )),
        Some(_) => {}
    }
    if catalogue.release(from).is_none() {
        approvals.push(reason(
            Source::Measured,
            format!("nothing is known of {from}, which runs now"),
            "go on where you know what it wrote: before anything is stopped the target is rehearsed on a copy of this storage; \
             or describe it in the company's own file: the setting `catalogue` of the coordinator, a table [[release]]",
        ));
    }
}

/// A later release has migrated this storage. Whether the target bears that is known where a release that knows exactly these
/// migrations was seen beside it, or a rule covers the two; what the old one suffers there comes of the tables.
fn storage_newer(catalogue: &Catalogue, question: &Question<'_>, highest: u32) -> (bool, Reason<Obstacle>) {
    let Question { from, to, driver, .. } = *question;
    let knows = |facts: &&crate::catalogue::ReleaseFacts| facts.highest_migration(driver);
    let writers: Vec<_> = catalogue.releases.iter().filter(|it| knows(it) == Some(highest)).collect();
    let harm = writers.iter().filter(|writer| writer.version > *to).find_map(|writer| {
        let harmful = |result| match result {
            SideBySideResult::OldDead
            | SideBySideResult::OldLosesWrites
            | SideBySideResult::AddressFiltersMissAccounts => true,
            SideBySideResult::Works | SideBySideResult::Conflict => false,
        };
        let known = catalogue.beside(to, &writer.version, question.locks);
        known.into_iter().find(|beside| harmful(beside.result)).map(|beside| (&writer.version, beside))
    });
    let later = catalogue.releases.iter().filter(|it| knows(it) >= Some(highest) && it.version > *from);
    let first = later.map(|it| &it.version).filter(|version| catalogue.bad_release(version).is_none()).min();
    let mut evidence = format!(
        "a ledger records migration {highest}, which neither {from} nor {to} knows: a later release has migrated this storage"
    );
    if let Some((writer, beside)) = &harm {
        let what = beside.result.harm().unwrap_or_default();
        evidence.push_str(&format!("; of {to} on the tables of {writer} it is known: {what}"));
    }
    let remedy = match first {
        Some(first) => format!("find out who migrated it; the first release that knows these migrations is {first}"),
        None => "find out who migrated it; no release of the catalogue knows these migrations".to_owned(),
    };
    let source = harm.as_ref().map_or(Source::ThisStorage, |(_, beside)| beside.source.source());
    (harm.is_some(), Reason { why: Obstacle::StorageNewer, source, evidence, remedy })
}
