//! Where coordinators run in a test, and what operators do there.

use super::host;
use cutover_coordinator::faults::{Faults, NoFaults, Point};
use cutover_coordinator::settings::HookCommand;
use cutover_coordinator::{CannotRun, Parts, Settings, clock::SystemClock, run_with};
use cutover_proto::transport::{Endpoint, connect_lazy, listen};
use cutover_proto::v1 as pb;
use cutover_proto::v1::upgrades_client::UpgradesClient;
use cutover_proto::{Code, Refused};
use cutover_store::{CoordinatorName, EtcdSettings, EtcdStore, MemoryStore, SqliteStore, Store};
use cutover_test_etcd::Etcd;
use cutover_vocabulary::fact::Fact;
use cutover_vocabulary::plan::Limits;
use cutover_vocabulary::status::{State, Status as UpgradeStatus};
use cutover_vocabulary::{Digest, Elapsed, Order, OrderId, Recorded, UpgradeId};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Response, Status};

/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for a condition.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, check: impl Fn() -> F) -> T {
    let waiting = async {
        loop {
            if let Some(value) = check().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Repeats a call, with the same request id, while nobody leads or agents are not back yet. A refusal that will stay is
/// returned.
pub async fn persist<T, F: Future<Output = Result<Response<T>, Status>>>(call: impl Fn() -> F) -> Result<T, Refused> {
    until("an answer", || async {
        match tokio::time::timeout(Duration::from_secs(2), call()).await {
            Ok(Ok(answer)) => Some(Ok(answer.into_inner())),
            Ok(Err(status)) => match Refused::of(&status) {
                Some(Refused {
                    code: Code::NotLeader | Code::StoreUnavailable | Code::AgentNotSeen | Code::NoSuchDeployment,
                    ..
                })
                | None => None,
                Some(refused) => Some(Err(refused)),
            },
            Err(_) => None,
        }
    })
    .await
}

/// The store of a test.
pub enum Backend {
    Memory(MemoryStore),
    Sqlite(PathBuf),
    Etcd(Arc<Etcd>),
    Other(Arc<dyn Store>),
}

/// A folder, an address and a store.
pub struct Site {
    pub dir: tempfile::TempDir,
    pub endpoint: Endpoint,
    pub backend: Backend,
    pub limits: Limits,
    pub metrics: Option<SocketAddr>,
    pub hook: Option<HookCommand>,
}

/// A coordinator that runs.
pub struct Coordinator {
    pub task: JoinHandle<Result<(), CannotRun>>,
    pub shutdown: CancellationToken,
}
impl Coordinator {
    /// As `kill -9`: nothing of it goes on.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

impl Site {
    pub fn memory() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::Unix(dir.path().join("c.sock"));
        Self {
            dir,
            endpoint,
            backend: Backend::Memory(MemoryStore::new()),
            limits: Limits::default(),
            metrics: None,
            hook: None,
        }
    }
    pub fn sqlite() -> Self {
        let mut site = Self::memory();
        site.backend = Backend::Sqlite(site.dir.path().join("c.db"));
        site
    }
    pub fn etcd() -> Self {
        let mut site = Self::memory();
        site.backend = Backend::Etcd(Arc::new(Etcd::start(1)));
        site
    }
    pub async fn store(&self) -> Arc<dyn Store> {
        match &self.backend {
            Backend::Memory(store) => Arc::new(store.another_handle()),
            Backend::Other(store) => store.clone(),
            Backend::Sqlite(path) => Arc::new(SqliteStore::open(path).await.unwrap()),
            Backend::Etcd(etcd) => Arc::new(EtcdStore::open(EtcdSettings::new(etcd.endpoints())).unwrap()),
        }
    }
    pub async fn coordinator(&self) -> Coordinator {
        self.coordinator_at("c-1", &self.endpoint, Arc::new(NoFaults)).await
    }
    pub async fn coordinator_at(&self, name: &str, endpoint: &Endpoint, faults: Arc<dyn Faults>) -> Coordinator {
        let name = CoordinatorName::new(name).unwrap();
        let mut settings =
            Settings::new(name, endpoint.clone(), cutover_coordinator::settings::StorePlace::Memory).unwrap();
        settings.limits = self.limits.clone();
        settings.metrics = self.metrics;
        settings.hook.clone_from(&self.hook);
        settings.survey = Elapsed::from_secs(2);
        let listening = until("the socket to be free", || async { listen(endpoint).await.ok() }).await;
        let shutdown = CancellationToken::new();
        let parts = Parts {
            settings,
            store: self.store().await,
            listening,
            shutdown: shutdown.clone(),
            clock: Arc::new(SystemClock),
            faults,
        };
        Coordinator { task: tokio::spawn(run_with(parts)), shutdown }
    }
    pub fn client(&self) -> Client {
        Client { upgrades: UpgradesClient::new(connect_lazy(&self.endpoint)) }
    }
    /// Every fact as the store holds it.
    pub async fn facts(&self, upgrade: &str) -> Vec<Recorded> {
        let mut facts: Vec<Recorded> = Vec::new();
        let store = self.store().await;
        let id = cutover_vocabulary::UpgradeId::new(upgrade).unwrap();
        loop {
            let page = store.load(&id, facts.len() as u64, 100).await.unwrap();
            if page.is_empty() {
                return facts;
            }
            for stored in page {
                match stored {
                    cutover_store::Stored::Known(fact) => facts.push(fact),
                    cutover_store::Stored::Foreign { seq, why } => panic!("fact {seq}: {why}"),
                }
            }
        }
    }
    /// The same as [`Site::orders`], under one name for the upgrade: what two upgrades must have in common.
    pub async fn orders_alike(&self, upgrade: &str) -> BTreeMap<OrderId, Digest> {
        let given = |fact: Recorded| {
            let Fact::AttemptOpened { order } = fact.fact else { return None };
            let mut order = Order::clone(&order);
            order.id.upgrade = UpgradeId::new("any").unwrap();
            Some((order.id.clone(), order.content()))
        };
        self.facts(upgrade).await.into_iter().filter_map(given).collect()
    }
    /// Every order that was ever given, with its content.
    pub async fn orders(&self, upgrade: &str) -> BTreeMap<OrderId, Digest> {
        let given = |fact: Recorded| {
            let Fact::AttemptOpened { order } = fact.fact else { return None };
            Some((order.id.clone(), order.content()))
        };
        self.facts(upgrade).await.into_iter().filter_map(given).collect()
    }
}

/// An operator.
#[derive(Clone)]
pub struct Client {
    pub upgrades: UpgradesClient<Channel>,
}
impl Client {
    pub async fn plan(&self, request: &str) -> Result<pb::Plan, Refused> {
        self.plan_of("prod", request).await
    }
    pub async fn plan_of(&self, deployment: &str, request: &str) -> Result<pb::Plan, Refused> {
        persist(|| async {
            let asked = pb::MakePlanRequest {
                deployment: deployment.to_owned(),
                target: "1.4.6".to_owned(),
                strategy: pb::Strategy::Auto.into(),
                request_id: request.to_owned(),
                operator: "ops".to_owned(),
                wave: None,
                bake_ms: None,
                rehearse_only: false,
                instances: Vec::new(),
            };
            self.upgrades.clone().make_plan(asked).await
        })
        .await
    }
    pub async fn approve(&self, plan: &str, request: &str) -> Result<pb::Approval, Refused> {
        persist(|| async {
            let asked = pb::ApproveRequest {
                plan: plan.to_owned(),
                request_id: request.to_owned(),
                operator: "ops".to_owned(),
                reason: "we know".to_owned(),
                findings: Vec::new(),
                all: true,
                answers: Default::default(),
            };
            self.upgrades.clone().approve(asked).await
        })
        .await
    }
    pub async fn start(&self, plan: &str, request: &str) -> Result<String, Refused> {
        let started = persist(|| async {
            let (plan, request_id, operator) = (plan.to_owned(), request.to_owned(), "ops".to_owned());
            self.upgrades.clone().start(pb::StartRequest { plan, request_id, operator }).await
        })
        .await?;
        Ok(started.upgrade)
    }
    /// Plan, approve, start.
    pub async fn begin(&self) -> String {
        let plan = self.plan("plan-1").await.unwrap();
        self.approve(&plan.digest, "approve-1").await.unwrap();
        self.start(&plan.digest, "start-1").await.unwrap()
    }
    /// The same once more, after an upgrade that has ended.
    pub async fn begin_again(&self) -> String {
        let plan = self.plan("plan-2").await.unwrap();
        self.approve(&plan.digest, "approve-2").await.unwrap();
        self.start(&plan.digest, "start-2").await.unwrap()
    }
    pub async fn status(&self, upgrade: &str) -> UpgradeStatus {
        let status = persist(|| async {
            self.upgrades.clone().get(pb::GetUpgradeRequest { upgrade: upgrade.to_owned() }).await
        })
        .await
        .unwrap();
        UpgradeStatus::try_from(status).unwrap()
    }
    pub async fn reaches(&self, upgrade: &str, state: State) -> UpgradeStatus {
        until(&format!("{upgrade} to be {state}"), || async {
            let status = self.status(upgrade).await;
            (status.state == state).then_some(status)
        })
        .await
    }
    pub async fn steer(&self, upgrade: &str, request: &str) -> pb::SteerRequest {
        pb::SteerRequest {
            upgrade: upgrade.to_owned(),
            reason: "it is time".to_owned(),
            request_id: request.to_owned(),
            operator: host::operator().into(),
        }
    }
}

/// Stops a coordinator at the n-th crash point that is of interest: nothing goes on there, ever.
#[derive(Debug)]
pub struct StopAt {
    pub nth: usize,
    pub of: fn(&Point) -> bool,
    pub reached: AtomicUsize,
    pub stopped: Notify,
    pub points: Mutex<Vec<Point>>,
}
impl StopAt {
    pub fn new(nth: usize, of: fn(&Point) -> bool) -> Arc<Self> {
        let (stopped, points) = (Notify::new(), Mutex::default());
        Arc::new(Self { nth, of, reached: AtomicUsize::new(0), stopped, points })
    }
}
#[async_trait::async_trait]
impl Faults for StopAt {
    async fn reach(&self, point: Point) {
        if !(self.of)(&point) {
            return;
        }
        self.points.lock().unwrap().push(point);
        if self.reached.fetch_add(1, Ordering::SeqCst) + 1 == self.nth {
            self.stopped.notify_one();
            std::future::pending::<()>().await;
        }
    }
}
