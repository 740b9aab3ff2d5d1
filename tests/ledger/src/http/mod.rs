//! `numary server start`: the HTTP side.

mod answers;
mod auth;
mod routes;

use crate::console::{self, Level};
use crate::faults::Faults;
use crate::release::{InfoLedgers, PortInUse, Release, Unwritable};
use crate::settings::Settings;
use crate::storage::{Cancel, LedgerStore, Storage, StoreError, Stored, SystemStore};
use crate::usage;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// A running server.
pub(crate) struct App {
    release: &'static Release,
    settings: Settings,
    faults: Faults,
    storage: Box<dyn Storage>,
    /// Held open as long as the process lives; ledgers are open for a request only.
    system: Option<Mutex<Box<dyn SystemStore>>>,
    /// Ledgers whose migrations this process has seen done. Taken by every request to a ledger and held through a migration, so
    /// while one ledger migrates all others wait.
    ready: Mutex<BTreeSet<String>>,
    /// The `memory` lock strategy: one writer a ledger.
    writers: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
    /// The configured list of ledgers, which grows where it is remembered.
    remembered: Mutex<Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl App {
    /// Opens a ledger for one request: registers it, and migrates it at the first.
    fn ledger(&self, name: &str, cancel: &Cancel) -> Stored<Box<dyn LedgerStore>> {
        let mut ready = lock(&self.ready);
        if cancel.asked() {
            return Err(StoreError::Cancelled);
        }
        let mut opened = self.storage.ledger(name)?;
        if !ready.contains(name) {
            if let Some(system) = &self.system {
                lock(system).register(name)?;
            }
            opened.migrate(&self.faults, cancel)?;
            ready.insert(name.to_owned());
        }
        Ok(opened.store())
    }

    fn writer(&self, ledger: &str) -> Arc<Mutex<()>> {
        Arc::clone(lock(&self.writers).entry(ledger.to_owned()).or_default())
    }

    /// Writes the configuration at the first committed transaction of a ledger that is not yet in its list. False where it cannot and
    /// the release answers so, though the transaction is committed.
    fn remember(&self, ledger: &str) -> bool {
        if !self.release.config.persists || !self.settings.bool("persist-config") {
            return true;
        }
        let mut remembered = lock(&self.remembered);
        if remembered.iter().any(|name| name == ledger) {
            return true;
        }
        remembered.push(ledger.to_owned());
        if self.settings.persist(&remembered).is_ok() {
            return true;
        }
        match self.release.config.unwritable {
            Unwritable::AnswersFailure => false,
            Unwritable::Logs => {
                let message = format!("failed to create config file: ledger {ledger} will not be remembered");
                console::log(Level::Error, &message, "");
                true
            }
        }
    }

    fn info_ledgers(&self) -> Stored<Vec<String>> {
        match (self.release.answers.info, &self.system) {
            (InfoLedgers::Registered, Some(system)) => lock(system).ledgers(),
            (InfoLedgers::Registered | InfoLedgers::Configured, _) => Ok(lock(&self.remembered).clone()),
        }
    }
}

/// Serves until a signal ends the process.
pub(crate) fn serve(release: &'static Release, storage: Box<dyn Storage>, settings: Settings, faults: Faults) -> ! {
    if let Some(status) = faults.die_at_start() {
        console::err("Error: simulated death at start\n");
        std::process::exit(status);
    }
    let system = release.has_system_store().then(|| storage.system()).transpose();
    let system = system.unwrap_or_else(|error| fail(release, &error.to_string())).map(Mutex::new);
    let remembered = Mutex::new(settings.list("ledgers"));
    let app = App {
        release,
        settings,
        faults,
        storage,
        system,
        ready: Mutex::default(),
        writers: Mutex::default(),
        remembered,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(256).build();
    match runtime {
        Ok(runtime) => runtime.block_on(run(Arc::new(app))),
        Err(error) => fail(release, &error.to_string()),
    }
}

fn fail(release: &Release, message: &str) -> ! {
    usage::fail(release, &["server", "start"], message)
}

async fn run(app: Arc<App>) -> ! {
    let release = app.release;
    if let Err(error) = handle_signals(app.faults.ignores_sigterm()) {
        fail(release, &error.to_string());
    }
    if app.faults.mute_server() {
        std::future::pending::<()>().await;
    }
    let address = app.settings.text("server.http.bind_address");
    let host = if address.starts_with(':') { format!("[::]{address}") } else { address.clone() };
    let listener = match TcpListener::bind(&host).await {
        Ok(listener) => listener,
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let shown = host.replace("localhost", "127.0.0.1");
            match release.port_in_use {
                PortInUse::Told => fail(release, &format!("listen tcp {shown}: bind: address already in use")),
                PortInUse::Silent => std::process::exit(1),
                PortInUse::Hangs => hang_until_terminated().await,
            }
        }
        Err(error) => fail(release, &format!("listen tcp: {error}")),
    };
    let router = Router::new().fallback(answer).with_state(app);
    match axum::serve(listener, router).await {
        Ok(()) => std::process::exit(0),
        Err(error) => fail(release, &error.to_string()),
    }
}

/// Without a port: SIGTERM ends it, with status 1.
async fn hang_until_terminated() -> ! {
    SERVES.store(false, Ordering::SeqCst);
    std::future::pending().await
}

/// Whether the server has its port, or may get it.
static SERVES: AtomicBool = AtomicBool::new(true);

/// SIGTERM and SIGINT end the process at once, with status 0, whatever requests are in flight; SIGQUIT ends it 2 with a stack;
/// SIGHUP is left to the system, which kills.
fn handle_signals(ignore_terminate: bool) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => if !ignore_terminate {
                    std::process::exit(i32::from(!SERVES.load(Ordering::SeqCst)))
                },
                _ = interrupt.recv() => std::process::exit(0),
                _ = quit.recv() => console::panic_like_go("SIGQUIT: quit"),
            }
        }
    });
    Ok(())
}

/// Cancels the work when the client hangs up: the server then drops the handler, and this with it.
struct HangUp(Cancel);

impl Drop for HangUp {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

async fn answer(State(app): State<Arc<App>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let cancel = Cancel::default();
    let hang_up = HangUp(cancel.clone());
    let slow = app.faults.slow_writes().filter(|_| parts.method == axum::http::Method::POST);
    let work = tokio::task::spawn_blocking(move || {
        let asked =
            routes::Asked { method: parts.method.as_str(), uri: &parts.uri, headers: &parts.headers, body: &body };
        let began = crate::clock::now();
        let answer = routes::answer(&app, &asked, &cancel);
        let latency = crate::clock::now().duration_since(began).as_micros();
        let agent = parts.headers.get("user-agent").and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        console::log(
            Level::Info,
            "Request",
            &format!(
                "ip=127.0.0.1 latency=\"{latency}µs\" method={} path={} status={} user_agent={agent:?}",
                parts.method,
                parts.uri.path(),
                answer.status
            ),
        );
        answer
    });
    let answer = work.await;
    drop(hang_up);
    if let Some(slow) = slow {
        tokio::time::sleep(slow).await;
    }
    match answer {
        Ok(answer) => answer.into_response(),
        Err(error) => {
            console::log(Level::Error, &error.to_string(), "");
            let mut response = Response::new(Body::empty());
            *response.status_mut() = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}
