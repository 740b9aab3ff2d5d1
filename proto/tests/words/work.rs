//! Orders, outcomes, surveys, facts, and what is said on the link.

use super::*;
use cutover_vocabulary::fact::{Cause, Ending, Settlement};
use cutover_vocabulary::link::{
    AgentMessage, CoordinatorMessage, Followed, Heard, Hello, Permit, Refusal, Say, Standby,
};
use cutover_vocabulary::outcome::*;
use cutover_vocabulary::release::Release;
use cutover_vocabulary::served::Served;
use cutover_vocabulary::storage::SessionSetting;
use cutover_vocabulary::survey::{
    About, HostSurvey, InstanceSurvey, LockStrategy, ReleaseProblem, SettingsFile, StorageSurvey, SurveyAsk, Tried,
};
use cutover_vocabulary::{Fact, Order, Recorded, Work};
use proptest::collection::vec;

pub fn failure() -> impl Strategy<Value = Failure> {
    let kind = select(
        &[
            FailureKind::Transient,
            FailureKind::Refused,
            FailureKind::Failed,
            FailureKind::Unclean,
            FailureKind::StillRuns,
            FailureKind::Interrupted,
            FailureKind::TimedOut,
        ][..],
    );
    (kind, text(), text(), select(&[Effect::None, Effect::Unknown][..]))
        .prop_map(|(kind, message, remedy, effect)| Failure { kind, message, remedy, effect })
}

pub fn work() -> impl Strategy<Value = Work> {
    let boxed = || point().prop_map(Box::new);
    prop_oneof![
        Just(Work::Inspect),
        release().prop_map(|release| Work::StageRelease { release }),
        (staged(), vec(ledger(), 0..3)).prop_map(|(target, ledgers)| Work::Rehearse { target, ledgers }),
        (elapsed(), any::<bool>()).prop_map(|(patience, for_good)| Work::Drain { patience, for_good }),
        Just(Work::Attest),
        storage().prop_map(|storage| Work::AttestStorage { storage }),
        (item(), storage(), any::<[bool; 2]>()).prop_map(|(item, storage, [lossy, serving])| Work::Secure {
            item,
            storage,
            lossy,
            serving
        }),
        (staged(), vec(ledger(), 0..3), storage(), any::<bool>())
            .prop_map(|(target, ledgers, storage, serving)| Work::Register { target, ledgers, storage, serving }),
        (staged(), storage(), migrations(), option::of(text()), any::<[bool; 2]>()).prop_map(
            |(target, storage, expected, mark, [apart, serving])| Work::Migrate {
                target,
                storage,
                expected,
                mark,
                apart,
                serving
            }
        ),
        (boxed(), migrations(), any::<bool>()).prop_map(|(point, expected, serving)| Work::Prove {
            point,
            expected,
            serving
        }),
        staged().prop_map(|to| Work::Switch { to }),
        version().prop_map(|to| Work::SwitchBack { to }),
        (staged(), option::of(storage())).prop_map(|(target, storage)| Work::StartClosed { target, storage }),
        (version(), vec(ledger(), 0..3)).prop_map(|(version, ledgers)| Work::Verify { version, ledgers }),
        (version(), option::of(storage())).prop_map(|(version, storage)| Work::Open { version, storage }),
        (version(), vec(ledger(), 0..3), elapsed(), any::<bool>(), served()).prop_map(
            |(version, ledgers, length, withdraw, before)| Work::Bake { version, ledgers, length, withdraw, before }
        ),
        (boxed(), storage(), any::<bool>()).prop_map(|(point, storage, first_start)| Work::Restore {
            point,
            storage,
            first_start
        }),
    ]
}

pub fn order() -> impl Strategy<Value = Order> {
    (order_id(), agent(), deployment(), work()).prop_map(|(id, agent, deployment, work)| Order {
        id,
        agent,
        deployment,
        work,
    })
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let ended = option::of(select(&[CleanEnd::Exited, CleanEnd::Gone][..]));
    prop_oneof![
        staged().prop_map(Evidence::Staged),
        (text(), text(), any::<u64>(), ended, any::<u32>(), any::<u32>(), moment(), any::<bool>()).prop_map(
            |(boot, incarnation, fence, ended, connections, idle, at, guarded)| Evidence::Drained(DrainProof {
                boot,
                incarnation,
                fence,
                ended,
                connections,
                idle,
                at,
                guarded
            })
        ),
        point().prop_map(|point| Evidence::Secured(Box::new(point))),
        (ledger_digest(), migrations(), vec(difference(), 0..3), any::<u64>(), texts()).prop_map(
            |(digest, migrations, differences, difference_count, inconsistencies)| Evidence::Proved(Proof {
                digest,
                migrations,
                differences,
                difference_count,
                inconsistencies
            })
        ),
        (version(), moment()).prop_map(|(version, at)| Evidence::Opened { version, at }),
    ]
}

