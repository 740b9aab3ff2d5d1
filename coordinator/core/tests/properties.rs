//! What holds for every sequence of inputs.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one variant")]

mod support;

use cutover_core::upgrade::{Ask, Input, Upgrade, Want};
use cutover_vocabulary::fact::{Cause, Fact, Recorded, Settlement};
use cutover_vocabulary::hold::Choice;
use cutover_vocabulary::instance::RunState;
use cutover_vocabulary::link::Refusal;
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::phase::Border;
use cutover_vocabulary::*;
use proptest::prelude::*;
use support::*;

/// One thing that happens to an upgrade; numbers choose among what is there.
#[derive(Debug, Clone)]
enum Move {
    Answer(usize),
    Fail(usize, u8, bool),
    Refuse(usize, bool),
    Settle(usize, u8),
    Late(usize),
    Decide(usize),
    Abort,
    Rollback,
    Pause,
    Resume,
    Silent,
    Heard,
    SeenUp,
    Wait(u32),
    Election,
    TakeOver,
    Appear(bool),
    Excuse(u8),
    Close,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        40 => (0usize..4).prop_map(Move::Answer),
        4 => (0usize..4, 0u8..6, any::<bool>()).prop_map(|(n, kind, known)| Move::Fail(n, kind, known)),
        1 => (0usize..4, any::<bool>()).prop_map(|(n, before)| Move::Refuse(n, before)),
        4 => (0usize..4, 0u8..3).prop_map(|(n, kind)| Move::Settle(n, kind)),
        2 => (0usize..50).prop_map(Move::Late),
        6 => (0usize..6).prop_map(Move::Decide),
        1 => Just(Move::Abort),
        1 => Just(Move::Rollback),
        1 => Just(Move::Pause),
        2 => Just(Move::Resume),
        1 => Just(Move::Silent),
        2 => Just(Move::Heard),
        1 => Just(Move::SeenUp),
        1 => (0u32..100_000_000).prop_map(Move::Wait),
        1 => Just(Move::Election),
        1 => Just(Move::TakeOver),
        2 => any::<bool>().prop_map(Move::Appear),
        2 => (0u8..4).prop_map(Move::Excuse),
        1 => Just(Move::Close),
    ];
    proptest::collection::vec(one, 1..120)
}

const KINDS: [FailureKind; 6] = [
    FailureKind::Transient,
    FailureKind::Refused,
    FailureKind::Failed,
    FailureKind::Unclean,
    FailureKind::Interrupted,
    FailureKind::TimedOut,
];

fn input(play: &Play, n: u32, step: &Move) -> Option<Input> {
    let nth = |n: usize| play.orders().get(n % play.orders().len().max(1)).cloned();
    let asked = |ask| Some(Input::Asked { by: operator(), request: request(n), ask });
    let of = |order: &Order, outcome| Input::Outcome { agent: order.agent.clone(), order: order.id.clone(), outcome };
    match step {
        Move::Answer(n) => {
            let (order, want) = nth(*n)?;
            let evidence = honest(play.upgrade.plan(), &order, now(play.millis).wall);
            Some(match want {
                Want::Do => of(&order, Outcome::Done(evidence)),
                Want::Revoke => Input::Revoked {
                    agent: order.agent.clone(),
                    order: order.id.clone(),
                    settlement: Settlement::NeverBegun,
                },
            })
        }
        Move::Fail(n, kind, known) => nth(*n).map(|(order, _)| {
            let kind = KINDS[usize::from(*kind)];
            of(&order, if *known { without_effect(kind) } else { failure(kind) })
        }),
        Move::Refuse(n, before) => nth(*n).map(|(order, _)| Input::Refused {
            agent: order.agent.clone(),
            order: order.id.clone(),
            why: if *before { Refusal::RevokedBefore } else { Refusal::NotHere("x".to_owned()) },
        }),
        Move::Settle(n, kind) => nth(*n).map(|(order, _)| {
            let settlement = match kind {
                0 => Settlement::NeverBegun,
                1 => Settlement::Finished(Outcome::Done(honest(play.upgrade.plan(), &order, now(play.millis).wall))),
                _ => match failure(FailureKind::Interrupted) {
                    Outcome::Failed(failure) => Settlement::Stopped(failure),
                    Outcome::Done(_) => unreachable!(),
                },
            };
            Input::Revoked { agent: order.agent.clone(), order: order.id.clone(), settlement }
        }),
        Move::Late(n) => {
            let opened: Vec<&Order> = play
                .facts
                .iter()
                .filter_map(|r| match &r.fact {
                    Fact::AttemptOpened { order } => Some(&**order),
                    _ => None,
                })
                .collect();
            let order = opened.get(n % opened.len().max(1))?;
            Some(of(order, Outcome::Done(honest(play.upgrade.plan(), order, now(play.millis).wall))))
        }
        Move::Decide(n) => {
            let hold = play.upgrade.holds().next()?;
            let choice = hold.choices.get(n % hold.choices.len())?.choice;
            asked(Ask::Decide { hold: hold.id, choice, reason: "r".to_owned() })
        }
        Move::Abort => asked(Ask::Abort { reason: "r".to_owned() }),
        Move::Rollback => asked(Ask::Rollback { reason: "r".to_owned() }),
        Move::Pause => asked(Ask::Pause { reason: String::new() }),
        Move::Resume => asked(Ask::Resume { reason: String::new() }),
        Move::Silent => Some(Input::Silent { agent: agent("host-a"), heard: None }),
        Move::Heard => Some(Input::Heard { agent: agent("host-a") }),
        Move::SeenUp => Some(Input::Observed {
            agent: agent("host-a"),
            report: report("a", RunState::Running { pid: 8 }, now(play.millis + 1).wall),
        }),
        Move::Wait(_) | Move::Election => Some(Input::Tick),
        Move::Appear(runs) => Some(Input::Appeared {
            agent: agent("host-d"),
            report: report(
                "d",
                if *runs { RunState::Running { pid: 8 } } else { RunState::Stopped },
                now(play.millis).wall,
            ),
        }),
        Move::Excuse(which) => asked(Ask::Excuse {
            instance: instance(["a", "b", "c", "d"][usize::from(*which)]),
            reason: "gone".to_owned(),
            evidence: "no session".to_owned(),
        }),
        Move::Close => asked(Ask::Close { reason: "by hand".to_owned() }),
        Move::TakeOver => Some(Input::TakenOver { agent: agent("host-a"), note: "n".to_owned() }),
    }
}

