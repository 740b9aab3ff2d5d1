//! Whether a load balancer may send clients to an instance. Looks only, and only when somebody asks.

use super::place;
use super::rotation;
use super::site::Site;
use crate::ledger::http::{Http, HttpError};
use crate::service::{Role, Service};
use std::time::Duration;

/// How long the ledger may take to say that it is well: a balancer waits for two seconds or so.
const WITHIN: Duration = Duration::from_secs(1);

/// None where there is no such instance; the reason where it is not ready.
pub(crate) async fn ready(site: &Site, instance: &str) -> Option<Result<(), &'static str>> {
    let service = site.service(instance)?;
    let seen = look(service).await;
    if seen.is_err() {
        site.tell(service);
    }
    Some(seen)
}

async fn look(service: &Service) -> Result<(), &'static str> {
    let running = service.running(Role::Service).await.map_err(|_| "it cannot be told whether it runs")?;
    // The fence stands from the first moment of a drain on.
    match service.fence().read() {
        Ok(fence) if fence.standing && running.is_some() => return Err("draining"),
        Ok(fence) if fence.standing => return Err("fenced"),
        Ok(_) => {}
        Err(_) => return Err("it cannot be told whether it is fenced"),
    }
    if !rotation::is_in(service) {
        return Err("out of rotation");
    }
    match running {
        None => return Err("not running"),
        Some(running) if running.ending => return Err("stopping"),
        Some(_) => {}
    }
    let settings = service.settings();
    let resolved = place::settings_of(&settings).map_err(|_| "its settings cannot be read")?;
    let address = place::address(&settings, &resolved).map_err(|_| "its address cannot be told")?;
    match Http::new(address, WITHIN).with(resolved.credentials()).well().await {
        Ok(()) => Ok(()),
        Err(HttpError::Status { .. }) => Err("it says that it is not well"),
        Err(HttpError::Connect { .. } | HttpError::Broken { .. } | HttpError::NotALedger { .. }) => {
            Err("it does not answer")
        }
    }
}
