//! What findings are made from: everything that was asked and seen, sorted once.

use super::make::{PlanAsk, StrategyAsk};
use super::verdict::{Obstacle, Question, Reason, Verdict, verdict};
use crate::catalogue::{Catalogue, Locks, ReleaseFacts};
use cutover_vocabulary::finding::{Finding, FindingCode, FindingSubject, Level, Source};
use cutover_vocabulary::storage::{Driver, Migrations};
use cutover_vocabulary::survey::{About, HostSurvey, InstanceSurvey, LockStrategy, StorageSurvey};
use cutover_vocabulary::{AgentName, InstanceName, Version};
use std::collections::{BTreeMap, BTreeSet};

/// What a plan is made from.
#[derive(Debug)]
pub struct Case<'a> {
    /// What is known of the releases.
    pub catalogue: &'a Catalogue,
    /// What was asked for.
    pub ask: &'a PlanAsk,
    /// The instances that should take part, with their agents.
    pub registered: &'a BTreeMap<InstanceName, AgentName>,
    /// What their agents answered.
    pub surveys: &'a [HostSurvey],
    /// Rejoin: instances that take no part and serve beside it, with their agents.
    pub beside: &'a BTreeMap<InstanceName, AgentName>,
    /// What the agents of those answered.
    pub others: &'a [HostSurvey],
}

impl<'a> Case<'a> {
    /// Every instance that was looked at, with its agent.
    pub fn instances(&self) -> impl Iterator<Item = (&'a AgentName, &'a InstanceSurvey)> {
        self.surveys.iter().flat_map(|host| host.instances.iter().map(move |instance| (&host.agent, instance)))
    }
    /// Who sees the storage, the fittest to touch it first: by name, those with something in the way of work on it last. Where
    /// every host lacks something, a finding says what the first one lacks.
    pub fn runners(&self) -> Vec<(&'a AgentName, &'a StorageSurvey)> {
        let mut instances: Vec<_> = self
            .instances()
            .filter_map(|(agent, survey)| Some((agent, &survey.instance, survey.storage.as_ref().ok()?)))
            .collect();
        instances.sort_by_key(|(_, instance, storage)| (!storage.obstacles.is_empty(), *instance));
        instances.into_iter().map(|(agent, _, storage)| (agent, storage)).collect()
    }
    /// The storages as the instances show them; equal ones once, as the runner sees them: the room for recovery points, the
    /// tools and the rights that count are those on its host.
    pub fn storages(&self) -> Vec<&'a StorageSurvey> {
        let mut storages: Vec<&StorageSurvey> = Vec::new();
        for (_, survey) in self.runners() {
            if !storages.iter().any(|known| known.identity == survey.identity) {
                storages.push(survey);
            }
        }
        storages
    }
    /// Whether instances are only brought to what the others run.
    pub fn rejoins(&self) -> bool {
        self.ask.strategy == StrategyAsk::Rejoin
    }
    /// The version that an instance answers with. What a rejoin brings in is down as a rule: there it is the one it would start.
    pub fn version_of(&self, survey: &'a InstanceSurvey) -> Option<&'a Version> {
        let found = survey.inspection.as_ref().ok()?;
        let on_disk = found.on_disk.as_ref().filter(|_| self.rejoins());
        found.running.as_ref().or(on_disk)
    }
    /// Every version that the instances have, the lowest first, each once.
    pub fn running(&self) -> Vec<&'a Version> {
        let running = self.instances().filter_map(|(_, instance)| self.version_of(instance));
        running.collect::<BTreeSet<_>>().into_iter().collect()
    }
    /// The lowest version that answers.
    pub fn from(&self) -> Option<&'a Version> {
        self.running().first().copied()
    }
    /// The instance that answers with the highest version.
    pub fn newest(&self) -> Option<(&'a InstanceName, &'a Version)> {
        self.instances()
            .filter_map(|(_, instance)| {
                Some((&instance.instance, instance.inspection.as_ref().ok()?.running.as_ref()?))
            })
            .max_by_key(|(_, running)| *running)
    }
    /// The kind of storage, where one was seen.
    pub fn driver(&self) -> Option<Driver> {
        self.storages().first().map(|survey| survey.identity.driver())
    }
    /// How the instances keep out of each other's way, those that were seen: of others beside a rejoin a person is asked.
    pub fn locks(&self) -> Locks {
        let redis = |survey: &InstanceSurvey| survey.lock == Some(LockStrategy::Redis);
        let beside = || self.others.iter().flat_map(|host| &host.instances);
        if self.instances().map(|(_, survey)| survey).chain(beside()).all(redis) { Locks::Redis } else { Locks::Other }
    }
    /// The verdict on the way of each version that runs, the lowest first; of those that run the target already there is none,
    /// unless nothing else runs.
    pub fn verdicts(&self) -> Vec<Verdict> {
        let Some(storage) = self.storages().first().copied() else { return Vec::new() };
        let recorded: Vec<Migrations> = storage.ledgers.iter().map(|ledger| ledger.migrations.clone()).collect();
        let running = self.running();
        let lowest = running.first().copied();
        let moving = running.into_iter().filter(|version| *version < &self.ask.target || Some(*version) == lowest);
        moving
            .map(|from| {
                let question = Question {
                    from,
                    to: &self.ask.target,
                    driver: storage.identity.driver(),
                    recorded: &recorded,
                    instances: self.registered.len().max(self.instances().count()) + self.beside.len(),
                    locks: self.locks(),
                };
                verdict(self.catalogue, &question)
            })
            .collect()
    }
    /// Findings for what stands in the way, by the verdicts; each text once.
    pub(super) fn obstacles(&self, why: Obstacle, code: &str) -> Vec<Finding> {
        let mut findings: Vec<Finding> = Vec::new();
        for verdict in self.verdicts() {
            let blocks = verdict.blocks.into_iter().map(|reason| (Level::Block, reason));
            let approvals = verdict.approvals.into_iter().map(|reason| (Level::Approve, reason));
            for (level, reason) in blocks.chain(approvals).filter(|(_, reason)| reason.why == why) {
                let Reason { why: _, source, evidence, remedy } = reason;
                if !findings.iter().any(|known| known.evidence == evidence) {
                    findings.push(finding(code, level, FindingSubject::Path, source, evidence, remedy));
                }
            }
        }
        findings
    }
    /// What the target's binary says of itself, where the first host could ask it.
    pub fn about_target(&self) -> Option<&'a About> {
        self.surveys.iter().find_map(|host| host.about.as_ref()?.as_ref().ok())
    }
    /// What is known of the target.
    pub fn target(&self) -> Option<&'a ReleaseFacts> {
        self.catalogue.release(&self.ask.target)
    }
}

/// A finding in one line.
pub(super) fn finding(
    code: &str,
    level: Level,
    subject: FindingSubject,
    source: Source,
    evidence: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    let code = FindingCode(code.to_owned());
    Finding { code, level, subject, evidence: evidence.into(), remedy: remedy.into(), source }
}
