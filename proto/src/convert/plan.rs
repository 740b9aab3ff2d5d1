//! Plans, findings and approvals.

use super::{millis, moment, to_wire};
use crate::malformed::{Malformed, each, length, named, named_texts, small, text, texts, wanted, word};
use crate::v1 as pb;
use cutover_vocabulary as words;
use cutover_vocabulary::finding::{Finding, FindingCode, FindingSubject};
use cutover_vocabulary::plan::{
    Approval, ApprovedLosses, Binding, Limits, Member, Noticed, Observed, PathWords, Plan, PlanDigest, Preparation,
    PreparationId, PreparationState,
};
use cutover_vocabulary::storage::{BadRow, Damage, DamageKind, Dependent, LedgerSurvey};
use std::collections::BTreeMap;

impl From<FindingSubject> for pb::FindingSubject {
    fn from(subject: FindingSubject) -> Self {
        let about = match subject {
            FindingSubject::Deployment(name) => pb::finding_subject::About::Deployment(name.into()),
            FindingSubject::Instance(name) => pb::finding_subject::About::Instance(name.into()),
            FindingSubject::Ledger(name) => pb::finding_subject::About::Ledger(name.into()),
            FindingSubject::Storage => pb::finding_subject::About::Storage(pb::WholeStorage {}),
            FindingSubject::Path => pb::finding_subject::About::Path(pb::VersionPath {}),
        };
        Self { about: Some(about) }
    }
}
impl TryFrom<pb::FindingSubject> for FindingSubject {
    type Error = Malformed;
    fn try_from(wire: pb::FindingSubject) -> Result<Self, Malformed> {
        match wire.about.ok_or_else(|| Malformed::here("it names nothing"))? {
            pb::finding_subject::About::Deployment(name) => Ok(Self::Deployment(text("deployment", &name)?)),
            pb::finding_subject::About::Instance(name) => Ok(Self::Instance(text("instance", &name)?)),
            pb::finding_subject::About::Ledger(name) => Ok(Self::Ledger(text("ledger", &name)?)),
            pb::finding_subject::About::Storage(pb::WholeStorage {}) => Ok(Self::Storage),
            pb::finding_subject::About::Path(pb::VersionPath {}) => Ok(Self::Path),
        }
    }
}

/// A finding's code from the wire: never empty, because an approval names it.
fn code(text: String) -> Result<FindingCode, Malformed> {
    if text.is_empty() { Err(Malformed::at("code", "it is empty")) } else { Ok(FindingCode(text)) }
}

impl From<Finding> for pb::Finding {
    fn from(finding: Finding) -> Self {
        let Finding { code, level, subject, evidence, remedy, source } = finding;
        Self {
            code: code.0,
            level: pb::Level::from(level).into(),
            subject: Some(subject.into()),
            evidence,
            remedy,
            source: pb::Source::from(source).into(),
        }
    }
}
impl TryFrom<pb::Finding> for Finding {
    type Error = Malformed;
    fn try_from(wire: pb::Finding) -> Result<Self, Malformed> {
        Ok(Self {
            code: code(wire.code)?,
            level: word::<pb::Level, _>("level", wire.level)?,
            subject: wanted("subject", wire.subject)?,
            evidence: wire.evidence,
            remedy: wire.remedy,
            source: word::<pb::Source, _>("source", wire.source)?,
        })
    }
}

impl From<Noticed> for pb::Noticed {
    fn from(noticed: Noticed) -> Self {
        let Noticed { code, level, subject } = noticed;
        Self { code: code.0, level: pb::Level::from(level).into(), subject: Some(subject.into()) }
    }
}
impl TryFrom<pb::Noticed> for Noticed {
    type Error = Malformed;
    fn try_from(wire: pb::Noticed) -> Result<Self, Malformed> {
        Ok(Self {
            code: code(wire.code)?,
            level: word::<pb::Level, _>("level", wire.level)?,
            subject: wanted("subject", wire.subject)?,
        })
    }
}

impl From<(FindingCode, FindingSubject)> for pb::FindingName {
    fn from((code, subject): (FindingCode, FindingSubject)) -> Self {
        Self { code: code.0, subject: Some(subject.into()) }
    }
}
impl TryFrom<pb::FindingName> for (FindingCode, FindingSubject) {
    type Error = Malformed;
    fn try_from(wire: pb::FindingName) -> Result<Self, Malformed> {
        Ok((code(wire.code)?, wanted("subject", wire.subject)?))
    }
}

