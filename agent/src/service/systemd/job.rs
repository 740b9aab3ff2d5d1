//! A job of systemd, from its beginning to its end.

use super::bus::{Bus, ManagerProxy};
use cutover_vocabulary::Elapsed;
use futures::StreamExt as _;
use zbus::OwnedObjectPath;

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// As asked. Of a stop that says only that the unit is down, not how it went down.
    Done,
    /// Not within the patience; it goes on.
    NotYet,
    /// In systemd's word: `failed`, `timeout`, `canceled`, `dependency`, `assert`…
    Otherwise(String),
}

/// Starts a unit and waits for the job's end.
pub(super) async fn start(unit: &str, patience: Elapsed) -> zbus::Result<Ended> {
    let manager = Bus.manager().await?;
    let asked = async |manager: &ManagerProxy<'_>| manager.start_unit(unit, "replace").await;
    until_ended(&manager, patience, asked).await
}

/// Stops a unit and waits for the job's end.
pub(super) async fn stop(unit: &str, patience: Elapsed) -> zbus::Result<Ended> {
    let manager = Bus.manager().await?;
    let asked = async |manager: &ManagerProxy<'_>| manager.stop_unit(unit, "replace").await;
    until_ended(&manager, patience, asked).await
}

async fn until_ended(
    manager: &ManagerProxy<'_>,
    patience: Elapsed,
    ask: impl AsyncFnOnce(&ManagerProxy<'_>) -> zbus::Result<OwnedObjectPath>,
) -> zbus::Result<Ended> {
    // Before it is asked for: a job may be over before its name is known here.
    let mut removed = manager.receive_job_removed().await?;
    let job = ask(manager).await?;
    let wait = async {
        while let Some(signal) = removed.next().await {
            let args = signal.args()?;
            if args.job == job {
                return Ok(match args.result.as_str() {
                    "done" | "skipped" => Ended::Done,
                    other => Ended::Otherwise(other.to_owned()),
                });
            }
        }
        Err(zbus::Error::Failure("the bus was closed".to_owned()))
    };
    tokio::time::timeout(patience.duration(), wait).await.unwrap_or(Ok(Ended::NotYet))
}