/// The promises that every prefix of every run keeps.
fn check(play: &Play) {
    let at = |wanted: &dyn Fn(&Fact) -> bool| play.facts.iter().position(|r| wanted(&r.fact));
    let opened =
        |phase| at(&move |fact: &Fact| matches!(fact, Fact::AttemptOpened { order } if order.id.phase == phase));
    let crossed = |border| at(&move |fact: &Fact| *fact == Fact::BorderCrossed { border });
    if let Some(first) = opened(Phase::Migrate) {
        assert!(crossed(Border::MigrateAuthorised).is_some_and(|border| border < first), "order before authorisation");
    }
    if let Some(first) = opened(Phase::Open) {
        assert!(crossed(Border::OpenAuthorised).is_some_and(|border| border < first), "open before authorisation");
        assert!(
            at(&|fact| matches!(fact, Fact::TurnedBack { .. })).is_none_or(|back| back > first),
            "opens on the way back"
        );
    }
    // Every migrate order has the recovery point of its ledger, taken after the last drain unless an order may have changed the
    // ledger before it, and taken by who migrates; and what may have changed is never kept as what was there before.
    for (n, recorded) in play.facts.iter().enumerate() {
        let Fact::AttemptOpened { order } = &recorded.fact else { continue };
        let subject = &order.id.step.subject;
        let touched = may_have_changed(&play.facts[..n], subject);
        if let Work::Secure { .. } = order.work {
            assert!(!touched, "{} keeps what may have been migrated", order.id);
        }
        if let Work::Migrate { .. } = order.work {
            let drained = play.facts[..n]
                .iter()
                .rposition(|r| matches!(&r.fact, Fact::StageEntered { stage, .. } if stage.phase == Phase::Drain));
            let secured = play.facts[..n].iter().rposition(|r| match &r.fact {
                Fact::StepSucceeded { order: id, evidence: Evidence::Secured(_) }
                | Fact::EvidenceRefused { order: id, evidence: Evidence::Secured(_) } => {
                    id.step.subject == order.id.step.subject
                }
                _ => false,
            });
            let taken_by = secured.map(|at| &play.facts[at].by);
            assert_eq!(taken_by, Some(&Cause::Agent(order.agent.clone())), "the point lies on another host");
            assert!(
                secured > drained || touched,
                "a ledger is ordered to migrate without a recovery point since the drain"
            );
        }
    }
    // An order is settled once, and while it is not, no order of a later stage stands beside it.
    let standing = play.orders();
    if let (Some((first, _)), Some((last, _))) = (standing.first(), standing.last()) {
        assert_eq!(first.id.step.stage, last.id.step.stage, "orders of two stages stand side by side");
    }
    for hold in play.upgrade.holds() {
        assert!(!hold.choices.is_empty(), "a hold without a choice: {hold:?}");
        if play.upgrade.crossed(Border::OpenAuthorised) {
            assert!(!hold.offers(Choice::Rollback) && !hold.offers(Choice::Abort), "a lossy way back is offered");
        }
    }
    if !play.upgrade.finished() {
        let now = now(play.millis);
        let moving = play.upgrade.waiting_for(now).is_some();
        assert!(moving, "it waits for nothing and has not ended: {:?}", play.kinds());
    }
}

/// Whether an order of a prefix may have changed this, as far as its facts say.
fn may_have_changed(facts: &[Recorded], subject: &Subject) -> bool {
    let opened = facts.iter().filter_map(|r| match &r.fact {
        Fact::AttemptOpened { order } if order.id.phase == Phase::Migrate && order.id.step.subject == *subject => {
            Some(&order.id)
        }
        _ => None,
    });
    let harmless = |id: &OrderId| {
        facts.iter().any(|r| match &r.fact {
            Fact::StepFailed { order, failure } => order == id && failure.effect == Effect::None,
            Fact::Revoked { order, settlement: Settlement::NeverBegun } => order == id,
            _ => false,
        })
    };
    opened.into_iter().any(|id| !harmless(id))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_inputs_breaks_a_promise(steps in moves(), three in any::<bool>()) {
        let mut play = Play::start(if three { Seen::three().plan_without_blocks() } else { Seen::default().plan() });
        for (n, step) in steps.iter().enumerate() {
            match step {
                Move::Wait(millis) => play.millis += u64::from(*millis),
                Move::Election => { play.epoch = order::Epoch(play.epoch.0 + 1); play.millis = 0; }
                _ => {}
            }
            if let Some(input) = input(&play, n as u32 + 1, step) {
                // Deciding changes nothing; applying what was decided, or replaying it, gives the same state.
                play.hear(&[input]);
                prop_assert_eq!(play.upgrade.settle(now(play.millis)), None, "it was not settled");
            }
            check(&play);
        }
        let replayed = Upgrade::replay(play.upgrade.id().clone(), &play.facts).unwrap();
        prop_assert_eq!(replayed, play.upgrade.clone());
    }
}