impl From<Member> for pb::Member {
    fn from(member: Member) -> Self {
        let Member { agent, version, binary, settings } = member;
        Self {
            agent: agent.into(),
            version: version.into(),
            binary_sha256: binary.into(),
            settings_sha256: settings.into(),
        }
    }
}
impl TryFrom<pb::Member> for Member {
    type Error = Malformed;
    fn try_from(wire: pb::Member) -> Result<Self, Malformed> {
        Ok(Self {
            agent: text("agent", &wire.agent)?,
            version: text("version", &wire.version)?,
            binary: text("binary_sha256", &wire.binary_sha256)?,
            settings: text("settings_sha256", &wire.settings_sha256)?,
        })
    }
}

impl From<Limits> for pb::Limits {
    fn from(limits: Limits) -> Self {
        let Limits { drain, step, migration, agent_lost, attempts, lanes, wave, bake } = limits;
        Self {
            drain_ms: millis(drain),
            step_ms: millis(step),
            migration_ms: millis(migration),
            agent_lost_ms: millis(agent_lost),
            attempts: attempts.into(),
            lanes: lanes.into(),
            wave: wave.into(),
            bake_ms: millis(bake),
        }
    }
}
impl TryFrom<pb::Limits> for Limits {
    type Error = Malformed;
    fn try_from(wire: pb::Limits) -> Result<Self, Malformed> {
        Ok(Self {
            drain: length("drain_ms", wire.drain_ms)?,
            step: length("step_ms", wire.step_ms)?,
            migration: length("migration_ms", wire.migration_ms)?,
            agent_lost: length("agent_lost_ms", wire.agent_lost_ms)?,
            attempts: small("attempts", wire.attempts)?,
            lanes: small("lanes", wire.lanes)?,
            wave: small("wave", wire.wave)?,
            bake: length("bake_ms", wire.bake_ms)?,
        })
    }
}

impl From<Binding> for pb::Binding {
    fn from(binding: Binding) -> Self {
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
        } = binding;
        Self {
            deployment: deployment.into(),
            from: from.into(),
            target: Some(target.into()),
            strategy: pb::Strategy::from(strategy).into(),
            members: members.into_iter().map(|(name, member)| (name.into(), member.into())).collect(),
            beside: beside.into_iter().map(|(name, agent)| (name.into(), agent.into())).collect(),
            runner: runner.into(),
            storage: Some(storage.into()),
            ledgers: ledgers.into_iter().map(|(name, migrations)| (name.into(), migrations.into())).collect(),
            before: before.into_iter().map(|(name, migrations)| (name.into(), migrations.into())).collect(),
            lost: lost.into_iter().map(|(name, rows)| (name.into(), rows.into())).collect(),
            lossy,
            collides,
            first_start,
            unknown_target,
            one_writer,
            redis_lock,
            stages: stages.into_iter().map(Into::into).collect(),
            waves: waves.into_iter().map(wave).collect(),
            findings: findings.into_iter().map(Into::into).collect(),
            questions: spoken(questions),
            limits: Some(limits.into()),
        }
    }
}
impl TryFrom<pb::Binding> for Binding {
    type Error = Malformed;
    fn try_from(wire: pb::Binding) -> Result<Self, Malformed> {
        Ok(Self {
            deployment: text("deployment", &wire.deployment)?,
            from: text("from", &wire.from)?,
            target: wanted("target", wire.target)?,
            strategy: word::<pb::Strategy, _>("strategy", wire.strategy)?,
            members: named("members", wire.members)?,
            beside: named_texts("beside", wire.beside)?,
            runner: text("runner", &wire.runner)?,
            storage: wanted("storage", wire.storage)?,
            ledgers: named("ledgers", wire.ledgers)?,
            before: named("before", wire.before)?,
            lost: named_texts("lost", wire.lost)?,
            lossy: wire.lossy,
            collides: wire.collides,
            first_start: wire.first_start,
            unknown_target: wire.unknown_target,
            one_writer: wire.one_writer,
            redis_lock: wire.redis_lock,
            stages: each("stages", wire.stages)?,
            waves: (wire.waves.iter().enumerate())
                .map(|(n, wave)| texts(&format!("waves[{n}].instances"), &wave.instances))
                .collect::<Result<_, _>>()?,
            findings: each("findings", wire.findings)?,
            questions: heard(wire.questions),
            limits: wanted("limits", wire.limits)?,
        })
    }
}

