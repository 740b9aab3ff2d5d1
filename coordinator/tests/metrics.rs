//! What Prometheus is told, over a real socket, while a real upgrade is held and after it has ended.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod support;

use cutover_proto::v1 as pb;
use cutover_vocabulary::status::State;
use cutover_vocabulary::{Evidence, Fact, Phase, Recorded};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use support::host::Seen;
use support::{FakeAgent, Manners, Site, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The answer to one request: its status line, headers and body.
async fn ask(address: SocketAddr, method: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

type Sample = (String, BTreeMap<String, String>);

/// One scrape, every line of it understood.
struct Scrape(BTreeMap<Sample, f64>);
impl Scrape {
    async fn of(address: SocketAddr) -> Self {
        let (head, body) = ask(address, "GET", "/metrics").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("text/plain; version=0.0.4"), "{head}");
        let (mut helped, mut typed, mut samples) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(help.len() > 10 && helped.insert(name.to_owned()), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(name.starts_with("cutover_"), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(["counter", "gauge"].contains(&kind), "{line}");
                typed.insert(name.to_owned(), kind.to_owned());
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                assert!(helped.contains(name) && typed.contains_key(name), "{line}");
                let labels = labels.strip_suffix('}').unwrap();
                let pair = |pair: &str| {
                    let (key, value) = pair.split_once('=').unwrap();
                    (key.to_owned(), value.trim_matches('"').to_owned())
                };
                let labels = labels.split(',').filter(|pair| !pair.is_empty()).map(pair).collect();
                assert!(samples.insert((name.to_owned(), labels), value.parse().unwrap()).is_none(), "twice: {line}");
            }
        }
        Self(samples)
    }
    /// The values of a metric, by one of its labels.
    fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mine = self.0.iter().filter(|((metric, _), _)| metric == name);
        mine.map(|((_, labels), value)| (labels.get(label).cloned().unwrap_or_default(), *value)).collect()
    }
    fn one(&self, name: &str) -> f64 {
        let values: Vec<f64> =
            self.0.iter().filter(|((metric, _), _)| metric == name).map(|(_, value)| *value).collect();
        assert_eq!(values.len(), 1, "{name}");
        values[0]
    }
    /// The one that is 1.
    fn only(&self, name: &str, label: &str) -> String {
        let set: Vec<String> =
            self.by(name, label).into_iter().filter(|(_, value)| *value == 1.0).map(|(word, _)| word).collect();
        assert_eq!(set.len(), 1, "{name}: {set:?}");
        set[0].clone()
    }
    fn label_values(&self, label: &str) -> BTreeSet<&str> {
        self.0.keys().filter_map(|(_, labels)| labels.get(label)).map(String::as_str).collect()
    }
}

