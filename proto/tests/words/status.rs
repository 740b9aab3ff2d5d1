//! Holds and status.

use super::*;
use cutover_vocabulary::Hold;
use cutover_vocabulary::hold::{Choice, HoldId, HoldReason, Offer};
use cutover_vocabulary::plan::PlanDigest;
use cutover_vocabulary::status::{InstanceStatus, LedgerStatus, Said, StageStatus, State, Status, WaitingFor};
use proptest::collection::vec;

pub fn hold_reason() -> impl Strategy<Value = HoldReason> {
    prop_oneof![
        (order_id(), failure()).prop_map(|(order, failure)| HoldReason::StepFailed { order, failure }),
        (instance(), failure()).prop_map(|(instance, failure)| HoldReason::UncleanStop { instance, failure }),
        (vec(opener(), 0..5), texts(), vec(session(), 0..3), option::of(storage())).prop_map(
            |(openers, not_visible, sessions, storage)| HoldReason::Strangers {
                openers,
                not_visible,
                sessions,
                storage
            }
        ),
        texts().prop_map(|changes| HoldReason::PlanDrifted { changes }),
        (storage(), storage()).prop_map(|(planned, found)| HoldReason::OtherStorage { planned, found }),
        (vec(ledger(), 0..5), vec(ledger(), 0..5))
            .prop_map(|(appeared, vanished)| HoldReason::LedgersChanged { appeared, vanished }),
        (ledger(), any::<u64>(), any::<u64>(), option::of(digest())).prop_map(|(ledger, approved, now, sha256)| {
            HoldReason::LossesChanged { ledger, approved, now, sha256 }
        }),
        (ledger(), vec(difference(), 0..5), any::<u64>()).prop_map(|(ledger, differences, count)| {
            HoldReason::UnexplainedDifferences { ledger, differences, count }
        }),
        (ledger(), texts()).prop_map(|(ledger, what)| HoldReason::Inconsistent { ledger, what }),
        (agent(), vec(order_id(), 0..3), option::of(moment()), vec(instance(), 0..3))
            .prop_map(|(agent, orders, heard, members)| HoldReason::AgentLost { agent, orders, heard, members }),
        (instance(), agent(), text()).prop_map(|(instance, agent, seen)| HoldReason::InstanceAppeared {
            instance,
            agent,
            seen
        }),
        order_id().prop_map(|order| HoldReason::Overdue { order }),
        (instance(), text()).prop_map(|(instance, seen)| HoldReason::ProofVoided { instance, seen }),
        (agent(), text()).prop_map(|(agent, note)| HoldReason::TakenOver { agent, note }),
    ]
}

pub fn hold() -> impl Strategy<Value = Hold> {
    let offer = (select(Choice::ALL), text()).prop_map(|(choice, cost)| Offer { choice, cost });
    (any::<u32>(), hold_reason(), phase(), moment(), vec(offer, 0..4))
        .prop_map(|(id, reason, phase, since, choices)| Hold { id: HoldId(id), reason, phase, since, choices })
}

pub fn waiting_for() -> impl Strategy<Value = WaitingFor> {
    prop_oneof![
        (vec(order_id(), 0..3), elapsed()).prop_map(|(orders, longest)| WaitingFor::Orders { orders, longest }),
        vec(order_id(), 0..3).prop_map(|orders| WaitingFor::Settlement { orders }),
        any::<u32>().prop_map(|hold| WaitingFor::Decision { hold: HoldId(hold) }),
        Just(WaitingFor::Resume),
        agent().prop_map(|agent| WaitingFor::Agent { agent })
    ]
}

fn stage_status() -> impl Strategy<Value = StageStatus> {
    let times = (option::of(moment()), option::of(moment()));
    (any::<u16>(), stage(), any::<u16>(), any::<(u32, u32)>(), times, texts()).prop_map(
        |(number, stage, run, steps, (entered, left), failures)| StageStatus {
            number,
            stage,
            run,
            steps,
            entered,
            left,
            failures,
        },
    )
}

fn ledger_status() -> impl Strategy<Value = LedgerStatus> {
    let digests = (option::of(digest()), option::of(digest()));
    let times = (option::of(elapsed()), option::of(elapsed()), option::of(elapsed()));
    (ledger(), option::of(point()), digests, times, losses(), any::<bool>()).prop_map(
        |(name, point, (before, after), (migrated, migrating, rehearsed), lost, restored)| LedgerStatus {
            name,
            point,
            before,
            after,
            migrated,
            migrating,
            rehearsed,
            lost,
            restored,
        },
    )
}

fn said() -> impl Strategy<Value = Said> {
    (moment(), operator(), text()).prop_map(|(at, by, reason)| Said { at, by, reason })
}

pub fn status() -> impl Strategy<Value = Status> {
    let state = select(
        &[
            State::Running,
            State::Paused,
            State::Held,
            State::GoingBack,
            State::Completed,
            State::Aborted,
            State::RolledBack,
            State::TakenOver,
            State::Rehearsed,
        ][..],
    );
    let instance = (instance(), agent(), option::of(moment()), option::of((moment(), version())), option::of(moment()))
        .prop_map(|(name, agent, down, up, stopping)| InstanceStatus { name, agent, down, up, stopping });
    let what = (upgrade(), deployment(), digest(), version(), version(), strategy(), state);
    let why = (vec(stage_status(), 0..3), option::of(waiting_for()), vec(hold(), 0..3), option::of(text()));
    let seen = (vec((border(), moment()), 0..3), vec(ledger_status(), 0..3), option::of(point()), vec(instance, 0..3));
    let when = ((moment(), option::of(operator())), any::<u64>(), epoch(), option::of(moment()));
    let when = (when, any::<bool>(), option::of(moment()));
    let who = (option::of(agent()), option::of(elapsed()), option::of(said()), option::of(said()), option::of(said()));
    (what, why, seen, when, who).prop_map(
        |(
            (id, deployment, plan, from, target, strategy, state),
            (stages, waiting_for, holds, turned_back),
            (borders, ledgers, system, instances),
            ((started, seq, epoch, ended), paused, closed),
            (runner, downtime, pause, close, end),
        )| Status {
            id,
            deployment,
            plan: PlanDigest(plan),
            from,
            target,
            strategy,
            state,
            started,
            stages,
            waiting_for,
            holds,
            borders,
            ledgers,
            system,
            instances,
            turned_back,
            paused,
            closed,
            runner,
            downtime,
            pause,
            close,
            end,
            seq,
            epoch,
            ended,
        },
    )
}
