//! Three coordinator programs on an etcd of three members, and agents in this process: their own desks, journals and links, before
//! hosts that say true things and do nothing.

use crate::support::host::{self, Seen};
use crate::support::until;
use async_trait::async_trait;
use cutover::client::{Client, How};
use cutover_agent::perform::Perform;
use cutover_agent::run::{Agent, Pace, journal_file};
use cutover_proto::transport::Endpoint;
use cutover_test_etcd::Etcd;
use cutover_vocabulary::instance::InstanceReport;
use cutover_vocabulary::link::Permit;
use cutover_vocabulary::plan::Plan;
use cutover_vocabulary::survey::{HostSurvey, SurveyAsk};
use cutover_vocabulary::{Epoch, InstanceName, OperatorName, Order, OrderId, Outcome, Phase, UpgradeId};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// An election among members makes every lease begin anew, and with the tests' short times a busy machine has them all the time.
pub(super) const AS_INSTALLED: &[&str] = &["--heartbeat-interval", "100", "--election-timeout", "1000"];

/// What the agents see, and what they were asked.
pub(super) struct Hosts {
    plan: Plan,
    surveys: BTreeMap<String, HostSurvey>,
    /// An order that was asked is answered once this has grown; one of another phase than `holds_back` at once.
    released: watch::Sender<u64>,
    holds_back: Option<Phase>,
    pub(super) asked: Mutex<Vec<(OrderId, Instant)>>,
    /// When each agent first heard of each epoch.
    pub(super) heard: Mutex<BTreeMap<(Epoch, String), Instant>>,
}

impl Hosts {
    pub(super) fn release(&self) {
        self.released.send_modify(|count| *count += 1);
    }
    /// How many orders were asked since.
    pub(super) fn asked_since(&self, moment: Instant) -> Vec<Instant> {
        self.asked.lock().unwrap().iter().map(|(_, at)| *at).filter(|at| *at > moment).collect()
    }
    pub(super) fn asked_of(&self, phase: Phase) -> usize {
        self.asked.lock().unwrap().iter().filter(|(order, _)| order.phase == phase).count()
    }
}

struct Host {
    name: String,
    all: Arc<Hosts>,
}

#[async_trait]
impl Perform for Host {
    async fn perform(&self, order: &Order, cancelled: CancellationToken) -> Outcome {
        let mut released = self.all.released.subscribe();
        let begun = *released.borrow_and_update();
        self.all.asked.lock().unwrap().push((order.id.clone(), Instant::now()));
        if self.all.holds_back.is_none_or(|phase| order.id.phase == phase) {
            tokio::select! {
                _ = released.wait_for(|count| *count > begun) => {}
                () = cancelled.cancelled() => {}
            }
        }
        Outcome::Done(host::honest(&self.all.plan, order, host::now(0).wall))
    }
    async fn survey(&self, _: &SurveyAsk) -> HostSurvey {
        self.all.surveys[&self.name].clone()
    }
    async fn observe(&self) -> Vec<InstanceReport> {
        self.all.surveys[&self.name].instances.iter().map(|instance| instance.report.clone()).collect()
    }
    async fn permitted(&self, epoch: Epoch, _: &BTreeMap<InstanceName, Permit>) -> bool {
        self.all.heard.lock().unwrap().entry((epoch, self.name.clone())).or_insert_with(Instant::now);
        true
    }
}

