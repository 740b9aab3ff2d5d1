//! `Switch` and `SwitchBack`: which binary the instance starts.
//!
//! Looks first at where the command leads. A stop has nothing to stop: it is one rename. Half done: the record of what was
//! there before is on disk and the command is still the old one; again does the rest, and the way back works from either.

use super::site::{Site, end_closed_copy};
use super::trouble::Trouble;
use crate::release::stage;
use cutover_vocabulary::release::StagedRelease;
use cutover_vocabulary::{Digest, Order, Version};

/// Makes the staged release the one that starts.
pub(super) async fn switch(site: &Site, order: &Order, to: &StagedRelease) -> Result<Digest, Trouble> {
    let service = site.subject(order).await?;
    let (settings, staged) = (site.settings.clone(), to.clone());
    // Read whole here, and then only named: it lies in a folder of our own.
    let target = blocking(move || Ok(stage::check(&settings, &staged)?)).await?;
    service.switch(&target, &order.id.upgrade).await?;
    Ok(to.binary)
}

/// Makes what was there before the upgrade the one that starts, and asks it for its version.
pub(super) async fn switch_back(site: &Site, order: &Order, to: &Version) -> Result<Digest, Trouble> {
    let service = site.subject(order).await?;
    end_closed_copy(service).await?;
    let binary = service.switch_back(&order.id.upgrade).await?;
    service.refresh().await?;
    let settings = service.settings();
    let command = &settings.command;
    match site.version_on_disk(command, settings.account).await {
        Some(version) if version == *to => Ok(binary),
        Some(version) => Err(Trouble::refused(
            format!("{} is {version} now, ordered was {to}", command.display()),
            "put the binary of that version there by hand; `cutover-agent local status` shows what was kept aside",
        )),
        None => Err(Trouble::refused(
            format!("{} does not say which version it is (a script is never asked)", command.display()),
            "put the binary of the former version there by hand; `cutover-agent local status` shows what was kept aside",
        )),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Trouble> + Send + 'static) -> Result<T, Trouble> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Trouble::new(
            cutover_vocabulary::outcome::FailureKind::Interrupted,
            format!("the work broke off: {error}"),
            "try again",
        )),
    }
}
