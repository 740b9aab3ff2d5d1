//! A rejoin over the API: who was away comes to what the deployment is to run, and that stays what it is, however it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod support;

use cutover_proto::transport::connect_lazy;
use cutover_proto::v1::fleet_client::FleetClient;
use cutover_proto::{Code, Refused, v1 as pb};
use cutover_vocabulary::Phase;
use cutover_vocabulary::link::Permit;
use cutover_vocabulary::plan::Plan;
use cutover_vocabulary::status::State;
use support::host::{NEW, OLD, Seen, database, version};
use support::{FakeAgent, Manners, Site, persist, until};

fn agent(site: &Site, name: &'static str, seen: Seen, manners: Manners) -> FakeAgent {
    let seen = Seen { instances: vec![name], storage: database(), ..seen };
    FakeAgent::named(&site.endpoint, seen, manners, name, &format!("inc-{name}"), Default::default())
}

/// Of a host that took part in the upgrade.
fn upgraded() -> Seen {
    Seen::three_at(NEW, 6)
}

async fn rejoin(site: &Site, request: &str, instances: &[&str]) -> Result<Plan, Refused> {
    let plan = persist(|| async {
        let asked = pb::MakePlanRequest {
            deployment: "prod".to_owned(),
            strategy: pb::Strategy::Rejoin.into(),
            request_id: request.to_owned(),
            operator: "ops".to_owned(),
            instances: instances.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        site.client().upgrades.make_plan(asked).await
    });
    plan.await.map(|plan| Plan::try_from(plan).unwrap())
}

async fn deployment(site: &Site) -> pb::Deployment {
    let asked = pb::GetDeploymentRequest { name: "prod".to_owned() };
    let mut fleet = FleetClient::new(connect_lazy(&site.endpoint));
    fleet.get_deployment(asked).await.unwrap().into_inner().deployment.unwrap()
}

/// Hosts a and b are upgraded; then c is back, with what it had.
async fn with_one_that_was_off(site: &Site, manners: Manners) -> [FakeAgent; 3] {
    let old =
        [agent(site, "a", Seen::default(), Manners::default()), agent(site, "b", Seen::default(), Manners::default())];
    until("both hosts", || async {
        let asked = pb::ListInstancesRequest { deployment: None };
        let listed = FleetClient::new(connect_lazy(&site.endpoint)).list_instances(asked).await.ok()?.into_inner();
        (listed.instances.len() == 2).then_some(())
    })
    .await;
    let refused = rejoin(site, "too-early", &[]).await.unwrap_err();
    assert_eq!(refused.code, Code::Blocked);
    assert!(refused.message.contains("nothing says which release deployment prod is to run"), "{refused:?}");
    let upgrade = site.client().begin().await;
    let status = site.client().reaches(&upgrade, State::Completed).await;
    assert_eq!(status.target, version(NEW));
    drop(old);
    let away = Seen { away: vec!["c"], ..upgraded() };
    let now = [
        agent(site, "a", upgraded(), Manners::default()),
        agent(site, "b", upgraded(), Manners::default()),
        agent(site, "c", away, manners),
    ];
    until("all three hosts", || async {
        let asked = pb::ListInstancesRequest { deployment: None };
        let listed = FleetClient::new(connect_lazy(&site.endpoint)).list_instances(asked).await.ok()?.into_inner();
        let back = |instance: &pb::Instance| {
            let report = instance.report.as_ref();
            let off = instance.name == "c";
            // The former link of a host may be there still, with what it had.
            let runs = (!off).then_some("1.4.6");
            instance.connected && report.is_some_and(|report| report.fenced == off && report.running.as_deref() == runs)
        };
        (listed.instances.len() == 3 && listed.instances.iter().all(back)).then_some(())
    })
    .await;
    now
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_off_is_brought_in_alone_and_the_release_to_run_is_told_before_meanwhile_and_after() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let [a, b, c] = with_one_that_was_off(&site, Manners { ignores: Some(Phase::Bake), ..Manners::default() }).await;
    assert_eq!(deployment(&site).await.allowed.as_deref(), Some("1.4.6"));
    let plan = rejoin(&site, "plan-c", &[]).await.unwrap();
    let names =
        |names: Vec<&cutover_vocabulary::InstanceName>| names.into_iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(plan.binding.members.keys().collect()), ["c"], "{:#?}", plan.observed.findings);
    assert_eq!(names(plan.binding.beside.keys().collect()), ["a", "b"]);
    assert_eq!((&plan.binding.from, &plan.binding.target.version), (&version(OLD), &version(NEW)));
    let upgrade = site.client().start(&plan.digest().to_string(), "start-c").await.unwrap();
    until("it is watched", || async {
        c.journal.lock().unwrap().orders.keys().any(|id| id.phase == Phase::Bake).then_some(())
    })
    .await;
    assert_eq!(deployment(&site).await.allowed.as_deref(), Some("1.4.6"), "meanwhile");
    // A coordinator that begins anew goes on with it.
    coordinator.kill().await;
    drop(c);
    let away = Seen { away: vec!["c"], ..upgraded() };
    let c = agent(&site, "c", away, Manners::default());
    let coordinator = site.coordinator().await;
    let status = site.client().reaches(&upgrade, State::Completed).await;
    assert_eq!(status.instances.len(), 1);
    assert_eq!(deployment(&site).await.allowed.as_deref(), Some("1.4.6"), "after");
    for other in [&a, &b] {
        let asked = other.journal.lock().unwrap().orders.keys().filter(|id| id.upgrade.as_str() == upgrade).count();
        assert_eq!(asked, 0, "the others are asked nothing");
    }
    assert!(c.journal.lock().unwrap().violations.is_empty());
    coordinator.stop().await;
}

