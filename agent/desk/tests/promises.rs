//! What the desk promises, one sentence a test: given what it was told, when it is told this, then it does that.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its orders has failed")]

mod common;

use common::*;
use cutover_desk::{Action, Desk, Entry, Event, KEPT_UPGRADES};
use cutover_vocabulary::fact::Settlement;
use cutover_vocabulary::link::{AgentMessage, Refusal, Say};
use cutover_vocabulary::outcome::{Effect, FailureKind};
use cutover_vocabulary::storage::RecoveryItem;
use cutover_vocabulary::{Elapsed, Epoch, LedgerName, Order, Outcome, Subject, Version, Work};

fn settled(order: &Order, settlement: Settlement) -> Action {
    Action::Send(AgentMessage::Revoked { order: order.id.clone(), settlement })
}

#[test]
fn an_order_is_journalled_before_it_is_begun() {
    let order = inspect("u1");
    assert_eq!(desk().handle(please(&order)), [accepted(&order), begin(&order)]);
}

#[test]
fn an_outcome_is_journalled_before_it_is_sent() {
    let order = inspect("u1");
    assert_eq!(
        after([please(&order)]).handle(finished(&order, done())),
        [
            Action::Journal(Entry::Finished { order: order.id.clone(), outcome: Box::new(done()) }),
            outcome(&order, done())
        ]
    );
}

#[test]
fn a_higher_epoch_is_journalled_even_from_a_welcome() {
    assert_eq!(desk().handle(heard(7, Say::Welcome)), [Action::Journal(Entry::Epoch(Epoch(7)))]);
}

#[test]
fn a_fenced_leader_gets_no_order_begun() {
    let order = inspect("u1");
    let mut desk = after([heard(7, Say::Welcome)]);
    let why = Refusal::OldEpoch { sent: Epoch(1), known: Epoch(7) };
    let back = Action::SendBack(AgentMessage::Refused { order: order.id.clone(), why });
    assert_eq!(desk.handle(please(&order)), [back]);
}

#[test]
fn a_fenced_leader_can_neither_revoke_nor_acknowledge() {
    let order = inspect("u1");
    let mut desk = after([please(&order), heard(7, Say::Welcome)]);
    assert_eq!(desk.handle(revoke(&order)), []);
    desk.handle(finished(&order, done()));
    assert_eq!(desk.handle(acknowledge(&order)), []);
    assert!(desk.owes_answers());
}

#[test]
fn a_refusal_is_never_said_of_an_order_in_hand_because_it_reads_as_never_begun() {
    let order = inspect("u1");
    assert_eq!(after([please(&order), heard(7, Say::Welcome)]).handle(please(&order)), []);
}

#[test]
fn an_order_that_is_in_hand_is_not_begun_again() {
    let order = inspect("u1");
    assert_eq!(after([please(&order)]).handle(please(&order)), []);
}

#[test]
fn an_order_that_is_finished_is_answered_again_acknowledged_or_not() {
    let order = inspect("u1");
    let mut desk = after([please(&order), finished(&order, done())]);
    assert_eq!(desk.handle(please(&order)), [outcome(&order, done())]);
    desk.handle(acknowledge(&order));
    assert_eq!(desk.handle(please(&order)), [outcome(&order, done())]);
}

#[test]
fn a_known_id_with_other_content_is_refused_in_hand_and_finished() {
    let order = inspect("u1");
    let other = Order { work: Work::Attest, ..order.clone() };
    let mut desk = after([please(&order)]);
    assert_eq!(desk.handle(please(&other)), [refused(&order, Refusal::OtherContent)]);
    desk.handle(finished(&order, done()));
    assert_eq!(desk.handle(please(&other)), [refused(&order, Refusal::OtherContent)]);
}

