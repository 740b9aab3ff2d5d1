//! Which storage and which port a service really uses.

use super::trouble::Trouble;
use crate::ledger::cli;
use crate::machine;
use crate::settings::{InstanceSettings, Settings};
use cutover_storage::settings::{Resolved, Service, resolve};
use cutover_storage::sqlite::SqlitePlace;
use cutover_storage::sqlite::lock::{Locking, StorageLock};
use cutover_vocabulary::DeploymentName;
use cutover_vocabulary::storage::{Driver, RecoveryItem, StorageIdentity};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// A storage as one service uses it.
pub(super) struct Place {
    /// Its settings.
    pub(super) resolved: Resolved,
    /// Where the storage lies.
    pub(super) sqlite: SqlitePlace,
    /// Which it is.
    pub(super) identity: StorageIdentity,
}

/// A service's settings with where each came from.
pub(super) fn settings_of(instance: &InstanceSettings) -> Result<Resolved, Trouble> {
    let environment = instance.environment()?;
    Ok(resolve(Service {
        args: &instance.args,
        environment: &environment,
        user_home: Some(&instance.home()),
        working_directory: &instance.working_directory(),
        system_folder: Path::new("/etc/numary"),
    })?)
}

/// Which storage a service uses.
pub(super) fn of(instance: &InstanceSettings) -> Result<Place, Trouble> {
    let resolved = settings_of(instance)?;
    match resolved.driver()? {
        Driver::Sqlite => {
            let sqlite = resolved.sqlite()?;
            let identity = sqlite.identity(&machine::machine_id())?;
            Ok(Place { resolved, sqlite, identity })
        }
        Driver::Postgres => Err(Trouble::refused(
            format!("instance {} uses PostgreSQL, which this version of Cutover cannot upgrade yet", instance.name),
            "upgrade it by the ledger's manual",
        )),
    }
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
        if same(&place.identity, wanted) {
            return Ok(place);
        }
        seen.push(format!("{} uses {}", instance.name, place.identity));
    }
    let seen = if seen.is_empty() { "no instance of it is on this host".to_owned() } else { seen.join(", ") };
    Err(Trouble::refused(
        format!("deployment {deployment} does not use the planned storage {wanted} here: {seen}"),
        "make a new plan, or point the services back to the planned storage",
    ))
}

/// Whether both are one storage. The directory's spelling is for people.
fn same(one: &StorageIdentity, other: &StorageIdentity) -> bool {
    match (one, other) {
        (
            StorageIdentity::Sqlite { machine, directory: _, device, inode, db_name },
            StorageIdentity::Sqlite {
                machine: machine2,
                directory: _,
                device: device2,
                inode: inode2,
                db_name: db_name2,
            },
        ) => (machine, device, inode, db_name) == (machine2, device2, inode2, db_name2),
        (StorageIdentity::Postgres { .. }, StorageIdentity::Postgres { .. }) => one == other,
        (StorageIdentity::Sqlite { .. }, StorageIdentity::Postgres { .. })
        | (StorageIdentity::Postgres { .. }, StorageIdentity::Sqlite { .. }) => false,
    }
}

impl Place {
    /// The environment of a ledger command on this storage: every storage key explicitly, the service's home, no telemetry,
    /// and nothing else.
    pub(super) fn command_environment(&self) -> Result<BTreeMap<String, SecretString>, Trouble> {
        let mut all = cli::environment([("HOME", self.resolved.home().to_string_lossy().into_owned())]);
        all.extend(self.resolved.storage_environment()?);
        Ok(all)
    }

    /// Takes the runner's lock on one item, or on the storage as a whole, and hands it down to the ledger commands that are
    /// started from now on. Lanes of different ledgers run side by side, so each has a lock of its own; the core gives no
    /// order for the whole storage beside one for a part of it.
    pub(super) fn lock(&self, item: Option<&RecoveryItem>, holder: &str) -> Result<StorageLock, Trouble> {
        let path = match item {
            None => self.sqlite.directory().join(".cutover.lock"),
            Some(item) => {
                let file = self.sqlite.file(item)?;
                let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                file.with_file_name(format!(".cutover-{name}.lock"))
            }
        };
        match StorageLock::acquire(&path, holder)? {
            Locking::Ours(lock) => {
                lock.inherit()?;
                Ok(lock)
            }
            Locking::Held { by } => Err(Trouble::refused(
                format!(
                    "{} is worked on by another runner: {}",
                    self.identity,
                    by.unwrap_or_else(|| "it left no name".to_owned())
                ),
                "wait until that has ended, or find out who it is",
            )),
        }
    }

    /// That nobody else has an item's file, or any of the storage's, open at this moment. A lane looks at its own ledger
    /// only: beside it the others' commands have theirs and the system store open.
    pub(super) fn quiet(&self, item: Option<&RecoveryItem>) -> Result<(), Trouble> {
        let mut openers = self.sqlite.quiet(&[std::process::id()])?.openers;
        if let Some(item) = item {
            let file = self.sqlite.file(item)?;
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // With what SQLite keeps beside it, and the file itself when it was deleted while it was open.
            openers.retain(|opener| opener.file.starts_with(&name));
        }
        match openers.first() {
            None => Ok(()),
            Some(opener) => Err(Trouble::refused(
                format!(
                    "{} is not quiet: process {} ({}) has {} open, {} in all",
                    self.identity,
                    opener.pid,
                    opener.command,
                    opener.file,
                    openers.len()
                ),
                "stop that process, then try again",
            )),
        }
    }
}

/// Where a service listens, as a client on this host reaches it.
pub(super) fn address(instance: &InstanceSettings, resolved: &Resolved) -> Result<SocketAddr, Trouble> {
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
