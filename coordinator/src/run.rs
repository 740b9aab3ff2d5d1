//! Puts the parts together and runs them until shutdown.

use crate::clock::{Clock, SystemClock};
use crate::election::{self, Shared};
use crate::faults::{Faults, NoFaults};
use crate::leadership::Means;
use crate::metrics;
use crate::services;
use crate::settings::{Settings, StorePlace};
use crate::sever::Severable;
use cutover_proto::transport::{Endpoint, Listening};
use cutover_store::{EtcdStore, MemoryStore, SqliteStore, Store, StoreError};
use cutover_vocabulary::Epoch;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// How long open calls may take to end after the leadership was given up.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// A coordinator cannot run, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum CannotRun {
    /// Serving failed.
    #[error("could not serve on {endpoint}")]
    Serve {
        /// Where.
        endpoint: String,
        /// What the transport said.
        source: tonic::transport::Error,
    },
    /// The address for metrics cannot be used.
    #[error(
        "cannot serve metrics on {address}: is another program listening there? `metrics` in the settings names it"
    )]
    Metrics {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The descriptors that reflection needs are damaged.
    #[error("the descriptors of the API are damaged; this is a fault of the program: install it again")]
    Reflection(#[source] tonic_reflection::server::Error),
}

/// What a coordinator is made of.
pub struct Parts {
    /// Its settings; where it listens and what store it has is decided by the other parts.
    pub settings: Settings,
    /// Its own handle on the store: leadership belongs to it.
    pub store: Arc<dyn Store>,
    /// Where it listens.
    pub listening: Listening,
    /// Cancel it to stop: what is being appended is finished, then leadership is given up.
    pub shutdown: CancellationToken,
    /// Its clocks.
    pub clock: Arc<dyn Clock>,
    /// Told of every crash point.
    pub faults: Arc<dyn Faults>,
}

/// Opens the store that the settings name.
pub async fn open_store(place: &StorePlace) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match place {
        StorePlace::Sqlite(path) => Arc::new(SqliteStore::open(path).await?),
        StorePlace::Etcd(settings) => Arc::new(EtcdStore::open(settings.clone())?),
        StorePlace::Memory => Arc::new(MemoryStore::new()),
    })
}

/// Makes the next epoch of a store greater than `floor`; see `--epochs-above`. In memory there is nothing to raise.
///
/// # Errors
/// When the store cannot be opened or written.
pub async fn raise_epochs(place: &StorePlace, floor: Epoch) -> Result<(), StoreError> {
    open_store(place).await?.raise_epochs(floor).await
}

/// Runs a coordinator until `shutdown` is cancelled. Dropping the future instead is a crash: every task and every
/// connection of it ends where it stands.
pub async fn run(
    settings: Settings,
    store: Arc<dyn Store>,
    listening: Listening,
    shutdown: CancellationToken,
) -> Result<(), CannotRun> {
    let (clock, faults) = (Arc::new(SystemClock), Arc::new(NoFaults));
    run_with(Parts { settings, store, listening, shutdown, clock, faults }).await
}

/// [`run`] with clocks and crash points of the caller's choice.
pub async fn run_with(parts: Parts) -> Result<(), CannotRun> {
    let Parts { settings, store, listening, shutdown, clock, faults } = parts;
    let kill = CancellationToken::new();
    let _everything_ends_with_this_future = kill.clone().drop_guard();
    let address = match &settings.advertise {
        Some(address) => address.to_string(),
        None => reached_at(listening.endpoints()),
    };
    let endpoint = listening.endpoints().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let metrics = metrics::listen(settings.metrics).await?;
    let (leading, _) = watch::channel(None);
    let (follows, _) = watch::channel(None);
    let over = kill.child_token();
    let (name, open) = (settings.name.clone(), over.clone());
    let shared = Arc::new(Shared { name, store: store.clone(), leading, follows, over: open });
    let operators = Arc::new(settings.operators.clone());
    let means = Means { store, settings: Arc::new(settings), clock, faults, kill: kill.clone() };
    let severable = move |connection: std::io::Result<_>| {
        connection.map(|connection| Severable::new(connection, kill.child_token()))
    };
    let last_calls = CancellationToken::new();
    let (router, health) = services::all(&shared, &operators).map_err(CannotRun::Reflection)?;
    let server = router.serve_with_incoming_shutdown(listening.map(severable), last_calls.clone().cancelled_owned());
    tokio::pin!(server);
    info!(%endpoint, coordinator = %shared.name, "listens");
    let served = tokio::select! {
        served = &mut server => served,
        () = metrics::serve(metrics, &shared) => Ok(()),
        () = services::report_health(&shared, &health) => Ok(()),
        () = election::run(&shared, &means, &address, &shutdown) => {
            over.cancel();
            shared.store.depart().await;
            last_calls.cancel();
            // Calls that do not end by then are cut off with their connections.
            tokio::time::timeout(LAST_ANSWERS, &mut server).await.unwrap_or(Ok(()))
        }
    };
    served.map_err(|source| CannotRun::Serve { endpoint, source })
}

/// Where the other coordinators say that this one is reached: on the network, if it listens there.
fn reached_at(endpoints: &[Endpoint]) -> String {
    let remote = endpoints.iter().find(|endpoint| matches!(endpoint, Endpoint::Tls(_)));
    remote.or(endpoints.first()).map(ToString::to_string).unwrap_or_default()
}