#[test]
fn an_order_for_somebody_else_is_refused() {
    let other_agent = Order { agent: "agent-2".parse().unwrap(), ..inspect("u1") };
    let other_instance = order("u1", 1, instance("ledger-z"), Work::Inspect);
    let wrong_deployment = Order { deployment: "other".parse().unwrap(), ..inspect("u1") };
    let no_instance = Order {
        deployment: "nowhere".parse().unwrap(),
        ..order("u1", 1, Subject::Storage, Work::AttestStorage { storage: storage() })
    };
    for wrong in [other_agent, other_instance, wrong_deployment, no_instance] {
        let actions = desk().handle(please(&wrong));
        assert!(
            matches!(&actions[..], [Action::Send(AgentMessage::Refused { why: Refusal::NotHere(_), .. })]),
            "{wrong:?}: {actions:?}"
        );
    }
}

#[test]
fn a_revoke_of_an_unknown_order_leaves_a_tombstone_that_refuses_it_for_good() {
    let order = inspect("u1");
    let mut desk = desk();
    let actions = desk.handle(revoke(&order));
    assert_eq!(actions, [Action::Journal(Entry::Revoked(order.id.clone())), settled(&order, Settlement::NeverBegun)]);
    let refusal = [refused(&order, Refusal::RevokedBefore)];
    assert_eq!(desk.handle(please(&order)), refusal);
    let (mut restarted, _) = Desk::restore(host(), [Entry::Epoch(Epoch(1))].into_iter().chain(entries(&actions)));
    let up = link_up(&restarted);
    restarted.handle(up);
    assert_eq!(restarted.handle(please(&order)), refusal);
}

#[test]
fn a_revoke_of_an_order_in_hand_is_answered_with_what_its_work_says_at_the_end() {
    let order = inspect("u1");
    for (outcome, settlement) in [(done(), Settlement::Finished(done())), (failed(), Settlement::Stopped(failure()))] {
        let mut desk = after([please(&order)]);
        assert_eq!(
            desk.handle(revoke(&order)),
            [Action::Journal(Entry::Revoked(order.id.clone())), Action::Stop(order.id.clone())]
        );
        assert_eq!(desk.handle(revoke(&order)), [], "it was asked to stop already");
        assert_eq!(desk.handle(finished(&order, outcome))[1], settled(&order, settlement));
    }
}

#[test]
fn a_revoke_of_a_finished_order_is_answered_with_its_outcome_even_a_failed_one() {
    let order = inspect("u1");
    for outcome in [done(), failed()] {
        let mut desk = after([please(&order), finished(&order, outcome.clone())]);
        let actions = desk.handle(revoke(&order));
        assert_eq!(actions.last(), Some(&settled(&order, Settlement::Finished(outcome.clone()))));
        desk.handle(acknowledge(&order));
        assert_eq!(desk.handle(revoke(&order)), [settled(&order, Settlement::Finished(outcome))]);
    }
}

#[test]
fn an_acknowledgement_is_journalled_once_and_ends_the_repeating() {
    let order = inspect("u1");
    let mut desk = after([please(&order), finished(&order, done())]);
    assert_eq!(desk.handle(Event::Remind), [outcome(&order, done())]);
    assert_eq!(desk.handle(acknowledge(&order)), [Action::Journal(Entry::Acknowledged(order.id.clone()))]);
    assert_eq!(desk.handle(acknowledge(&order)), []);
    assert_eq!(desk.handle(Event::Remind), []);
    assert!(!desk.owes_answers());
}

#[test]
fn a_link_begins_with_a_hello_that_names_what_is_in_hand_then_everything_unacknowledged() {
    let (running, ended) = (inspect("u1"), inspect("u2"));
    let mut desk = after([please(&running), please(&ended), Event::LinkDown]);
    assert_eq!(desk.handle(finished(&ended, done())).len(), 1, "without a link it is journalled, not sent");
    let hello = desk.hello(greeting());
    assert_eq!(hello.in_hand, [(running.id.clone(), running.content()), (ended.id.clone(), ended.content())]);
    assert_eq!(hello.epoch, Epoch(1));
    let up = link_up(&desk);
    assert_eq!(desk.handle(up), [outcome(&ended, done())]);
}

/// A store that was restored may not know it any more, though all of it was acknowledged.
#[test]
fn a_hello_names_the_last_upgrade_that_the_host_took_part_in_also_once_it_is_over() {
    let (first, last) = (inspect("u2"), inspect("u1"));
    let mut desk = after([please(&first), finished(&first, done()), please(&last), finished(&last, done())]);
    desk.handle(acknowledge(&first));
    desk.handle(acknowledge(&last));
    let hello = desk.hello(greeting());
    assert_eq!(hello.in_hand, []);
    assert_eq!(hello.newest, [(last.deployment, last.id.upgrade)].into());
}

