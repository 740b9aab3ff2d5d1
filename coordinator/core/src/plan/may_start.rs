//! Whether a plan may start now: it is not stale, nothing blocks it, and what needs approval has it.

use cutover_vocabulary::InstanceName;
use cutover_vocabulary::finding::{Finding, Level};
use cutover_vocabulary::phase::Stage;
use cutover_vocabulary::plan::{Approval, Binding, Limits, Plan, PreparationId, Strategy};
use std::collections::BTreeMap;

/// Why a plan may not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MayNotStart {
    /// Findings that no approval lifts.
    Blocked {
        /// Which.
        findings: Vec<Finding>,
    },
    /// Findings that a person must agree to first, and questions that nobody has answered.
    NeedsApproval {
        /// Which.
        findings: Vec<Finding>,
        /// Which.
        questions: BTreeMap<PreparationId, String>,
    },
    /// What binds is different now.
    Stale {
        /// What changed, each with then and now.
        changes: Vec<String>,
    },
}

/// Compares the plan that was agreed to with one made just now.
pub fn may_start(agreed: &Plan, fresh: &Plan, approval: Option<&Approval>) -> Result<(), MayNotStart> {
    let blocking: Vec<Finding> = fresh.findings(Level::Block).cloned().collect();
    if !blocking.is_empty() {
        return Err(MayNotStart::Blocked { findings: blocking });
    }
    if agreed.digest() != fresh.digest() {
        return Err(MayNotStart::Stale { changes: changes(&agreed.binding, &fresh.binding) });
    }
    // Nothing is lost by a rehearsal, and nobody is asked anything by it.
    if agreed.binding.only_rehearses() {
        return Ok(());
    }
    let approval = approval.filter(|approval| approval.plan == agreed.digest());
    let approved = |finding: &&Finding| {
        let noticed = super::make::noticed(finding);
        approval.is_some_and(|approval| approval.findings.contains(&noticed))
    };
    let open: Vec<Finding> = agreed.findings(Level::Approve).filter(|finding| !approved(finding)).cloned().collect();
    let answered = |id: &PreparationId| approval.is_some_and(|approval| approval.answers.contains_key(id));
    let questions: BTreeMap<PreparationId, String> =
        agreed.binding.questions.clone().into_iter().filter(|(id, _)| !answered(id)).collect();
    if open.is_empty() && questions.is_empty() {
        Ok(())
    } else {
        Err(MayNotStart::NeedsApproval { findings: open, questions })
    }
}

