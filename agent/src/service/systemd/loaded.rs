//! What a unit starts, as systemd has it loaded: the service's settings in the agent's own form.

use super::bus::{Bus, ExecEx};
use super::words::expand;
use crate::service::environment::read_env_file;
use crate::settings::{Account, InstanceSettings};
use nix::unistd::{Group, User};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the ledger takes its user's home to be when no `HOME` is set, in every release.
pub(crate) const NO_HOME: &str = "/root";

/// Reads a unit's settings. Everything but what the agent's own file says of the instance comes from the unit.
///
/// # Errors
/// Why they cannot be told, and what to do.
pub(super) async fn settings(own: &InstanceSettings, unit: &str) -> Result<InstanceSettings, String> {
    let failed = |error: zbus::Error| format!("systemd does not tell about it: {error}");
    let (general, service) = Bus.unit(unit).await.map_err(failed)?;
    match general.load_state().await.map_err(failed)?.as_str() {
        "loaded" => {}
        "not-found" => {
            return Err("there is no such unit on this host; correct unit in the agent's settings".to_owned());
        }
        other => {
            let (_, why) = general.load_error().await.unwrap_or_default();
            return Err(format!("systemd has it as {other}: {why}; mend the unit"));
        }
    }
    if general.need_daemon_reload().await.map_err(failed)? {
        return Err(
            "its files were changed since systemd read them, so what would start is not what runs; run `systemctl \
             daemon-reload`"
                .to_owned(),
        );
    }
    // Asked at once: each answer by itself would wake the agent once more, for every report.
    let manager = Bus.manager().await.map_err(failed)?;
    let (root, dynamic, groups, group, commands, inherited, variables, files, unset, user, working_directory) =
        tokio::try_join!(
            service.root_directory(),
            service.dynamic_user(),
            service.supplementary_groups(),
            service.group(),
            service.exec_start_ex(),
            manager.environment(),
            service.variables(),
            service.environment_files(),
            service.unset_environment(),
            service.user(),
            service.working_directory(),
        )
        .map_err(failed)?;
    if !matches!(root.as_str(), "" | "/") {
        return Err(format!("it runs below RootDirectory={root}, which Cutover cannot look into yet"));
    }
    if dynamic {
        return Err("it has DynamicUser=yes, and its user is gone once it is down; give it a fixed User=".to_owned());
    }
    if !groups.is_empty() {
        return Err(format!(
            "it has SupplementaryGroups={}, which commands that migrate would run without; give its User= what it needs itself",
            groups.join(" ")
        ));
    }
    Found { group, commands, inherited, variables, files, unset, user, working_directory }.settings(own)
}

/// What of a unit matters here.
struct Found {
    group: String,
    commands: Vec<ExecEx>,
    inherited: Vec<String>,
    variables: Vec<String>,
    files: Vec<(String, bool)>,
    unset: Vec<String>,
    user: String,
    working_directory: String,
}

impl Found {
    fn settings(self, own: &InstanceSettings) -> Result<InstanceSettings, String> {
        let [(path, argv, flags, ..)] = &self.commands[..] else {
            return Err(format!(
                "it has {} commands in ExecStart=, and a ledger's unit has one: mend the unit",
                self.commands.len()
            ));
        };
        let user = self.user()?;
        let group = self.group()?;
        let environment = self.environment(user.as_ref())?;
        // With `:` before the command systemd replaces no variables in it.
        let literal = flags.iter().any(|flag| flag == "no-env-expand");
        let words = argv.get(1..).unwrap_or_default();
        let args = if literal {
            words.iter().map(|word| SecretString::from(word.clone())).collect()
        } else {
            expand(words, &environment)
        };
        let home = environment.get("HOME").map_or_else(|| PathBuf::from(NO_HOME), path_of);
        let working_directory = match self.working_directory.trim_start_matches('!') {
            "" => PathBuf::from("/"),
            "~" => home.clone(),
            directory => PathBuf::from(directory),
        };
        Ok(InstanceSettings {
            command: PathBuf::from(path),
            args,
            env: environment,
            env_file: None,
            home: Some(home),
            working_directory: Some(working_directory),
            account: user
                .as_ref()
                .map(|user| Account { user: user.uid.as_raw(), group: group.unwrap_or(user.gid.as_raw()) }),
            user: user.map(|user| user.name),
            unreadable: None,
            ..own.clone()
        })
    }

    /// Whom it runs as; none for the system's own user.
    fn user(&self) -> Result<Option<User>, String> {
        if self.user.is_empty() {
            return Ok(None);
        }
        let found = match self.user.parse() {
            Ok(number) => User::from_uid(nix::unistd::Uid::from_raw(number)),
            Err(_) => User::from_name(&self.user),
        };
        match found {
            Ok(Some(user)) => Ok(Some(user)),
            Ok(None) => Err(format!("its User={} is not known on this host", self.user)),
            Err(error) => Err(format!("its User={} cannot be looked up: {error}", self.user)),
        }
    }

    /// Its own group; none where it is its user's.
    fn group(&self) -> Result<Option<u32>, String> {
        if self.group.is_empty() {
            return Ok(None);
        }
        if let Ok(number) = self.group.parse() {
            return Ok(Some(number));
        }
        match Group::from_name(&self.group) {
            Ok(Some(group)) => Ok(Some(group.gid.as_raw())),
            Ok(None) => Err(format!("its Group={} is not known on this host", self.group)),
            Err(error) => Err(format!("its Group={} cannot be looked up: {error}", self.group)),
        }
    }

    /// In systemd's order, the later wins (man systemd.exec, "Environment variables in spawned processes").
    fn environment(&self, user: Option<&User>) -> Result<BTreeMap<String, SecretString>, String> {
        let pairs = |list: &[String]| -> Vec<(String, SecretString)> {
            list.iter()
                .filter_map(|pair| pair.split_once('='))
                .map(|(k, v)| (k.to_owned(), v.to_owned().into()))
                .collect()
        };
        let mut all: BTreeMap<String, SecretString> = pairs(&self.inherited).into_iter().collect();
        if let Some(user) = user {
            all.insert("HOME".to_owned(), user.dir.to_string_lossy().into_owned().into());
            all.insert("USER".to_owned(), user.name.clone().into());
            all.insert("LOGNAME".to_owned(), user.name.clone().into());
        }
        all.extend(pairs(&self.variables));
        for (path, optional) in &self.files {
            if path.contains(['*', '?', '[']) {
                return Err(format!(
                    "its EnvironmentFile={path} is a pattern, and which files it means may change; name each file"
                ));
            }
            let path = Path::new(path);
            if *optional && !path.exists() {
                continue;
            }
            all.extend(read_env_file(path).map_err(|error| error.to_string())?);
        }
        for pattern in &self.unset {
            // `NAME` unsets it whatever it is, `NAME=VALUE` only that value.
            match pattern.split_once('=') {
                None => _ = all.remove(pattern),
                Some((name, value)) => {
                    if all.get(name).is_some_and(|now| secrecy::ExposeSecret::expose_secret(now) == value) {
                        all.remove(name);
                    }
                }
            }
        }
        Ok(all)
    }
}

fn path_of(value: &SecretString) -> PathBuf {
    PathBuf::from(secrecy::ExposeSecret::expose_secret(value))
}
