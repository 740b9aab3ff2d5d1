//! A host with one simulated ledger: its folders, its releases, orders for it.
#![allow(unreachable_pub, reason = "a test has no outside")]

use cutover_agent::host::Host;
use cutover_agent::perform::Perform as _;
use cutover_agent::release::archive;
use cutover_agent::settings::Settings;
use cutover_agent::worker::Program;
use cutover_vocabulary::order::StepId;
use cutover_vocabulary::phase::{Phase, Subject};
use cutover_vocabulary::release::{Release, StagedRelease};
use cutover_vocabulary::storage::StorageIdentity;
use cutover_vocabulary::survey::{HostSurvey, SurveyAsk};
use cutover_vocabulary::{
    AgentName, DeploymentName, Evidence, Failure, InstanceName, LedgerName, Order, OrderId, Outcome, UpgradeId,
    Version, Work,
};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The simulator's binary: `CUTOVER_TEST_NUMARY`, or the one beside this test's own, which a test of the workspace builds.
pub fn simulator() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("CUTOVER_TEST_NUMARY") {
            return path.into();
        }
        let test = std::env::current_exe().unwrap();
        let folder = test.parent().and_then(Path::parent).unwrap();
        let path = folder.join("numary");
        assert!(path.exists(), "{} is not built: run `cargo build --workspace --all-targets`", path.display());
        path
    })
}

/// The program that workers are.
pub fn worker() -> Program {
    let path = std::env::var_os("CUTOVER_TEST_WORKER").unwrap_or_else(|| env!("CARGO_BIN_EXE_cutover-agent").into());
    Program { path: path.into(), args: vec!["work".into()], leaves: false }
}

/// Release files of both versions, packed once.
pub fn releases() -> &'static Path {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let packer = simulator().with_file_name("pack-release");
        let done = Command::new(packer).arg(dir.path()).args(["1.3.1", "1.4.6"]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        dir
    })
    .path()
}

/// A host of its own for one test. Ends every ledger when dropped.
pub struct Bed {
    pub dir: tempfile::TempDir,
    pub port: u16,
    pub host: Host,
    attempt: AtomicU16,
}

impl Bed {
    /// With 1.3.1 as the command of its one instance; `extra` are more lines of the instance's settings.
    pub async fn new(extra: &str) -> Self {
        Self::with_args(extra, "").await
    }

    /// With more arguments of the service, each with a comma before it.
    pub async fn with_args(extra: &str, args: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = cutover_trial_postgres::free_address().unwrap().port();
        std::fs::create_dir_all(dir.path().join("home")).unwrap();
        let text = format!(
            "name = \"agent-a\"\ncoordinator = \"unix:/nonexistent\"\nstate = \"{root}/state\"\n\
             releases = {{ place = \"{releases}\" }}\n[[instance]]\nname = \"ledger-a\"\ndeployment = \"prod\"\n\
             manager = \"process\"\ncommand = \"{root}/numary\"\nargs = [\"server\", \"start\"{args}]\nhome = \"{root}/home\"\n\
             env = {{ NUMARY_STORAGE_DIR = \"{root}/data\", NUMARY_SERVER_HTTP_BIND_ADDRESS = \"127.0.0.1:{port}\" }}\n{extra}\n",
            root = dir.path().display(),
            releases = releases().display(),
        );
        std::fs::write(dir.path().join("agent.toml"), text).unwrap();
        unpack("1.3.1", &dir.path().join("numary"));
        let host = Self::host_in(dir.path());
        Self { dir, port, host, attempt: AtomicU16::new(1) }
    }

    fn host_in(dir: &Path) -> Host {
        let settings = Settings::load(&dir.join("agent.toml")).unwrap();
        Host::new(settings, "incarnation-1".to_owned(), worker()).unwrap()
    }

    /// As after a restart of the agent.
    pub fn restarted_host(&self) -> Host {
        Self::host_in(self.dir.path())
    }

    pub fn settings(&self) -> Settings {
        Settings::load(&self.dir.path().join("agent.toml")).unwrap()
    }