#[test]
fn a_link_that_is_welcomed_under_an_older_epoch_is_turned_away_and_what_came_of_orders_is_said_on_the_leaders_link() {
    let order = inspect("u1");
    let mut desk = after([please(&order), heard(7, Say::Welcome)]);
    let away = Action::TurnAway { welcomed: Epoch(6), known: Epoch(7) };
    assert_eq!(desk.handle(heard(6, Say::Welcome)), [away]);
    assert_eq!(desk.handle(finished(&order, done()))[1], outcome(&order, done()), "its own link stands");
    let mut unlinked = after([heard(7, Say::Welcome), Event::LinkDown]);
    unlinked.handle(heard(6, Say::Welcome));
    assert_eq!(unlinked.handle(heard(7, Say::Revoke(order.id.clone()))).len(), 1, "without it nothing is said at all");
}

#[test]
fn the_leader_hears_everything_unacknowledged_at_each_of_its_welcomes() {
    let order = inspect("u1");
    let mut desk = after([please(&order), finished(&order, done())]);
    assert_eq!(desk.handle(heard(1, Say::Welcome)), [outcome(&order, done())]);
}

#[test]
fn a_new_leader_on_a_standing_link_hears_everything_unacknowledged_again() {
    let order = inspect("u1");
    let mut desk = after([please(&order), finished(&order, done())]);
    assert_eq!(desk.handle(heard(2, Say::Welcome)), [Action::Journal(Entry::Epoch(Epoch(2))), outcome(&order, done())]);
}

#[test]
fn an_order_without_outcome_is_begun_again_after_a_restart_and_a_revoked_one_is_begun_stopping() {
    let (order, revoked) = (inspect("u1"), inspect("u2"));
    let (_, actions) = Desk::restore(
        host(),
        [
            Entry::Accepted(Box::new(order.clone())),
            Entry::Accepted(Box::new(revoked.clone())),
            Entry::Revoked(revoked.id.clone()),
        ],
    );
    assert_eq!(actions, [begin(&order), Action::Begin { order: Box::new(revoked), stopping: true }]);
}

#[test]
fn a_takeover_refuses_every_further_order_and_leaves_the_running_one_to_finish() {
    let running = inspect("u1");
    let next = order("u1", 2, instance("ledger-b"), Work::Inspect);
    let said = Action::Send(AgentMessage::TakenOver { upgrade: upgrade("u1"), note: "by hand".into() });
    let mut desk = after([please(&running)]);
    assert_eq!(desk.in_hand().len(), 1);
    assert_eq!(
        desk.handle(taken_over("u1")),
        [Action::Journal(Entry::TakenOver { upgrade: upgrade("u1"), note: "by hand".into() }), said.clone()]
    );
    assert_eq!(desk.in_hand(), [], "nobody waits for it");
    assert_eq!(desk.handle(please(&next)), [refused(&next, Refusal::TakenOver("by hand".into()))]);
    assert_eq!(
        desk.handle(revoke(&running)),
        std::slice::from_ref(&said),
        "the person decides what becomes of what runs"
    );
    assert_eq!(desk.handle(finished(&running, done()))[1], outcome(&running, done()));
    let up = link_up(&desk);
    assert!(desk.handle(up).contains(&said), "said again on every link");
    assert_eq!(desk.handle(please(&inspect("u2"))).len(), 2, "another upgrade goes on");
}

#[test]
fn nothing_of_a_taken_over_upgrade_is_begun_after_a_restart() {
    let order = inspect("u1");
    let (_, actions) = Desk::restore(
        host(),
        [Entry::Accepted(Box::new(order.clone())), Entry::TakenOver { upgrade: upgrade("u1"), note: "by hand".into() }],
    );
    let [Action::Journal(Entry::Finished { outcome, .. })] = &actions[..] else { panic!("{actions:?}") };
    let Outcome::Failed(failure) = outcome.as_ref() else { panic!("{outcome:?}") };
    assert_eq!((failure.kind, failure.effect), (FailureKind::Interrupted, Effect::Unknown));
}

