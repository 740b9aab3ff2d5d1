//! Plans, findings, approvals.

use super::*;
use cutover_vocabulary::finding::{Finding, FindingCode, FindingSubject, Level, Source};
use cutover_vocabulary::plan::{
    Approval, ApprovedLosses, Binding, Limits, Member, Noticed, Observed, PathWords, Plan, PlanDigest, Preparation,
    PreparationId, PreparationState,
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
    use cutover_vocabulary::plan::Strategy::{Downtime, Rejoin, Rolling};
    select(&[Downtime, Rolling, Rejoin][..])
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

fn preparation_id() -> impl Strategy<Value = PreparationId> {
    "[a-z-]{1,16}".prop_map(PreparationId)
}

/// Questions or answers.
fn texts_by_id() -> impl Strategy<Value = std::collections::BTreeMap<PreparationId, String>> {
    btree_map(preparation_id(), text(), 0..3)
}

pub fn preparation() -> impl Strategy<Value = Preparation> {
    let state = prop_oneof![
        text().prop_map(|why| PreparationState::DoesNotApply { why }),
        text().prop_map(|how| PreparationState::Done { how }),
        vec(finding_code(), 0..3).prop_map(|codes| PreparationState::Found { codes }),
        text().prop_map(|question| PreparationState::Asks { question }),
    ];
    (preparation_id(), text(), text(), select(&[Source::Manual, Source::CompanyFile][..]), state)
        .prop_map(|(id, note, remedy, source, state)| Preparation { id, note, remedy, source, state })
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
    let members = (btree_map(instance(), member, 0..3), btree_map(instance(), agent(), 0..3));
    let who = (deployment(), version(), release(), strategy(), members, agent());
    let what = (
        storage(),
        (
            btree_map(ledger(), migrations(), 0..3),
            btree_map(ledger(), migrations(), 0..3),
            btree_map(ledger(), digest(), 0..3),
        ),
        any::<[bool; 6]>(),
        (vec(stage(), 0..4), vec(vec(instance(), 0..3), 0..3)),
        vec(noticed(), 0..3),
        texts_by_id(),
        limits(),
    );
    let binding = (who, what).prop_map(
        |(
            (deployment, from, target, strategy, (members, beside), runner),
            (
                storage,
                (ledgers, before, lost),
                [lossy, collides, first_start, unknown_target, one_writer, redis_lock],
                (stages, waves),
                findings,
                questions,
                limits,
            ),
        )| Binding {
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
        },
    );
    let words = (vec(text(), 0..3), vec(text(), 0..3), vec(text(), 0..3))
        .prop_map(|(manual, measured, storage)| PathWords { manual, measured, storage });
    let seen = (moment(), vec(finding(), 0..3), vec(ledger_survey(), 0..3));
    let observed = (seen, proptest::option::of(words), vec(preparation(), 0..3)).prop_map(
        |((at, findings, ledgers), path, preparations)| Observed { at, findings, ledgers, path, preparations },
    );
    (binding, observed).prop_map(|(binding, observed)| Plan { binding, observed })
}

pub fn approval() -> impl Strategy<Value = Approval> {
    let losses = (any::<u64>(), digest()).prop_map(|(count, sha256)| ApprovedLosses { count, sha256 });
    let what = (vec(noticed(), 0..3), btree_map(ledger(), losses, 0..3), texts_by_id());
    (digest(), operator(), moment(), text(), what).prop_map(|(plan, by, at, reason, (findings, losses, answers))| {
        Approval { plan: PlanDigest(plan), by, at, reason, findings, losses, answers }
    })
}