    /// Starts the service and waits until it answers.
    pub async fn serve(&self) {
        for (name, result) in self.host.start_services().await {
            result.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        until("the service answers", || self.get("/_info").is_some()).await;
    }

    /// Writes some transactions and metadata of both known loss classes into a ledger.
    pub fn seed(&self, ledger: &str, transactions: u32) {
        for number in 0..transactions {
            let body = format!(
                "{{\"postings\":[{{\"source\":\"world\",\"destination\":\"bank:{number}\",\"amount\":100,\"asset\":\"USD/2\"}}],\
                 \"reference\":\"r{number}\"}}"
            );
            let (status, answer) = self.request("POST", &format!("/{ledger}/transactions"), &body).unwrap();
            assert_eq!(status, 200, "{answer}");
        }
        for account in ["bank:0", "nobody", "bank:1"] {
            self.request("POST", &format!("/{ledger}/accounts/{account}/metadata"), "{\"colour\":\"blue\"}").unwrap();
        }
    }

    pub fn get(&self, path: &str) -> Option<String> {
        self.request("GET", path, "").filter(|(status, _)| *status == 200).map(|(_, body)| body)
    }

    pub fn request(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }

    /// A new order; each has its own attempt.
    pub fn order(&self, phase: Phase, subject: Subject, work: Work) -> Order {
        let attempt = self.attempt.fetch_add(1, Ordering::Relaxed);
        let step = StepId { stage: 1, run: 1, subject };
        Order {
            id: OrderId { upgrade: UpgradeId::new("up-1").unwrap(), step, phase, attempt },
            agent: AgentName::new("agent-a").unwrap(),
            deployment: DeploymentName::new("prod").unwrap(),
            work,
        }
    }

    pub async fn outcome(&self, order: &Order) -> Outcome {
        self.host.perform(order, CancellationToken::new()).await
    }

    /// Carries out work about the instance.
    pub async fn instance(&self, phase: Phase, work: Work) -> Result<Evidence, Failure> {
        self.run(phase, Subject::Instance(instance()), work).await
    }

    pub async fn run(&self, phase: Phase, subject: Subject, work: Work) -> Result<Evidence, Failure> {
        match self.outcome(&self.order(phase, subject, work)).await {
            Outcome::Done(evidence) => Ok(evidence),
            Outcome::Failed(failure) => Err(failure),
        }
    }

    pub async fn survey(&self) -> HostSurvey {
        let ask = SurveyAsk { deployment: DeploymentName::new("prod").unwrap(), target: target() };
        self.host.survey(&ask).await
    }

    pub fn release(&self) -> Release {
        let settings = self.settings();
        let archive = archive::verify(&settings.release_folder(), &settings.releases, &target()).unwrap();
        archive.release().clone()
    }

    pub async fn staged(&self) -> StagedRelease {
        match self.instance(Phase::Stage, Work::StageRelease { release: self.release() }).await {
            Ok(Evidence::Staged(staged)) => staged,
            other => panic!("{other:?}"),
        }
    }

    /// Work that opens the instance with this version, on the storage that it uses.
    pub async fn opening(&self, version: Version) -> Work {
        Work::Open { version, storage: Some(self.identity().await) }
    }

    /// Work that starts its closed copy there.
    pub async fn starting_closed(&self, target: StagedRelease) -> Work {
        Work::StartClosed { target, storage: Some(self.identity().await) }
    }

    pub async fn identity(&self) -> StorageIdentity {
        // As the service does at its first start.
        std::fs::create_dir_all(self.dir.path().join("data")).unwrap();
        // By the settings as they are now.
        let look = self.order(Phase::Preflight, Subject::Instance(instance()), Work::Inspect);
        match self.restarted_host().perform(&look, CancellationToken::new()).await {
            Outcome::Done(Evidence::Inspected(inspection)) => inspection.storage,
            other => panic!("{other:?}"),
        }
    }

    /// Switches of the simulator, read from beside its storage.
    pub fn fault(&self, lines: &str) {
        std::fs::create_dir_all(self.dir.path().join("data")).unwrap();
        std::fs::write(self.dir.path().join("data/.numary-sim.env"), lines).unwrap();
    }

    /// Process ids of the service and of its closed copy, as recorded.
    pub fn pid(&self, role: &str) -> Option<u32> {
        let text =
            std::fs::read_to_string(self.dir.path().join(format!("state/instances/ledger-a/{role}.json"))).ok()?;
        let record: serde_json::Value = serde_json::from_str(&text).ok()?;
        record["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for pid in ["service", "closed"].into_iter().filter_map(|role| self.pid(role)) {
            // Only processes that this bed's agent started.
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            if String::from_utf8_lossy(&environment).contains(&*self.dir.path().to_string_lossy()) {
                kill(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

pub fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
}

/// The binary of a release out of its archive.
fn unpack(version: &str, to: &Path) {
    let archive = releases().join(format!("v{version}/numary_{version}_Linux-64bit.tar.gz"));
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(archive).unwrap()));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().as_os_str() == "numary" {
            entry.unpack(to).unwrap();
        }
    }
}

pub fn instance() -> InstanceName {
    InstanceName::new("ledger-a").unwrap()
}
pub fn ledger(name: &str) -> LedgerName {
    LedgerName::new(name).unwrap()
}
pub fn target() -> Version {
    Version::new(1, 4, 6)
}
pub fn source() -> Version {
    Version::new(1, 3, 1)
}

/// Waits for a condition, at most 20 s.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 20 s: {what}");
}

/// A test that cannot run here says so, and fails in CI.
pub fn skipped(why: &str) {
    // Past the test runner's capture, so that `make test` can count it.
    let _ = writeln!(std::io::stderr(), "SKIPPED {why}");
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "a test cannot run in CI: {why}");
}
