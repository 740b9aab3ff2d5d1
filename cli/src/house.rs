//! Coordinators and agents in this process. They meet over a Unix socket, or a loopback port, with the same API that daemons
//! use, and the commands talk to them in the same way: there is no short cut.

use crate::client::Client;
use crate::trouble::Trouble;
use cutover_agent::host::Host;
use cutover_agent::settings::{AtBoot, Settings as AgentSettings};
use cutover_agent::worker::Program;
use cutover_coordinator::Settings as CoordinatorSettings;
use cutover_proto::transport::{self, Endpoint};
use cutover_vocabulary::{InstanceName, OperatorName};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long coordinator and agent may take to end.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long every instance may take until the coordinator has heard of it.
const ATTACH: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Coordinator and agents, running. Dropping it stops all; what workers and ledgers do goes on in their own processes.
#[derive(Debug)]
pub struct House {
    endpoints: Vec<Endpoint>,
    shutdown: CancellationToken,
    coordinators: Vec<JoinHandle<Result<(), Trouble>>>,
    agents: Vec<JoinHandle<Result<(), Trouble>>>,
}

/// Where coordinators keep facts.
#[derive(Debug, Clone, Copy)]
pub enum Keeps<'a> {
    /// In a file in this folder; one coordinator.
    Folder(&'a Path),
    /// In an etcd at this URL.
    Etcd(&'a str),
}

impl House {
    /// Starts a coordinator wherever the first settings look for one (on a file: at the first of these addresses), an agent for each of the settings, and every service whose
    /// settings say so. `limits` are the lines of the coordinators' table of that name.
    ///
    /// # Errors
    /// [`Trouble`] when there are no settings, or a file or the address cannot be used.
    pub async fn start(settings: Vec<AgentSettings>, keeps: Keeps<'_>, limits: &str) -> Result<Self, Trouble> {
        let first = settings.first().ok_or_else(|| Trouble::usage("there is no agent to start"))?;
        let endpoints = match keeps {
            Keeps::Folder(_) => first.coordinator.0[..1].to_vec(),
            Keeps::Etcd(_) => first.coordinator.0.clone(),
        };
        let shutdown = CancellationToken::new();
        for settings in &settings {
            settings.prepare().map_err(|error| Trouble::failed("the agent cannot use its state directory", error))?;
        }
        // What was started ends with the house, which is dropped where one cannot be.
        let mut house = Self { endpoints, shutdown, coordinators: Vec::new(), agents: Vec::new() };
        for number in 0..house.endpoints.len() {
            let started = coordinator(&house.endpoints, number, keeps, limits, house.shutdown.clone()).await?;
            house.coordinators.push(started);
        }
        for settings in settings {
            house.agents.push(agent(settings, house.shutdown.clone()).await?);
        }
        Ok(house)
    }

    /// Where the coordinators listen, as `--coordinator` takes it.
    pub fn named(&self) -> String {
        crate::client::named(&self.endpoints)
    }

    /// A client of them, once one leads and has heard of every instance named.
    ///
    /// # Errors
    /// [`Trouble`] when one of the two ended, or when it takes too long.
    pub async fn client(&self, operator: &OperatorName, instances: &[InstanceName]) -> Result<Client, Trouble> {
        let client = Client::connect(&self.endpoints, None, operator.clone()).await?;
        let attached = async {
            loop {
                if self.coordinators.iter().chain(&self.agents).any(JoinHandle::is_finished) {
                    return Err(
                        Trouble::plain("the coordinator or an agent ended before they met").next("its log says why")
                    );
                }
                let leads = client.leader().await.is_ok_and(|leader| leader.name.is_some());
                if leads && all_there(&client, instances).await {
                    return Ok(());
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(ATTACH, attached).await {
            Ok(Ok(())) => Ok(client),
            Ok(Err(trouble)) => Err(trouble),
            Err(_) => {
                let seconds = ATTACH.as_secs();
                Err(Trouble::plain(format!("not every agent attached to the coordinator within {seconds} s"))
                    .next("its log, cutover.log, says why"))
            }
        }
    }

    /// Stops all and hands on what came of the work with it; what workers and ledgers do goes on.
    ///
    /// # Errors
    /// What any of them could not do, before what the work says: a house that fell down is the reason of the rest.
    pub async fn stop<T>(mut self, result: Result<T, Trouble>) -> Result<T, Trouble> {
        self.shutdown.cancel();
        for (who, task) in self.tasks() {
            let ended = match tokio::time::timeout(LAST_WORDS, task).await {
                Ok(Ok(ended)) => ended,
                Ok(Err(panic)) => Err(Trouble::failed(format!("the {who} ended in a fault of the program"), panic)),
                Err(_) => Err(Trouble::plain(format!("the {who} did not end within {} s", LAST_WORDS.as_secs()))),
            };
            if let Err(trouble) = ended {
                if let Err(other) = result {
                    tracing::error!("{other}");
                }
                return Err(trouble);
            }
        }
        result
    }

    /// All that runs; agents first, since they say goodbye to the coordinator.
    fn tasks(&mut self) -> impl Iterator<Item = (&'static str, &mut JoinHandle<Result<(), Trouble>>)> {
        let agents = self.agents.iter_mut().map(|agent| ("agent", agent));
        agents.chain(self.coordinators.iter_mut().map(|coordinator| ("coordinator", coordinator)))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn all_there(client: &Client, instances: &[InstanceName]) -> bool {
    let Ok(there) = client.instances().await else { return false };
    instances.iter().all(|name| {
        there.iter().any(|instance| instance.name == name.as_str() && instance.connected && instance.report.is_some())
    })
}

async fn coordinator(
    endpoints: &[Endpoint],
    number: usize,
    keeps: Keeps<'_>,
    limits: &str,
    shutdown: CancellationToken,
) -> Result<JoinHandle<Result<(), Trouble>>, Trouble> {
    let endpoint = &endpoints[number];
    // As it would be written in a settings file: a JSON string is a TOML string.
    let text = |value: String| serde_json::Value::String(value).to_string();
    let (name, store, etcd) = match keeps {
        Keeps::Folder(folder) => {
            std::fs::create_dir_all(folder)
                .map_err(|error| Trouble::failed(format!("cannot make the folder {}", folder.display()), error))?;
            let file = folder.join("coordinator.db");
            ("local".to_owned(), format!("sqlite:{}", file.display()), String::new())
        }
        Keeps::Etcd(url) => {
            // A trial need not wait long for the next leader.
            let table = format!("[etcd]\nendpoints = [{}]\nlease_seconds = 2\n", text(url.to_owned()));
            (format!("c-{}", number + 1), "etcd".to_owned(), table)
        }
    };
    let toml = format!(
        "name = {}\nlisten = {}\nstore = {}\n{etcd}[limits]\n{limits}",
        text(name),
        text(endpoint.to_string()),
        text(store.clone()),
    );
    let settings = CoordinatorSettings::parse(&toml, Path::new("the coordinator of this process"))
        .map_err(|error| Trouble::failed("cannot set up the coordinator", error))?;
    let opened = cutover_coordinator::open_store(&settings.store)
        .await
        .map_err(|error| Trouble::failed(format!("cannot open the coordinator's store {store}"), error))?;
    let listening = transport::listen(endpoint)
        .await
        .map_err(|error| Trouble::failed(format!("the coordinator cannot listen on {endpoint}"), error))?;
    Ok(tokio::spawn(async move {
        cutover_coordinator::run(settings, opened, listening, shutdown)
            .await
            .map_err(|error| Trouble::failed("the coordinator had to end", error))
    }))
}

async fn agent(
    settings: AgentSettings,
    shutdown: CancellationToken,
) -> Result<JoinHandle<Result<(), Trouble>>, Trouble> {
    let state = settings.state.display().to_string();
    let cannot = |error| Trouble::failed(format!("the agent cannot use its state directory {state}"), error);
    let incarnation = cutover_agent::run::incarnation(&settings.state)
        .await
        .map_err(|error| Trouble::failed(format!("the agent cannot use its journal in {state}"), error))?;
    let program = Program::current().map_err(|error| Trouble::failed("cannot find this program's own file", error))?;
    let host = Host::new(settings.clone(), incarnation, program).map_err(cannot)?;
    for (instance, started) in host.start_services().await {
        started.map_err(|error| Trouble::failed(format!("cannot start instance {instance}"), error))?;
    }
    Ok(tokio::spawn(async move {
        cutover_agent::run::run(&settings, Arc::new(host), shutdown)
            .await
            .map_err(|error| Trouble::failed("the agent had to end", error))
    }))
}

/// What a worker process does. A launcher becomes the ledger and does not return.
pub fn work(arguments: &cutover_agent::worker::child::Arguments) -> ExitCode {
    cutover_agent::worker::child::main(arguments)
}

/// What a unit's guard runs before every start of the unit.
pub fn guard(folder: &Path, unit: &str, at_boot: AtBoot) -> ExitCode {
    match cutover_agent::service::systemd::guard_main(folder, unit, at_boot) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // To the journal of the unit that is refused.
            let _ = writeln!(std::io::stderr(), "cutover: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Sends what coordinator and agent log to a file, since the terminal is for the operator.
///
/// # Errors
/// When the file cannot be written.
pub fn log_to(file: &Path) -> Result<(), Trouble> {
    let cannot = |error| Trouble::failed(format!("cannot write the log {}", file.display()), error);
    let log = std::fs::OpenOptions::new().create(true).append(true).open(file).map_err(cannot)?;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // Fails only when a log was set up already, and then that one is used.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::sync::Mutex::new(log))
        .try_init();
    Ok(())
}