/// All of it. Dropped, everything ends.
pub(super) struct Fleet {
    pub(super) hosts: Arc<Hosts>,
    pub(super) client: Client,
    coordinators: Vec<Option<Child>>,
    folder: tempfile::TempDir,
    _agents: Vec<AbortOnDropHandle<()>>,
    _etcd: Etcd,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in self.coordinators.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn coordinator(folder: &Path, number: usize) -> Child {
    let program = Path::new(env!("CARGO_BIN_EXE_cutover")).with_file_name("cutover-coordinator");
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new(&program);
    command.arg("--settings").arg(folder.join(format!("c{number}.toml"))).stdin(Stdio::null()).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

impl Fleet {
    /// So many agents, each linked to all coordinators. They answer at once; orders of `holds_back` when they are released, or
    /// all of them where that is none.
    pub(super) async fn start(agents: usize, holds_back: Option<Phase>) -> Self {
        let (folder, etcd) = (tempfile::tempdir().unwrap(), Etcd::start_with(3, None, AS_INSTALLED));
        let sockets: Vec<PathBuf> = (0..3).map(|number| folder.path().join(format!("c{number}.sock"))).collect();
        let endpoints: Vec<Endpoint> = sockets.iter().cloned().map(Endpoint::Unix).collect();
        for (number, socket) in sockets.iter().enumerate() {
            let text = format!(
                "name = \"c{number}\"\nlisten = \"unix:{}\"\nstore = \"etcd\"\n[etcd]\nendpoints = {:?}\nlease_seconds = 5\n",
                socket.display(),
                etcd.endpoints()
            );
            std::fs::write(folder.path().join(format!("c{number}.toml")), text).unwrap();
        }
        let coordinators = (0..3).map(|number| Some(coordinator(folder.path(), number))).collect();
        let names: Vec<&'static str> = (0..agents).map(|number| &*format!("i{number:04}").leak()).collect();
        let seen = Seen { instances: names, storage: host::database(), ..Seen::default() };
        let surveys = seen.surveys().into_iter().map(|survey| (survey.agent.to_string(), survey)).collect();
        let hosts = Arc::new(Hosts {
            plan: seen.plan(),
            surveys,
            released: watch::Sender::new(0),
            holds_back,
            asked: Mutex::default(),
            heard: Mutex::default(),
        });
        let running = hosts.surveys.keys().map(|name| agent(name, &hosts, &endpoints, folder.path())).collect();
        let client = until("a coordinator", || async {
            Client::connect(&endpoints, None, OperatorName::new("ops").unwrap()).await.ok()
        })
        .await;
        Self { hosts, client, coordinators, folder, _agents: running, _etcd: etcd }
    }

    /// Plans, approves and starts, once every agent is there.
    pub(super) async fn begin(&self) -> UpgradeId {
        let (deployment, target) = ("prod".parse().unwrap(), "1.4.6".parse().unwrap());
        let all = self.hosts.surveys.len();
        patiently("every agent", || async {
            let there = self.client.instances().await.ok()?;
            (there.iter().filter(|instance| instance.connected).count() == all).then_some(())
        })
        .await;
        let plan =
            patiently("a plan", || async { self.client.plan(&deployment, &target, &How::default()).await.ok() }).await;
        let _ = self.client.approve(plan.digest(), "a bench", &Default::default()).await.unwrap();
        self.client.start(plan.digest()).await.unwrap()
    }

    /// The number of the coordinator that leads, and its epoch.
    pub(super) async fn leader(&self) -> (usize, Epoch) {
        patiently("a leader", || async {
            let leader = self.client.leader().await.ok()?;
            let number = leader.name?.strip_prefix('c')?.parse().ok()?;
            Some((number, Epoch(leader.epoch)))
        })
        .await
    }

    /// As `kill -9`.
    pub(super) fn kill(&mut self, number: usize) -> Instant {
        let mut child = self.coordinators[number].take().unwrap();
        let moment = Instant::now();
        child.kill().unwrap();
        child.wait().unwrap();
        moment
    }

    pub(super) fn start_again(&mut self, number: usize) {
        self.coordinators[number] = Some(coordinator(self.folder.path(), number));
    }

    /// Resident memory in kB and processor time in hundredths of a second, by proc(5).
    pub(super) fn used(&self, number: usize) -> (u64, u64) {
        let id = self.coordinators[number].as_ref().unwrap().id();
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{id}/{name}")).unwrap();
        let status = read("status");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let stat = read("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        (resident.trim().trim_end_matches(" kB").parse().unwrap(), ticks)
    }
}

fn agent(name: &str, all: &Arc<Hosts>, coordinators: &[Endpoint], folder: &Path) -> AbortOnDropHandle<()> {
    let state = folder.join(name);
    std::fs::create_dir(&state).unwrap();
    let reports = all.surveys[name].instances.iter().map(|instance| &instance.report);
    let instances = reports.map(|report| (report.instance.clone(), report.deployment.clone())).collect();
    let agent = Agent {
        host: cutover_desk::Host { agent: name.parse().unwrap(), instances },
        journal: journal_file(&state),
        coordinators: coordinators.to_vec(),
        tls: None,
        machine: "m1".to_owned(),
        boot: "boot".to_owned(),
        pace: Pace::default(),
    };
    let host = Arc::new(Host { name: name.to_owned(), all: all.clone() });
    AbortOnDropHandle::new(tokio::spawn(async move {
        agent.run(host, CancellationToken::new()).await.unwrap();
    }))
}

/// [`until`] with the patience that a thousand agents on two cores need.
pub(super) async fn patiently<T, F: Future<Output = Option<T>>>(what: &str, check: impl Fn() -> F) -> T {
    let waiting = async {
        loop {
            if let Some(value) = check().await {
                return value;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let long = std::time::Duration::from_secs(300);
    tokio::time::timeout(long, waiting).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
