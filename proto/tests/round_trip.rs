//! Whatever the vocabulary can say arrives over the wire as it was said, and what was not said is refused by its place.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod words;

use cutover_proto::convert::fact::Event;
use cutover_proto::{Malformed, v1 as pb};
use cutover_vocabulary::hold::HoldReason;
use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::link::{AgentMessage, CoordinatorMessage};
use cutover_vocabulary::plan::Approval;
use cutover_vocabulary::status::Status;
use cutover_vocabulary::storage::{LedgerDigest, RecoveryPoint};
use cutover_vocabulary::{Digest, Order, OrderId, Plan, Recorded, Timestamp, Version};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use prost::Message;
use std::fmt::Debug;

/// There and back through the bytes.
fn sent<P, W>(word: &W) -> Result<W, Malformed>
where
    P: Message + Default + From<W>,
    W: Clone + TryFrom<P, Error = Malformed>,
{
    let bytes = P::from(word.clone()).encode_to_vec();
    W::try_from(P::decode(bytes.as_slice()).expect("what was encoded decodes"))
}

macro_rules! arrives {
    ($($test:ident: $wire:ty = $strategy:path;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(128))]
            $(#[test] fn $test(word in $strategy()) { prop_assert_eq!(sent::<$wire, _>(&word), Ok(word)); })*
        }
    };
}

arrives! {
    every_plan_arrives_with_its_digest: pb::Plan = words::plan;
    every_finding_arrives: pb::Finding = words::finding;
    every_approval_arrives: pb::Approval = words::approval;
    every_status_arrives: pb::Status = words::status;
    every_hold_arrives: pb::Hold = words::hold;
    every_recovery_point_arrives: pb::RecoveryPoint = words::point;
    every_ledger_digest_arrives: pb::LedgerDigest = words::ledger_digest;
    every_storage_identity_arrives: pb::StorageIdentity = words::storage;
    every_instance_report_arrives: pb::InstanceReport = words::report;
    every_order_id_arrives_whatever_its_ledger_is_called: pb::OrderId = words::order_id;
    every_message_of_an_agent_arrives: pb::AgentMessage = words::agent_message;
    every_message_of_a_leader_arrives: pb::CoordinatorMessage = words::coordinator_message;
    every_message_of_any_coordinator_arrives: pb::CoordinatorMessage = words::heard;
    every_fact_arrives_as_it_is_stored: pb::StoredFact = words::recorded;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_event_arrives(recorded in words::recorded(), text in words::text(), status in proptest::option::of(words::status())) {
        let event = Event { recorded, text, status };
        prop_assert_eq!(sent::<pb::Event, _>(&event), Ok(event));
    }

    #[test]
    fn a_moment_counts_its_nanoseconds_forwards_as_protobuf_asks(moment in words::moment()) {
        let wire = cutover_proto::convert::to_wire(moment);
        prop_assert!((0..1_000_000_000).contains(&wire.nanos));
        prop_assert_eq!(cutover_proto::convert::moment("at", Some(wire)), Ok(moment));
    }

    #[test]
    fn a_holds_code_is_the_tag_of_its_json(reason in words::hold_reason()) {
        let wire = pb::HoldReason::from(reason);
        let json: serde_json::Value = serde_json::from_slice(&wire.json).unwrap();
        prop_assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), [&wire.code]);
        prop_assert!(!wire.text.chars().any(char::is_control), "{:?}", wire.text);
    }

    #[test]
    fn an_orders_content_hash_on_the_wire_is_the_cores(order in words::order()) {
        let content = order.content().to_string();
        prop_assert_eq!(pb::Do::from(order).content_sha256, content);
    }
}

fn example<S: Strategy>(strategy: S) -> S::Value {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    strategy.new_tree(&mut runner).unwrap().current()
}

#[track_caller]
fn refused_at<P, W: TryFrom<P, Error = Malformed> + Debug>(wire: P, what: &str) {
    assert_eq!(W::try_from(wire).unwrap_err().what, what);
}

#[test]
fn an_empty_message_is_refused_by_its_first_field() {
    refused_at::<_, Plan>(pb::Plan::default(), "binding");
    refused_at::<_, Status>(pb::Status::default(), "id");
    refused_at::<_, Approval>(pb::Approval::default(), "plan");
    refused_at::<_, RecoveryPoint>(pb::RecoveryPoint::default(), "item");
    refused_at::<_, InstanceReport>(pb::InstanceReport::default(), "instance");
    refused_at::<_, OrderId>(pb::OrderId::default(), "upgrade");
    refused_at::<_, HoldReason>(pb::HoldReason::default(), "json");
    refused_at::<_, Recorded>(pb::StoredFact::default(), "json");
    refused_at::<_, AgentMessage>(pb::AgentMessage::default(), "say");
    refused_at::<_, CoordinatorMessage>(pb::CoordinatorMessage::default(), "say");
}

