//! Drift: what an instance starts and runs against what it may. Looked at for every report, for ever; a binary is read only when
//! its file has changed.

use super::site::Site;
use crate::release::asking::is_script;
use crate::service::Service;
use crate::service::allowed::{self, Allowed};
use crate::settings::InstanceSettings;
use cutover_vocabulary::instance::{Drift, DriftKind, RunState};
use cutover_vocabulary::{Digest, Version};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Everything that is not as Cutover last switched it. Nothing where it never switched anything, or where that cannot be read: a
/// guard refuses every start then.
pub(super) async fn look(
    site: &Site,
    service: &Service,
    settings: &InstanceSettings,
    run: &RunState,
    on_disk: Option<&Version>,
) -> Vec<Drift> {
    let Ok(Some(Allowed { command, binary })) = allowed::read(service.dir()) else { return Vec::new() };
    if settings.unreadable.is_some() || settings.command == PathBuf::new() {
        return Vec::new();
    }
    let mut drift = Vec::new();
    if command != settings.command {
        let (allowed, found) = (command.display().to_string(), settings.command.display().to_string());
        drift.push(Drift { kind: DriftKind::Command, allowed, found });
    }
    let words = |digest: Digest| format!("SHA-256 {}", digest.short());
    let found = site.digest(&settings.command).await;
    if found != Some(binary) {
        let found = match (found, on_disk) {
            (Some(digest), Some(version)) => format!("{version} with {}", words(digest)),
            (Some(digest), None) => words(digest),
            (None, Some(_) | None) => "nothing that can be read".to_owned(),
        };
        drift.push(Drift { kind: DriftKind::Disk, allowed: words(binary), found });
    }
    // A script becomes another program, which is nobody's business here.
    if let RunState::Running { pid } = run
        && *pid != 0
        && !is_script(&settings.command)
        && let exe = format!("/proc/{pid}/exe")
        // While a unit is being started its process is the guard, this program, before it is the ledger.
        && !is_own(&exe)
        && let Some(digest) = site.digest(Path::new(&exe)).await
        && digest != binary
    {
        drift.push(Drift { kind: DriftKind::Running, allowed: words(binary), found: words(digest) });
    }
    drift
}

/// Where an instance's guard was put and does not lie any more. Nothing where none was ever put.
pub(super) fn missing_guard(service: &Service) -> Option<PathBuf> {
    let was_put = matches!(allowed::read(service.dir()), Ok(Some(_)));
    service.missing_guard().filter(|_| was_put)
}

fn is_own(exe: &str) -> bool {
    let id = |path: &str| std::fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
    let own = id("/proc/self/exe");
    own.is_some() && id(exe) == own
}
