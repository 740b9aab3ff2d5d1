//! What a coordinator says of instances that are down: those that may start get their boot's permit, those that must stay down
//! their fence. Only units have a guard that goes by either; and nothing that runs is ended, whatever it is: that is seen in
//! reports, and a person or an order puts it right.

use super::site::Site;
use crate::service::fence::By;
use crate::service::{Role, Service, ServiceError};
use cutover_vocabulary::instance::Manager;
use cutover_vocabulary::link::Permit;
use cutover_vocabulary::{Epoch, InstanceName};
use std::collections::BTreeMap;
use tracing::{info, warn};

/// Carries them out; false where something is still to be done. Again: looks, and does what is missing.
pub(crate) async fn permitted(site: &Site, epoch: Epoch, permits: &BTreeMap<InstanceName, Permit>) -> bool {
    let mut all = true;
    let mut services: Vec<(&Service, &Permit)> =
        site.services().filter_map(|service| Some((service, permits.get(&service.settings().name)?))).collect();
    // To start one may take a while, and nothing that must stay down waits for that.
    services.sort_by_key(|(_, permit)| matches!(permit, Permit::Start));
    for (service, permit) in services {
        let settings = service.settings();
        if settings.manager == Manager::Process || settings.observe_only {
            continue;
        }
        let done = match permit {
            Permit::Start => start(service, epoch).await,
            Permit::Stay { why } => stay(service, why).await,
        };
        all &= done.unwrap_or_else(|error| {
            warn!(instance = %settings.name, "what the coordinator says of it could not be carried out: {error}");
            false
        });
    }
    all
}

/// The permit first: what is started before the guard is in its place needs none. A fence of a coordinator's own word goes with
/// that word; an order's or a person's stays, and with it what was refused is theirs to start.
async fn start(service: &Service, epoch: Epoch) -> Result<bool, ServiceError> {
    let by = By::Word(format!("it may start, says the leader of epoch {epoch}"));
    let mut refused = service.permit(&by.to_string()).await?;
    service.guard().await?;
    if service.fence().read()?.stands_by_word() {
        refused |= service.note_fenced_start().await?;
    }
    if service.fence().lift_word(by)?.standing {
        service.forget_refusal().await?;
        return Ok(true);
    }
    if !refused {
        return Ok(true);
    }
    match service.running(Role::Service).await? {
        // Its guard ends in a moment, well or not.
        Some(running) if running.starting || running.ending => return Ok(false),
        Some(_) => {}
        None => {
            info!(instance = %service.name(), "starts what waited for a coordinator since this host booted");
            match service.start().await {
                // systemd has tried; what it is worth is seen in reports.
                Err(error @ ServiceError::NotLaunched { .. }) => warn!(instance = %service.name(), "{error}"),
                other => other?,
            }
        }
    }
    service.forget_refusal().await?;
    Ok(true)
}

/// One that waits in its guard is down. Whatever its unit would start by now, the fence is to hold.
async fn stay(service: &Service, why: &str) -> Result<bool, ServiceError> {
    if service.running(Role::Service).await?.is_some_and(|running| !running.starting) {
        return Ok(true);
    }
    if !service.fence().read()?.standing {
        warn!(instance = %service.name(), "fenced: {why}");
        service.fence().set(By::Word(why.to_owned()))?;
    }
    service.hold().await?;
    Ok(true)
}
