//! `Open`: unfence, start with its own arguments, wait until it answers, back into rotation.
//!
//! Looks first: one that runs and answers with the version is only turned into rotation. What would start is asked for its
//! version before the fence is lifted, and its settings for the storage: a wrong binary, or the right one on another storage, would
//! migrate at its first request. A stop ends the
//! waiting; the instance stays started, for clients may have reached it. Half done: unfenced, perhaps running; again does the
//! rest.

use super::place;
use super::rotation::{Rotation, turn};
use super::site::{Site, address, end_closed_copy, own_folder, wait_for_answer};
use super::trouble::Trouble;
use crate::machine;
use crate::service::Role;
use crate::service::fence::By;
use cutover_vocabulary::outcome::{Effect, Evidence, FailureKind};
use cutover_vocabulary::storage::StorageIdentity;
use cutover_vocabulary::{Order, Version};
use tokio_util::sync::CancellationToken;

/// Opens an instance.
pub(super) async fn open(
    site: &Site,
    order: &Order,
    version: &Version,
    storage: Option<&StorageIdentity>,
    stop: &CancellationToken,
) -> Result<Evidence, Trouble> {
    let service = site.subject(order).await?;
    let settings = service.settings();
    let address = address(service)?;
    own_folder(service)?;
    end_closed_copy(service).await?;
    let running = service.running(Role::Service).await?;
    if running.as_ref().is_some_and(|running| running.ending) {
        return Err(Trouble::new(
            FailureKind::StillRuns,
            format!("instance {} is still being stopped; what answers now is gone soon", service.name()),
            "wait until it is down, then try again",
        ));
    }
    if running.is_none() {
        place::must_use(&settings, storage)?;
        match site.version_on_disk(&settings.command, settings.account).await {
            Some(found) if found == *version => {}
            Some(found) => {
                return Err(Trouble::refused(
                    format!(
                        "{} is {found}, and instance {} is to be opened with {version}",
                        settings.command.display(),
                        service.name()
                    ),
                    "switch the release first",
                ));
            }
            None => {
                return Err(Trouble::refused(
                    format!(
                        "{} does not say which version it is (a script is never asked)",
                        settings.command.display()
                    ),
                    "look at what lies there; switch the release again",
                ));
            }
        }
    }
    service.permit(&order.id.to_string()).await?;
    service.fence().lift(By::Order(order.id.clone()))?;
    service.start().await?;
    service.forget_refusal().await?;
    let found = wait_for_answer(service, Role::Service, address, stop).await?;
    let at = machine::now();
    if found != *version {
        return Err(Trouble::refused(
            format!("instance {} answers as {found}, ordered was {version}", service.name()),
            "drain it, switch the release, then open it again",
        )
        .effect(Effect::Unknown));
    }
    turn(service, Rotation::Into).await?;
    Ok(Evidence::Opened { version: found, at })
}
