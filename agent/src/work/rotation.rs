//! Taking an instance out of rotation and back: the operator's own commands, and what `readiness` says.

use super::site::{note, own_folder};
use super::trouble::Trouble;
use crate::files::{self, FileError, io_error};
use crate::machine;
use crate::service::Service;
use crate::settings::trust;
use cutover_vocabulary::Elapsed;
use cutover_vocabulary::outcome::{Effect, FailureKind};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rotation {
    /// No client is sent to it any more.
    Out,
    /// Clients may be sent to it.
    Into,
}

/// The file that is there while no client is to be sent to the instance.
const OUT: &str = "out-of-rotation";

/// Whether the instance is in rotation, as far as the agent had a hand in it.
pub(super) fn is_in(service: &Service) -> bool {
    !note(service, OUT).exists()
}

/// From now on `readiness` says that no client may be sent to it, until [`turn`] says otherwise. The instance's folder exists.
pub(super) fn mark_out(service: &Service) -> Result<(), FileError> {
    let note = note(service, OUT);
    if note.exists() { Ok(()) } else { files::write(&note, b"null") }
}

/// What the last command wrote to its standard error.
const SAID: &str = "rotation.stderr";
/// How much of it is read, in bytes.
const MOST_SAID: u64 = 4096;

/// When an instance went out of rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Left {
    /// In which boot: the machine's time is counted from its start.
    boot: String,
    /// At which time of it.
    uptime: Elapsed,
}

/// It is out of rotation by now. The moment since when it is: kept over attempts and over the agent's own end, for who was seen to
/// send since then must not pass for idle at the next look.
pub(super) fn left(service: &Service) -> Result<Elapsed, FileError> {
    let (note, boot) = (note(service, OUT), machine::boot_id());
    let known: Option<Option<Left>> = files::read_json(&note)?;
    if let Some(known) = known.flatten().filter(|known| known.boot == boot) {
        return Ok(known.uptime);
    }
    let now = Left { boot, uptime: machine::uptime() };
    files::write_json(&note, &now)?;
    Ok(now.uptime)
}

/// The agent's word on it goes, whoever has it serve now.
pub(crate) fn forget(service: &Service) -> Result<(), FileError> {
    files::remove(&note(service, OUT))
}

/// Says it to `readiness`, and runs the command for that way if the settings name one. It may be run again for the same state: an
/// order that is repeated after a crash repeats it.
///
/// # Errors
/// When it cannot be started, ends with another status than 0, or takes longer than the settings allow.
pub(super) async fn turn(service: &Service, rotation: Rotation) -> Result<(), Trouble> {
    match rotation {
        Rotation::Out => {
            mark_out(service)?;
            command(service, rotation).await
        }
        Rotation::Into => {
            command(service, rotation).await?;
            Ok(forget(service)?)
        }
    }
}

async fn command(service: &Service, rotation: Rotation) -> Result<(), Trouble> {
    let instance = service.settings();
    let (words, key) = match rotation {
        Rotation::Out => (&instance.out_of_rotation, "out_of_rotation"),
        Rotation::Into => (&instance.into_rotation, "into_rotation"),
    };
    let Some((program, args)) = words.split_first() else { return Ok(()) };
    let failed = |kind, why: String| {
        Trouble::new(
            kind,
            format!("the command {key} of instance {} {why}", instance.name),
            "run it by hand to see why, correct it, then try again",
        )
        .effect(Effect::Unknown)
    };
    trust::check_program(program)
        .map_err(|error| Trouble::refused(error.to_string(), "mend it on the host, then try again"))?;
    let limit = Duration::from_secs(instance.rotation_seconds);
    // Into a file: what the command leaves running may hold it open for as long as it likes, and is not waited for.
    own_folder(service)?;
    let said = note(service, SAID);
    files::remove(&said)?;
    let stderr = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&said);
    let mut running = Command::new(program)
        .args(args)
        .env("CUTOVER_INSTANCE", instance.name.as_str())
        .env("CUTOVER_DEPLOYMENT", instance.deployment.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr.map_err(io_error("create", &said))?)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(FailureKind::Failed, format!("cannot be started: {error}")))?;
    match tokio::time::timeout(limit, running.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(failed(FailureKind::Failed, format!("ended with {status}: {}", beginning(&said)))),
        Ok(Err(error)) => Err(failed(FailureKind::Failed, format!("cannot be waited for: {error}"))),
        Err(_) => Err(failed(FailureKind::TimedOut, format!("took longer than {} s and was killed", limit.as_secs()))),
    }
}

/// The beginning of what it said, for a message.
fn beginning(said: &Path) -> String {
    let mut bytes = Vec::new();
    let _ = File::open(said).and_then(|file| file.take(MOST_SAID).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).trim().chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use crate::worker::Program;
    use std::path::Path;

    fn since_out(service: &Service, former: Elapsed) -> Elapsed {
        // The machine's time goes on by milliseconds.
        while machine::uptime() == former {}
        left(service).unwrap()
    }

    #[test]
    fn an_instance_is_out_of_rotation_since_it_first_was_over_attempts_and_anew_after_a_boot_or_its_return() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "name = \"h1\"\ncoordinator = \"unix:/run/c.sock\"\nstate = \"{}\"\n[[instance]]\nname = \"a\"\ndeployment = \
             \"prod\"\nmanager = \"process\"\ncommand = \"/bin/true\"\n",
            dir.path().display()
        );
        let settings = Settings::parse(&text, Path::new("agent.toml")).unwrap();
        let service = Service::new(&settings, &settings.instances[0], &Program::current().unwrap());
        files::folder(service.dir()).unwrap();
        mark_out(&service).unwrap();
        let first = left(&service).unwrap();
        mark_out(&service).unwrap();
        assert_eq!(since_out(&service, first), first, "another attempt does not begin anew");

        let kept = std::fs::read_to_string(note(&service, OUT)).unwrap();
        std::fs::write(note(&service, OUT), kept.replace(&machine::boot_id(), "another boot")).unwrap();
        let second = since_out(&service, first);
        assert!(second > first, "the time of another boot says nothing");

        forget(&service).unwrap();
        assert!(is_in(&service));
        mark_out(&service).unwrap();
        assert!(since_out(&service, second) > second);
    }
}
