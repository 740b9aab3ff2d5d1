//! Makes a plan from surveys.

use super::case::Case;
use super::parties::Parties;
use super::verdict::Verdict;
use super::{findings, preparations};
use crate::catalogue::{Catalogue, Locks, Unless};
use crate::upgrade::{Way, forward, rehearsal};
use cutover_vocabulary::finding::{Finding, Level};
use cutover_vocabulary::plan::{Binding, Limits, Member, Noticed, Observed, Plan, Preparation, Strategy};
use cutover_vocabulary::storage::{LedgerSurvey, StorageIdentity};
use cutover_vocabulary::survey::HostSurvey;
use cutover_vocabulary::{AgentName, DeploymentName, InstanceName, Timestamp, Version};
use std::collections::{BTreeMap, BTreeSet};

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanAsk {
    /// Which deployment.
    pub deployment: DeploymentName,
    /// To which version.
    pub target: Version,
    /// How.
    pub strategy: StrategyAsk,
    /// How long things may take.
    pub limits: Limits,
    /// Whether it ends with the rehearsal.
    pub rehearse_only: bool,
    /// Instances that must exist, by the word of whoever declared the deployment.
    pub declared: BTreeSet<InstanceName>,
    /// The release that the latest upgrade of the deployment left, where there was one.
    pub allowed: Option<Version>,
    /// Rejoin: which instances are brought to the target. Empty: every one that has another release, or is fenced.
    pub instances: BTreeSet<InstanceName>,
    /// Other deployments that have instances, with the storage that was found when one of them was planned for last.
    pub elsewhere: BTreeMap<DeploymentName, StorageIdentity>,
}

/// How an operator wants the instances to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrategyAsk {
    /// As safe allows.
    Auto,
    /// All down, migrate, all up.
    Downtime,
    /// One wave after the other.
    Rolling,
    /// Instances that were away, to what the others run.
    Rejoin,
}

/// How the instances are moved, by what was asked for and the verdicts on each version that runs. Rolling that was asked for
/// stays rolling: where it is refused, findings block the plan and offer downtime.
pub fn choose(asked: StrategyAsk, verdicts: &[Verdict]) -> Strategy {
    let may_roll = !verdicts.is_empty() && !verdicts.iter().any(Verdict::downtime_required);
    match asked {
        StrategyAsk::Rejoin => Strategy::Rejoin,
        StrategyAsk::Rolling => Strategy::Rolling,
        StrategyAsk::Auto if may_roll => Strategy::Rolling,
        StrategyAsk::Auto | StrategyAsk::Downtime => Strategy::Downtime,
    }
}

/// Not enough is known for a plan; the findings say what is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CannotPlan {
    /// All of level block.
    pub findings: Vec<Finding>,
}

/// Makes a plan. The same surveys give the same binding; nothing else goes into it.
///
/// A plan with findings of level block is a plan all the same, so that an operator sees everything at once; it cannot be
/// started. Where not even the members, the storage or the release can be named, there is none.
pub fn make(
    catalogue: &Catalogue,
    ask: &PlanAsk,
    registered: &BTreeMap<InstanceName, AgentName>,
    surveys: &[HostSurvey],
    at: Timestamp,
) -> Result<Plan, CannotPlan> {
    let parties = Parties::of(ask, registered, surveys);
    let case = parties.case(catalogue, ask);
    let findings = findings::all(&case);
    // What a release note asks for was seen to when the others were upgraded.
    let preparations = if case.rejoins() { Vec::new() } else { preparations::preparations(&case, &findings) };
    let binding = binding(&case, &findings, &preparations).ok_or_else(|| CannotPlan {
        findings: findings.iter().filter(|f| f.level == Level::Block).cloned().collect(),
    })?;
    let ledgers = case.storages().first().map(|storage| storage.ledgers.clone()).unwrap_or_default();
    let path = case.verdicts().into_iter().next().filter(|_| !case.rejoins()).map(|verdict| verdict.words);
    Ok(Plan { binding, observed: Observed { at, findings, ledgers, path, preparations } })
}

