//! Clients behind a load balancer: what it is told, and which of its connections hold up a stop.

use crate::support::{Bed, instance, source, until};
use cutover_agent::host::Host;
use cutover_agent::perform::Perform as _;
use cutover_agent::readiness;
use cutover_vocabulary::outcome::{DrainProof, FailureKind};
use cutover_vocabulary::phase::{Phase, Subject};
use cutover_vocabulary::{Elapsed, Evidence, Failure, Order, Outcome, Work};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The host with its readiness served, and where.
async fn served(bed: &Bed, grace: u64) -> (Arc<Host>, SocketAddr) {
    let path = bed.dir.path().join("agent.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("readiness = \"127.0.0.1:1\"\nreadiness_grace_seconds = {grace}\n{text}")).unwrap();
    let host = Arc::new(bed.restarted_host());
    let listener = readiness::listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap();
    let address = listener.as_ref().unwrap().local_addr().unwrap();
    let theirs = Arc::clone(&host);
    tokio::spawn(async move { readiness::serve(listener, &theirs).await });
    (host, address)
}

async fn asked(address: SocketAddr, path: &str) -> (u16, String) {
    let path = path.to_owned();
    let ask = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

async fn carried_out(host: &Host, order: &Order) -> Result<DrainProof, Failure> {
    match host.perform(order, CancellationToken::new()).await {
        Outcome::Done(Evidence::Drained(proof)) => Ok(proof),
        Outcome::Failed(failure) => Err(failure),
        other => panic!("{other:?}"),
    }
}

fn drain(bed: &Bed, patience: Elapsed) -> Order {
    bed.order(Phase::Drain, Subject::Instance(instance()), Work::Drain { patience, for_good: false })
}

/// A connection that stays open from one request to the next.
struct KeptAlive(BufReader<TcpStream>);

impl KeptAlive {
    fn to(bed: &Bed) -> Self {
        Self(BufReader::new(TcpStream::connect(("127.0.0.1", bed.port)).unwrap()))
    }
    fn ask(&mut self, method: &str, path: &str, body: &str) {
        let length = body.len();
        write!(
            self.0.get_mut(),
            "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
    }
    fn answer(&mut self) -> u16 {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("cut off: {line:?}")).parse().unwrap();
        let mut length = 0;
        loop {
            let mut header = String::new();
            self.0.read_line(&mut header).unwrap();
            if header == "\r\n" {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        self.0.read_exact(&mut vec![0; length]).unwrap();
        status
    }
    fn name(&self) -> String {
        self.0.get_ref().local_addr().unwrap().to_string()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_balancer_is_told_whether_an_instance_may_have_clients_and_why_not() {
    let bed = Bed::new("").await;
    let (host, address) = served(&bed, 0).await;
    assert_eq!(asked(address, "/ready/ledger-a").await, (503, "ledger-a: not running\n".to_owned()));
    bed.serve().await;
    assert_eq!(asked(address, "/ready/ledger-a").await, (200, "ledger-a: ready\n".to_owned()));
    assert_eq!(asked(address, "/ready/ledger-b").await.0, 404);
    assert_eq!(asked(address, "/metrics").await.0, 404);
    carried_out(&host, &drain(&bed, Elapsed(10_000))).await.unwrap();
    assert_eq!(asked(address, "/ready/ledger-a").await, (503, "ledger-a: fenced\n".to_owned()));
    let open = bed.order(Phase::Reopen, Subject::Instance(instance()), bed.opening(source()).await);
    let opened = host.perform(&open, CancellationToken::new()).await;
    assert!(matches!(opened, Outcome::Done(_)), "{opened:?}");
    assert_eq!(asked(address, "/ready/ledger-a").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_was_started_and_not_yet_let_in_is_not_ready() {
    let bed = Bed::new("into_rotation = [\"false\"]").await;
    let (host, address) = served(&bed, 0).await;
    bed.serve().await;
    carried_out(&host, &drain(&bed, Elapsed(10_000))).await.unwrap();
    let open = bed.order(Phase::Reopen, Subject::Instance(instance()), bed.opening(source()).await);
    let failed = host.perform(&open, CancellationToken::new()).await;
    assert!(matches!(failed, Outcome::Failed(_)), "{failed:?}");
    assert!(bed.get("/_info").is_some(), "it runs");
    assert_eq!(asked(address, "/ready/ledger-a").await, (503, "ledger-a: out of rotation\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_says_it_first_and_gives_the_load_balancer_its_grace() {
    let bed = Bed::new("").await;
    let (host, address) = served(&bed, 3).await;
    bed.serve().await;
    let order = drain(&bed, Elapsed(10_000));
    let draining = tokio::spawn(async move { carried_out(&host, &order).await });
    let mut said = asked(address, "/ready/ledger-a").await;
    for _ in 0..1_000 {
        if said.0 == 503 {
            break;
        }
        said = asked(address, "/ready/ledger-a").await;
    }
    assert_eq!(said, (503, "ledger-a: draining\n".to_owned()));
    assert!(bed.get("/_info").is_some(), "clients that come within the grace are served");
    draining.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_a_load_balancer_keeps_open_does_not_hold_up_a_drain_and_is_counted() {
    let bed = Bed::new("out_of_rotation = [\"true\"]\nlongest_request_seconds = 3").await;
    bed.serve().await;
    let (mut used, _never_used) = (KeptAlive::to(&bed), KeptAlive::to(&bed));
    used.ask("GET", "/_info", "");
    assert_eq!(used.answer(), 200);
    let proof = carried_out(&bed.host, &drain(&bed, Elapsed(20_000))).await.unwrap();
    assert_eq!((proof.connections, proof.idle), (0, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_takes_it_out_of_rotation_every_connection_holds_and_is_named() {
    let bed = Bed::new("longest_request_seconds = 1").await;
    bed.serve().await;
    let mut used = KeptAlive::to(&bed);
    used.ask("GET", "/_info", "");
    assert_eq!(used.answer(), 200);
    let held = carried_out(&bed.host, &drain(&bed, Elapsed(4_000))).await.unwrap_err();
    assert_eq!(held.kind, FailureKind::StillRuns);
    assert!(
        held.message.contains(&format!(
            "1 active and 0 idle connections on port {} (active: {})",
            bed.port,
            used.name()
        )),
        "{held:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_computes_with_nothing_on_the_wire_is_waited_for_and_answered() {
    let bed = Bed::new("out_of_rotation = [\"true\"]\nlongest_request_seconds = 3").await;
    bed.fault("NUMARY_SIM_SLOW_WRITES=6000\n");
    bed.serve().await;
    let mut client = KeptAlive::to(&bed);
    client.ask("GET", "/_info", "");
    assert_eq!(client.answer(), 200);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let body = "{\"postings\":[{\"source\":\"world\",\"destination\":\"a\",\"amount\":1,\"asset\":\"USD\"}]}";
    client.ask("POST", "/main/transactions", body);
    until("the request is under way", || bed.dir.path().join("data/numary_main.db").exists()).await;
    let order = drain(&bed, Elapsed(20_000));
    let ((), proof) = tokio::join!(
        async {
            let status = tokio::task::spawn_blocking(move || (client.answer(), client)).await.unwrap();
            assert_eq!(status.0, 200);
            drop(status);
        },
        carried_out(&bed.host, &order)
    );
    assert_eq!(proof.unwrap().connections, 0);
}
