//! The instances that an agent's settings name. Whether a database answers is the agent's to see: a plan says it.

use super::host::Host;
use super::{Check, Verdict};
use crate::render::words::quoted;
use cutover_agent::needs::{self, DataPlace};
use cutover_agent::settings::InstanceSettings;
use rustix::fs::{Access, access};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "instances",
        why: "an agent without one has nothing to upgrade",
        look: |host| {
            let none = host.agent().is_some_and(|settings| settings.instances.is_empty());
            let warning = || {
                Verdict::warning("the settings name none", "add an [[instance]]; `cutover explain agent` has its keys")
            };
            none.then(warning).into_iter().collect()
        },
    },
    Check {
        name: "command",
        why: "the service is started by it, and a release is switched there",
        look: |host| each(host, command),
    },
    Check {
        name: "environment",
        why: "ledger commands get the service's own environment; with one variable less they migrate another storage",
        look: |host| each(host, environment),
    },
    Check {
        name: "storage",
        why: "it is copied, migrated and proved by the agent itself",
        look: |host| each_readable(host, storage),
    },
    Check {
        name: "port",
        why: "the agent asks the instance there for its version, and sees there that no client is left",
        look: |host| each_readable(host, port),
    },
    Check {
        name: "out_of_rotation",
        why: "the load balancer is told by it before the instance is drained",
        look: |host| each(host, |instance, path| turning("out_of_rotation", &instance.out_of_rotation, instance, path)),
    },
    Check {
        name: "into_rotation",
        why: "the load balancer is told by it once the instance answers",
        look: |host| each(host, |instance, path| turning("into_rotation", &instance.into_rotation, instance, path)),
    },
];

fn each(host: &Host, look: impl Fn(&InstanceSettings, &OsStr) -> Verdict) -> Vec<Verdict> {
    let instances = host.agent().into_iter().flat_map(|settings| &settings.instances);
    instances.map(|instance| look(instance, &host.path)).collect()
}

/// The same for what an instance's environment decides: where that cannot be read, its own check says so.
fn each_readable(host: &Host, look: fn(&InstanceSettings) -> Verdict) -> Vec<Verdict> {
    let instances = host.agent().into_iter().flat_map(|settings| &settings.instances);
    instances.filter(|instance| instance.environment().is_ok()).map(look).collect()
}

fn command(instance: &InstanceSettings, _: &OsStr) -> Verdict {
    if let Some(why) = &instance.unreadable {
        return Verdict::missing(format!("{}: {why}", instance.name), "correct `unit`, or mend the unit");
    }
    match executable(&instance.command) {
        Ok(()) => Verdict::well(format!("{}: {}", instance.name, instance.command.display())),
        Err(why) => Verdict::missing(
            format!("{}: {why}", instance.name),
            "install the ledger's release there that runs today, or correct `command`",
        ),
    }
}

fn environment(instance: &InstanceSettings, _: &OsStr) -> Verdict {
    match (instance.environment(), &instance.env_file) {
        (Ok(_), Some(file)) => Verdict::well(format!("{}: {}", instance.name, file.display())),
        (Ok(_), None) => Verdict::well(format!("{}: no env_file", instance.name)),
        (Err(error), _) => Verdict::missing(
            format!("{}: {error}", instance.name),
            "let the agent's user read it, or correct `env_file`; run doctor as that user",
        ),
    }
}

fn storage(instance: &InstanceSettings) -> Verdict {
    let (name, deployment) = (&instance.name, &instance.deployment);
    match needs::data_place(instance) {
        Ok(DataPlace::Directory(folder)) => {
            match access(&folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
                Ok(()) => Verdict::well(format!("{name}: SQLite files in {}", folder.display())),
                Err(error) => Verdict::missing(
                    format!("{name}: the data directory {} cannot be used: {error}", folder.display()),
                    "let the agent's user read and write it, or correct where the service has its storage; run doctor as \
                     that user",
                ),
            }
        }
        Ok(DataPlace::Database) => Verdict::well(format!(
            "{name}: PostgreSQL; whether the agent reaches it, `cutover plan {deployment} --to VERSION` says"
        )),
        Err(trouble) => Verdict::missing(format!("{name}: {}", trouble.0.message), trouble.0.remedy),
    }
}

fn port(instance: &InstanceSettings) -> Verdict {
    match needs::address(instance) {
        Ok(address) => Verdict::well(format!("{}: {address}", instance.name)),
        Err(trouble) => Verdict::missing(format!("{}: {}", instance.name, trouble.0.message), trouble.0.remedy),
    }
}

fn turning(key: &str, words: &[String], instance: &InstanceSettings, path: &OsStr) -> Verdict {
    let name = &instance.name;
    let Some(program) = words.first() else {
        return Verdict::warning(
            format!("{name}: no command"),
            format!("name one in `{key}`, unless the load balancer sees by itself whether an instance is there"),
        );
    };
    match find(program, path).map(|program| executable(&program)) {
        Some(Ok(())) => Verdict::well(format!("{name}: {program}")),
        Some(Err(why)) => Verdict::missing(format!("{name}: {why}"), format!("install it, or correct `{key}`")),
        None => Verdict::missing(
            format!("{name}: {} is not in PATH", quoted(program)),
            format!("name it with its whole path in `{key}`: the agent's PATH may be another one than yours"),
        ),
    }
}

/// As the agent finds it: a name with a slash as it is, any other along `PATH`.
fn find(program: &str, path: &OsStr) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program));
    }
    std::env::split_paths(path).map(|folder| folder.join(program)).find(|file| executable(file).is_ok())
}

fn executable(file: &Path) -> Result<(), String> {
    let data = std::fs::metadata(file).map_err(|error| format!("{}: {error}", file.display()))?;
    if !data.is_file() {
        return Err(format!("{} is no file", file.display()));
    }
    access(file, Access::EXEC_OK).map_err(|error| format!("{} is not executable: {error}", file.display()))
}
