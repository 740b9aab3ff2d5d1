//! Which storage and which port a service really uses.

use super::trouble::Trouble;
use crate::ledger::cli;
use crate::machine;
use crate::settings::{Account, InstanceSettings, Settings};
use cutover_storage::settings::{Resolved, Service, resolve};
use cutover_storage::storage::Look;
use cutover_storage::{Storage, StorageError};
use cutover_vocabulary::DeploymentName;
use cutover_vocabulary::storage::{RecoveryItem, StorageIdentity};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// Where the ledger looks for its settings file when its home has none.
pub(super) const SYSTEM_FOLDER: &str = "/etc/numary";

/// A storage as one service uses it.
pub(crate) struct Place {
    /// Its settings.
    pub(super) resolved: Resolved,
    /// The storage.
    pub(crate) storage: Box<dyn Storage>,
    /// Whom the ledger's own commands run as on it, so that a file they make is the service's; the agent itself if none.
    pub(super) account: Option<Account>,
}

impl Place {
    /// That nobody works on an item: nobody at all, or, while instances serve, nobody of ours.
    pub(super) fn quiet(&self, item: Option<&RecoveryItem>, serving: bool) -> Result<(), StorageError> {
        if serving { self.storage.ours_ended(item) } else { self.storage.quiet(item) }
    }
}

/// A service's settings with where each came from.
pub(crate) fn settings_of(instance: &InstanceSettings) -> Result<Resolved, Trouble> {
    if let Some(why) = &instance.unreadable {
        return Err(Trouble::refused(format!("instance {}: {why}", instance.name), "then try again"));
    }
    let environment = instance.environment()?;
    Ok(resolve(Service {
        args: &instance.args,
        environment: &environment,
        user_home: Some(&instance.home()),
        working_directory: &instance.working_directory(),
        system_folder: Path::new(SYSTEM_FOLDER),
    })?)
}

/// Which storage a service uses.
pub(crate) fn of(instance: &InstanceSettings) -> Result<Place, Trouble> {
    let resolved = settings_of(instance)?;
    let storage = apart(|| {
        cutover_storage::open(&resolved, &instance.environment()?, &machine::machine_id()).map_err(Trouble::from)
    })?;
    Ok(Place { resolved, storage, account: instance.account })
}

/// Runs work on a storage, which waits for files and servers, where the runtime lets a thread wait.
pub(super) fn apart<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// The storage that an order names, as one of the deployment's services here uses it. Any other storage is refused: a
/// service that was pointed elsewhere since the plan was made must not have that other storage migrated.
pub(super) fn ordered(
    settings: &Settings,
    deployment: &DeploymentName,
    wanted: &StorageIdentity,
) -> Result<Place, Trouble> {
    let mut seen = Vec::new();
    for instance in settings.of_deployment(deployment) {
        let place = of(instance)?;
        let identity = place.storage.identity();
        if identity.is_same(wanted) {
            return Ok(place);
        }
        seen.push(format!("{} uses {identity}", instance.name));
    }
    let seen = if seen.is_empty() { "no instance of it is on this host".to_owned() } else { seen.join(", ") };
    Err(Trouble::refused(
        format!("deployment {deployment} does not use the planned storage {wanted} here: {seen}"),
        "make a new plan, or point the services back to the planned storage",
    ))
}

/// Refuses a service whose settings lead to another storage by now than its upgrade is about. What was planned for is backed up and
/// migrated; that other one is not, and the service's first request would migrate it. An older coordinator names none.
pub(super) fn must_use(instance: &InstanceSettings, wanted: Option<&StorageIdentity>) -> Result<(), Trouble> {
    let Some(wanted) = wanted else { return Ok(()) };
    let place = of(instance)?;
    let found = place.storage.identity();
    if found.leads_to(wanted) {
        return Ok(());
    }
    Err(Trouble::refused(
        format!(
            "instance {} uses {found} by now, and the upgrade is about {wanted}: it is not started there",
            instance.name
        ),
        "find out who changed its settings, point it back to that storage, then try again",
    ))
}

impl Place {
    /// The environment of a ledger command on this storage: every storage key explicitly, the service's home, no telemetry,
    /// and nothing else. `task` makes the command's sessions on a database recognisable.
    pub(super) fn command_environment(&self, task: &str) -> Result<BTreeMap<String, SecretString>, Trouble> {
        let mut all = cli::environment([
            ("HOME", self.resolved.home().to_string_lossy().into_owned()),
            // Every ledger command makes this directory, with PostgreSQL too.
            (DIRECTORY, self.resolved.directory()?.to_string_lossy().into_owned()),
        ]);
        all.extend(self.storage.environment(task)?);
        Ok(all)
    }
}

/// The variable of `storage.dir`.
const DIRECTORY: &str = "NUMARY_STORAGE_DIR";

/// What a look at a storage may use and may leave out, by the agent's settings.
pub(super) fn look<'a>(settings: &'a Settings, own: &'a [u32], recovery: &'a Path, scratch: &'a Path) -> Look<'a> {
    Look { own, unseen_users: &settings.unseen_users, exceptions: &settings.database_exceptions, recovery, scratch }
}

/// Where a service listens, as a client on this host reaches it.
pub(crate) fn address(instance: &InstanceSettings, resolved: &Resolved) -> Result<SocketAddr, Trouble> {
    reachable(resolved.bind_address()).ok_or_else(|| {
        crate::service::ServiceError::Address {
            instance: instance.name.clone(),
            why: format!("server.http.bind_address is {:?}", resolved.bind_address()),
        }
        .into()
    })
}

/// `HOST:PORT` as Go listens on it: an empty host is every address, `localhost` the IPv4 loopback.
fn reachable(bind: &str) -> Option<SocketAddr> {
    let (host, port) = bind.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let ip = match host {
        "" | "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        text => match text.parse().ok()? {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
        },
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_listen_on_becomes_one_to_connect_to() {
        for (bind, reach) in [
            ("localhost:3068", "127.0.0.1:3068"),
            (":80", "127.0.0.1:80"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("10.0.0.7:9", "10.0.0.7:9"),
        ] {
            assert_eq!(reachable(bind), Some(reach.parse().unwrap()), "{bind}");
        }
        assert_eq!(reachable("3068"), None);
        assert_eq!(reachable("ledger.example:1"), None, "a name that a resolver would have to tell");
    }
}