/// From the first drain to the first instance that answers clients, by the facts.
fn downtime(facts: &[Recorded]) -> f64 {
    let at = |wanted: &dyn Fn(&Fact) -> bool| facts.iter().find(|recorded| wanted(&recorded.fact)).unwrap().at;
    let from = at(&|fact| matches!(fact, Fact::StageEntered { stage, .. } if stage.phase == Phase::Drain));
    let to = at(&|fact| matches!(fact, Fact::StepSucceeded { evidence: Evidence::Opened { .. }, .. }));
    from.until(to).duration().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_says_what_status_says_while_it_is_held_and_after_it_has_ended_until_it_is_closed() {
    let mut site = Site::memory();
    let address = cutover_trial_postgres::free_address().unwrap();
    site.metrics = Some(address);
    let coordinator = site.coordinator().await;
    let manners = Manners { fails: Some(Phase::Migrate), ..Manners::default() };
    let agent = FakeAgent::start(&site.endpoint, Seen::default(), manners);
    let mut client = site.client();
    let upgrade = client.begin().await;
    let held = client.reaches(&upgrade, State::Held).await;
    let scrape = until("the hold to have lasted", || async {
        let scrape = Scrape::of(address).await;
        (scrape.one("cutover_upgrade_held_seconds") > 0.05 && scrape.one("cutover_agent_linked") == 1.0)
            .then_some(scrape)
    })
    .await;
    let failures: usize = held.stages.iter().map(|stage| stage.failures.len()).sum();
    assert!(failures > 0);
    assert_eq!(scrape.only("cutover_upgrade_state", "state"), "held");
    assert_eq!(scrape.by("cutover_upgrade_state", "state").len(), State::ALL.len());
    assert_eq!(scrape.only("cutover_upgrade_phase", "phase"), "migrate");
    assert_eq!(scrape.by("cutover_upgrade_phase", "phase").len(), Phase::ALL.len());
    assert_eq!(scrape.one("cutover_upgrade_open_holds"), 1.0);
    assert_eq!(scrape.one("cutover_upgrade_holds_total"), 1.0);
    assert_eq!(scrape.one("cutover_upgrade_failed_attempts_total"), failures as f64);
    assert_eq!(scrape.one("cutover_upgrade_facts_total"), held.seq as f64);
    let page = include_str!("../../docs/watching.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(name, _)| name);
    // A leader follows nobody.
    let of_a_leader = |name: &&str| name.starts_with("cutover_") && *name != "cutover_follows";
    let documented: BTreeSet<&str> = rows.filter(of_a_leader).collect();
    assert_eq!(scrape.0.keys().map(|(name, _)| name.as_str()).collect::<BTreeSet<_>>(), documented);
    let shut_out = scrape.one("cutover_upgrade_downtime_seconds");
    assert!(shut_out >= scrape.one("cutover_upgrade_held_seconds"), "{shut_out}");
    // Times are whole milliseconds, and two scrapes may be of one.
    until("the time without service to grow", || async {
        (Scrape::of(address).await.one("cutover_upgrade_downtime_seconds") > shut_out).then_some(())
    })
    .await;
    assert_eq!(scrape.one("cutover_upgrade_orders_out"), 0.0);
    assert_eq!((scrape.one("cutover_leads"), scrape.one("cutover_epoch")), (1.0, held.epoch.0 as f64));
    assert_eq!(scrape.only("cutover_build_info", "version"), env!("CARGO_PKG_VERSION"));
    assert!(scrape.by("cutover_agent_silence_seconds", "agent")["host-a"] < 10.0);
    assert_eq!(scrape.label_values("deployment"), ["prod"].into());
    assert_eq!(scrape.label_values("upgrade"), [upgrade.as_str()].into());
    assert_eq!(scrape.label_values("agent"), ["host-a"].into());
    assert_eq!(scrape.label_values("instance"), ["a"].into());
    let keys: BTreeSet<&str> = scrape.0.keys().flat_map(|(_, labels)| labels.keys()).map(String::as_str).collect();
    assert_eq!(keys, ["agent", "deployment", "instance", "kind", "phase", "state", "upgrade", "version"].into());

    drop(agent);
    let _agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    let asked = pb::DecideRequest {
        upgrade: upgrade.clone(),
        hold: held.holds[0].id.0,
        choice: pb::Choice::Retry.into(),
        reason: "the journal was damaged".to_owned(),
        request_id: "retry-1".to_owned(),
        operator: "ops".to_owned(),
    };
    client.upgrades.decide(asked).await.unwrap();
    let ended = client.reaches(&upgrade, State::Completed).await;
    let scrape = Scrape::of(address).await;
    assert_eq!(scrape.only("cutover_upgrade_state", "state"), "completed");
    assert_eq!(scrape.one("cutover_upgrade_held_seconds"), 0.0);
    assert_eq!((scrape.one("cutover_upgrade_open_holds"), scrape.one("cutover_upgrade_holds_total")), (0.0, 1.0));
    assert_eq!(scrape.one("cutover_upgrade_facts_total"), ended.seq as f64);
    let seen = scrape.one("cutover_upgrade_downtime_seconds");
    assert_eq!(seen, downtime(&site.facts(&upgrade).await));

    // The next one takes its place, and a closed one has none.
    let next = client.begin_again().await;
    client.reaches(&next, State::Completed).await;
    client.status(&upgrade).await;
    assert_eq!(Scrape::of(address).await.label_values("upgrade"), [next.as_str()].into());
    let steer = client.steer(&next, "close-1").await;
    client.upgrades.close(steer).await.unwrap();
    let scrape = Scrape::of(address).await;
    assert!(scrape.label_values("upgrade").is_empty() && scrape.one("cutover_leads") == 1.0);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_get_of_metrics_is_refused_and_a_caller_that_says_nothing_keeps_nobody_out() {
    let mut site = Site::memory();
    let address = cutover_trial_postgres::free_address().unwrap();
    site.metrics = Some(address);
    let coordinator = site.coordinator().await;
    let silent = until("the address to be open", || async { TcpStream::connect(address).await.ok() }).await;
    for (method, path, status) in
        [("POST", "/metrics", 405), ("HEAD", "/metrics", 405), ("GET", "/", 404), ("GET", "/metrics/x", 404)]
    {
        let (head, _) = ask(address, method, path).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{method} {path}: {head}");
    }
    let (head, _) = ask(address, "GET", "/metrics?collect[]=x").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    drop(silent);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_follows_says_so_and_nothing_of_upgrades() {
    let mut site = Site::memory();
    let leader = site.coordinator().await;
    let _agent = FakeAgent::start(&site.endpoint, Seen::default(), Manners::default());
    let upgrade = site.client().begin().await;
    let address = cutover_trial_postgres::free_address().unwrap();
    site.metrics = Some(address);
    let other = cutover_proto::transport::Endpoint::Unix(site.dir.path().join("other.sock"));
    let follower = site.coordinator_at("c-2", &other, std::sync::Arc::new(cutover_coordinator::faults::NoFaults)).await;
    until("the address to be open", || async { TcpStream::connect(address).await.ok() }).await;
    let scrape = until("it to know whom it follows", || async {
        let scrape = Scrape::of(address).await;
        (scrape.label_values("leader") == ["c-1"].into()).then_some(scrape)
    })
    .await;
    assert_eq!(scrape.one("cutover_follows"), 1.0);
    assert_eq!((scrape.one("cutover_leads"), scrape.one("cutover_epoch")), (0.0, 0.0));
    assert!(scrape.label_values("upgrade").is_empty() && scrape.label_values("agent").is_empty());
    site.client().reaches(&upgrade, State::Completed).await;
    leader.stop().await;
    until("the follower to lead", || async {
        let scrape = Scrape::of(address).await;
        (scrape.label_values("upgrade") == [upgrade.as_str()].into()
            && scrape.label_values("leader").is_empty()
            && scrape.one("cutover_leads") == 1.0)
            .then_some(())
    })
    .await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_named_with_what_to_do() {
    let mut site = Site::memory();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    site.metrics = Some(taken.local_addr().unwrap());
    let error = site.coordinator().await.task.await.unwrap().unwrap_err().to_string();
    assert!(error.contains(&taken.local_addr().unwrap().to_string()) && error.contains("`metrics`"), "{error}");
}