#[test]
fn a_wrong_field_is_named_by_its_path_from_the_root() {
    let mut plan = pb::Plan::from(example(words::plan()));
    let binding = plan.binding.as_mut().unwrap();
    binding.members.insert("ledger-a".to_owned(), pb::Member { agent: "host-a".to_owned(), ..Default::default() });
    refused_at::<_, Plan>(plan, "binding.members[\"ledger-a\"].version");

    let mut status = pb::Status::from(example(words::status()));
    status.borders = vec![pb::CrossedBorder { border: 99, at: None }];
    refused_at::<_, Status>(status, "borders[0].border");

    let hello = pb::Hello {
        agent: "host-a".to_owned(),
        in_hand: vec![pb::OrderInHand { order: None, content_sha256: String::new() }],
        ..Default::default()
    };
    let message = pb::AgentMessage { say: Some(pb::agent_message::Say::Hello(hello)) };
    refused_at::<_, AgentMessage>(message, "hello.in_hand[0].order");
}

#[test]
fn a_plan_that_binds_to_something_else_than_its_digest_is_refused() {
    let mut plan = pb::Plan::from(example(words::plan()));
    plan.binding.as_mut().unwrap().lossy ^= true;
    refused_at::<_, Plan>(plan, "digest");
}

#[test]
fn an_order_is_refused_when_its_bytes_or_its_routing_were_changed() {
    let order = example(words::order());

    let mut other = pb::Do::from(order.clone());
    other.order_json = [other.order_json.as_ref(), b" "].concat().into();
    refused_at::<_, Order>(other, "content_sha256");

    let mut other = pb::Do::from(order.clone());
    other.agent = "somebody-else".to_owned();
    refused_at::<_, Order>(other, "agent");

    let mut other = pb::Do::from(order.clone());
    other.order.as_mut().unwrap().attempt = u32::from(order.id.attempt.wrapping_add(1));
    refused_at::<_, Order>(other, "order");
}

#[test]
fn an_order_with_something_that_this_version_does_not_know_is_refused_whole() {
    let mut wire = pb::Do::from(example(words::order()));
    let mut json: serde_json::Value = serde_json::from_slice(&wire.order_json).unwrap();
    json.as_object_mut().unwrap().insert("only_if".to_owned(), "the moon is full".into());
    wire.order_json = serde_json::to_vec(&json).unwrap().into();
    wire.content_sha256 = Digest::of(&wire.order_json).to_string();
    let refused = Order::try_from(wire).unwrap_err();
    assert_eq!(refused.what, "order_json");
    assert!(refused.why.contains("does not know"), "{refused}");
}

#[test]
fn a_section_named_twice_and_a_root_that_does_not_fit_are_refused() {
    let mut digest = pb::LedgerDigest::from(example(words::ledger_digest()));
    digest.root = "0".repeat(64);
    refused_at::<_, LedgerDigest>(digest.clone(), "root");
    let section = pb::SectionDigest { section: 1, rows: 1, sha256: "0".repeat(64) };
    digest.sections = vec![section.clone(), section];
    refused_at::<_, LedgerDigest>(digest, "sections[1].section");
}

#[test]
fn auto_is_no_strategy_of_a_plan() {
    let mut plan = pb::Plan::from(example(words::plan()));
    plan.binding.as_mut().unwrap().strategy = pb::Strategy::Auto.into();
    refused_at::<_, Plan>(plan, "binding.strategy");
}

#[test]
fn the_descriptor_set_holds_every_service_with_its_comments() {
    let set = prost_types::FileDescriptorSet::decode(cutover_proto::FILE_DESCRIPTOR_SET).unwrap();
    let ours: Vec<_> = set.file.iter().filter(|file| file.package() == "cutover.v1").collect();
    let mut services: Vec<_> = ours.iter().flat_map(|file| file.service.iter().map(|it| it.name())).collect();
    services.sort_unstable();
    assert_eq!(services, ["AgentLink", "Fleet", "Upgrades"]);
    for file in ours {
        assert_commented(file);
    }
}

/// Every service, rpc, message, field, oneof, enum and value has a comment: `docs/api.md` is made of them.
#[track_caller]
fn assert_commented(file: &prost_types::FileDescriptorProto) {
    let commented = |path: &[i32]| {
        let info = file.source_code_info.as_ref().expect("source info is kept");
        info.location.iter().any(|place| place.path == path && !place.leading_comments().trim().is_empty())
    };
    let check = |path: &[i32], name: &str| assert!(commented(path), "{}: {name} has no comment", file.name());
    for (index, message) in (0..).zip(&file.message_type) {
        check(&[4, index], message.name());
        for (field_index, field) in (0..).zip(&message.field) {
            check(&[4, index, 2, field_index], &format!("{}.{}", message.name(), field.name()));
        }
    }
    for (index, one) in (0..).zip(&file.enum_type) {
        check(&[5, index], one.name());
        for (value_index, value) in (0..).zip(&one.value) {
            check(&[5, index, 2, value_index], value.name());
        }
    }
    for (index, service) in (0..).zip(&file.service) {
        check(&[6, index], service.name());
        for (method_index, method) in (0..).zip(&service.method) {
            check(&[6, index, 2, method_index], method.name());
        }
    }
}

#[test]
fn a_version_on_the_wire_is_three_numbers() {
    let wire =
        pb::Up { at: Some(cutover_proto::convert::to_wire(Timestamp::from_millis(0))), version: "1.4".to_owned() };
    refused_at::<_, (Timestamp, Version)>(wire, "version");
}