#[test]
fn a_takeover_that_another_process_journalled_is_kept_to() {
    let mut desk = desk();
    let entry = Entry::TakenOver { upgrade: upgrade("u1"), note: "by hand".into() };
    let actions = desk.handle(Event::FoundInJournal(entry));
    assert_eq!(entries(&actions), [], "it is durable already");
    assert_eq!(desk.handle(please(&inspect("u1"))), [refused(&inspect("u1"), Refusal::TakenOver("by hand".into()))]);
}

#[test]
fn old_upgrades_are_forgotten_but_for_their_ids_and_their_orders_are_refused() {
    let mut desk = desk();
    let mut journal = vec![Entry::Epoch(Epoch(1))];
    for n in 0..=KEPT_UPGRADES {
        let order = inspect(&format!("u{n}"));
        for event in [please(&order), finished(&order, done()), acknowledge(&order)] {
            journal.extend(entries(&desk.handle(event)));
        }
    }
    assert_eq!(journal.last(), Some(&Entry::Forgotten(upgrade("u0"))));
    journal.retain(|entry| entry.upgrade() != Some(&upgrade("u0")) || matches!(entry, Entry::Forgotten(_)));
    let (mut restarted, _) = Desk::restore(host(), journal);
    let up = link_up(&restarted);
    restarted.handle(up);
    assert_eq!(restarted, desk, "what may be removed from the journal is not missed");
    for event in [please(&inspect("u0")), revoke(&inspect("u0"))] {
        let actions = desk.handle(event);
        assert!(
            matches!(&actions[..], [Action::Send(AgentMessage::Refused { why: Refusal::NotHere(_), .. })]),
            "{actions:?}"
        );
    }
    assert_eq!(desk.handle(please(&inspect("u1"))), [outcome(&inspect("u1"), done())], "the others are kept");
}

#[test]
fn an_upgrade_with_an_unacknowledged_outcome_is_never_forgotten() {
    let owed = inspect("u-owed");
    let mut desk = after([please(&owed), finished(&owed, done())]);
    for n in 0..2 * KEPT_UPGRADES {
        let order = inspect(&format!("u{n}"));
        for event in [please(&order), finished(&order, done()), acknowledge(&order)] {
            desk.handle(event);
        }
    }
    assert_eq!(desk.handle(Event::Remind), [outcome(&owed, done())]);
}

fn secure(item: RecoveryItem) -> Work {
    Work::Secure { item, storage: storage(), lossy: false, serving: false }
}

fn kept(name: &str) -> RecoveryItem {
    RecoveryItem::Ledger(LedgerName::new(name).unwrap())
}