/// `None` exactly where a finding of level block says what is missing; `findings_explain_every_missing_plan` holds it so.
fn binding(case: &Case<'_>, findings: &[Finding], preparations: &[Preparation]) -> Option<Binding> {
    let storage = *case.storages().first()?;
    let driver = storage.identity.driver();
    let target = case.surveys.iter().find_map(|host| host.target.clone().ok())?;
    let mut members = BTreeMap::new();
    for (agent, survey) in case.instances() {
        let found = survey.inspection.as_ref().ok()?;
        let member = Member {
            agent: agent.clone(),
            version: case.version_of(survey)?.clone(),
            binary: found.binary?,
            settings: found.settings,
        };
        members.insert(survey.instance.clone(), member);
    }
    let declared = case.ask.declared.iter().filter(|_| !case.rejoins());
    if members.is_empty() || case.registered.keys().chain(declared).any(|name| !members.contains_key(name)) {
        return None;
    }
    let runner = case.runners().first().map(|(agent, _)| (*agent).clone())?;
    let facts = case.target();
    let after = |survey: &LedgerSurvey| match facts {
        Some(facts) => facts.migrations_after(driver, &survey.migrations),
        None => survey.migrations.clone(),
    };
    let ledgers: BTreeMap<_, _> = storage.ledgers.iter().map(|survey| (survey.name.clone(), after(survey))).collect();
    let legacy = storage.ledgers.iter().any(|survey| survey.legacy_layout);
    let lossy = legacy && !case.catalogue.losses_to(&case.ask.target, driver).is_empty();
    // Whatever runs now may add what it knows at its next request.
    let known = case.running().into_iter().filter_map(|version| case.catalogue.release(version));
    let known = known.max_by_key(|facts| facts.highest_migration(driver));
    let may_record = |survey: &LedgerSurvey| match known {
        Some(facts) => facts.migrations_after(driver, &survey.migrations),
        None => survey.migrations.clone(),
    };
    let before = storage.ledgers.iter().map(|survey| (survey.name.clone(), may_record(survey))).collect();
    let lost = storage.ledgers.iter().filter(|_| lossy && !case.ask.rehearse_only);
    let lost = lost.filter_map(|survey| Some((survey.name.clone(), survey.losses.sha256?))).collect();
    let single = || case.catalogue.bears_one_writer(&case.ask.target);
    let lifted = case.locks() == Locks::Redis && single().all(|it| it.unless == Some(Unless::RedisLock));
    let bears_one = single().next().is_some();
    let strategy = choose(case.ask.strategy, &case.verdicts());
    let waves = match strategy {
        Strategy::Downtime => Vec::new(),
        Strategy::Rolling => waves(members.keys(), case.ask.limits.wave),
        // They serve nobody, and the others do: nothing is gained by bringing them in one by one.
        Strategy::Rejoin => vec![members.keys().cloned().collect()],
    };
    let way = match strategy {
        Strategy::Downtime => Way::Downtime,
        Strategy::Rejoin => Way::Rejoin,
        Strategy::Rolling => Way::Rolling {
            waves: waves.len().try_into().unwrap_or(u16::MAX),
            migrates: storage.ledgers.iter().any(|survey| ledgers.get(&survey.name) != Some(&survey.migrations)),
        },
    };
    Some(Binding {
        deployment: case.ask.deployment.clone(),
        from: case.from()?.clone(),
        target,
        strategy,
        members,
        beside: case.beside.clone(),
        runner,
        storage: storage.identity.clone(),
        ledgers,
        before,
        lost,
        lossy,
        collides: case.catalogue.lanes_collide(&case.ask.target, driver),
        first_start: match facts {
            Some(facts) => !facts.storage_commands,
            None => !case.about_target()?.storage_commands,
        },
        unknown_target: facts.is_none(),
        one_writer: bears_one && !lifted,
        redis_lock: bears_one && lifted,
        stages: if case.ask.rehearse_only { rehearsal(way) } else { forward(way) },
        waves,
        findings: findings.iter().map(noticed).collect(),
        questions: preparations::questions(preparations),
        limits: case.ask.limits.clone(),
    })
}

/// Who moves together: one canary, then so many at a time, but never all that are left to serve.
fn waves<'a>(members: impl ExactSizeIterator<Item = &'a InstanceName>, size: u16) -> Vec<Vec<InstanceName>> {
    let size = usize::from(size).min(members.len().saturating_sub(1)).max(1);
    let names: Vec<InstanceName> = members.cloned().collect();
    let (canary, others) = names.split_at(names.len().min(1));
    [canary].into_iter().chain(others.chunks(size)).map(<[InstanceName]>::to_vec).collect()
}

pub(super) fn noticed(finding: &Finding) -> Noticed {
    Noticed { code: finding.code.clone(), level: finding.level, subject: finding.subject.clone() }
}
