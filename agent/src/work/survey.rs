//! A survey: everything that a plan needs to know of this host. Looks only; runs in a worker beside the running service.

use super::inspect;
use super::place::{self, Place};
use super::site::Site;
use super::trouble::Trouble;
use crate::machine;
use crate::release::archive;
use crate::service::Role;
use crate::service::process::ProcessService;
use crate::settings::Settings;
use cutover_vocabulary::storage::StorageIdentity;
use cutover_vocabulary::survey::{HostSurvey, InstanceSurvey, StorageSurvey, SurveyAsk};
use std::collections::BTreeMap;
use std::path::Path;

/// Looks at every instance of the deployment on this host.
pub(super) async fn survey(site: &Site, ask: &SurveyAsk, scratch: &Path) -> HostSurvey {
    let settings = &site.settings;
    let services: Vec<&ProcessService> =
        site.services().filter(|service| service.settings().deployment == ask.deployment).collect();
    let mut storages: BTreeMap<StorageIdentity, Result<StorageSurvey, String>> = BTreeMap::new();
    let mut instances = Vec::new();
    for service in &services {
        let storage = match place::of(service.settings()) {
            Err(trouble) => Err(trouble.0.message),
            // Instances that share a storage share the look at it.
            Ok(place) => storages
                .entry(place.storage.identity().clone())
                .or_insert_with(|| {
                    refuse_shared(site, ask, &place)
                        .and_then(|()| look(settings, &place, &own_processes(&services), scratch))
                        .map_err(|trouble| trouble.0.message)
                })
                .clone(),
        };
        instances.push(InstanceSurvey {
            instance: service.name().clone(),
            report: inspect::report(site, service).await,
            inspection: inspect::inspect(site, service).await.map_err(|trouble| trouble.0.message),
            storage,
            manager: service.settings().manager,
        });
    }
    HostSurvey {
        agent: settings.name.clone(),
        machine: machine::machine_id(),
        instances,
        target: archive::verify(&settings.releases, &ask.target).map(|archive| archive.release().clone()),
    }
}

/// Processes that may have the storage open now: the services themselves, and this worker.
fn own_processes(services: &[&ProcessService]) -> Vec<u32> {
    let running = services
        .iter()
        .flat_map(|service| [Role::Service, Role::Closed].map(|role| service.running(role)))
        .filter_map(|record| Some(record.ok()??.pid));
    running.chain([std::process::id()]).collect()
}

/// An instance of another deployment on the same storage would be nobody's member: it would go on while the storage is
/// migrated under it. It may have no file open at the moment that somebody looks.
fn refuse_shared(site: &Site, ask: &SurveyAsk, place: &Place) -> Result<(), Trouble> {
    let others = site.services().map(ProcessService::settings).filter(|other| other.deployment != ask.deployment);
    let mut sharing = others
        .filter(|other| place::of(other).is_ok_and(|theirs| theirs.storage.identity() == place.storage.identity()));
    match sharing.next() {
        None => Ok(()),
        Some(other) => Err(Trouble::refused(
            format!(
                "instance {} of deployment {} uses it too ({}): a deployment is what shares one storage, so give each \
                 deployment its own, or name one deployment for both in the agent's settings",
                other.name,
                other.deployment,
                place.storage.identity()
            ),
            "settle whose storage it is, then plan again",
        )),
    }
}

fn look(settings: &Settings, place: &Place, own: &[u32], scratch: &Path) -> Result<StorageSurvey, Trouble> {
    let recovery = settings.recovery();
    let ask = place::look(settings, own, &recovery, scratch);
    Ok(place::apart(|| place.storage.survey(&ask))?)
}