pub fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![evidence().prop_map(Outcome::Done), failure().prop_map(Outcome::Failed)]
}

fn settlement() -> impl Strategy<Value = Settlement> {
    prop_oneof![
        Just(Settlement::NeverBegun),
        failure().prop_map(Settlement::Stopped),
        outcome().prop_map(Settlement::Finished)
    ]
}

fn served() -> impl Strategy<Value = Served> {
    (any::<u32>(), any::<u32>()).prop_map(|(requests, errors)| Served { requests, errors })
}

fn setting() -> impl Strategy<Value = SessionSetting> {
    (text(), text(), text()).prop_map(|(name, value, source)| SessionSetting { name, value, source })
}

fn instance_survey() -> impl Strategy<Value = InstanceSurvey> {
    let inspection =
        (option::of(version()), option::of(version()), option::of(digest()), storage(), digest(), served()).prop_map(
            |(running, on_disk, binary, storage, settings, served)| Inspection {
                running,
                on_disk,
                binary,
                storage,
                settings,
                lock: None,
                served,
            },
        );
    let contents = (
        storage(),
        vec(ledger_survey(), 0..2),
        option::of(vec(ledger(), 0..3)),
        vec((text(), text()), 0..2),
        vec(opener(), 0..2),
        any::<(u64, u64)>(),
        option::of(text()),
        (vec(session(), 0..2), vec(obstacle(), 0..2), vec(setting(), 0..2)),
    )
        .prop_map(
            |(
                identity,
                ledgers,
                registered,
                skipped,
                strangers,
                bytes,
                read_only,
                (sessions, obstacles, session_settings),
            )| {
                let (free_bytes, needed_bytes) = bytes;
                StorageSurvey {
                    identity,
                    ledgers,
                    registered,
                    skipped,
                    strangers,
                    free_bytes,
                    needed_bytes,
                    read_only,
                    sessions,
                    obstacles,
                    session_settings,
                }
            },
        );
    let manager = select(&[Manager::Process, Manager::Systemd][..]);
    let inspection = prop_oneof![inspection.prop_map(Ok), text().prop_map(Err)];
    let contents = prop_oneof![contents.prop_map(Ok), text().prop_map(Err)];
    let tried = (texts(), texts()).prop_map(|(refused, ignored)| Tried { refused, ignored });
    let tried = option::of(prop_oneof![tried.prop_map(Ok), text().prop_map(Err)]);
    let file = (text(), option::of(text()), vec((text(), text()), 0..2), any::<bool>());
    let file = option::of(file.prop_map(|(path, ignored, overridden, exposed)| SettingsFile {
        path,
        ignored,
        overridden,
        exposed,
    }));
    let lock = option::of(select(&["memory", "none", "redis", "zookeeper"][..]).prop_map(LockStrategy::of));
    (instance(), report(), lock, inspection, contents, manager, tried, file, texts()).prop_map(
        |(instance, report, lock, inspection, storage, manager, tried, settings_file, triggers)| InstanceSurvey {
            instance,
            report,
            lock,
            inspection,
            storage,
            manager,
            tried,
            settings_file,
            triggers,
        },
    )
}

fn host_survey() -> impl Strategy<Value = HostSurvey> {
    let target: BoxedStrategy<Result<Release, ReleaseProblem>> = prop_oneof![
        release().prop_map(Ok),
        (version(), text()).prop_map(|(version, place)| Err(ReleaseProblem::Missing { version, place })),
    ]
    .boxed();
    let about = (version(), any::<bool>())
        .prop_map(|(version, storage_commands)| Ok(About { version, storage_commands }))
        .boxed();
    let about = proptest::option::of(prop_oneof![about, text().prop_map(Err)]);
    (agent(), text(), vec(instance_survey(), 0..2), target, about)
        .prop_map(|(agent, machine, instances, target, about)| HostSurvey { agent, machine, instances, target, about })
}

