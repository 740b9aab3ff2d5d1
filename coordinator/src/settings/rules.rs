//! From the file to settings: which values go together.

use super::error::explain;
use super::keys::{File, LimitsSettings};
use super::tls::TlsSettings;
use super::{HookCommand, Settings, SettingsError, StorePlace};
use cutover_core::catalogue::Catalogue;
use cutover_proto::transport::Endpoint;
use cutover_store::CoordinatorName;
use cutover_vocabulary::Elapsed;
use cutover_vocabulary::plan::Limits;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Settings {
    /// [`Settings::load`] without the file: `path` is named in errors, and a catalogue that is named without its folder lies
    /// beside it.
    pub fn parse(text: &str, path: &Path) -> Result<Self, SettingsError> {
        let file: File = toml::from_str(text).map_err(|error| explain(&error, text, path))?;
        let rule = |key, why: String| SettingsError::Rule { path: path.to_owned(), key, why };
        let LimitsSettings {
            drain_seconds,
            step_seconds,
            migration_seconds,
            agent_lost_seconds,
            attempts,
            lanes,
            wave,
            bake_seconds,
        } = file.limits;
        for (key, value) in [
            ("limits.drain_seconds", drain_seconds),
            ("limits.step_seconds", step_seconds),
            ("limits.migration_seconds", migration_seconds),
            ("limits.agent_lost_seconds", agent_lost_seconds),
            ("limits.attempts", u64::from(attempts)),
            ("limits.lanes", u64::from(lanes)),
            ("limits.wave", u64::from(wave)),
            ("limits.bake_seconds", bake_seconds),
            ("survey_seconds", file.survey_seconds),
        ] {
            if value == 0 {
                return Err(rule(key, "it must be at least 1; leave it away for its default".to_owned()));
            }
        }
        let listen = file.listen.endpoints().map_err(|why| rule("listen", why))?;
        let (tls, operators) = file.tls.map(TlsSettings::files).transpose().map_err(|why| rule("tls", why))?.unzip();
        let reachable = listen.iter().find(|endpoint| matches!(endpoint, Endpoint::Tls(_)));
        match (reachable, &tls) {
            (Some(endpoint), None) => {
                let why =
                    format!("{endpoint} needs certificates: add the table [tls] with certificate, key and authority");
                return Err(rule("listen", why));
            }
            (None, Some(_)) => {
                let why = "no address of `listen` begins with https://: add one, or leave the table away".to_owned();
                return Err(rule("tls", why));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        Ok(Self {
            name: CoordinatorName::new(file.name).map_err(|error| rule("name", error.to_string()))?,
            advertise: file
                .advertise
                .map(|text| advertised(&text, &listen))
                .transpose()
                .map_err(|why| rule("advertise", why))?,
            listen,
            tls,
            operators: operators.unwrap_or_default(),
            store: StorePlace::new(&file.store, file.etcd).map_err(|(key, why)| rule(key, why))?,
            metrics: file.metrics.as_deref().map(address).transpose().map_err(|error| rule("metrics", error))?,
            hook: file.hook.map(hook).transpose().map_err(|error| rule("hook", error))?,
            limits: Limits {
                drain: Elapsed::from_secs(drain_seconds),
                step: Elapsed::from_secs(step_seconds),
                migration: Elapsed::from_secs(migration_seconds),
                agent_lost: Elapsed::from_secs(agent_lost_seconds),
                attempts,
                lanes,
                wave,
                bake: Elapsed::from_secs(bake_seconds),
            },
            survey: Elapsed::from_secs(file.survey_seconds),
            catalogue: Arc::new(catalogue(file.catalogue.as_deref(), path)?),
        })
    }
}

/// What others would be told must be an address, and one that somebody listens at.
fn advertised(text: &str, listen: &[Endpoint]) -> Result<Endpoint, String> {
    let endpoint: Endpoint = text.parse().map_err(|error| format!("{error}"))?;
    let alike = |own: &&Endpoint| std::mem::discriminant(*own) == std::mem::discriminant(&endpoint);
    match listen.iter().find(alike) {
        Some(_) => Ok(endpoint),
        None => Err(format!("no address of `listen` is reached by {endpoint}: the two must begin alike")),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let why = |_| format!("{text:?} is no address in numbers with a port: write it as 127.0.0.1:9464");
    text.parse().map_err(why)
}

fn hook(words: Vec<String>) -> Result<HookCommand, String> {
    let mut words = words.into_iter();
    match words.next().map(PathBuf::from) {
        Some(program) if program.is_absolute() => Ok(HookCommand { program, args: words.collect() }),
        Some(program) => {
            Err(format!("{} is no path from the root: write it as [\"/path/program\", \"arg\"]", program.display()))
        }
        None => Err("it names no program: write it as [\"/path/program\", \"arg\"], or leave it away".to_owned()),
    }
}

/// What ships with this program, with what the company's own file adds.
fn catalogue(company: Option<&Path>, settings: &Path) -> Result<Catalogue, SettingsError> {
    let shipped = cutover_core::catalogue::shipped()?;
    let Some(file) = company else { return Ok(shipped) };
    let path = settings.parent().map_or_else(|| file.to_owned(), |folder| folder.join(file));
    let text = std::fs::read_to_string(&path).map_err(|source| SettingsError::NoCatalogue {
        path: path.clone(),
        settings: settings.to_owned(),
        source,
    })?;
    Ok(shipped.with_company(&text, &path.display().to_string())?)
}