fn wave(instances: Vec<words::InstanceName>) -> pb::Wave {
    pb::Wave { instances: instances.into_iter().map(Into::into).collect() }
}

impl From<Dependent> for pb::Dependent {
    fn from(dependent: Dependent) -> Self {
        let Dependent { what, name, owner, on, definition } = dependent;
        Self { what, name, owner, on, definition }
    }
}
impl From<pb::Dependent> for Dependent {
    fn from(wire: pb::Dependent) -> Self {
        let pb::Dependent { what, name, owner, on, definition } = wire;
        Self { what, name, owner, on, definition }
    }
}

impl From<(DamageKind, Damage)> for pb::Damage {
    fn from((kind, Damage { count, some }): (DamageKind, Damage)) -> Self {
        Self { kind: pb::DamageKind::from(kind).into(), count, some }
    }
}
/// A kind that is said twice is refused: neither can be the right one.
fn damage(wire: Vec<pb::Damage>) -> Result<BTreeMap<DamageKind, Damage>, Malformed> {
    let mut all = BTreeMap::new();
    for pb::Damage { kind, count, some } in wire {
        let kind = word::<pb::DamageKind, _>("damage.kind", kind)?;
        if all.insert(kind, Damage { count, some }).is_some() {
            return Err(Malformed::at(
                "damage",
                format_args!("{kind:?} is said twice, and neither can be the right one"),
            ));
        }
    }
    Ok(all)
}

impl From<LedgerSurvey> for pb::LedgerSurvey {
    fn from(survey: LedgerSurvey) -> Self {
        let LedgerSurvey {
            name,
            migrations,
            legacy_layout,
            transactions,
            bytes,
            losses,
            bad_rows,
            inconsistencies,
            dependents,
            damage,
        } = survey;
        Self {
            name: name.into(),
            migrations: Some(migrations.into()),
            legacy_layout,
            transactions,
            bytes,
            losses: Some(losses.into()),
            bad_rows: bad_rows.into_iter().map(|BadRow { what, text }| pb::BadRow { what, text }).collect(),
            inconsistencies,
            dependents: dependents.into_iter().map(Into::into).collect(),
            damage: damage.into_iter().map(Into::into).collect(),
        }
    }
}
impl TryFrom<pb::LedgerSurvey> for LedgerSurvey {
    type Error = Malformed;
    fn try_from(wire: pb::LedgerSurvey) -> Result<Self, Malformed> {
        Ok(Self {
            name: text("name", &wire.name)?,
            migrations: wanted("migrations", wire.migrations)?,
            legacy_layout: wire.legacy_layout,
            transactions: wire.transactions,
            bytes: wire.bytes,
            losses: wanted("losses", wire.losses)?,
            bad_rows: wire.bad_rows.into_iter().map(|pb::BadRow { what, text }| BadRow { what, text }).collect(),
            inconsistencies: wire.inconsistencies,
            dependents: wire.dependents.into_iter().map(Into::into).collect(),
            damage: damage(wire.damage)?,
        })
    }
}

impl From<Observed> for pb::Observed {
    fn from(observed: Observed) -> Self {
        let Observed { at, findings, ledgers, path, preparations } = observed;
        let words = |PathWords { manual, measured, storage }| pb::PathWords { manual, measured, storage };
        Self {
            at: Some(to_wire(at)),
            findings: findings.into_iter().map(Into::into).collect(),
            ledgers: ledgers.into_iter().map(Into::into).collect(),
            path: path.map(words),
            preparations: preparations.into_iter().map(Into::into).collect(),
        }
    }
}
impl TryFrom<pb::Observed> for Observed {
    type Error = Malformed;
    fn try_from(wire: pb::Observed) -> Result<Self, Malformed> {
        Ok(Self {
            at: moment("at", wire.at)?,
            findings: each("findings", wire.findings)?,
            ledgers: each("ledgers", wire.ledgers)?,
            path: wire.path.map(|pb::PathWords { manual, measured, storage }| PathWords { manual, measured, storage }),
            preparations: each("preparations", wire.preparations)?,
        })
    }
}

