//! The guard of a unit: what keeps it from starting while it is fenced, or with another binary than the allowed one. It is a
//! drop-in of the unit's own, so it holds against whoever starts it, after a reboot, with every daemon of ours down and without a
//! network.
//!
//! * `AssertPathExists=` makes a start fail visibly; a condition would let `systemctl start` return 0, and a mask does not hold for
//!   a unit whose file lies in `/etc` (both measured, systemd 252).
//! * `RequiresMountsFor=`: on a state directory that is not mounted yet no fence would be found.
//! * `ExecStartPre=+` compares the binary with the allowed one, as root whatever the unit's own user is, and waits for the
//!   [`Permit`] of this boot.

use super::bus::Bus;
use super::closed::{self, change, line};
use crate::files::FileError;
use crate::release::stage::digest_of;
use crate::service::allowed::{self, Allowed, allow};
use crate::service::fence::FenceFile;
use crate::service::permit::Permit;
use crate::settings::{AtBoot, trust};
use crate::worker::Program;
use cutover_vocabulary::Digest;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a start waits for its permit: an agent is linked a few seconds after its host is up.
const PERMIT_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(200);

/// Where a unit's own drop-ins lie.
pub(super) fn folder(unit: &str) -> PathBuf {
    Path::new("/etc/systemd/system").join(format!("{unit}.d"))
}

/// The guard's drop-in.
pub(super) fn path(unit: &str) -> PathBuf {
    folder(unit).join("50-cutover-guard.conf")
}

/// Puts the guard in its place if it is not there, and proves by what systemd has loaded that it holds. Which path the unit starts does
/// not matter here: one that is not allowed is what the guard is for.
pub(super) async fn put(unit: &str, instance_dir: &Path, agent: &Program, at_boot: AtBoot) -> Result<(), String> {
    let words = |error: FileError| error.to_string();
    closed::reload_if_due(instance_dir).await?;
    if allowed::read(instance_dir).map_err(words)?.is_none() {
        let (command, _) = loaded(unit).await.map_err(|why| format!("systemd does not tell what it starts: {why}"))?;
        allow(instance_dir, &command).map_err(words)?;
    }
    let marker = FenceFile::of(instance_dir).marker();
    let (folder, at_boot) = (instance_dir.to_string_lossy().into_owned(), format!("--at-boot={}", at_boot.word()));
    let check = ["guard".to_owned(), at_boot, folder, unit.to_owned()];
    let check = line("+", &agent.path, check);
    let text = format!(
        "# By Cutover: keeps this unit down during an upgrade, and from starting another binary than the allowed one.\n\
         # `cutover-agent local status` tells why it is fenced; `cutover-agent local unfence` lifts it.\n\
         [Unit]\nRequiresMountsFor={dir}\nAssertPathExists=!{marker}\n\n[Service]\nExecStartPre={check}\n",
        dir = instance_dir.display(),
        marker = marker.display(),
    );
    let path = path(unit);
    if std::fs::read_to_string(&path).ok().as_deref() != Some(&text) {
        // What it runs before every start, as root, is to be root's alone.
        trust::check_program(&agent.path.to_string_lossy()).map_err(|error| error.to_string())?;
        change(instance_dir, &path, Some(&text)).await?;
    }
    let failed = |error: zbus::Error| format!("systemd does not tell whether its guard holds: {error}");
    let (general, service) = Bus.unit(unit).await.map_err(failed)?;
    let not = |what: &str| Err(format!("its guard {} does not hold: {what}", path.display()));
    if general.need_daemon_reload().await.map_err(failed)? {
        return not("systemd has not read the unit's files since they were changed; run `systemctl daemon-reload`");
    }
    if !general.drop_in_paths().await.map_err(failed)?.iter().any(|file| Path::new(file) == path) {
        return not("systemd does not use that file");
    }
    let marker = marker.to_string_lossy();
    let asserts = general.asserts().await.map_err(failed)?;
    if !asserts
        .iter()
        .any(|(kind, _, negated, parameter, _)| kind == "AssertPathExists" && *negated && **parameter == *marker)
    {
        return not("a later drop-in takes its assertion away");
    }
    let before = service.exec_start_pre_ex().await.map_err(failed)?;
    if !before.iter().any(|(program, ..)| Path::new(program) == agent.path) {
        return not("a later drop-in takes its ExecStartPre= away");
    }
    Ok(())
}

/// Refuses a unit that starts another path than the allowed one: its guard would.
pub(super) fn lets_start(instance_dir: &Path, command: &Path) -> Result<(), NotAllowed> {
    match allowed::read(instance_dir)? {
        Some(allowed) if allowed.command != command => {
            Err(NotAllowed::OtherCommand { starts: command.to_owned(), wanted: allowed.command })
        }
        Some(_) | None => Ok(()),
    }
}

/// Takes the guard away: for a host that Cutover leaves.
pub(super) async fn take(unit: &str, instance_dir: &Path) -> Result<(), String> {
    change(instance_dir, &path(unit), None).await
}

