//! Plans, findings, approvals.

use super::*;
use cutover_vocabulary::finding::{Finding, FindingCode, FindingSubject, Level, Source};
use cutover_vocabulary::plan::{
    Approval, ApprovedLosses, Binding, Limits, Member, Noticed, Observed, Plan, PlanDigest,
};
use proptest::collection::{btree_map, vec};

pub fn finding_code() -> impl Strategy<Value = FindingCode> {
    "[a-z-]{1,16}".prop_map(FindingCode)
}

pub fn finding_subject() -> impl Strategy<Value = FindingSubject> {
    prop_oneof![
        deployment().prop_map(FindingSubject::Deployment),
        instance().prop_map(FindingSubject::Instance),
        ledger().prop_map(FindingSubject::Ledger),
        Just(FindingSubject::Storage),
        Just(FindingSubject::Path)
    ]
}

pub fn level() -> impl Strategy<Value = Level> {
    select(&[Level::Info, Level::Approve, Level::Block][..])
}

pub fn strategy() -> impl Strategy<Value = cutover_vocabulary::plan::Strategy> {
    use cutover_vocabulary::plan::Strategy::{Downtime, Rolling};
    select(&[Downtime, Rolling][..])
}

pub fn finding() -> impl Strategy<Value = Finding> {
    use Source::{CompanyFile, Manual, Measured, ThisHost, ThisStorage};
    let source = select(&[Manual, Measured, ThisStorage, ThisHost, CompanyFile][..]);
    (finding_code(), level(), finding_subject(), text(), text(), source).prop_map(
        |(code, level, subject, evidence, remedy, source)| Finding { code, level, subject, evidence, remedy, source },
    )
}

pub fn noticed() -> impl Strategy<Value = Noticed> {
    (finding_code(), level(), finding_subject()).prop_map(|(code, level, subject)| Noticed { code, level, subject })
}

pub fn limits() -> impl Strategy<Value = Limits> {
    (elapsed(), elapsed(), elapsed(), elapsed(), any::<[u16; 3]>(), elapsed()).prop_map(
        |(drain, step, migration, agent_lost, [attempts, lanes, wave], bake)| Limits {
            drain,
            step,
            migration,
            agent_lost,
            attempts,
            lanes,
            wave,
            bake,
        },
    )
}

pub fn plan() -> impl Strategy<Value = Plan> {
    let member = (agent(), version(), digest(), digest()).prop_map(|(agent, version, binary, settings)| Member {
        agent,
        version,
        binary,
        settings,
    });
    let who = (deployment(), version(), release(), strategy(), btree_map(instance(), member, 0..3), agent());
    let what = (
        storage(),
        btree_map(ledger(), migrations(), 0..3),
        any::<(bool, bool)>(),
        (vec(stage(), 0..4), vec(vec(instance(), 0..3), 0..3)),
        vec(noticed(), 0..3),
        limits(),
    );
    let binding = (who, what).prop_map(
        |(
            (deployment, from, target, strategy, members, runner),
            (storage, ledgers, (lossy, collides), (stages, waves), findings, limits),
        )| Binding {
            deployment,
            from,
            target,
            strategy,
            members,
            runner,
            storage,
            ledgers,
            lossy,
            collides,
            stages,
            waves,
            findings,
            limits,
        },
    );
    let observed = (moment(), vec(finding(), 0..3), vec(ledger_survey(), 0..3))
        .prop_map(|(at, findings, ledgers)| Observed { at, findings, ledgers });
    (binding, observed).prop_map(|(binding, observed)| Plan { binding, observed })
}

pub fn approval() -> impl Strategy<Value = Approval> {
    let losses = (any::<u64>(), digest()).prop_map(|(count, sha256)| ApprovedLosses { count, sha256 });
    (digest(), operator(), moment(), text(), vec(noticed(), 0..3), btree_map(ledger(), losses, 0..3)).prop_map(
        |(plan, by, at, reason, findings, losses)| Approval {
            plan: PlanDigest(plan),
            by,
            at,
            reason,
            findings,
            losses,
        },
    )
}