impl From<Preparation> for pb::Preparation {
    fn from(preparation: Preparation) -> Self {
        use pb::preparation::State;
        let Preparation { id, note, remedy, source, state } = preparation;
        let state = match state {
            PreparationState::DoesNotApply { why } => State::DoesNotApply(why),
            PreparationState::Done { how } => State::Done(how),
            PreparationState::Found { codes } => {
                State::Found(pb::FoundBy { codes: codes.into_iter().map(|code| code.0).collect() })
            }
            PreparationState::Asks { question } => State::Asks(question),
        };
        Self { id: id.0, note, remedy, source: pb::Source::from(source).into(), state: Some(state) }
    }
}
impl TryFrom<pb::Preparation> for Preparation {
    type Error = Malformed;
    fn try_from(wire: pb::Preparation) -> Result<Self, Malformed> {
        use pb::preparation::State;
        let state = match wire.state.ok_or_else(|| Malformed::at("state", "it is not said"))? {
            State::DoesNotApply(why) => PreparationState::DoesNotApply { why },
            State::Done(how) => PreparationState::Done { how },
            State::Found(pb::FoundBy { codes }) => {
                PreparationState::Found { codes: codes.into_iter().map(code).collect::<Result<_, _>>()? }
            }
            State::Asks(question) => PreparationState::Asks { question },
        };
        Ok(Self {
            id: PreparationId(wire.id),
            note: wire.note,
            remedy: wire.remedy,
            source: word::<pb::Source, _>("source", wire.source)?,
            state,
        })
    }
}

/// Questions or answers to the wire.
pub fn spoken(texts: BTreeMap<PreparationId, String>) -> BTreeMap<String, String> {
    texts.into_iter().map(|(id, text)| (id.0, text)).collect()
}
/// Questions or answers from the wire.
pub fn heard(texts: BTreeMap<String, String>) -> BTreeMap<PreparationId, String> {
    texts.into_iter().map(|(id, text)| (PreparationId(id), text)).collect()
}

impl From<Plan> for pb::Plan {
    fn from(plan: Plan) -> Self {
        let digest = plan.digest().to_string();
        Self { digest, binding: Some(plan.binding.into()), observed: Some(plan.observed.into()) }
    }
}
/// Recomputes the digest: what a person approves is what they were shown, or they are shown nothing. It differs when
/// the other side is a newer Cutover whose plans bind more than this one knows.
impl TryFrom<pb::Plan> for Plan {
    type Error = Malformed;
    fn try_from(wire: pb::Plan) -> Result<Self, Malformed> {
        let plan = Self { binding: wanted("binding", wire.binding)?, observed: wanted("observed", wire.observed)? };
        let computed = plan.digest().to_string();
        if wire.digest != computed {
            return Err(Malformed::at(
                "digest",
                format_args!(
                    "it is {}, but what was received has {computed}: use a Cutover as new as the coordinator",
                    wire.digest
                ),
            ));
        }
        Ok(plan)
    }
}

/// A plan's digest from the wire.
pub(super) fn plan_digest(field: &str, digest: &str) -> Result<PlanDigest, Malformed> {
    Ok(PlanDigest(text(field, digest)?))
}

impl From<Approval> for pb::Approval {
    fn from(approval: Approval) -> Self {
        let Approval { plan, by, at, reason, findings, losses, answers } = approval;
        let lost = |ApprovedLosses { count, sha256 }| pb::ApprovedLosses { count, sha256: sha256.into() };
        Self {
            plan: plan.to_string(),
            by: by.into(),
            at: Some(to_wire(at)),
            reason,
            findings: findings.into_iter().map(Into::into).collect(),
            losses: losses.into_iter().map(|(name, losses)| (name.into(), lost(losses))).collect(),
            answers: spoken(answers),
        }
    }
}
impl TryFrom<pb::ApprovedLosses> for words::plan::ApprovedLosses {
    type Error = Malformed;
    fn try_from(wire: pb::ApprovedLosses) -> Result<Self, Malformed> {
        Ok(Self { count: wire.count, sha256: text("sha256", &wire.sha256)? })
    }
}
impl TryFrom<pb::Approval> for Approval {
    type Error = Malformed;
    fn try_from(wire: pb::Approval) -> Result<Self, Malformed> {
        Ok(Self {
            plan: plan_digest("plan", &wire.plan)?,
            by: text("by", &wire.by)?,
            at: moment("at", wire.at)?,
            reason: wire.reason,
            findings: each("findings", wire.findings)?,
            losses: named("losses", wire.losses)?,
            answers: heard(wire.answers),
        })
    }
}