/// Why a unit may not start.
#[derive(Debug, thiserror::Error)]
pub enum NotAllowed {
    /// Another binary than the allowed one.
    #[error(
        "{} has SHA-256 {found}, allowed is {wanted}: it was replaced since Cutover last switched it. Put the right release back, \
         or accept this one with `cutover-agent local allow`", command.display()
    )]
    Other {
        /// Which path.
        command: PathBuf,
        /// What lies there.
        found: Digest,
        /// What may.
        wanted: Digest,
    },
    /// Another path than the allowed one.
    #[error(
        "it would start {}, allowed is {}: a file of the unit was changed since Cutover last switched it. Undo that, or accept it \
         with `cutover-agent local allow`", starts.display(), wanted.display()
    )]
    OtherCommand {
        /// What would start.
        starts: PathBuf,
        /// What may.
        wanted: PathBuf,
    },
    /// systemd does not say what would start: not known is not allowed.
    #[error("systemd does not tell what unit {unit} would start: {why}")]
    Silent {
        /// Which unit.
        unit: String,
        /// Why not.
        why: String,
    },
    /// Nothing was heard of a coordinator since the host booted.
    #[error(
        "no coordinator has said since this host booted that its release is still the right one ({waited} s waited): its \
         deployment may have been upgraded meanwhile. It starts by itself once the agent hears from one; without any, make sure \
         that the other instances run this release, then `cutover-agent local start {instance}`"
    )]
    NoPermit {
        /// Which instance.
        instance: String,
        /// How long it waited, in seconds.
        waited: u64,
    },
    /// It was fenced while it waited.
    #[error("it is fenced by {by}; `cutover-agent local status` tells more")]
    Fenced {
        /// By which order, or by whom.
        by: String,
    },
    /// It cannot be told.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What the guard runs before a unit starts: compares what it would start with what it may, and waits until it may start at all
/// in this boot. Where nothing was named yet, every binary may.
///
/// # Errors
/// [`NotAllowed`].
pub fn main(instance_dir: &Path, unit: &str, at_boot: AtBoot) -> Result<(), NotAllowed> {
    let silent = |why: String| NotAllowed::Silent { unit: unit.to_owned(), why };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| silent(error.to_string()))?.block_on(async {
        let (starts, patience) = match loaded(unit).await {
            Ok(told) => told,
            Err(why) => {
                // A bus that is late at a boot: the permit that comes later makes up for it.
                Permit::of(unit).note_refusal("systemd, which did not tell what it would start")?;
                return Err(silent(why));
            }
        };
        check(instance_dir, &starts)?;
        until_permitted(instance_dir, unit, patience, at_boot).await
    })
}

/// What a unit starts, and how long its start may take that long before systemd ends it.
async fn loaded(unit: &str) -> Result<(PathBuf, Duration), String> {
    let (_, service) = Bus.unit(unit).await.map_err(|error| error.to_string())?;
    let commands = service.exec_start_ex().await.map_err(|error| error.to_string())?;
    let starts = commands.first().map(|(path, ..)| PathBuf::from(path)).ok_or("it has no command")?;
    let allotted = Duration::from_micros(service.timeout_start_usec().await.map_err(|error| error.to_string())?);
    Ok((starts, PERMIT_WITHIN.min(allotted / 2)))
}

async fn until_permitted(
    instance_dir: &Path,
    unit: &str,
    patience: Duration,
    at_boot: AtBoot,
) -> Result<(), NotAllowed> {
    let permit = Permit::of(unit);
    let patience = match at_boot {
        AtBoot::Ask | AtBoot::Wait => patience,
        AtBoot::Start => Duration::ZERO,
    };
    let mut waited = Duration::ZERO;
    loop {
        // systemd has looked for the fence before this began.
        let fence = FenceFile::of(instance_dir).read()?;
        if fence.standing {
            permit.note_refusal("its fence")?;
            return Err(NotAllowed::Fenced { by: fence.by.to_string() });
        }
        if permit.is_given() || waited >= patience {
            break;
        }
        tokio::time::sleep(LOOK).await;
        waited += LOOK;
    }
    if at_boot == AtBoot::Ask && !permit.is_given() {
        permit.note_refusal("its guard")?;
        // Whoever gave it between the two looks found no note.
        if !permit.is_given() {
            let instance = instance_dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(NotAllowed::NoPermit { instance, waited: waited.as_secs() });
        }
    }
    // It starts: nothing is to be made up for any more.
    permit.forget_refusal()?;
    Ok(())
}

fn check(instance_dir: &Path, starts: &Path) -> Result<(), NotAllowed> {
    lets_start(instance_dir, starts)?;
    let Some(Allowed { command, binary }) = allowed::read(instance_dir)? else { return Ok(()) };
    let found = digest_of(&command)?;
    if found == binary { Ok(()) } else { Err(NotAllowed::Other { command, found, wanted: binary }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_that_was_replaced_is_not_started() {
        let dir = tempfile::tempdir().unwrap();
        let command = dir.path().join("numary");
        std::fs::write(&command, "1.4.6").unwrap();
        check(dir.path(), &command).unwrap();
        allow(dir.path(), &command).unwrap();
        check(dir.path(), &command).unwrap();
        let elsewhere = check(dir.path(), Path::new("/usr/bin/numary")).unwrap_err().to_string();
        assert!(elsewhere.contains("it would start /usr/bin/numary"), "{elsewhere}");
        std::fs::write(&command, "1.3.1").unwrap();
        let refused = check(dir.path(), &command).unwrap_err().to_string();
        assert!(refused.contains("was replaced") && refused.contains(&command.display().to_string()), "{refused}");
    }
}
