//! Several coordinators on one store, real agents linked to all of them, and the command line that is told all their addresses.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod agent;
mod proxy;
#[allow(
    clippy::all,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "the coordinator's test support, checked there"
)]
#[path = "../../../coordinator/tests/support/mod.rs"]
mod support;

use agent::agent;
use cutover::client::{Client, How};
use cutover_coordinator::faults::{Faults, NoFaults, Point};
use cutover_proto::transport::Endpoint;
use cutover_store::{CoordinatorName, Store as _};
use cutover_vocabulary::OperatorName;
use cutover_vocabulary::status::State;
use proxy::Proxy;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use support::{Backend, Coordinator, Site, StopAt, until};

/// Three coordinators behind proxies, the first of which leads.
struct Three {
    site: Site,
    coordinators: Vec<Option<Coordinator>>,
    proxies: Vec<Proxy>,
    sockets: Vec<Endpoint>,
}

impl Three {
    async fn new(first: Arc<dyn Faults>) -> Self {
        let site = Site::memory();
        let mut three = Self { coordinators: Vec::new(), proxies: Vec::new(), sockets: Vec::new(), site };
        let sockets: Vec<Endpoint> =
            (1..=3).map(|n| Endpoint::Unix(three.site.dir.path().join(format!("c{n}.sock")))).collect();
        for (n, socket) in sockets.iter().enumerate() {
            let faults = if n == 0 { first.clone() } else { Arc::new(NoFaults) };
            let coordinator = three.site.coordinator_at(&format!("c-{}", n + 1), socket, faults).await;
            three.coordinators.push(Some(coordinator));
            three.proxies.push(Proxy::before(socket, &three.site.dir.path().join(format!("p{}.sock", n + 1))));
            if n == 0 {
                let client = three.client_of(socket).await;
                until("the first to lead", || async { client.leader().await.ok()?.leading.then_some(()) }).await;
            }
        }
        three.sockets = sockets;
        three
    }

    async fn client_of(&self, socket: &Endpoint) -> Client {
        client(std::slice::from_ref(socket)).await
    }

    /// As `--coordinator` takes them.
    fn named(&self) -> String {
        cutover::client::named(&self.sockets)
    }

    async fn kill(&mut self, n: usize) {
        self.coordinators[n].take().unwrap().kill().await;
    }

    async fn stop(self) {
        for coordinator in self.coordinators.into_iter().flatten() {
            coordinator.stop().await;
        }
    }
}

async fn client(endpoints: &[Endpoint]) -> Client {
    until("somebody to listen", || async {
        Client::connect(endpoints, None, OperatorName::new("ops").unwrap()).await.ok()
    })
    .await
}

fn cutover(coordinators: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
    command.args(args).env("CUTOVER_COORDINATOR", coordinators).env("USER", "ops");
    command
}

async fn output(mut command: Command) -> (Output, Duration) {
    let began = tokio::time::Instant::now();
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output, began.elapsed())
}