/// Its host may reboot while it is watched.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_a_rejoin_may_start_by_itself_once_it_was_opened_and_not_before() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let until = |phase| Manners { ignores: Some(phase), ..Manners::default() };
    let [_a, _b, mut c] = with_one_that_was_off(&site, until(Phase::Open)).await;
    let plan = rejoin(&site, "plan-c", &[]).await.unwrap();
    site.client().start(&plan.digest().to_string(), "start-c").await.unwrap();
    for (phase, may) in [(Phase::Open, None), (Phase::Bake, Some(Permit::Start))] {
        support::until("its order", || async {
            c.journal.lock().unwrap().orders.keys().any(|id| id.phase == phase).then_some(())
        })
        .await;
        // It boots, with its release in its place.
        drop(c);
        c = agent(&site, "c", upgraded(), until(phase));
        support::until("a word", || async { (c.journal.lock().unwrap().words > 0).then_some(()) }).await;
        let name = cutover_vocabulary::InstanceName::new("c").unwrap();
        assert_eq!(c.journal.lock().unwrap().permits.get(&name), may.as_ref(), "before {phase}");
        drop(c);
        c = agent(&site, "c", Seen { away: vec!["c"], ..upgraded() }, until(Phase::Bake));
    }
    drop(c);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejoin_that_goes_back_leaves_the_release_to_run_as_it_was_and_can_be_begun_again() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let _all = with_one_that_was_off(&site, Manners { fails: Some(Phase::StartClosed), ..Manners::default() }).await;
    for attempt in ["first", "second"] {
        let plan = rejoin(&site, &format!("plan-{attempt}"), &["c"]).await.unwrap();
        let upgrade = site.client().start(&plan.digest().to_string(), &format!("start-{attempt}")).await.unwrap();
        site.client().reaches(&upgrade, State::Aborted).await;
        assert_eq!(deployment(&site).await.allowed.as_deref(), Some("1.4.6"));
    }
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_meaning_in_a_rejoin_or_only_there_is_refused_by_its_field() {
    let site = Site::memory();
    let coordinator = site.coordinator().await;
    let fleet = FleetClient::new(connect_lazy(&site.endpoint));
    until("it leads", || async {
        fleet.clone().get_leader(pb::GetLeaderRequest {}).await.ok()?.into_inner().leading.then_some(())
    })
    .await;
    let asked = |strategy: pb::Strategy, instances: Vec<String>, rehearse_only| pb::MakePlanRequest {
        deployment: "prod".to_owned(),
        target: "1.4.6".to_owned(),
        strategy: strategy.into(),
        request_id: "r-1".to_owned(),
        operator: "ops".to_owned(),
        instances,
        rehearse_only,
        ..Default::default()
    };
    let cases = [
        ("instances", asked(pb::Strategy::Auto, vec!["c".to_owned()], false)),
        ("instances[0]", asked(pb::Strategy::Rejoin, vec!["NO NAME".to_owned()], false)),
        ("rehearse_only", asked(pb::Strategy::Rejoin, Vec::new(), true)),
        ("target", pb::MakePlanRequest { target: String::new(), ..asked(pb::Strategy::Auto, Vec::new(), false) }),
    ];
    for (field, asked) in cases {
        let refused = Refused::of(&site.client().upgrades.make_plan(asked).await.unwrap_err()).unwrap();
        assert_eq!((refused.code, refused.metadata["field"].as_str()), (Code::InvalidArgument, field));
    }
    coordinator.stop().await;
}