#[test]
fn orders_that_must_not_run_beside_each_other_do_not() {
    let expected = cutover_vocabulary::storage::Migrations(Some(vec![0, 1]));
    let migrate = |name: &str| {
        let work = Work::Migrate {
            target: staged(),
            storage: storage(),
            expected: expected.clone(),
            mark: None,
            apart: false,
            serving: false,
        };
        order("u1", 2, ledger(name), work)
    };
    let prove = |name: &str| {
        order(
            "u1",
            3,
            ledger(name),
            Work::Prove { point: point(kept(name)), expected: expected.clone(), serving: false },
        )
    };
    let secure_ledger = |name: &str| order("u1", 4, ledger(name), secure(kept(name)));
    let secure_system = || order("u1", 4, Subject::Storage, secure(RecoveryItem::System));
    let attest_storage = || order("u1", 5, Subject::Storage, Work::AttestStorage { storage: storage() });
    let register = || {
        let work = Work::Register { target: staged(), ledgers: vec![], storage: storage(), serving: false };
        order("u1", 6, Subject::Storage, work)
    };
    let restore = |name: &str| {
        order("u1", 7, ledger(name), Work::Restore { point: point(kept(name)), storage: storage(), first_start: false })
    };
    let on = |stage, name: &str, work: Work| order("u1", stage, instance(name), work);
    let drain = |name: &str| on(8, name, Work::Drain { patience: Elapsed::from_secs(1), for_good: false });
    let attest = |name: &str| on(9, name, Work::Attest);
    let open = |name: &str| on(10, name, Work::Open { version: Version::new(1, 4, 6), storage: None });
    let closed = |name: &str| on(11, name, Work::StartClosed { target: staged(), storage: None });
    let switch = |name: &str| on(12, name, Work::Switch { to: staged() });
    let look = |name: &str| on(13, name, Work::Inspect);

    for (one, other, conflicts) in [
        (migrate("a"), migrate("b"), false),
        (migrate("a"), Order { id: prove("a").id, ..migrate("a") }, true),
        (migrate("a"), prove("a"), true),
        (migrate("a"), prove("b"), false),
        (migrate("a"), secure_ledger("a"), true),
        (migrate("a"), secure_ledger("b"), false),
        (migrate("a"), restore("a"), true),
        (restore("a"), restore("b"), false),
        (migrate("a"), register(), true),
        (migrate("a"), attest_storage(), true),
        (register(), secure_system(), true),
        (secure_ledger("a"), secure_system(), false),
        (secure_ledger("a"), attest_storage(), false),
        (restore("a"), attest_storage(), true),
        (open("ledger-a"), drain("ledger-a"), true),
        (open("ledger-a"), attest("ledger-a"), true),
        (closed("ledger-a"), attest("ledger-a"), true),
        (closed("ledger-a"), drain("ledger-a"), true),
        (switch("ledger-a"), open("ledger-a"), true),
        (open("ledger-a"), open("ledger-b"), false),
        (attest("ledger-a"), attest("ledger-b"), false),
        (attest("ledger-a"), look("ledger-a"), false),
        (look("ledger-a"), drain("ledger-a"), false),
        (migrate("a"), open("ledger-a"), true),
        (migrate("a"), closed("ledger-a"), true),
        (migrate("a"), drain("ledger-a"), true),
        (migrate("a"), look("ledger-a"), false),
        (secure_ledger("a"), open("ledger-b"), true),
        (restore("a"), open("ledger-a"), true),
    ] {
        for (first, second) in [(&one, &other), (&other, &one)] {
            let actions = after([please(first)]).handle(please(second));
            let expected = if conflicts {
                vec![refused(second, Refusal::Conflicts(first.id.to_string()))]
            } else {
                vec![accepted(second), begin(second)]
            };
            assert_eq!(actions, expected, "{first:?} then {second:?}");
            let free = after([please(first), finished(first, failed())]).handle(please(second));
            assert_eq!(free, [accepted(second), begin(second)], "what has ended is in nobody's way");
        }
    }
}

#[test]
fn orders_of_two_deployments_never_conflict() {
    let ours = order("u1", 1, Subject::Storage, Work::AttestStorage { storage: storage() });
    let theirs = Order {
        deployment: "other".parse().unwrap(),
        ..order("u2", 1, instance("ledger-x"), Work::Open { version: Version::new(1, 4, 6), storage: None })
    };
    assert_eq!(after([please(&ours)]).handle(please(&theirs)), [accepted(&theirs), begin(&theirs)]);
}

#[test]
fn entries_read_back_as_they_were_written_and_keep_their_names() {
    let order = inspect("u1");
    for (entry, name) in [
        (Entry::Epoch(Epoch(3)), "epoch"),
        (Entry::Accepted(Box::new(order.clone())), "accepted"),
        (Entry::Revoked(order.id.clone()), "revoked"),
        (Entry::Finished { order: order.id.clone(), outcome: Box::new(failed()) }, "finished"),
        (Entry::Acknowledged(order.id.clone()), "acknowledged"),
        (Entry::TakenOver { upgrade: upgrade("u1"), note: "by hand".into() }, "taken-over"),
        (Entry::Forgotten(upgrade("u1")), "forgotten"),
    ] {
        let json = serde_json::to_string(&entry).unwrap();
        assert!(json.starts_with(&format!("{{\"{name}\":")), "{json}");
        assert_eq!(entry.kind(), name);
        assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), entry);
    }
}
