//! What a coordinator says of instances that are down: those that may start get their boot's permit, those that must stay down
//! their fence. Only units have a guard that goes by either; and nothing that runs is ended, whatever it is: that is seen in
//! reports, and a person or an order puts it right.

use super::site::Site;
use crate::service::{Role, Service, ServiceError};
use cutover_vocabulary::instance::Manager;
use cutover_vocabulary::link::Permit;
use cutover_vocabulary::{Epoch, InstanceName};
use std::collections::BTreeMap;
use tracing::{info, warn};

/// How the fences begin that stand by a coordinator's word alone.
const COORDINATOR: &str = "the coordinator: ";

/// Carries them out. Again: looks, and does what is missing.
pub(crate) async fn permitted(site: &Site, epoch: Epoch, permits: &BTreeMap<InstanceName, Permit>) {
    for service in site.services() {
        let settings = service.settings();
        let Some(permit) = permits.get(&settings.name) else { continue };
        if settings.manager == Manager::Process || settings.observe_only {
            continue;
        }
        let instance = &settings.name;
        let done = match permit {
            Permit::Start => start(service, epoch).await,
            Permit::Stay { why } => stay(service, why).await,
        };
        if let Err(error) = done {
            warn!(%instance, "what the coordinator says of it could not be carried out: {error}");
        }
    }
}

/// The permit first: what is started before the guard is in its place needs none. A fence of a coordinator's own word goes with
/// that word; an order's or a person's stays.
async fn start(service: &Service, epoch: Epoch) -> Result<(), ServiceError> {
    let by = format!("the coordinator of epoch {epoch}");
    let refused = service.permit(&by).await?;
    service.guard().await?;
    let fence = service.fence().read()?;
    if fence.standing && fence.by.starts_with(COORDINATOR) {
        service.fence().lift(&by)?;
    }
    if refused && !service.fence().read()?.standing && service.running(Role::Service).await?.is_none() {
        info!(instance = %service.name(), "starts what waited for a coordinator since this host booted");
        service.start().await?;
    }
    Ok(())
}

/// One that waits in its guard is down.
async fn stay(service: &Service, why: &str) -> Result<(), ServiceError> {
    if service.running(Role::Service).await?.is_some_and(|running| !running.starting) {
        return Ok(());
    }
    if !service.fence().read()?.standing {
        warn!(instance = %service.name(), "fenced: {why}");
        service.fence().set(&format!("{COORDINATOR}{why}"))?;
    }
    service.guard().await?;
    Ok(())
}
