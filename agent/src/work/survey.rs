//! A survey: everything that a plan needs to know of this host. Looks only; runs in a worker beside the running service.

use super::inspect;
use super::place::{self, Place};
use super::site::Site;
use super::trouble::Trouble;
use super::trying::Target;
use crate::machine;
use crate::release::archive;
use crate::release::download::download;
use crate::service::{Role, Service};
use crate::settings::Settings;
use cutover_storage::settings::Resolved;
use cutover_vocabulary::storage::{Driver, StorageIdentity};
use cutover_vocabulary::survey::{HostSurvey, InstanceSurvey, LockStrategy, SettingsFile, StorageSurvey, SurveyAsk};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Whoever reads a SQLite file with a write-ahead log makes two files beside it where they are missing, and after a killed writer
/// changes the file itself (seen with 1.3.1).
const NOT_OPENED: &str =
    "it may only be looked at (observe-only), and SQLite cannot be read without a change to its folder";

/// Looks at every instance of the deployment on this host.
pub(super) async fn survey(site: &Site, ask: &SurveyAsk, scratch: &Path) -> HostSurvey {
    let settings = &site.settings;
    let services: Vec<&Service> =
        site.services().filter(|service| service.settings().deployment == ask.deployment).collect();
    let own = own_processes(&services).await;
    let here = download(settings, &ask.target).await;
    let mut archive = here.and_then(|()| archive::verify(&settings.release_folder(), &settings.releases, &ask.target));
    let account = services.iter().find_map(|service| service.settings().account);
    let target = archive.as_mut().ok().map(|archive| Target::unpack(settings, archive, account, scratch));
    let mut storages: BTreeMap<StorageIdentity, Result<StorageSurvey, String>> = BTreeMap::new();
    let mut instances = Vec::new();
    for service in &services {
        let storage = match place::of(&service.settings()) {
            Err(trouble) => Err(trouble.0.message),
            Ok(place) if service.settings().observe_only && place.storage.identity().driver() == Driver::Sqlite => {
                Err(NOT_OPENED.to_owned())
            }
            // Instances that share a storage share the look at it.
            Ok(place) => storages
                .entry(place.storage.identity().clone())
                .or_insert_with(|| {
                    refuse_shared(site, ask, &place)
                        .and_then(|()| look(settings, &place, &own, scratch))
                        .map_err(|trouble| trouble.0.message)
                })
                .clone(),
        };
        instances.push(InstanceSurvey {
            instance: service.name().clone(),
            report: inspect::report(site, service).await,
            lock: place::settings_of(&service.settings()).ok().map(|found| LockStrategy::of(found.lock_strategy())),
            inspection: inspect::inspect(site, service).await.map_err(|trouble| trouble.0.message),
            storage,
            manager: service.settings().manager,
            tried: match &target {
                None => None,
                Some(Ok(target)) => Some(target.ask(&service.settings()).await.map_err(|trouble| trouble.0.message)),
                Some(Err(trouble)) => Some(Err(trouble.0.message.clone())),
            },
            settings_file: place::settings_of(&service.settings()).ok().and_then(|resolved| settings_file(&resolved)),
            // Where systemd does not tell, the inspection says so.
            triggers: service.triggers().await.unwrap_or_default(),
        });
    }
    let about = match &target {
        None => None,
        Some(Ok(target)) => Some(target.about().await.map_err(|trouble| trouble.0.message)),
        Some(Err(trouble)) => Some(Err(trouble.0.message.clone())),
    };
    HostSurvey {
        about,
        agent: settings.name.clone(),
        machine: machine::machine_id(),
        instances,
        target: archive.map(|archive| archive.release().clone()),
    }
}

/// The file that a service's settings are read from, as far as it could mislead somebody. Names only.
fn settings_file(resolved: &Resolved) -> Option<SettingsFile> {
    let (path, ignored) = resolved.file.as_ref()?;
    // Who may read a file that is gone by now does not matter any more.
    let open = std::fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o004 != 0);
    Some(SettingsFile {
        path: path.to_string_lossy().into_owned(),
        ignored: ignored.clone(),
        overridden: resolved.overridden().map(|(key, origin)| (key.to_string(), origin.to_string())).collect(),
        exposed: open && resolved.password_in_file(),
    })
}

/// Processes that may have the storage open now: the services themselves, and this worker.
async fn own_processes(services: &[&Service]) -> Vec<u32> {
    let mut own = vec![std::process::id()];
    for service in services {
        for role in [Role::Service, Role::Closed] {
            own.extend(service.running(role).await.ok().flatten().map(|running| running.pid));
        }
    }
    own
}

/// An instance of another deployment on the same storage would be nobody's member: it would go on while the storage is
/// migrated under it. It may have no file open at the moment that somebody looks.
fn refuse_shared(site: &Site, ask: &SurveyAsk, place: &Place) -> Result<(), Trouble> {
    let others = site.services().map(Service::settings).filter(|other| other.deployment != ask.deployment);
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
