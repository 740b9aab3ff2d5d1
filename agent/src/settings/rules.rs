//! Rules on the settings: which values go together, and what the state directory must be.

use super::{DEFAULT_ARGS, InstanceSettings, Settings, SettingsError, TlsSettings};
use cutover_proto::transport::Endpoint;
use cutover_vocabulary::instance::Manager;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

impl Settings {
    /// Every rule that needs no look at the services themselves.
    pub(super) fn check(&self) -> Result<(), String> {
        let absolute = |key: &str, path: &Path| {
            if path.is_absolute() {
                Ok(())
            } else {
                Err(format!("{key} = {:?} must be an absolute path", path.display().to_string()))
            }
        };
        absolute("state", &self.state)?;
        if let Some(recovery) = &self.recovery {
            absolute("recovery", recovery)?;
        }
        if let Some(unpacked) = &self.releases.unpacked {
            absolute("releases: unpacked", unpacked)?;
        }
        if let Some(TlsSettings { certificate, key, authority }) = &self.tls {
            for (name, path) in [("certificate", certificate), ("key", key), ("authority", authority)] {
                absolute(&format!("tls: {name}"), path)?;
            }
        }
        for endpoint in &self.coordinator.0 {
            match (endpoint, &self.tls) {
                (Endpoint::Tls(_), None) => {
                    return Err(format!(
                        "coordinator = \"{endpoint}\" is spoken to under TLS: add the table [tls] with certificate, key and authority"
                    ));
                }
                (Endpoint::Tls(_), Some(_)) | (Endpoint::Unix(_) | Endpoint::Loopback(_), _) => {}
            }
        }
        let mut seen = BTreeMap::new();
        for instance in &self.instances {
            let name = &instance.name;
            if seen.insert(name, ()).is_some() {
                return Err(format!("two instances are named {name}: give each its own name"));
            }
            match instance.manager {
                Manager::Process => instance.check_process()?,
                Manager::Systemd => instance.check_unit()?,
            }
            for (key, path) in [
                ("env_file", &instance.env_file),
                ("home", &instance.home),
                ("working_directory", &instance.working_directory),
            ] {
                if let Some(path) = path {
                    absolute(&format!("instance {name}: {key}"), path)?;
                }
            }
        }
        self.check_commands()
    }

    /// A switch changes what a command's path leads to, so instances of two deployments must not start one path: an upgrade of
    /// one would have the other start a version that its storage is not ready for. A unit whose command is no link is switched by
    /// a drop-in of its own.
    pub(crate) fn check_commands(&self) -> Result<(), String> {
        let mut owners: BTreeMap<PathBuf, &InstanceSettings> = BTreeMap::new();
        for instance in &self.instances {
            let command = &instance.command;
            let link = std::fs::symlink_metadata(command).is_ok_and(|data| data.is_symlink());
            if instance.manager == Manager::Systemd && !link {
                continue;
            }
            let folder = command.parent().and_then(|folder| folder.canonicalize().ok());
            let path =
                folder.zip(command.file_name()).map_or_else(|| command.clone(), |(folder, name)| folder.join(name));
            let owner = owners.entry(path).or_insert(instance);
            if owner.deployment != instance.deployment {
                return Err(format!(
                    "instance {} of deployment {} and instance {} of deployment {} have one command, {}: an upgrade of one would \
                     switch the other; give each deployment a file or a link of its own",
                    owner.name,
                    owner.deployment,
                    instance.name,
                    instance.deployment,
                    command.display()
                ));
            }
        }
        Ok(())
    }

    /// Makes the state directory (mode 0700) and what lies in it.
    ///
    /// # Errors
    /// [`SettingsError::State`] when it cannot be made, or when others may enter it.
    pub fn prepare(&self) -> Result<(), SettingsError> {
        let refuse = |path: &Path, what: String| SettingsError::State { path: path.to_owned(), what };
        for folder in [&self.state, &self.work(), &self.scratch(), &self.recovery()] {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
                refuse(folder, format!("{error}; it must be a directory that the agent may write to"))
            })?;
        }
        let mode = std::fs::metadata(&self.state)
            .map_err(|error| refuse(&self.state, error.to_string()))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(refuse(
                &self.state,
                format!("its mode is {:04o}, so others may look into recovery points; chmod 0700 it", mode & 0o7777),
            ));
        }
        Ok(())
    }
}

impl InstanceSettings {
    fn check_process(&self) -> Result<(), String> {
        let name = &self.name;
        if self.unit.is_some() {
            return Err(format!("instance {name}: unit is for manager = \"systemd\""));
        }
        if !self.command.is_absolute() {
            let command = self.command.display().to_string();
            return Err(format!("instance {name}: command = {command:?} must be an absolute path"));
        }
        if let Some(user) = &self.user
            && Some(user.as_str()) != std::env::var("USER").ok().as_deref()
            && !(user == "root" && rustix::process::geteuid().is_root())
        {
            return Err(format!(
                "instance {name}: user = {user:?} is not the user that the agent runs as; run the agent as {user:?}, or \
                 leave the key away"
            ));
        }
        Ok(())
    }

    fn check_unit(&self) -> Result<(), String> {
        let name = &self.name;
        let unit = self.unit_name();
        let known = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        if !unit.ends_with(".service") || !unit.chars().all(known) || unit.ends_with("@.service") {
            return Err(format!(
                "instance {name}: unit = {unit:?} is no service of systemd; write it as `systemctl status` does: \
                 \"numary.service\", or \"numary@eu.service\" for one of a template"
            ));
        }
        let said = [
            ("command", self.command != PathBuf::new()),
            ("args", self.args.iter().map(ExposeSecret::expose_secret).ne(DEFAULT_ARGS)),
            ("env", !self.env.is_empty()),
            ("env_file", self.env_file.is_some()),
            ("home", self.home.is_some()),
            ("working_directory", self.working_directory.is_some()),
            ("user", self.user.is_some()),
        ];
        match said.iter().find(|(_, said)| *said) {
            Some((key, _)) => Err(format!("instance {name}: {key} is read from unit {unit}; leave the key away")),
            None => Ok(()),
        }
    }
}