pub fn agent_message() -> impl Strategy<Value = AgentMessage> {
    let hello =
        (
            agent(),
            text(),
            text(),
            text(),
            epoch(),
            vec((order_id(), digest()), 0..3),
            vec(report(), 0..3),
            any::<bool>(),
            proptest::collection::btree_map(deployment(), upgrade(), 0..3),
        )
            .prop_map(|(agent, incarnation, machine, boot, epoch, in_hand, instances, stands_by, newest)| {
                Hello { agent, incarnation, machine, boot, epoch, in_hand, instances, stands_by, newest }
            });
    let refusal = prop_oneof![
        (epoch(), epoch()).prop_map(|(sent, known)| Refusal::OldEpoch { sent, known }),
        Just(Refusal::OtherContent),
        text().prop_map(Refusal::NotHere),
        Just(Refusal::RevokedBefore),
        text().prop_map(Refusal::Conflicts),
        text().prop_map(Refusal::TakenOver),
    ];
    prop_oneof![
        hello.prop_map(AgentMessage::Hello),
        vec(report(), 0..3).prop_map(AgentMessage::Report),
        (order_id(), digest(), outcome()).prop_map(|(order, content, outcome)| AgentMessage::Outcome {
            order,
            content,
            outcome
        }),
        (order_id(), settlement()).prop_map(|(order, settlement)| AgentMessage::Revoked { order, settlement }),
        (order_id(), refusal).prop_map(|(order, why)| AgentMessage::Refused { order, why }),
        (request(), host_survey())
            .prop_map(|(request, survey)| AgentMessage::Surveyed { request, survey: Box::new(survey) }),
        (upgrade(), text()).prop_map(|(upgrade, note)| AgentMessage::TakenOver { upgrade, note }),
    ]
}

pub fn coordinator_message() -> impl Strategy<Value = CoordinatorMessage> {
    let ask = (deployment(), version()).prop_map(|(deployment, target)| SurveyAsk { deployment, target });
    let permit = prop_oneof![Just(Permit::Start), ".+".prop_map(|why| Permit::Stay { why })];
    let say = prop_oneof![
        Just(Say::Welcome),
        order().prop_map(|order| Say::Do(Box::new(order))),
        order_id().prop_map(Say::Revoke),
        order_id().prop_map(Say::Acknowledge),
        (request(), ask).prop_map(|(request, ask)| Say::Survey { request, ask }),
        proptest::collection::btree_map(instance(), permit, 0..3).prop_map(Say::Permits),
    ];
    (epoch(), say).prop_map(|(epoch, say)| CoordinatorMessage { epoch, say })
}

pub fn standby() -> impl Strategy<Value = Standby> {
    let followed = (text(), epoch()).prop_map(|(leader, epoch)| Followed { leader, epoch });
    prop_oneof![option::of(followed).prop_map(Standby::Following), Just(Standby::Leading)]
}

/// Whatever comes from a coordinator.
pub fn heard() -> impl Strategy<Value = Heard> {
    prop_oneof![coordinator_message().prop_map(Heard::Leader), standby().prop_map(Heard::Follower)]
}

pub fn recorded() -> impl Strategy<Value = Recorded> {
    let fact = prop_oneof![
        (plan(), option::of(approval()))
            .prop_map(|(plan, approval)| Fact::Started { plan: std::sync::Arc::new(plan), approval }),
        (any::<u16>(), any::<u16>(), stage()).prop_map(|(number, run, stage)| Fact::StageEntered {
            number,
            run,
            stage
        }),
        order().prop_map(|order| Fact::AttemptOpened { order: std::sync::Arc::new(order) }),
        (order_id(), outcome()).prop_map(|(order, outcome)| Fact::LateOutcome { order, outcome }),
        hold().prop_map(|hold| Fact::Held { hold: Box::new(hold) }),
        (
            select(&[Ending::Completed, Ending::Aborted, Ending::RolledBack, Ending::TakenOver, Ending::Rehearsed][..]),
            option::of(text())
        )
            .prop_map(|(ending, reason)| Fact::Ended { ending, reason }),
        (instance(), text(), text()).prop_map(|(instance, reason, evidence)| Fact::MemberExcused {
            instance,
            reason,
            evidence
        }),
        agent().prop_map(|agent| Fact::RunnerChosen { agent }),
        Just(Fact::Closed),
    ];
    let by = prop_oneof![
        (operator(), request(), text()).prop_map(|(name, request, reason)| Cause::Operator { name, request, reason }),
        agent().prop_map(Cause::Agent),
        Just(Cause::Machine)
    ];
    (any::<u64>(), moment(), epoch(), elapsed(), by, digest(), fact).prop_map(
        |(seq, at, epoch, leading_for, by, prev, fact)| Recorded {
            v: Recorded::V,
            seq,
            at,
            epoch,
            leading_for,
            by,
            prev,
            fact,
        },
    )
}