fn appends(point: &Point) -> bool {
    matches!(point, Point::AfterAppend { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_whose_leader_is_killed_ends_without_a_connection_more_and_who_follows_sees_each_fact_once() {
    let faults = StopAt::new(12, appends);
    let mut three = Three::new(faults.clone()).await;
    let _agent = agent(three.proxies.iter().map(|proxy| proxy.endpoint.clone()).collect(), three.site.dir.path());
    let client = client(&three.sockets).await;
    until("every link", || async { three.proxies.iter().all(|proxy| proxy.connections() == 1).then_some(()) }).await;
    let plan = until("a plan", || async {
        client.plan(&"prod".parse().unwrap(), &"1.4.6".parse().unwrap(), &How::default()).await.ok()
    })
    .await;
    let _ = client.approve(plan.digest(), "we know", &Default::default()).await.unwrap();
    let upgrade = client.start(plan.digest()).await.unwrap();

    // The first address is one where nobody listens.
    let nowhere = format!("unix:{}/nowhere.sock,{}", three.site.dir.path().display(), three.named());
    let mut watch = cutover(&nowhere, &["--json", "watch", upgrade.as_str()]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let (told, seen) = std::sync::mpsc::channel();
    let reading = tokio::task::spawn_blocking(move || {
        let seen = lines.map(|line| {
            let _ = told.send(());
            line.unwrap()
        });
        seen.collect::<Vec<_>>()
    });
    faults.stopped.notified().await;
    tokio::task::spawn_blocking(move || seen.recv_timeout(Duration::from_secs(20)).unwrap()).await.unwrap();
    three.kill(0).await;

    let status = until("the end", || async {
        client.status(&upgrade).await.ok().filter(|status| status.state == State::Completed)
    })
    .await;
    assert!(status.epoch.0 > 1, "another one leads");
    assert_eq!((three.proxies[1].connections(), three.proxies[2].connections()), (1, 1), "no handshake more");
    let lines = reading.await.unwrap();
    assert_eq!(watch.wait().unwrap().code(), Some(0));
    let numbers: Vec<u64> = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["event"]["seq"].as_u64())
        .collect();
    assert_eq!(numbers, (1..=status.seq).collect::<Vec<_>>(), "each fact once");
    assert_eq!(three.site.facts(upgrade.as_str()).await.len() as u64, status.seq);
    three.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_deposed_without_a_word_has_its_agents_again_without_a_connection_more() {
    let three = Three::new(Arc::new(NoFaults)).await;
    let _agent = agent(three.proxies.iter().map(|proxy| proxy.endpoint.clone()).collect(), three.site.dir.path());
    let client = client(&three.sockets).await;
    let there = |after: u64| {
        let client = client.clone();
        async move {
            let leader = client.leader().await.ok()?;
            let instances = client.instances().await.ok()?;
            let connected = instances.iter().filter(|instance| instance.connected).count();
            (leader.epoch > after && connected > 0).then_some(leader.epoch)
        }
    };
    let before = until("the agent", || there(0)).await;
    let Backend::Memory(store) = &three.site.backend else { unreachable!() };
    store.depose();
    until("the agent under another epoch", || there(before)).await;
    assert!(three.proxies.iter().all(|proxy| proxy.connections() == 1));
    three.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_leads_for_longer_than_an_election_takes_it_is_said_who_was_asked_and_what_each_said() {
    let site = Site::memory();
    let Backend::Memory(store) = &site.backend else { unreachable!() };
    // A leader that is elected and not there.
    let ghost = store.another_handle();
    ghost.lead(&CoordinatorName::new("ghost").unwrap()).await.unwrap().unwrap();
    let sockets: Vec<Endpoint> = (1..=2).map(|n| Endpoint::Unix(site.dir.path().join(format!("c{n}.sock")))).collect();
    let mut all = Vec::new();
    for (n, socket) in sockets.iter().enumerate() {
        all.push(site.coordinator_at(&format!("c-{n}"), socket, Arc::new(NoFaults)).await);
        let _ = client(std::slice::from_ref(socket)).await;
    }
    let nowhere = format!("unix:{}/nowhere.sock", site.dir.path().display());
    let named = format!("{},{nowhere}", cutover::client::named(&sockets));
    let (several, waited) = output(cutover(&named, &["--json", "fleet"])).await;
    let said = String::from_utf8(several.stderr).unwrap();
    assert_eq!(several.status.code(), Some(1), "{said}");
    for part in
        [sockets[0].to_string(), sockets[1].to_string(), nowhere, "ghost does".to_owned(), "nobody answers".to_owned()]
    {
        assert!(said.contains(&part), "{part:?} in {said}");
    }
    assert!(said.contains("\"code\":\"NOT_LEADER\""), "{said}");
    assert!(waited >= Duration::from_secs(10) && waited < Duration::from_secs(40), "{waited:?}");

    // The only one that is named says at once who leads: it is for the caller to name that one.
    let (one, waited) = output(cutover(&sockets[0].to_string(), &["fleet"])).await;
    assert_eq!(one.status.code(), Some(1));
    assert!(String::from_utf8(one.stderr).unwrap().contains("ghost does") && waited < Duration::from_secs(9));

    // What was asked for before there is a leader is done by the one that is elected.
    let waits = tokio::spawn(output(cutover(&named, &["fleet"])));
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(ghost);
    let (found, _) = waits.await.unwrap();
    assert_eq!(found.status.code(), Some(0), "{found:?}");
    assert!(String::from_utf8(found.stdout).unwrap().contains("leads (epoch 2)"));
    for coordinator in all {
        coordinator.stop().await;
    }
}