/// Names every part of the binding that differs. Exhaustive by destructuring: a new part must say here how it differs.
fn changes(then: &Binding, now: &Binding) -> Vec<String> {
    let Binding {
        deployment,
        from,
        target,
        strategy,
        members,
        beside,
        runner,
        storage,
        ledgers,
        before,
        lost,
        lossy,
        collides,
        first_start,
        unknown_target,
        one_writer,
        redis_lock,
        stages,
        waves,
        findings,
        questions,
        limits,
    } = then;
    let mut changes = Vec::new();
    let mut differ = |same: bool, text: String| {
        if !same {
            changes.push(text);
        }
    };
    differ(*deployment == now.deployment, format!("deployment: {deployment}, now {}", now.deployment));
    differ(*from == now.from, format!("present version: {from}, now {}", now.from));
    differ(
        *target == now.target,
        format!(
            "release: {} with archive {}, now {} with archive {}",
            target.version,
            target.archive.short(),
            now.target.version,
            now.target.archive.short()
        ),
    );
    differ(*strategy == now.strategy, format!("strategy: {}, now {}", word(*strategy), word(now.strategy)));
    differ(*runner == now.runner, format!("runner: {runner}, now {}", now.runner));
    differ(*storage == now.storage, format!("storage: {storage}, now {}", now.storage));
    let loses = |lossy| if lossy { "loses rows" } else { "loses none" };
    differ(*lossy == now.lossy, format!("the migration: {}, now it {}", loses(*lossy), loses(now.lossy)));
    differ(*collides == now.collides, "whether lanes of the target collide".to_owned());
    differ(*unknown_target == now.unknown_target, "whether the target's migrations are known".to_owned());
    let writers = (*one_writer, *redis_lock) == (now.one_writer, now.redis_lock);
    differ(writers, "how many instances of the target may write".to_owned());
    differ(*first_start == now.first_start, "whether the target has storage commands".to_owned());
    differ(*stages == now.stages, format!("stages: {}, now {}", listed(stages), listed(&now.stages)));
    differ(*waves == now.waves, format!("waves: {}, now {}", moved_together(waves), moved_together(&now.waves)));
    differ(*limits == now.limits, format!("limits: {}", limits_that_differ(limits, &now.limits)));
    for (name, member) in members {
        match now.members.get(name) {
            None => differ(false, format!("instance {name} is gone")),
            Some(present) => {
                differ(
                    member.version == present.version && member.agent == present.agent,
                    format!(
                        "instance {name}: {} by {}, now {} by {}",
                        member.version, member.agent, present.version, present.agent
                    ),
                );
                let (was, is) = (member.binary.short(), present.binary.short());
                differ(member.binary == present.binary, format!("binary of instance {name}: {was}, now {is}"));
                // Their digest only: settings may hold secrets.
                differ(member.settings == present.settings, format!("settings of instance {name} are others now"));
            }
        }
    }
    for name in now.members.keys().filter(|name| !members.contains_key(*name)) {
        differ(false, format!("instance {name} is new"));
    }
    for name in beside.keys().filter(|name| !now.beside.contains_key(*name)) {
        differ(false, format!("instance {name} does not serve beside it any more"));
    }
    for (name, agent) in &now.beside {
        match beside.get(name) {
            None => differ(false, format!("instance {name} serves beside it now")),
            Some(before) => differ(before == agent, format!("instance {name}: by {before}, now by {agent}")),
        }
    }
    for (name, migrations) in ledgers {
        match now.ledgers.get(name) {
            None => differ(false, format!("ledger {name} is gone")),
            Some(present) => differ(
                migrations == present,
                format!("migrations of ledger {name} afterwards: {}, now {}", migrations, present),
            ),
        }
    }
    for name in now.ledgers.keys().filter(|name| !ledgers.contains_key(*name)) {
        differ(false, format!("ledger {name} is new"));
    }
    let made = before.is_empty() == now.before.is_empty();
    differ(made, "it was made by another version of Cutover, which looked at less".to_owned());
    for (name, migrations) in before {
        let present = now.before.get(name).unwrap_or(migrations);
        differ(
            migrations == present,
            format!("ledger {name} may record migrations {migrations} before, now {present}: somebody migrated it"),
        );
    }
    for name in ledgers.keys().filter(|name| now.ledgers.contains_key(*name)) {
        let other = "it would now lose other rows than this plan shows";
        differ(lost.get(name) == now.lost.get(name), format!("ledger {name}: {other}"));
    }
    for finding in findings.iter().filter(|finding| !now.findings.contains(finding)) {
        differ(false, format!("finding {} about {} is gone", finding.code, finding.subject));
    }
    for finding in now.findings.iter().filter(|finding| !findings.contains(finding)) {
        differ(false, format!("finding {} about {} is new", finding.code, finding.subject));
    }
    for (id, question) in questions {
        match now.questions.get(id) {
            None => differ(false, format!("question {id} is gone")),
            Some(present) => differ(question == present, format!("question {id}: {question} Now: {present}")),
        }
    }
    for id in now.questions.keys().filter(|id| !questions.contains_key(*id)) {
        differ(false, format!("question {id} is new"));
    }
    changes
}

fn word(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Downtime => "downtime",
        Strategy::Rolling => "rolling",
        Strategy::Rejoin => "rejoin",
    }
}

fn listed(stages: &[Stage]) -> String {
    stages.iter().map(|stage| stage.phase.to_string()).collect::<Vec<_>>().join(", ")
}

fn moved_together(waves: &[Vec<InstanceName>]) -> String {
    let wave = |wave: &Vec<InstanceName>| wave.iter().map(ToString::to_string).collect::<Vec<_>>().join(" with ");
    waves.iter().map(wave).collect::<Vec<_>>().join(", then ")
}

/// Exhaustive by destructuring, as above.
fn limits_that_differ(then: &Limits, now: &Limits) -> String {
    let Limits { drain, step, migration, agent_lost, attempts, lanes, wave, bake } = then;
    [
        (drain != &now.drain, format!("drain {drain}, now {}", now.drain)),
        (step != &now.step, format!("step {step}, now {}", now.step)),
        (migration != &now.migration, format!("migration {migration}, now {}", now.migration)),
        (agent_lost != &now.agent_lost, format!("agent_lost {agent_lost}, now {}", now.agent_lost)),
        (attempts != &now.attempts, format!("attempts {attempts}, now {}", now.attempts)),
        (lanes != &now.lanes, format!("lanes {lanes}, now {}", now.lanes)),
        (wave != &now.wave, format!("wave {wave}, now {}", now.wave)),
        (bake != &now.bake, format!("bake {bake}, now {}", now.bake)),
    ]
    .into_iter()
    .filter_map(|(differs, text)| differs.then_some(text))
    .collect::<Vec<_>>()
    .join(", ")
}
